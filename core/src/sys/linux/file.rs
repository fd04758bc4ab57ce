//! READ and WRITE of what epoll does not take: regular files, directories, and devices that never
//! block.
//!
//! A regular file is ready to read while its offset is not at its end, and alive again when it grows.
//! All else is always ready, as poll(2) has it.

use std::os::fd::RawFd;

use libc::{S_IFDIR, S_IFMT, S_IFREG};
use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::inotify::{Half, Inotify, Note, Place, Want};
use super::raw::{self, Result};
use super::report::Report;
use super::source::{Key, Rest};

/// The filter's part of a READ or WRITE knote.
#[derive(Debug)]
pub(crate) struct File {
    id: (u64, u64),
    /// A regular file to be read: its size says when there is something.
    sized: bool,
    poll: bool,
    clear: bool,
    /// The condition is to be looked at: it held last time, or something has happened since.
    news: bool,
    size: i64,
    place: Option<Place>,
}

impl File {
    /// # Errors
    /// - `EBADF`: no such descriptor.
    /// - `EINVAL`: the filter is neither READ nor WRITE.
    /// - Those of [`Inotify::watch`].
    pub(crate) fn new(key: Key, change: &KEvent, inotify: &mut Inotify) -> Result<Self> {
        let (filter, ident) = key;
        if !matches!(filter, EventFilter::EVFILT_READ | EventFilter::EVFILT_WRITE) {
            return Err(Errno::EINVAL);
        }
        let fd = ident as RawFd;
        let st = raw::fstat(fd)?;
        let regular = st.st_mode & S_IFMT == S_IFREG && !has_no_sizes(fd);
        let mut file = Self {
            id: (st.st_dev, st.st_ino),
            sized: regular && filter == EventFilter::EVFILT_READ,
            poll: change.fflags & FilterFlag::NOTE_FILE_POLL.bits() != 0,
            clear: change.flags & EvFlags::EV_CLEAR.bits() != 0,
            news: false,
            size: st.st_size,
            place: None,
        };
        file.look(key, change, inotify)?;
        Ok(file)
    }

    /// A change: looks whether the condition holds, from here on watched.
    fn look(&mut self, key: Key, change: &KEvent, inotify: &mut Inotify) -> Result<()> {
        if change.flags & EvFlags::EV_DISABLE.bits() == 0 {
            self.rest(key, Rest::Waiting, inotify)?;
        }
        self.news = self.holds(key.1 as RawFd);
        Ok(())
    }

    /// Whether there is something to report at this moment.
    fn holds(&self, fd: RawFd) -> bool {
        let end = || raw::fstat(fd).map_or(0, |st| st.st_size);
        !self.sized || self.poll || end() != raw::file_offset(fd).unwrap_or(0)
    }

    pub(crate) fn touch(&mut self, key: Key, change: &KEvent, inotify: &mut Inotify) -> Result<()> {
        if change.flags & EvFlags::EV_ADD.bits() != 0 {
            self.poll = change.fflags & FilterFlag::NOTE_FILE_POLL.bits() != 0;
        }
        self.look(key, change, inotify)
    }

    /// Something was written, or may have been.
    pub(crate) fn notice(&mut self, note: Note) -> bool {
        if note.mask & libc::IN_IGNORED != 0 {
            self.place = None;
        }
        self.news = true;
        true
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.news
    }

    /// See [`Source::take`](super::source::Source::take).
    pub(crate) fn take(&mut self, key: Key, clear: bool) -> Result<Option<Report>> {
        let fd = key.1 as RawFd;
        let st = raw::fstat(fd)?;
        if (st.st_dev, st.st_ino) != self.id {
            return Err(Errno::EBADF);
        }
        self.size = st.st_size;
        let data = match st.st_mode & S_IFMT {
            _ if key.0 == EventFilter::EVFILT_WRITE => 0, // FreeBSD's filt_vfswrite
            _ if self.sized => st.st_size - raw::file_offset(fd).unwrap_or(0),
            // Its offset is a cookie of the file system's: at the end it may be anything.
            S_IFDIR => (st.st_size - raw::file_offset(fd).unwrap_or(0)).max(1),
            _ => 1,
        };
        let holds = !self.sized || self.poll || data != 0;
        self.news = holds && !clear;
        Ok(holds.then_some(Report { data, ..Report::default() }))
    }

    pub(crate) fn rest(&mut self, key: Key, how: Rest, inotify: &mut Inotify) -> Result<()> {
        // When it is enabled it is looked at anyway; and what is always ready waits for nothing.
        if how == Rest::Disabled || !self.sized || self.poll && !self.clear {
            self.detach(key, inotify);
            return Ok(());
        }
        let want = Want { half: Half::Waking, mask: libc::IN_MODIFY, parent: false };
        inotify.watch(key, &mut self.place, want)
    }

    pub(crate) fn detach(&mut self, key: Key, inotify: &mut Inotify) {
        if let Some(place) = self.place.take() {
            inotify.unwatch(key, place);
        }
    }

    pub(crate) fn is_stale(&self, fd: RawFd) -> bool {
        raw::fstat(fd).map(|st| (st.st_dev, st.st_ino)) != Ok(self.id)
    }

    /// Looks for a write that inotify does not tell of; whether there may have been one.
    pub(crate) fn examine(&mut self, fd: RawFd) -> bool {
        self.news |= self.sized && raw::fstat(fd).map(|st| st.st_size) != Ok(self.size);
        self.news
    }
}

/// A file of the kernel's own, made as it is read: it says 0 for its size, and there is something to
/// read all the same.
fn has_no_sizes(fd: RawFd) -> bool {
    use libc::{DEBUGFS_MAGIC, PROC_SUPER_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, TRACEFS_MAGIC};
    raw::fstatfs(fd).is_ok_and(|fs| {
        matches!(
            fs.f_type,
            PROC_SUPER_MAGIC | DEBUGFS_MAGIC | TRACEFS_MAGIC | SECURITYFS_MAGIC | SELINUX_MAGIC
        )
    })
}
