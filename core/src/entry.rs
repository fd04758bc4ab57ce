//! The names of what came into a directory, and went.

use std::ffi::OsString;
use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::kqueue::Kqueue;

/// What happened to an entry of a watched directory.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum EntryChange {
    /// It was made: a file, a directory, another name of a file.
    Created,
    /// It was removed.
    Removed,
    /// It was renamed, from elsewhere or from another name here.
    MovedIn,
    /// It was renamed, to elsewhere or to another name here.
    MovedOut,
    /// There were more changes than are kept, and the names of some are lost: the directory is to be
    /// read again. The name is empty.
    Lost,
}

/// A change of a watched directory's entries.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// The entry's name in the directory.
    pub name: OsString,
    /// What happened to it.
    pub change: EntryChange,
    /// It is a directory.
    pub is_dir: bool,
}

impl Kqueue {
    /// Takes the names that a VNODE knote with [`NOTE_CREATE`](crate::FilterFlag::NOTE_CREATE) or
    /// [`NOTE_REMOVE`](crate::FilterFlag::NOTE_REMOVE) has gathered, in the order of the changes: of
    /// all changes whose event was handed out, and maybe of some whose event is still to come.
    ///
    /// At most 16384 names are kept; then [`EntryChange::Lost`] stands in the place of more.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    /// - `ENOENT`: the descriptor has no VNODE knote in this queue.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// # use std::os::fd::AsRawFd;
    /// # let path = std::env::temp_dir().join(format!("entries-{}", std::process::id()));
    /// # std::fs::create_dir(&path).unwrap();
    /// let directory = std::fs::File::open(&path).unwrap();
    /// let fd = directory.as_raw_fd();
    /// let kq = Kqueue::new()?;
    /// let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    /// let asked = FilterFlag::NOTE_CREATE | FilterFlag::NOTE_REMOVE;
    /// let watch = KEvent::new(fd as usize, EventFilter::EVFILT_VNODE, flags, asked, 0, 0);
    /// kq.kevent(&[watch], &mut [], None)?;
    ///
    /// std::fs::write(path.join("new"), "").unwrap();
    /// let mut events = [watch];
    /// assert_eq!(kq.kevent(&[], &mut events, None)?, 1);
    /// assert_eq!(events[0].fflags(), FilterFlag::NOTE_CREATE);
    /// let entries = kq.take_entries(fd)?;
    /// assert_eq!((entries[0].name.to_str(), entries[0].change), (Some("new"), EntryChange::Created));
    /// # std::fs::remove_dir_all(&path).unwrap();
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn take_entries(&self, directory: RawFd) -> Result<Vec<Entry>, Errno> {
        let caller = self.caller()?;
        let mut knotes = caller.queue.knotes(caller.life)?;
        knotes.soft.entries(directory).map(|entries| entries.take()).ok_or(Errno::ENOENT)
    }
}
