//! One of each kind of descriptor.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use super::sys::Result;
use super::{sockets, sys};

/// The signal that [`Kind::Signalfd`] reports. Whoever opens one blocks it first.
pub const SIGNAL: libc::c_int = libc::SIGUSR2;

/// A kind of descriptor.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Both ends of a pipe with room for two pages: to read from, to write to.
    Pipe,
    /// The end of a FIFO that reads; the FIFO is `fifo` in the directory given.
    FifoReader,
    /// The end of the same FIFO that writes: ENXIO while nobody reads.
    FifoWriter,
    /// A connected pair with small buffers.
    UnixStream,
    /// A connected pair.
    UnixDatagram,
    /// A connected pair.
    UnixSeqpacket,
    /// A stream socket, not connected.
    UnixSocket,
    /// A connected pair over loopback: who connected, who accepted.
    TcpPair,
    /// A listener.
    TcpListener,
    /// A stream socket, not connected.
    TcpSocket,
    /// Two datagram sockets connected to each other.
    UdpPair,
    /// A counter at 0.
    Eventfd,
    /// A timer, not armed.
    Timerfd,
    /// For [`SIGNAL`].
    Signalfd,
    /// Reports files made and removed in the directory given.
    Inotify,
    /// An open regular file.
    File,
    /// An open directory.
    Directory,
    /// `/dev/null`.
    DevNull,
    /// A file in memory.
    Memfd,
    /// Opened with O_PATH: no file operation works on it.
    Path,
}

/// Every kind.
pub const ALL: [Kind; 20] = [
    Kind::Pipe,
    Kind::FifoReader,
    Kind::FifoWriter,
    Kind::UnixStream,
    Kind::UnixDatagram,
    Kind::UnixSeqpacket,
    Kind::UnixSocket,
    Kind::TcpPair,
    Kind::TcpListener,
    Kind::TcpSocket,
    Kind::UdpPair,
    Kind::Eventfd,
    Kind::Timerfd,
    Kind::Signalfd,
    Kind::Inotify,
    Kind::File,
    Kind::Directory,
    Kind::DevNull,
    Kind::Memfd,
    Kind::Path,
];

impl Kind {
    /// Does it send packets over loopback, so that what it does may show a little later?
    pub fn is_inet(self) -> bool {
        matches!(self, Self::TcpPair | Self::TcpListener | Self::TcpSocket | Self::UdpPair)
    }

    /// Is it a socket?
    pub fn is_socket(self) -> bool {
        let unix = matches!(
            self,
            Self::UnixStream | Self::UnixDatagram | Self::UnixSeqpacket | Self::UnixSocket
        );
        unix || self.is_inet()
    }

    /// Does a write to that end (0, or 1 of a pair) do something?
    pub fn can_be_written(self, end: u8) -> bool {
        match self {
            Self::Pipe => end == 1,
            Self::FifoWriter | Self::Eventfd => true,
            Self::TcpListener | Self::TcpSocket | Self::UnixSocket => false,
            _ => self.is_socket(),
        }
    }

    /// Does a read from that end do something?
    pub fn can_be_read(self, end: u8) -> bool {
        match self {
            Self::Pipe => end == 0,
            Self::FifoReader | Self::Timerfd | Self::Signalfd | Self::Inotify => true,
            _ => self.can_be_written(end) && self != Self::FifoWriter,
        }
    }

    /// Can one wait for it?
    pub fn can_be_polled(self) -> bool {
        use Kind::{DevNull, Directory, File, Memfd, Path};
        !matches!(self, File | Directory | DevNull | Memfd | Path)
    }

    /// Opens one (two, where it is a pair), nonblocking and close-on-exec, at the lowest free
    /// numbers. `dir` is a directory of the test's own that holds a FIFO, `fifo`.
    ///
    /// # Errors
    /// What the system call says: EMFILE mostly, ENXIO for [`Kind::FifoWriter`].
    pub fn open(self, dir: &Path) -> Result<Vec<OwnedFd>> {
        let both = |(one, two)| vec![one, two];
        let one = |fd| vec![fd];
        match self {
            Self::Pipe => sys::pipe().map(|ends| {
                // No matter if it is refused: then the pipe is larger.
                let _ = sys::fcntl(ends.1.as_raw_fd(), libc::F_SETPIPE_SZ, 2 * 4096);
                both(ends)
            }),
            Self::FifoReader => fifo(dir, libc::O_RDONLY).map(one),
            Self::FifoWriter => fifo(dir, libc::O_WRONLY).map(one),
            Self::UnixStream => sockets::unix_pair(libc::SOCK_STREAM).map(|ends| {
                for end in [&ends.0, &ends.1] {
                    let _ =
                        sockets::set_option(end.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, 1);
                }
                both(ends)
            }),
            Self::UnixDatagram => sockets::unix_pair(libc::SOCK_DGRAM).map(both),
            Self::UnixSeqpacket => sockets::unix_pair(libc::SOCK_SEQPACKET).map(both),
            Self::UnixSocket => sockets::socket(libc::AF_UNIX, libc::SOCK_STREAM).map(one),
            Self::TcpPair => sockets::tcp_pair().map(both),
            Self::TcpListener => sockets::tcp_listener().map(one),
            Self::TcpSocket => sockets::socket(libc::AF_INET, libc::SOCK_STREAM).map(one),
            Self::UdpPair => sockets::udp_pair().map(both),
            Self::Eventfd => sys::eventfd(0).map(one),
            Self::Timerfd => sys::timerfd().map(one),
            Self::Signalfd => sys::signalfd(&[SIGNAL]).map(one),
            Self::Inotify => sys::inotify().and_then(|fd| {
                sys::watch(fd.as_raw_fd(), dir, libc::IN_CREATE | libc::IN_DELETE)?;
                Ok(one(fd))
            }),
            Self::File => sys::open(dir.join("file"), libc::O_RDWR | libc::O_CREAT).map(one),
            Self::Directory => sys::open(dir, libc::O_RDONLY | libc::O_DIRECTORY).map(one),
            Self::DevNull => sys::open("/dev/null", libc::O_RDWR).map(one),
            Self::Memfd => Ok(one(sys::memfd())),
            Self::Path => sys::open(dir, libc::O_PATH).map(one),
        }
    }
}

fn fifo(dir: &Path, access: libc::c_int) -> Result<OwnedFd> {
    sys::open(dir.join("fifo"), access | libc::O_NONBLOCK)
}
