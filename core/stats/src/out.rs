//! Text to a descriptor, by raw system calls and without memory from an allocator: it may be written
//! when a program ends in whatever state.

use std::fmt::{self, Write};
use std::os::fd::RawFd;
use std::sync::OnceLock;

use kq_core::{Errno, raw};

/// A screenful: what a program writes at once, another one's lines do not get into.
const ROOM: usize = 4096;

static LIBRARY: OnceLock<&'static str> = OnceLock::new();

/// The library that this code is in.
pub(crate) fn name(library: &'static str) {
    let _ = LIBRARY.set(library);
}

/// See the module. Writes whole lines, as long as they are shorter than its buffer.
#[derive(Debug)]
pub(crate) struct Out {
    fd: RawFd,
    buffer: [u8; ROOM],
    filled: usize,
    /// Something came by.
    used: bool,
    /// What the descriptor said; nothing is written after an error.
    done: Result<(), Errno>,
}

impl Out {
    pub(crate) fn new(fd: RawFd) -> Self {
        Self { fd, buffer: [0; ROOM], filled: 0, used: false, done: Ok(()) }
    }

    /// `libkqcompat_poll 0.1.0 in lighttpd[1234]:`
    pub(crate) fn head(&mut self) {
        let mut name = [0; 64];
        let name = raw::read_file(c"/proc/self/comm", &mut name).unwrap_or_default();
        let name = std::str::from_utf8(name).unwrap_or("?").trim_end();
        let library = LIBRARY.get().copied().unwrap_or("kqcompat");
        let (version, pid) = (env!("CARGO_PKG_VERSION"), raw::getpid());
        let _ = writeln!(self, "{library} {version} in {name}[{pid}]:");
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.used
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// Those of write(2), of any part.
    pub(crate) fn end(&mut self) -> Result<(), Errno> {
        self.flush(self.filled);
        self.done
    }

    /// Writes the first `len` bytes.
    fn flush(&mut self, len: usize) {
        let mut at = 0;
        while at < len && self.done.is_ok() {
            match raw::write(self.fd, &self.buffer[at..len]) {
                Ok(n) => at += n,
                Err(Errno::EINTR) => {}
                Err(errno) => self.done = Err(errno),
            }
        }
        self.buffer.copy_within(len..self.filled, 0);
        self.filled -= len;
    }
}

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.used |= !text.is_empty();
        let mut text = text.as_bytes();
        while !text.is_empty() {
            if self.filled == ROOM {
                let line = self.buffer.iter().rposition(|&byte| byte == b'\n');
                self.flush(line.map_or(ROOM, |end| end + 1));
            }
            let n = text.len().min(ROOM - self.filled);
            self.buffer[self.filled..self.filled + n].copy_from_slice(&text[..n]);
            self.filled += n;
            text = &text[n..];
        }
        Ok(())
    }
}
