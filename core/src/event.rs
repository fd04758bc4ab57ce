//! The vocabulary of kevent(2): filters, flags and the event itself, with FreeBSD's values and
//! layout and the names of `nix::sys::event`.

// The names are those of the headers.
#![allow(non_camel_case_types)]

use bitflags::bitflags;
use nix::errno::Errno;

macro_rules! filters {
    ($($(#[$doc:meta])* $name:ident = $value:literal,)*) => {
        /// What a knote watches (kqueue(2), "predefined system filters"). Its number is `as i16`.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[repr(i8)]
        #[non_exhaustive]
        pub enum EventFilter { $($(#[$doc])* $name = $value,)* }

        impl EventFilter {
            /// Each filter.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its name: `EVFILT_READ`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }

        impl TryFrom<i16> for EventFilter {
            type Error = Errno;

            /// `EINVAL` for a number that names no filter.
            fn try_from(number: i16) -> Result<Self, Errno> {
                match number { $($value => Ok(Self::$name),)* _ => Err(Errno::EINVAL) }
            }
        }
    };
}

filters! {
    /// A descriptor has something to read.
    EVFILT_READ = -1,
    /// A descriptor can be written.
    EVFILT_WRITE = -2,
    /// An asynchronous request is complete.
    EVFILT_AIO = -3,
    /// Something happened to a file.
    EVFILT_VNODE = -4,
    /// Something happened to a process.
    EVFILT_PROC = -5,
    /// A signal came in.
    EVFILT_SIGNAL = -6,
    /// Time is over.
    EVFILT_TIMER = -7,
    /// Something happened to the process of a process descriptor.
    EVFILT_PROCDESC = -8,
    /// A file system was mounted or unmounted.
    EVFILT_FS = -9,
    /// A list of asynchronous requests is complete.
    EVFILT_LIO = -10,
    /// The program itself said so.
    EVFILT_USER = -11,
    /// A send buffer has drained.
    EVFILT_EMPTY = -13,
    /// Out-of-band data is there. FreeBSD has no such filter; the number is ours, clear of those
    /// that FreeBSD gives out.
    EVFILT_EXCEPT = -32,
}

bitflags! {
    /// What to do with a knote, and what came of it (kqueue(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct EvFlags: u16 {
        /// Add the knote, or change it if it is there.
        const EV_ADD = 0x0001;
        /// Take the knote away.
        const EV_DELETE = 0x0002;
        /// Let the knote report.
        const EV_ENABLE = 0x0004;
        /// Keep the knote from reporting.
        const EV_DISABLE = 0x0008;
        /// Report once, then the knote is gone.
        const EV_ONESHOT = 0x0010;
        /// Report each new activity once (edge), not the condition as long as it holds (level).
        const EV_CLEAR = 0x0020;
        /// Answer the change with an event, EV_ERROR and 0 in data if all is well.
        const EV_RECEIPT = 0x0040;
        /// Report once, then the knote is disabled.
        const EV_DISPATCH = 0x0080;
        /// Make the knote oneshot and report it now, whatever its condition.
        const EV_FORCEONESHOT = 0x0100;
        /// Leave udata as it is.
        const EV_KEEPUDATA = 0x0200;
        /// READ, WRITE: of the knotes with this flag on one file, in different queues, the activity
        /// is reported by one in whose queue a thread waits, not by all. To be given at EV_ADD, for
        /// a descriptor that has no other knote in the queue yet (`EINVAL`). Ours; no other system
        /// has it.
        ///
        /// Beneath is EPOLLEXCLUSIVE (epoll_ctl(2)): a descriptor of a queue or an epoll set is
        /// `EINVAL`; and only threads that wait in the queue itself are spared, not those that poll
        /// its descriptor.
        ///
        /// ```
        /// # use kq_core::*;
        /// # use std::os::fd::AsRawFd;
        /// let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        /// let fd = listener.as_raw_fd() as usize;
        /// let flags = EvFlags::EV_ADD | EvFlags::EV_WAKEONE;
        /// let add = KEvent::new(fd, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, 0);
        /// // One queue for each thread; each connection wakes one.
        /// for _ in 0..4 {
        ///     Kqueue::new()?.kevent(&[add], &mut [], None)?;
        /// }
        /// # Ok::<(), Errno>(())
        /// ```
        const EV_WAKEONE = 0x0400;
        /// Test the condition again when the event is handed out: what another thread has read
        /// meanwhile is not reported. Ours; no other system has it.
        ///
        /// For READ, WRITE and EXCEPT; knotes of other filters are looked at then in any case.
        ///
        /// ```
        /// # use kq_core::*;
        /// # use std::os::fd::AsRawFd;
        /// # let kq = Kqueue::new()?;
        /// let (reader, writer) = std::io::pipe().unwrap();
        /// let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR | EvFlags::EV_LASTCHECK;
        /// let fd = reader.as_raw_fd() as usize;
        /// let add = KEvent::new(fd, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, 0);
        /// kq.kevent(&[add], &mut [], None)?;
        /// # Ok::<(), Errno>(())
        /// ```
        const EV_LASTCHECK = 0x0800;
        /// Returned: the change failed, errno is in data.
        const EV_ERROR = 0x4000;
        /// Returned: the other side has closed.
        const EV_EOF = 0x8000;
        /// Returned by some filters; their own meaning.
        const EV_FLAG1 = 0x2000;
        /// Not a name but a promise: bits that we do not know survive.
        const _ = !0;
    }
}

/// The name that nix gave [`EvFlags`] before 0.30.
pub type EventFlag = EvFlags;

/// The bits that only the system sets; taken out of what a program asks for.
pub(crate) const EV_SYSFLAGS: u16 = 0xF000;

bitflags! {
    /// What a filter shall report, or did (kqueue(2)). One bit means different things to different
    /// filters.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    pub struct FilterFlag: u32 {
        /// READ, WRITE: data is a low-water mark, in bytes.
        const NOTE_LOWAT = 0x0001;
        /// READ: a regular file is always ready, as poll(2) has it.
        const NOTE_FILE_POLL = 0x0002;
        /// READ, WRITE: data is not wanted, which saves asking for it; with [`NOTE_LOWAT`](Self::NOTE_LOWAT)
        /// it is asked for all the same. Ours; no other system has it.
        const NOTE_NODATA = 0x0001_0000;
        /// EXCEPT: out-of-band data.
        const NOTE_OOB = 0x0002;

        /// VNODE: the file was unlinked.
        const NOTE_DELETE = 0x0001;
        /// VNODE: the file was written.
        const NOTE_WRITE = 0x0002;
        /// VNODE: the file grew.
        const NOTE_EXTEND = 0x0004;
        /// VNODE: attributes changed.
        const NOTE_ATTRIB = 0x0008;
        /// VNODE: the link count changed.
        const NOTE_LINK = 0x0010;
        /// VNODE: the file was renamed.
        const NOTE_RENAME = 0x0020;
        /// VNODE: access was revoked, or the file system unmounted.
        const NOTE_REVOKE = 0x0040;
        /// VNODE: the file was opened.
        const NOTE_OPEN = 0x0080;
        /// VNODE: a descriptor without write access was closed.
        const NOTE_CLOSE = 0x0100;
        /// VNODE: a descriptor with write access was closed.
        const NOTE_CLOSE_WRITE = 0x0200;
        /// VNODE: the file was read.
        const NOTE_READ = 0x0400;
        /// VNODE, of a directory: an entry was made, or moved there. `Kqueue::take_entries` tells its
        /// name. Ours; no other system has it.
        const NOTE_CREATE = 0x0001_0000;
        /// VNODE, of a directory: an entry was removed, or moved away. `Kqueue::take_entries` tells
        /// its name. Ours; no other system has it.
        const NOTE_REMOVE = 0x0002_0000;

        /// FS: a file system was mounted.
        const VQ_MOUNT = 0x0008;
        /// FS: a file system was unmounted.
        const VQ_UNMOUNT = 0x0010;

        /// PROC: the process exited; data is its wait status.
        const NOTE_EXIT = 0x8000_0000;
        /// PROC: the process forked.
        const NOTE_FORK = 0x4000_0000;
        /// PROC: the process executed a new program.
        const NOTE_EXEC = 0x2000_0000;
        /// PROC: follow the process over fork.
        const NOTE_TRACK = 0x0000_0001;
        /// PROC, returned: following failed.
        const NOTE_TRACKERR = 0x0000_0002;
        /// PROC, returned: this is a child of a followed process; data is its parent.
        const NOTE_CHILD = 0x0000_0004;
        /// PROC: the bits that ask.
        const NOTE_PCTRLMASK = 0xF000_0000;
        /// PROC: the bits of a process number.
        const NOTE_PDATAMASK = 0x000F_FFFF;

        /// TIMER: data is in seconds.
        const NOTE_SECONDS = 0x0001;
        /// TIMER: data is in milliseconds, as it is without any unit.
        const NOTE_MSECONDS = 0x0002;
        /// TIMER: data is in microseconds.
        const NOTE_USECONDS = 0x0004;
        /// TIMER: data is in nanoseconds.
        const NOTE_NSECONDS = 0x0008;
        /// TIMER: data is a moment of the real-time clock, not a period.
        const NOTE_ABSTIME = 0x0010;

        /// USER: leave the flags as they are.
        const NOTE_FFNOP = 0x0000_0000;
        /// USER: flags become flags AND these.
        const NOTE_FFAND = 0x4000_0000;
        /// USER: flags become flags OR these.
        const NOTE_FFOR = 0x8000_0000;
        /// USER: flags become these.
        const NOTE_FFCOPY = 0xC000_0000;
        /// USER: the bits that say which of the four.
        const NOTE_FFCTRLMASK = 0xC000_0000;
        /// USER: the bits that are the program's.
        const NOTE_FFLAGSMASK = 0x00FF_FFFF;
        /// USER: report.
        const NOTE_TRIGGER = 0x0100_0000;
        /// Not a name but a promise: bits that we do not know survive.
        const _ = !0;
    }
}

/// One change, or one event: FreeBSD's `struct kevent`, bit for bit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[repr(C)]
pub struct KEvent {
    pub(crate) ident: usize,
    pub(crate) filter: i16,
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
    pub(crate) udata: usize,
    pub(crate) ext: [u64; 4],
}

// The layout that include/sys/event.h promises to C.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<KEvent>() == 64);
    assert!(std::mem::offset_of!(KEvent, data) == 16);
    assert!(std::mem::offset_of!(KEvent, ext) == 32);
};

impl KEvent {
    /// A change to ask for, or an empty place for an event to be written to.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let (add, none) = (EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty());
    /// let change = KEvent::new(0, EventFilter::EVFILT_READ, add, none, 0, 42);
    /// assert_eq!((change.ident(), change.filter(), change.udata()), (0, Ok(EventFilter::EVFILT_READ), 42));
    /// assert!(change.flags().contains(EvFlags::EV_CLEAR));
    /// ```
    pub fn new(
        ident: usize,
        filter: EventFilter,
        flags: EvFlags,
        fflags: FilterFlag,
        data: isize,
        udata: isize,
    ) -> Self {
        Self {
            ident,
            filter: filter as i16,
            flags: flags.bits(),
            fflags: fflags.bits(),
            data: data as i64,
            udata: udata as usize,
            ext: [0; 4],
        }
    }

    /// What is watched: a descriptor, a process, a signal, or any number (TIMER, USER).
    pub fn ident(&self) -> usize {
        self.ident
    }

    /// The filter that watches it.
    ///
    /// # Errors
    /// - `EINVAL`: the number is not that of a filter.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// assert_eq!(KEvent::default().filter(), Err(Errno::EINVAL));
    /// ```
    pub fn filter(&self) -> Result<EventFilter, Errno> {
        self.filter.try_into()
    }

    /// The flags.
    pub fn flags(&self) -> EvFlags {
        EvFlags::from_bits_retain(self.flags)
    }

    /// The filter's own flags.
    pub fn fflags(&self) -> FilterFlag {
        FilterFlag::from_bits_retain(self.fflags)
    }

    /// The filter's own number: bytes to read, expirations, a wait status, an errno.
    pub fn data(&self) -> isize {
        self.data as isize
    }

    /// The program's own value, handed through unchanged.
    pub fn udata(&self) -> isize {
        self.udata as isize
    }

    /// The extension: the first two are the filter's or passed through, the others always passed
    /// through.
    pub fn ext(&self) -> [u64; 4] {
        self.ext
    }

    /// The same with another extension.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let queue = Kqueue::new()?;
    /// let (add, trigger) = (EvFlags::EV_ADD | EvFlags::EV_ONESHOT, FilterFlag::NOTE_TRIGGER);
    /// let user = |flags, fflags| KEvent::new(1, EventFilter::EVFILT_USER, flags, fflags, 0, 0);
    /// let changes = [
    ///     user(add, FilterFlag::empty()).with_ext([0, 0, 8, 9]),
    ///     user(EvFlags::empty(), trigger).with_ext([0, 0, 8, 9]),
    /// ];
    /// let mut events = [KEvent::default()];
    /// queue.kevent(&changes, &mut events, None)?;
    /// assert_eq!(events[0].ext()[2..], [8, 9]);
    /// # Ok::<(), Errno>(())
    /// ```
    #[must_use]
    pub fn with_ext(mut self, ext: [u64; 4]) -> Self {
        self.ext = ext;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_its_number() {
        for number in i16::MIN..=i16::MAX {
            match EventFilter::try_from(number) {
                Ok(filter) => assert_eq!(filter as i16, number),
                Err(errno) => assert_eq!(errno, Errno::EINVAL),
            }
        }
    }

    #[test]
    fn unknown_bits_survive() {
        assert_eq!(EvFlags::from_bits_retain(0x1234).bits(), 0x1234);
        assert_eq!(FilterFlag::from_bits_retain(0x8765_4321).bits(), 0x8765_4321);
    }
}
