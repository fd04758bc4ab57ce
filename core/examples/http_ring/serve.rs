//! A worker of the server, and what it does with a connection.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, Ring};

/// The file that is served.
#[derive(Debug)]
pub(crate) struct Page {
    file: File,
    len: usize,
    header: String,
}

impl Page {
    /// Opens it.
    pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len() as usize;
        let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
        Ok(Self { file, len, header })
    }

    /// How many bytes an answer has.
    #[allow(dead_code, reason = "whoever loads the server asks")]
    pub(crate) fn answer_len(&self) -> usize {
        self.header.len() + self.len
    }
}

/// A connection: requests are answered in turn.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    /// How much of the blank line that ends a request has come.
    matched: usize,
    /// Requests that are to be answered.
    pub(crate) owed: u64,
    /// How much of the present answer was sent.
    sent: usize,
}

impl Conn {
    /// A connection that was just accepted.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, matched: 0, owed: 0, sent: 0 })
    }

    /// Its descriptor.
    pub(crate) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Its descriptor, borrowed.
    #[allow(dead_code, reason = "the worker with requests asks")]
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Whether it waits for room to write.
    pub(crate) fn is_blocked(&self) -> bool {
        self.owed > 0
    }

    /// Reads what there is and answers as far as there is room; how many answers are complete.
    pub(crate) fn go_on(&mut self, page: &Page) -> io::Result<u64> {
        let mut done = 0;
        loop {
            while self.owed > 0 {
                match self.send(page) {
                    Ok(true) => (self.owed, self.sent, done) = (self.owed - 1, 0, done + 1),
                    Ok(false) => {}
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(done),
                    Err(e) => return Err(e),
                }
            }
            if !self.read()? {
                return Ok(done);
            }
        }
    }

    /// Reads some; false: there is no more just now.
    pub(crate) fn read(&mut self) -> io::Result<bool> {
        let mut room = [0; 4096];
        match self.stream.read(&mut room) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => room[..n].iter().for_each(|&byte| self.take(byte)),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
        Ok(true)
    }

    fn take(&mut self, byte: u8) {
        const END: &[u8; 4] = b"\r\n\r\n";
        let starts = usize::from(byte == END[0]);
        self.matched = if byte == END[self.matched] { self.matched + 1 } else { starts };
        if self.matched == END.len() {
            (self.matched, self.owed) = (0, self.owed + 1);
        }
    }

    /// Sends a part of the answer; whether that was its end.
    fn send(&mut self, page: &Page) -> io::Result<bool> {
        let fd = self.stream.as_raw_fd();
        let header = page.header.as_bytes();
        let n = if self.sent < header.len() {
            let rest = &header[self.sent..];
            let flags = libc::MSG_MORE | libc::MSG_NOSIGNAL;
            // SAFETY: the kernel reads the slice.
            unsafe { libc::send(fd, rest.as_ptr().cast(), rest.len(), flags) }
        } else {
            let mut offset = (self.sent - header.len()) as libc::off_t;
            let rest = page.answer_len() - self.sent;
            // SAFETY: the kernel reads and writes the offset.
            unsafe { libc::sendfile(fd, page.file.as_raw_fd(), &mut offset, rest) }
        };
        match n {
            1.. => self.sent += n as usize,
            0 => return Err(ErrorKind::UnexpectedEof.into()), // the file has shrunk
            _ => return Err(io::Error::last_os_error()),
        }
        Ok(self.sent == page.answer_len())
    }
}

/// Accepts what there is to be accepted.
pub(crate) fn accept(
    listener: &TcpListener,
    mut take: impl FnMut(Conn) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => take(Conn::new(stream)?)?,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// Serves until `stop` is readable; how many requests it answered.
pub(crate) fn worker(listener: &TcpListener, page: &Page, stop: RawFd) -> io::Result<u64> {
    use EventFilter::{EVFILT_READ, EVFILT_WRITE};
    let add = |fd: RawFd, filter, flags| {
        // How much there is to read is not asked for: it is read until there is no more.
        KEvent::new(fd as usize, filter, EvFlags::EV_ADD | flags, FilterFlag::NOTE_NODATA, 0, 0)
    };
    listener.set_nonblocking(true)?;
    let ring = Ring::new(Kqueue::new()?, 1024)?;
    let first = [
        // One worker is woken for each connection.
        add(listener.as_raw_fd(), EVFILT_READ, EvFlags::EV_WAKEONE),
        add(stop, EVFILT_READ, EvFlags::empty()),
    ];
    ring.queue().kevent(&first, &mut [], None)?;
    let mut conns = HashMap::new();
    let mut events = [KEvent::default(); 64];
    let mut served = 0;
    loop {
        ring.wait(None)?;
        let n = ring.take(&mut events);
        for event in &events[..n] {
            let fd = event.ident() as RawFd;
            if fd == stop {
                return Ok(served);
            }
            if fd == listener.as_raw_fd() {
                accept(listener, |conn| {
                    let fd = conn.fd();
                    let change = add(fd, EVFILT_READ, EvFlags::EV_CLEAR);
                    ring.queue().kevent(&[change], &mut [], None)?;
                    conns.insert(fd, conn);
                    Ok(())
                })?;
                continue;
            }
            let Some(conn) = conns.get_mut(&fd) else { continue };
            match conn.go_on(page) {
                Ok(n) => served += n,
                // It has closed, and its knotes go with the descriptor.
                Err(_) => drop(conns.remove(&fd)),
            }
            if conns.get(&fd).is_some_and(Conn::is_blocked) {
                let change = add(fd, EVFILT_WRITE, EvFlags::EV_ONESHOT);
                ring.queue().kevent(&[change], &mut [], None)?;
            }
        }
    }
}
