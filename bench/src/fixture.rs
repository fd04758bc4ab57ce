//! What is watched: pipes and connected sockets, one byte of traffic at a time.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use clap::ValueEnum;
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// A non-blocking pipe.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    pub(crate) fn new() -> Result<Self> {
        let (read, write) = io::pipe().context("pipe")?;
        let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
        for end in [&read, &write] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("pipe")?;
        }
        Ok(Self { read, write })
    }

    /// The end that is watched.
    pub(crate) fn read_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// The other end.
    pub(crate) fn write_fd(&self) -> RawFd {
        self.write.as_raw_fd()
    }

    /// Puts one byte in.
    pub(crate) fn send(&self) -> io::Result<()> {
        write_byte(self.write_fd())
    }

    /// Takes one byte out.
    pub(crate) fn receive(&self) -> io::Result<()> {
        let got = read_some(self.read_fd(), &mut [0])?;
        debug_assert_eq!(got, 1);
        Ok(())
    }
}

/// As many pipes as asked for.
pub(crate) fn pipes(n: usize) -> Result<Vec<Pipe>> {
    (0..n).map(|_| Pipe::new()).collect()
}

/// Descriptors that take one number each.
#[cfg(target_os = "linux")]
pub(crate) fn eventfds(n: usize) -> Result<Vec<OwnedFd>> {
    (0..n)
        .map(|_| {
            // SAFETY: takes no pointer.
            let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
            if fd < 0 {
                return Err(io::Error::last_os_error()).context("eventfd");
            }
            // SAFETY: eventfd gave us the number, and nobody else has it.
            Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
        })
        .collect()
}

/// Writes one byte. libc's write, since the benchmarks hold plain numbers and since no compat
/// library hooks it.
#[inline]
pub(crate) fn write_byte(fd: RawFd) -> io::Result<()> {
    let byte = [b'x'];
    // SAFETY: reads one byte of `byte`.
    match unsafe { libc::write(fd, byte.as_ptr().cast(), 1) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads what is there, up to the buffer's size.
#[inline]
pub(crate) fn read_some(fd: RawFd, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: writes at most `buf.len()` bytes into memory borrowed mutably.
    let got = unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// What streams are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Pipes.
    Pipe,
    /// Socket pairs of the UNIX domain.
    Unix,
    /// TCP over the loopback device.
    Inet,
}

impl Kind {
    /// What the tables call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Unix => "unix",
            Self::Inet => "inet",
        }
    }
}

/// One direction of traffic: what is written at one end can be read at the other. Both ends are
/// non-blocking.
#[derive(Debug)]
pub(crate) struct Stream {
    read: OwnedFd,
    write: OwnedFd,
}

impl Stream {
    pub(crate) fn read_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    pub(crate) fn write_fd(&self) -> RawFd {
        self.write.as_raw_fd()
    }
}

/// `n` streams of a kind.
pub(crate) fn streams(kind: Kind, n: usize) -> Result<Vec<Stream>> {
    match kind {
        Kind::Pipe => {
            let pipe = || Pipe::new().map(|p| Stream { read: p.read, write: p.write });
            (0..n).map(|_| pipe()).collect()
        }
        Kind::Unix => (0..n)
            .map(|_| {
                let (a, b) = UnixStream::pair().context("socketpair")?;
                a.set_nonblocking(true)?;
                b.set_nonblocking(true)?;
                Ok(Stream { read: a.into(), write: b.into() })
            })
            .collect(),
        Kind::Inet => {
            let listener = TcpListener::bind("127.0.0.1:0").context("listening on loopback")?;
            (0..n).map(|_| inet_pair(&listener)).collect()
        }
    }
}

fn inet_pair(listener: &TcpListener) -> Result<Stream> {
    let mut write = TcpStream::connect(listener.local_addr()?).context("connecting on loopback")?;
    let (mut read, _) = listener.accept().context("accepting on loopback")?;
    // A byte through each, so that no handshake is left to be done while the clock runs.
    write.write_all(b"x")?;
    read.read_exact(&mut [0])?;
    for end in [&write, &read] {
        end.set_nodelay(true)?;
        end.set_nonblocking(true)?;
    }
    Ok(Stream { read: read.into(), write: write.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_carries_a_byte() {
        for kind in [Kind::Pipe, Kind::Unix, Kind::Inet] {
            for s in streams(kind, 3).unwrap() {
                let empty = read_some(s.read_fd(), &mut [0; 4]).unwrap_err();
                assert_eq!(empty.kind(), io::ErrorKind::WouldBlock, "{kind:?}");
                write_byte(s.write_fd()).unwrap();
                // Loopback TCP delivers before write returns, as the pipe does.
                assert_eq!(read_some(s.read_fd(), &mut [0; 4]).unwrap(), 1, "{kind:?}");
            }
        }
    }
}
