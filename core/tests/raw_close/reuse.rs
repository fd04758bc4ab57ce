//! What a program has at a number that was one of ours.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use kq_core::Kqueue;
use kq_core::test_support::{leak, sys};

/// A kind of file that takes the number's place; None: it stays closed.
pub(crate) type Kind = Option<fn() -> OwnedFd>;

pub(crate) const KINDS: [(&str, Kind); 10] = [
    ("closed", None),
    ("pipe_to_write", Some(pipe_to_write)),
    ("pipe_to_read", Some(pipe_to_read)),
    ("file", Some(file)),
    ("socket", Some(socket)),
    ("eventfd", Some(eventfd)),
    ("timerfd", Some(timerfd)),
    ("inotify", Some(inotify)),
    ("signalfd", Some(signalfd)),
    ("epoll", Some(epoll)),
];

/// The other end lives as long as the process.
fn keep(fd: impl IntoRawFd) {
    let _ = fd.into_raw_fd();
}

fn pipe_to_write() -> OwnedFd {
    let (reader, writer) = sys::pipe().unwrap();
    keep(reader);
    writer
}

fn pipe_to_read() -> OwnedFd {
    let (reader, writer) = sys::pipe().unwrap();
    assert_eq!(sys::write(writer.as_raw_fd(), b"the program's own"), Ok(17));
    keep(writer);
    reader
}

fn file() -> OwnedFd {
    let mut file = File::from(sys::memfd());
    file.write_all(&[b'x'; 100]).unwrap();
    file.seek(SeekFrom::Start(7)).unwrap();
    file.into()
}

fn socket() -> OwnedFd {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"the program's own").unwrap();
    keep(theirs);
    ours.into()
}

fn eventfd() -> OwnedFd {
    sys::eventfd(7).unwrap()
}

fn timerfd() -> OwnedFd {
    sys::timerfd().unwrap()
}

fn inotify() -> OwnedFd {
    let inotify = sys::inotify().unwrap();
    sys::watch(inotify.as_raw_fd(), Path::new("/"), libc::IN_DELETE_SELF).unwrap();
    inotify
}

fn signalfd() -> OwnedFd {
    sys::signalfd(&[libc::SIGWINCH]).unwrap()
}

fn epoll() -> OwnedFd {
    let (set, (reader, writer)) = (sys::own_epoll(), sys::pipe().unwrap());
    let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0x7777 };
    let (number, add) = (reader.as_raw_fd(), libc::EPOLL_CTL_ADD);
    kq_core::raw::epoll_ctl(set.as_raw_fd(), add, number, &event).unwrap();
    keep(reader);
    keep(writer);
    set
}

/// What can be seen of a descriptor.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    link: String,
    /// Offset, counter, time, watches, mask, registrations: what there is of its kind.
    info: String,
    pending: i32,
    content: Vec<u8>,
}

pub(crate) fn see(fd: RawFd) -> Option<Seen> {
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let mut pending = 0;
    // SAFETY: one int; what does not know the request says so.
    let _ = unsafe { libc::ioctl(fd, libc::FIONREAD, &mut pending) };
    let content = match link.to_str() {
        Some(name) if name.starts_with("/memfd:") => {
            fs::read(format!("/proc/self/fd/{fd}")).unwrap()
        }
        _ => Vec::new(),
    };
    Some(Seen { link: link.display().to_string(), info, pending, content })
}

/// The numbers that were ours, and what they are now.
#[derive(Debug)]
pub(crate) struct Taken {
    kind: Kind,
    before: BTreeMap<RawFd, String>,
    seen: BTreeMap<RawFd, Option<Seen>>,
    /// Children that have what was closed, each with a pipe: they end when it is closed.
    keepers: Option<Vec<(sys::Fork, OwnedFd)>>,
}

impl Taken {
    /// Remembers what is open before there is anything of the engine's.
    /// `kept`: a child has all that is closed.
    pub(crate) fn nothing(kind: Kind, kept: bool) -> Self {
        let keepers = kept.then(Vec::new);
        Self { kind, before: leak::open_descriptors(), seen: BTreeMap::new(), keepers }
    }

    /// Closes all that was opened since, but for the program's own, by raw system calls, and has
    /// something else at each number.
    pub(crate) fn take(&mut self, kq: &Kqueue, programs: &[&dyn AsRawFd]) {
        let mut spared: Vec<RawFd> = programs.iter().map(|fd| fd.as_raw_fd()).collect();
        spared.push(kq.as_raw_fd());
        self.take_but(&spared);
    }

    pub(crate) fn take_but(&mut self, spared: &[RawFd]) {
        let ours = leak::open_descriptors().into_keys();
        let ours: Vec<RawFd> =
            ours.filter(|fd| !self.before.contains_key(fd) && !spared.contains(fd)).collect();
        assert!(!ours.is_empty(), "nothing of ours is open");
        if let Some(keepers) = &mut self.keepers {
            keepers.push(keeper(&ours));
        }
        for &fd in &ours {
            // SAFETY: takes a number. No hook sees it.
            assert_eq!(unsafe { libc::syscall(libc::SYS_close, fd) }, 0);
        }
        for &fd in &ours {
            if let Some(make) = self.kind {
                let made = make();
                sys::dup2(made.as_raw_fd(), fd).unwrap();
            }
        }
        for fd in ours {
            self.seen.insert(fd, see(fd));
        }
        // All that is there now is the program's.
        self.before = leak::open_descriptors();
    }

    /// Nothing was written, read, changed or closed.
    #[track_caller]
    pub(crate) fn check(self) {
        for (&fd, seen) in &self.seen {
            if seen.is_some() {
                assert_eq!(&see(fd), seen, "number {fd}");
            }
        }
        for (keeper, end) in self.keepers.into_iter().flatten() {
            drop(end);
            keeper.wait();
        }
    }
}

/// A child that has some descriptors, and no others.
fn keeper(kept: &[RawFd]) -> (sys::Fork, OwnedFd) {
    let (until, end) = sys::pipe().unwrap();
    let child = sys::fork(|| {
        for fd in leak::open_descriptors().into_keys() {
            if fd > 2 && fd != until.as_raw_fd() && !kept.contains(&fd) {
                // SAFETY: takes a number. No hook sees it.
                let _ = unsafe { libc::syscall(libc::SYS_close, fd) };
            }
        }
        sys::poll_for(until.as_raw_fd(), libc::POLLIN, 600_000);
        0
    });
    (child, end)
}
