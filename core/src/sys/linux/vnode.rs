//! EVFILT_VNODE: what happens to a file.
//!
//! inotify tells what happened, and fstat what it came to: a name more or less is for inotify a
//! change of attributes, a longer file a write. Both are put together when the knote's turn comes.

use std::os::fd::RawFd;

use libc::{
    IN_ACCESS, IN_ATTRIB, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE, IN_CREATE, IN_DELETE, IN_DELETE_SELF,
    IN_IGNORED, IN_ISDIR, IN_MODIFY, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO, IN_OPEN,
    IN_Q_OVERFLOW, IN_UNMOUNT, S_IFDIR, S_IFIFO, S_IFMT, S_IFSOCK, STATX_ATIME, STATX_BASIC_STATS,
    STATX_CTIME, STATX_MTIME,
};
use nix::errno::Errno;

use crate::event::{EvFlags, FilterFlag, KEvent};
use crate::hooks;

use super::entries::{Entries, NAMES};
use super::inotify::{Half, Inotify, Note, Place, Role, Want};
use super::raw::{self, Result};
use super::report::Report;
use super::source::{Key, Rest};

const DELETE: u32 = FilterFlag::NOTE_DELETE.bits();
const WRITE: u32 = FilterFlag::NOTE_WRITE.bits();
const EXTEND: u32 = FilterFlag::NOTE_EXTEND.bits();
const ATTRIB: u32 = FilterFlag::NOTE_ATTRIB.bits();
const LINK: u32 = FilterFlag::NOTE_LINK.bits();
const RENAME: u32 = FilterFlag::NOTE_RENAME.bits();
const REVOKE: u32 = FilterFlag::NOTE_REVOKE.bits();
const OPEN: u32 = FilterFlag::NOTE_OPEN.bits();
const CLOSE: u32 = FilterFlag::NOTE_CLOSE.bits();
const CLOSE_WRITE: u32 = FilterFlag::NOTE_CLOSE_WRITE.bits();
const READ: u32 = FilterFlag::NOTE_READ.bits();
const CREATE: u32 = FilterFlag::NOTE_CREATE.bits();
const REMOVE: u32 = FilterFlag::NOTE_REMOVE.bits();

/// What inotify tells one to one.
const PLAIN: [(u32, u32); 7] = [
    (IN_MODIFY, WRITE),
    (IN_MOVE_SELF, RENAME),
    (IN_UNMOUNT, REVOKE),
    (IN_OPEN, OPEN),
    (IN_CLOSE_NOWRITE, CLOSE),
    (IN_CLOSE_WRITE, CLOSE_WRITE),
    (IN_ACCESS, READ),
];

/// The filter's part of a VNODE knote.
#[derive(Debug)]
pub(crate) struct Vnode {
    pub(crate) asked: u32,
    /// NOTE_ bits: what happened of what was asked for, and was not cleared.
    noted: u32,
    /// IN_ bits: what inotify told, and was not compared with the file's stat yet.
    told: u32,
    stat: Stat,
    place: Option<Place>,
    /// The hooks tell of every close, so the number still means the file.
    followed: bool,
    /// Names of a directory's entries, for the program to take.
    pub(crate) entries: Entries,
    /// For a file whose writes inotify does not tell of.
    times: Option<Box<Times>>,
}

impl Vnode {
    /// # Errors
    /// - `EBADF`: no such descriptor.
    /// - `EINVAL`: no file that has a place in a file system, or could have one; no directory where
    ///   entries are asked for.
    pub(crate) fn new(fd: RawFd, change: &KEvent) -> Result<Self> {
        let stat = Stat::of(fd)?;
        let is_file = match stat.mode & S_IFMT {
            0 | S_IFSOCK => false,
            S_IFIFO => !is_pipe(fd),
            _ => true,
        };
        let of_directories = change.fflags & (CREATE | REMOVE) != 0;
        if !is_file || (of_directories && !stat.is_dir()) {
            return Err(Errno::EINVAL);
        }
        Ok(Self {
            asked: change.fflags,
            noted: 0,
            told: 0,
            stat,
            place: None,
            followed: hooks::are_complete(),
            entries: Entries::default(),
            times: None,
        })
    }

    pub(crate) fn touch(&mut self, change: &KEvent) {
        // FreeBSD forgets what was asked for at a plain EV_ENABLE too; a lost event is worse.
        if change.flags & EvFlags::EV_ADD.bits() != 0 || change.fflags != 0 {
            if change.fflags & !self.asked & EXTEND != 0
                && let Ok(now) = Stat::of(change.ident as RawFd)
            {
                self.stat.size = now.size; // which nobody had asked for so far
            }
            self.asked = change.fflags;
        }
    }

    /// Takes a note of what inotify told; whether there may be something to report.
    pub(crate) fn notice(&mut self, note: Note) -> bool {
        if note.role == Role::Parent {
            self.told |= IN_DELETE | note.mask & IN_Q_OVERFLOW;
        } else if note.entry {
            self.noted |= self.asked & of_entry(note.mask);
        } else {
            self.told |= note.mask;
            if note.mask & IN_IGNORED != 0 {
                self.place = None;
            }
        }
        self.is_ready()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.noted | self.told != 0
    }

    /// See [`Source::take`](super::source::Source::take).
    pub(crate) fn take(
        &mut self,
        key: Key,
        clear: bool,
        inotify: &mut Inotify,
    ) -> Result<Option<Report>> {
        if self.told & (IN_MOVE_SELF | IN_Q_OVERFLOW) != 0
            && let Some(place) = &mut self.place
        {
            // Where it fails, what was told before stands: that it was moved.
            let _ = inotify.follow_parent(key, place);
        }
        if self.followed && self.told == IN_MODIFY && self.asked & EXTEND == 0 {
            self.told = 0;
            self.noted |= self.asked & WRITE;
        } else {
            self.compare(key.1 as RawFd)?;
        }
        let fflags = self.noted;
        if clear {
            self.noted = 0;
        }
        Ok((fflags != 0).then_some(Report { fflags, ..Report::default() }))
    }

    /// Puts what was told and what became of the file together. `EBADF`: the number means another.
    fn compare(&mut self, fd: RawFd) -> Result<()> {
        let now = Stat::of(fd)?;
        if now.id != self.stat.id {
            return Err(Errno::EBADF);
        }
        self.noted |= self.asked & self.stat.update(now, std::mem::take(&mut self.told));
        Ok(())
    }

    pub(crate) fn rest(&mut self, key: Key, how: Rest, inotify: &mut Inotify) -> Result<()> {
        let half = if how == Rest::Disabled { Half::Silent } else { Half::Waking };
        let is_dir = self.stat.is_dir();
        match needs(self.asked, is_dir) {
            0 => {
                self.detach(key, inotify);
                Ok(())
            }
            mask => {
                let want = Want { half, mask, parent: is_dir && self.asked & DELETE != 0 };
                inotify.watch(key, &mut self.place, want)
            }
        }
    }

    pub(crate) fn detach(&mut self, key: Key, inotify: &mut Inotify) {
        if let Some(place) = self.place.take() {
            inotify.unwatch(key, place);
        }
    }

    pub(crate) fn is_stale(&self, fd: RawFd) -> bool {
        Stat::of(fd).map(|now| now.id) != Ok(self.stat.id)
    }

    /// Looks for a write that inotify does not tell of; whether there may be something to report.
    pub(crate) fn examine(&mut self, fd: RawFd) -> bool {
        if let (Ok(now), Some(before)) = (times(fd), &mut self.times)
            && now != **before
        {
            **before = now;
            self.told |= IN_MODIFY;
        }
        self.is_ready()
    }

    /// From here on [`examine`](Self::examine) finds writes.
    pub(crate) fn is_untold(&mut self, fd: RawFd) {
        self.times = times(fd).ok().map(Box::new);
    }
}

fn times(fd: RawFd) -> Result<Times> {
    let st = raw::fstatx(fd, STATX_MTIME | STATX_CTIME)?;
    Ok([st.stx_mtime, st.stx_ctime].map(|time| (time.tv_sec, time.tv_nsec)))
}

/// A pipe without a name: Linux gives it the type of a FIFO.
fn is_pipe(fd: RawFd) -> bool {
    raw::readlink_fd(fd, &mut [0; 8]).is_ok_and(|name| name.starts_with(b"pipe:["))
}

/// Which of inotify's bits tell what is asked for.
fn needs(asked: u32, is_dir: bool) -> u32 {
    const ENTRIES: u32 = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
    let mut mask = 0;
    for (bit, note) in PLAIN {
        mask |= if asked & note != 0 { bit } else { 0 };
    }
    mask |= match is_dir {
        true if asked & (CREATE | REMOVE) != 0 => ENTRIES | NAMES,
        true if asked & (WRITE | EXTEND | LINK) != 0 => ENTRIES,
        false if asked & EXTEND != 0 => IN_MODIFY,
        _ => 0,
    };
    if asked & (ATTRIB | DELETE) != 0 || (asked & LINK != 0 && !is_dir) {
        mask |= IN_ATTRIB;
    }
    if asked & DELETE != 0 && is_dir {
        mask |= IN_MOVE_SELF; // it has another parent then
    }
    if is_dir {
        mask &= !IN_MODIFY; // of files in it
    }
    // Not 0 where anything is asked for: an unmount is told to every watch.
    if asked != 0 { mask & !IN_UNMOUNT | IN_DELETE_SELF } else { 0 }
}

/// What a change of an entry is for its directory (FreeBSD's vop_*_post).
fn of_entry(mask: u32) -> u32 {
    const WITHIN: u32 = IN_MOVED_FROM | IN_MOVED_TO;
    let link = if mask & IN_ISDIR != 0 { LINK } else { 0 };
    match mask & (IN_CREATE | IN_DELETE | WITHIN) {
        0 => 0,
        WITHIN => WRITE | CREATE | REMOVE,
        IN_MOVED_TO => WRITE | EXTEND | link | CREATE,
        IN_MOVED_FROM => WRITE | EXTEND | link | REMOVE,
        IN_CREATE => WRITE | link | CREATE,
        _ => WRITE | link | REMOVE,
    }
}

/// What of a file's stat is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stat {
    /// Device and inode.
    id: (u32, u32, u64),
    links: u32,
    size: i64,
    mode: u32,
    owner: (u32, u32),
}

/// When a file was written, and its inode changed.
type Times = [(i64, u32); 2];

impl Stat {
    fn of(fd: RawFd) -> Result<Self> {
        // Without the times: once they were looked at, the file system makes each write a time of
        // its own, which is not cheap.
        let st = raw::fstatx(fd, STATX_BASIC_STATS & !(STATX_ATIME | STATX_MTIME | STATX_CTIME))?;
        Ok(Self {
            id: (st.stx_dev_major, st.stx_dev_minor, st.stx_ino),
            links: st.stx_nlink,
            size: st.stx_size as i64,
            mode: u32::from(st.stx_mode),
            owner: (st.stx_uid, st.stx_gid),
        })
    }

    fn is_dir(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// What happened, as NOTE_ bits: by what inotify told, and by what has become of the file.
    ///
    /// Only what inotify told of is compared, and then remembered: for what came after it there is
    /// another event to be read.
    fn update(&mut self, now: Self, told: u32) -> u32 {
        // inotify's queue was full.
        let lost = told & IN_Q_OVERFLOW != 0;
        // What leaves no trace is reported then: a program that looks in vain loses less than one
        // that does not look.
        let mut notes = match (lost, now.is_dir()) {
            (false, _) => 0,
            (true, true) => !(DELETE | REVOKE),
            (true, false) => !(DELETE | REVOKE | EXTEND | LINK | CREATE | REMOVE),
        };
        for (bit, note) in PLAIN {
            notes |= if told & bit != 0 { note } else { 0 };
        }
        if notes & WRITE != 0 {
            notes |= if now.size > self.size && !now.is_dir() { EXTEND } else { 0 };
            self.size = now.size;
        }
        // (A directory that was moved may have been removed since, where nobody was told of it.)
        let moved = told & IN_MOVE_SELF != 0 && now.is_dir();
        if told & (IN_ATTRIB | IN_DELETE | IN_DELETE_SELF) != 0 || moved || lost {
            // A directory's links are its subdirectories, which the events of entries tell of. A
            // name more or less is a change of attributes for inotify, not so for kqueue.
            let linked = now.links != self.links && !now.is_dir();
            let removed = now.links == 0 && self.links != 0;
            let owned = (now.mode, now.owner) != (self.mode, self.owner);
            let other = told & IN_ATTRIB != 0 && !linked && !removed;
            notes |= if linked { LINK } else { 0 };
            notes |= if removed || told & IN_DELETE_SELF != 0 { DELETE } else { 0 };
            notes |= if owned || other { ATTRIB } else { 0 };
            (self.links, self.mode, self.owner) = (now.links, now.mode, now.owner);
        }
        notes
    }
}
