//! READ, WRITE and EXCEPT of descriptors.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::fixture::{apply, ready, take};
use crate::subject::Subject;

type Made = Result<Box<dyn Subject>, String>;

/// Bytes that one activity sends.
const CHUNK: usize = 7;

/// Something to read at one end for what was written at the other.
struct ReadEnd {
    ours: OwnedFd,
    peer: OwnedFd,
    unread: usize,
}

pub(crate) fn read_socket() -> Made {
    let (ours, peer) = UnixStream::pair().unwrap();
    Ok(Box::new(ReadEnd { ours: ours.into(), peer: peer.into(), unread: 0 }))
}

pub(crate) fn read_tcp() -> Made {
    let (ours, peer) = tcp();
    Ok(Box::new(ReadEnd { ours: ours.into(), peer: peer.into(), unread: 0 }))
}

pub(crate) fn read_pipe() -> Made {
    let (ours, peer) = std::io::pipe().unwrap();
    Ok(Box::new(ReadEnd { ours: ours.into(), peer: peer.into(), unread: 0 }))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    peer.set_nodelay(true).unwrap();
    (ours, peer)
}

fn file(fd: &impl AsFd) -> std::fs::File {
    fd.as_fd().try_clone_to_owned().unwrap().into()
}

fn unread(fd: &impl AsRawFd) -> usize {
    let mut bytes = 0;
    // SAFETY: FIONREAD writes one int.
    assert_eq!(unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut bytes) }, 0);
    bytes as usize
}

impl Subject for ReadEnd {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_READ
    }

    fn ident(&self) -> usize {
        self.ours.as_raw_fd() as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        file(&self.peer).write_all(&[1; CHUNK]).unwrap();
        self.unread += CHUNK;
        while unread(&self.ours) < self.unread {
            std::thread::yield_now(); // TCP
        }
    }

    fn quench(&mut self, _queues: &[&Kqueue]) {
        file(&self.ours).read_exact(&mut vec![0; self.unread]).unwrap();
        self.unread = 0;
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.data(), self.unread as isize);
    }
}

/// A queue in a queue: it is readable while it has an event.
struct Nested {
    inner: Kqueue,
}

const INNER: usize = 5;

pub(crate) fn read_kqueue() -> Made {
    let inner = Kqueue::new().unwrap();
    apply(&inner, &[user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty())]).unwrap();
    Ok(Box::new(Nested { inner }))
}

fn user(flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(INNER, EventFilter::EVFILT_USER, flags, fflags, 0, 0)
}

impl Subject for Nested {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_READ
    }

    fn ident(&self) -> usize {
        self.inner.as_raw_fd() as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        // A queue that is ready already shows no more activity than that.
        take(&self.inner, 1, crate::fixture::NOW);
        apply(&self.inner, &[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
    }

    fn quench(&mut self, _queues: &[&Kqueue]) {
        assert_eq!(take(&self.inner, 1, crate::fixture::NOW).len(), 1);
    }

    fn check(&self, event: &KEvent) {
        assert!(event.data() >= 1, "{event:?}");
    }
}

/// Room to write at one end, which is full until the other is read.
struct WriteEnd {
    ours: OwnedFd,
    peer: OwnedFd,
}

pub(crate) fn write_socket() -> Made {
    let (ours, peer) = UnixStream::pair().unwrap();
    // So small that one message fills it: then there is one wake-up when it is read.
    let least = 1;
    // SAFETY: one int.
    let done = unsafe {
        let at = (&raw const least).cast();
        libc::setsockopt(ours.as_raw_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, at, 4)
    };
    assert_eq!(done, 0);
    Ok(WriteEnd::full(ours.into(), peer.into()))
}

pub(crate) fn write_pipe() -> Made {
    let (peer, ours) = std::io::pipe().unwrap();
    Ok(WriteEnd::full(ours.into(), peer.into()))
}

impl WriteEnd {
    fn full(ours: OwnedFd, peer: OwnedFd) -> Box<dyn Subject> {
        for fd in [&ours, &peer] {
            // SAFETY: takes no pointer.
            let done = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
            assert_eq!(done, 0);
        }
        let mut end = Self { ours, peer };
        end.quench(&[]);
        Box::new(end)
    }
}

impl Subject for WriteEnd {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_WRITE
    }

    fn ident(&self) -> usize {
        self.ours.as_raw_fd() as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        self.quench(&[]);
        let mut buffer = [0; 1 << 16];
        while file(&self.peer).read(&mut buffer).is_ok_and(|n| n > 0) {}
        assert_ne!(ready(&self.ours, libc::POLLOUT, 0), 0);
    }

    fn quench(&mut self, _queues: &[&Kqueue]) {
        while ready(&self.ours, libc::POLLOUT, 0) != 0 {
            file(&self.ours).write_all(&[0; 4096]).unwrap();
        }
    }

    fn check(&self, event: &KEvent) {
        assert!(event.data() > 1, "{event:?}");
    }
}

/// Out-of-band data at one end of a connection.
struct Urgent {
    ours: TcpStream,
    peer: TcpStream,
}

pub(crate) fn except_tcp() -> Made {
    let (ours, peer) = tcp();
    Ok(Box::new(Urgent { ours, peer }))
}

impl Subject for Urgent {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_EXCEPT
    }

    fn ident(&self) -> usize {
        self.ours.as_raw_fd() as usize
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::NOTE_OOB, 0)
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        // SAFETY: one byte.
        let sent =
            unsafe { libc::send(self.peer.as_raw_fd(), c"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        let mut on_the_way = 1;
        while on_the_way > 0 {
            let fd = self.peer.as_raw_fd();
            // SAFETY: writes one int: what our side has not acknowledged.
            assert_eq!(unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut on_the_way) }, 0);
            std::thread::yield_now();
        }
        assert_ne!(ready(&self.ours, libc::POLLPRI, 20_000), 0);
    }

    fn quench(&mut self, _queues: &[&Kqueue]) {
        let mut byte = 0_u8;
        // SAFETY: one byte.
        let got =
            unsafe { libc::recv(self.ours.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_OOB) };
        assert_eq!((got, byte), (1, b'!'));
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.fflags(), FilterFlag::NOTE_OOB);
    }
}

/// An owned descriptor out of a number that a system call returned.
pub(crate) fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", kq_core::Errno::last());
    // SAFETY: the number is new and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
