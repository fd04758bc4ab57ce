//! One connection: two sockets, and what has gone each way.

use std::io;
use std::os::fd::RawFd;

use anyhow::{Result, ensure};

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    /// Unlike that of any other: what the bytes are made of.
    id: u64,
    /// The watched end.
    pub(super) watched: RawFd,
    /// The other end; None once it is closed.
    peer: Option<RawFd>,
    sent: u64,
    received: u64,
    /// The peer will send no more: an end has to be told.
    pub(super) is_ending: bool,
    /// Unread bytes were thrown away with the peer's end.
    reset: bool,
}

/// What there was to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    pub(super) bytes: u64,
    pub(super) end: bool,
}

impl Connection {
    pub(super) fn open(id: u64) -> Result<Self> {
        let mut ends = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel writes two numbers.
        check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
        let [watched, peer] = ends;
        Ok(Self {
            id,
            watched,
            peer: Some(peer),
            sent: 0,
            received: 0,
            is_ending: false,
            reset: false,
        })
    }

    /// The byte at a place of this connection's stream.
    fn byte(&self, at: u64) -> u8 {
        (self.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).wrapping_add(at * 31) as u8
    }

    /// The peer sends so many bytes, or as many as there is room for.
    pub(super) fn send(&mut self, len: u64) -> Result<()> {
        let (Some(peer), false) = (self.peer, self.is_ending) else { return Ok(()) };
        let bytes: Vec<u8> = (self.sent..self.sent + len).map(|at| self.byte(at)).collect();
        // SAFETY: that many bytes.
        let n = unsafe { libc::send(peer, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        match check(n) {
            Ok(n) => self.sent += n as u64,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// The peer says that it is done, and goes on to listen.
    pub(super) fn half_close(&mut self) -> Result<()> {
        if let (Some(peer), false) = (self.peer, self.is_ending) {
            // SAFETY: takes numbers.
            check(unsafe { libc::shutdown(peer, libc::SHUT_WR) })?;
            self.is_ending = true;
        }
        Ok(())
    }

    /// The peer goes; `rudely`: without having read what it was sent.
    pub(super) fn peer_goes(&mut self, rudely: bool) -> Result<()> {
        let Some(peer) = self.peer else { return Ok(()) };
        if rudely {
            // SAFETY: one byte.
            let n =
                unsafe { libc::send(self.watched, b"?".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) };
            self.reset |= n == 1;
        }
        self.peer = None;
        self.is_ending = true;
        Ok(close(peer)?)
    }

    /// Whether something has to be told of the watched end.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_ending || self.sent > self.received
    }

    /// Reads all there is, and looks at each byte.
    pub(super) fn read(&mut self) -> Result<Got> {
        let mut got = Got { bytes: 0, end: false };
        let mut buffer = [0_u8; 4096];
        loop {
            // SAFETY: room for that many bytes.
            let n =
                unsafe { libc::recv(self.watched, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            match check(n) {
                Ok(0) => {
                    got.end = true;
                    break;
                }
                Ok(n) => {
                    for &byte in &buffer[..n as usize] {
                        let expected = self.byte(self.received);
                        ensure!(byte == expected, "another connection's byte in {self:?}");
                        self.received += 1;
                    }
                    got.bytes += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset && self.reset => {}
                Err(e) => return Err(e.into()),
            }
        }
        if got.end {
            ensure!(self.is_ending, "an end that nobody made: {self:?}");
            ensure!(self.sent == self.received, "bytes are missing: {self:?}");
        }
        Ok(got)
    }

    /// Closes what is open. The watched end is to be forgotten first, or now.
    pub(super) fn close(self) -> Result<()> {
        close(self.watched)?;
        Ok(self.peer.map_or(Ok(()), close)?)
    }
}

pub(super) fn dup(fd: RawFd) -> Result<RawFd> {
    // SAFETY: takes numbers.
    Ok(check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })?)
}

/// By libc's name, which a preloaded library hooks.
pub(super) fn close(fd: RawFd) -> io::Result<()> {
    // SAFETY: a number of the soak's own, closed once.
    check(unsafe { libc::close(fd) }).map(drop)
}

fn check<T: PartialOrd + From<i8>>(value: T) -> io::Result<T> {
    if value < T::from(0) { Err(io::Error::last_os_error()) } else { Ok(value) }
}
