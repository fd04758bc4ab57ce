//! The queue as a Rust program holds it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use libc::timespec;
use nix::errno::Errno;

use crate::counters::Counters;
use crate::event::KEvent;
use crate::stats::{self, KnoteInfo};
use crate::sys::linux::kevent::{self, Caller, RawWait};
use crate::sys::linux::queue::{self, Rules};
use crate::sys::linux::raw;
use crate::trace;

/// A kernel event queue (kqueue(2)).
///
/// Its descriptor can be polled, and be a READ knote of another queue. Dropping it closes the
/// descriptor. A forked child has no queue: there every call is `EBADF`.
///
/// ```
/// # use kq_core::*;
/// let kq = Kqueue::new()?;
/// let timer = KEvent::new(
///     7,
///     EventFilter::EVFILT_TIMER,
///     EvFlags::EV_ADD | EvFlags::EV_ONESHOT,
///     FilterFlag::NOTE_MSECONDS,
///     5,
///     0,
/// );
/// let mut events = [timer];
/// assert_eq!(kq.kevent(&[timer], &mut events, None)?, 1);
/// assert_eq!((events[0].ident(), events[0].data()), (7, 1));
/// # Ok::<(), Errno>(())
/// ```
#[derive(Debug)]
pub struct Kqueue {
    caller: Caller,
    /// Closed by `Drop`, raw: the queue has to be told first.
    fd: RawFd,
}

impl Kqueue {
    /// `kqueue()` - makes a queue. Its descriptor is close-on-exec, as all descriptors that Rust
    /// makes.
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory (kqueue(2)).
    ///
    /// # Examples
    /// ```
    /// let queue = kq_core::Kqueue::new()?;
    /// assert_eq!(queue.counters().knotes, 0);
    /// # Ok::<(), kq_core::Errno>(())
    /// ```
    pub fn new() -> Result<Self, Errno> {
        Self::make(false)
    }

    /// A *private* queue: one that is only waited on through this library. Whoever makes it promises
    /// not to poll its descriptor, and not to add it to another queue or epoll set: it may not be
    /// ready there when there is an event, or be ready for nothing.
    ///
    /// In return, while no thread sleeps in it, most changes of what a knote wants (`EV_ENABLE`,
    /// `EV_DISABLE`, the report of an `EV_DISPATCH` knote) and `NOTE_TRIGGER` cost no system call.
    /// `EV_ADD` and `EV_DELETE` do, and tell every error. What makes no call cannot tell that a number
    /// was closed where nobody saw it: to enable its knote succeeds, and the knote reports nothing
    /// until the number is added again, as every closed number must be.
    ///
    /// # Errors
    /// Those of [`Kqueue::new`].
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let queue = Kqueue::private()?;
    /// let user = |flags, fflags| KEvent::new(7, EventFilter::EVFILT_USER, flags, fflags, 0, 0);
    /// queue.kevent(&[user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty())], &mut [], None)?;
    /// // Nobody sleeps in the queue: no system call.
    /// queue.kevent(&[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)], &mut [], None)?;
    /// let mut events = [KEvent::default(); 8];
    /// assert_eq!(queue.kevent(&[], &mut events, None)?, 1);
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn private() -> Result<Self, Errno> {
        Self::make(true)
    }

    fn make(private: bool) -> Result<Self, Errno> {
        let fd = raw::epoll_create1(libc::EPOLL_CLOEXEC)?;
        let Some(queue) = queue::open(fd, Rules::Kqueue, private) else {
            let _ = raw::close(fd);
            return Err(Errno::EMFILE);
        };
        trace::opened(fd);
        Ok(Self { caller: Caller { queue, life: queue.life(), kq: fd }, fd })
    }

    /// `kevent(kq, changelist, eventlist, timeout)` - applies the changes, then waits for events;
    /// returns how many it wrote to `eventlist`. Without a timeout it waits for ever; with an empty
    /// eventlist not at all.
    ///
    /// A change that fails is answered in `eventlist`, with `EV_ERROR` in its flags and the errno in
    /// its data; then no events are waited for.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    /// - `EINVAL`: the timeout is negative, or its nanoseconds are out of range.
    /// - `EINTR`: a signal handler ran; all changes were applied.
    /// - Any error of a change for which there is no room in `eventlist`; later changes were not
    ///   applied. `EBADF` no such descriptor, `ENOENT` no such knote, `EINVAL` an unknown filter or
    ///   flags that contradict each other, `ENOMEM` no memory.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// use std::os::fd::AsRawFd;
    ///
    /// use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
    ///
    /// let (reader, mut writer) = std::io::pipe()?;
    /// let queue = Kqueue::new()?;
    /// let fd = reader.as_raw_fd() as usize;
    /// let add = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    /// let change = KEvent::new(fd, EventFilter::EVFILT_READ, add, FilterFlag::empty(), 0, 42);
    /// writer.write_all(b"hello")?;
    /// let mut events = [KEvent::default(); 8];
    /// assert_eq!(queue.kevent(&[change], &mut events, None)?, 1);
    /// assert_eq!((events[0].data(), events[0].udata()), (5, 42));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn kevent(
        &self,
        changelist: &[KEvent],
        eventlist: &mut [KEvent],
        timeout_opt: Option<timespec>,
    ) -> Result<usize, Errno> {
        let caller = self.caller()?;
        // SAFETY: two slices.
        let done = unsafe {
            kevent::kevent::<RawWait>(
                caller,
                changelist.as_ptr(),
                changelist.len(),
                eventlist.as_mut_ptr(),
                eventlist.len(),
                timeout_opt.as_ref(),
            )
        };
        trace::called(self.fd, changelist.len(), eventlist.len(), done);
        done
    }

    /// Who calls; EBADF in a forked child.
    #[inline]
    pub(crate) fn caller(&self) -> Result<&Caller, Errno> {
        if self.caller.queue.is_of_this_process() { Ok(&self.caller) } else { Err(Errno::EBADF) }
    }

    /// What this queue did so far.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let queue = Kqueue::new()?;
    /// let flags = EvFlags::EV_ADD | EvFlags::EV_ONESHOT;
    /// let timer = KEvent::new(1, EventFilter::EVFILT_TIMER, flags, FilterFlag::NOTE_MSECONDS, 1, 0);
    /// queue.kevent(&[timer], &mut [KEvent::default()], None)?;
    /// let Counters { changes, waits, events, knotes, .. } = queue.counters();
    /// assert_eq!((changes, waits, events, knotes), (1, 1, 1, 0));
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn counters(&self) -> Counters {
        if self.is_ours() { self.caller.queue.counted() } else { Counters::default() }
    }

    /// The knotes that are on the queue now, in order of their idents; see [`stats`](crate::stats)
    /// for more to look at.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    /// - `EBUSY`: another thread is changing the queue just now.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let queue = Kqueue::new()?;
    /// let (add, none) = (EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty());
    /// queue.kevent(&[KEvent::new(7, EventFilter::EVFILT_USER, add, none, 0, 0)], &mut [], None)?;
    /// let knotes = queue.knotes()?;
    /// assert_eq!(knotes[0].to_string(), "USER 7 EV_CLEAR fflags 0x0 data 0 udata 0x0");
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn knotes(&self) -> Result<Vec<KnoteInfo>, Errno> {
        if self.is_ours() { stats::knotes(self.fd) } else { Err(Errno::EBADF) }
    }

    fn is_ours(&self) -> bool {
        queue::find(self.fd).is_some_and(|found| std::ptr::eq(found, self.caller.queue))
    }
}

impl Drop for Kqueue {
    fn drop(&mut self) {
        if self.is_ours() {
            trace::closed(self.fd, || self.counters());
            queue::forget(self.fd);
        }
        let _ = raw::close(self.fd);
    }
}

impl AsFd for Kqueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until `self` is dropped.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl AsRawFd for Kqueue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl From<Kqueue> for OwnedFd {
    /// The bare descriptor. It can still be polled; its knotes are gone.
    fn from(kqueue: Kqueue) -> Self {
        let kqueue = std::mem::ManuallyDrop::new(kqueue);
        if kqueue.is_ours() {
            queue::forget(kqueue.fd);
        }
        // SAFETY: `kqueue` is not dropped, so the number has one owner.
        unsafe { OwnedFd::from_raw_fd(kqueue.fd) }
    }
}

impl IntoRawFd for Kqueue {
    /// The bare descriptor, for the caller to close. It can still be polled; its knotes are gone.
    fn into_raw_fd(self) -> RawFd {
        OwnedFd::from(self).into_raw_fd()
    }
}
