//! What these tests share: changes, waits, and files to watch.

#![allow(dead_code, reason = "each test crate uses some of it")]

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::timespec;

pub(crate) const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
/// Long enough: only a failing test waits for it.
pub(crate) const SOON: Option<timespec> = Some(timespec { tv_sec: 5, tv_nsec: 0 });

pub(crate) const ADD: EvFlags = EvFlags::EV_ADD;
pub(crate) const CLEAR: EvFlags = EvFlags::EV_CLEAR;
pub(crate) const NONE: FilterFlag = FilterFlag::empty();
pub(crate) const DELETE: FilterFlag = FilterFlag::NOTE_DELETE;
pub(crate) const WRITE: FilterFlag = FilterFlag::NOTE_WRITE;
pub(crate) const EXTEND: FilterFlag = FilterFlag::NOTE_EXTEND;
pub(crate) const ATTRIB: FilterFlag = FilterFlag::NOTE_ATTRIB;
pub(crate) const LINK: FilterFlag = FilterFlag::NOTE_LINK;
pub(crate) const RENAME: FilterFlag = FilterFlag::NOTE_RENAME;
/// All that FreeBSD has for VNODE.
pub(crate) const ALL: FilterFlag = FilterFlag::from_bits_retain(0x7FF);

/// A change of a descriptor's knote.
pub(crate) fn change(
    fd: &impl AsRawFd,
    filter: EventFilter,
    flags: EvFlags,
    fflags: FilterFlag,
    data: isize,
) -> KEvent {
    KEvent::new(fd.as_raw_fd() as usize, filter, flags, fflags, data, 0)
}

/// Applies changes and fetches nothing.
pub(crate) fn apply(kq: &Kqueue, changes: &[KEvent]) -> Result<(), Errno> {
    kq.kevent(changes, &mut [], None).map(drop)
}

/// Waits for up to eight events.
pub(crate) fn take(kq: &Kqueue, timeout: Option<timespec>) -> Vec<KEvent> {
    let empty = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), NONE, 0, 0);
    let mut events = vec![empty; 8];
    // A child of another test's thread may end while that thread has all signals blocked, as spawning
    // does: then SIGCHLD comes to this one, which ends its wait.
    let n = loop {
        match kq.kevent(&[], &mut events, timeout) {
            Err(Errno::EINTR) => {}
            n => break n.expect("kevent"),
        }
    };
    events.truncate(n);
    events
}

/// The one event that comes, or is there.
#[track_caller]
pub(crate) fn one(kq: &Kqueue, timeout: Option<timespec>) -> KEvent {
    let events = take(kq, timeout);
    assert_eq!(events.len(), 1, "{events:?}");
    events[0]
}

/// Whether poll(2) calls a descriptor readable.
pub(crate) fn readable(fd: &impl AsRawFd) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
    entry.revents != 0
}

/// A queue with a clearing knote on a file.
pub(crate) fn watch(fd: &impl AsRawFd, asked: FilterFlag) -> Kqueue {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(fd, EventFilter::EVFILT_VNODE, ADD | CLEAR, asked, 0)]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, NOW), []);
    kq
}

/// What a VNODE knote tells, once; then there is nothing more.
#[track_caller]
pub(crate) fn told(kq: &Kqueue) -> FilterFlag {
    assert!(readable(kq), "nothing happened");
    let event = one(kq, NOW);
    assert_eq!(event.filter(), Ok(EventFilter::EVFILT_VNODE));
    assert!(!readable(kq));
    assert_eq!(take(kq, NOW), []);
    event.fflags()
}

/// So many events inotify keeps before it loses some.
pub(crate) fn max_queued_events() -> usize {
    fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .map_or(16384, |text| text.trim().parse().unwrap())
}

/// Owns the descriptor that a call of libc's has just returned.
#[track_caller]
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: new, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A file in memory, without a name.
pub(crate) fn memfd() -> File {
    // SAFETY: the name ends in a NUL.
    own(unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) }).into()
}

/// A directory of the test's own, removed at its end.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("kqcompat-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for temporary files");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Opens a file for reading and writing, made if it is not there.
    pub(crate) fn file(&self, name: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path(name)).expect("a new file")
    }
}

impl AsRef<Path> for Dir {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
