//! An event ring in the process's memory.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use libc::timespec;
use nix::errno::Errno;

use crate::event::KEvent;
use crate::kqueue::Kqueue;

mod buffer;
mod raw;
pub(crate) mod sync;
mod turns;

pub use raw::RawRing;

/// A ring of events in memory, filled from a queue and read by any number of threads without a system
/// call.
///
/// [`wait`](Self::wait) moves events from the queue into the ring. Threads read them by
/// [`take`](Self::take), or by [`read`](Self::read) and [`Batch::commit`]: reading takes nothing away,
/// so that a thread that dies before it commits has lost nothing. Unread events are never
/// overwritten: what the ring has no room for stays in the queue.
///
/// Of the threads that wait, one waits in the kernel, and one is woken for each event, whatever its
/// knote: nobody is woken for nothing, and nobody is left asleep while there is something to read. (A
/// level knote comes again as long as its condition holds: several threads should use `EV_CLEAR`,
/// `EV_DISPATCH` or `EV_ONESHOT`, as with [`Kqueue::kevent`].)
///
/// The ring owns its queue, or borrows or shares it: `Ring<Kqueue>`, `Ring<&Kqueue>`,
/// `Ring<Arc<Kqueue>>`. When it is dropped, unread events go with it.
///
/// # Examples
/// ```
/// # use kq_core::*;
/// # use std::os::fd::AsRawFd;
/// # use std::io::Write;
/// let kq = Kqueue::new()?;
/// let (reader, mut writer) = std::io::pipe().unwrap();
/// let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
/// let fd = reader.as_raw_fd() as usize;
/// let add = KEvent::new(fd, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, 7);
/// kq.kevent(&[add], &mut [], None)?;
/// let ring = Ring::new(&kq, 128)?;
/// writer.write_all(b"hello").unwrap();
///
/// assert_eq!(ring.wait(None)?, 1);
/// let mut room = [KEvent::default(); 16];
/// let batch = ring.read(&mut room);
/// assert_eq!((batch.len(), batch[0].udata(), batch[0].data()), (1, 7, 5));
/// assert!(batch.commit());
/// assert_eq!(ring.unread(), 0);
/// # Ok::<(), Errno>(())
/// ```
pub struct Ring<Q: Borrow<Kqueue> = Kqueue> {
    // Before the queue: it is dropped first.
    raw: RawRing,
    queue: Q,
}

impl<Q: Borrow<Kqueue>> Ring<Q> {
    /// A ring with room for so many unread events.
    ///
    /// # Errors
    /// - `EINVAL`: a capacity of 0, or of more than 2^30; the queue has a ring already.
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    pub fn new(queue: Q, capacity: usize) -> Result<Self, Errno> {
        let raw = RawRing::new(*queue.borrow().caller()?, capacity)?;
        Ok(Self { raw, queue })
    }

    /// The queue, for changes.
    pub fn queue(&self) -> &Kqueue {
        self.queue.borrow()
    }

    /// How many unread events there is room for.
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// How many events lie in the ring to be read.
    pub fn unread(&self) -> usize {
        self.raw.unread()
    }

    /// How often the ring had too little room for what was ready. Nothing was lost: it stayed in the
    /// queue.
    pub fn overflows(&self) -> u64 {
        self.raw.overflows()
    }

    /// Waits until there is something to read; returns how many events, or 0 when the time is over
    /// (None: never). Moves what is ready into the ring, if the ring is empty.
    ///
    /// Another thread may be quicker to take what this one was woken for.
    ///
    /// # Errors
    /// - `EBADF`: the queue is closed, or not this process's.
    /// - `EINVAL`: the timeout is negative, or its nanoseconds are out of range.
    /// - `EINTR`: a signal handler ran in the thread that waits in the kernel for all of them.
    pub fn wait(&self, timeout: Option<timespec>) -> Result<usize, Errno> {
        self.raw.wait(timeout)
    }

    /// Moves what is ready into the ring, as far as there is room, without waiting; returns how many
    /// events. Level knotes are moved again each time.
    ///
    /// # Errors
    /// - `EBADF`: the queue is closed, or not this process's.
    pub fn fill(&self) -> Result<usize, Errno> {
        self.raw.fill()
    }

    /// Copies unread events, oldest first, without taking them away: that is up to
    /// [`Batch::commit`]. No system call.
    pub fn read<'a>(&'a self, into: &'a mut [KEvent]) -> Batch<'a> {
        let (n, position) = self.raw.read(into);
        Batch { ring: &self.raw, events: &into[..n], position }
    }

    /// Takes unread events, oldest first; returns how many. Each event is taken by one thread. No
    /// system call.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let ring = Ring::new(Kqueue::new()?, 16)?;
    /// let add = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    /// let change = |ident, flags, fflags| {
    ///     KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0)
    /// };
    /// for ident in 1..=3 {
    ///     let trigger = change(ident, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
    ///     ring.queue().kevent(&[change(ident, add, FilterFlag::empty()), trigger], &mut [], None)?;
    /// }
    /// assert_eq!(ring.fill()?, 3);
    /// let mut room = [KEvent::default(); 2];
    /// assert_eq!(ring.take(&mut room), 2);
    /// assert_eq!((ring.unread(), ring.take(&mut room), ring.take(&mut room)), (1, 1, 0));
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn take(&self, into: &mut [KEvent]) -> usize {
        self.raw.take(into)
    }
}

impl<Q: Borrow<Kqueue>> fmt::Debug for Ring<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("queue", self.queue())
            .field("capacity", &self.capacity())
            .field("unread", &self.unread())
            .field("overflows", &self.overflows())
            .finish()
    }
}

/// Events that were read and not taken yet. Dropped, they are left to whoever reads next.
#[derive(Debug)]
#[must_use = "nothing is taken until it is committed"]
pub struct Batch<'a> {
    ring: &'a RawRing,
    events: &'a [KEvent],
    position: u64,
}

impl Batch<'_> {
    /// Takes the events out of the ring. False: another thread took some of them first; then what was
    /// read is void, and may be read anew.
    ///
    /// Where several threads read, commit first and act on the events then. Where one does, acting
    /// first means that an event is read again by who comes after a thread that died over it.
    #[must_use = "another thread may have been first"]
    pub fn commit(self) -> bool {
        self.ring.commit(self.position, self.events.len())
    }

    /// As [`commit`](Self::commit), for the first `n` events only.
    ///
    /// # Panics
    /// If there are not so many.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// # let ring = Ring::new(Kqueue::new()?, 16)?;
    /// # for ident in 1..=3 {
    /// #     let user = |flags, fflags| KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0);
    /// #     let add = user(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty());
    /// #     ring.queue().kevent(&[add], &mut [], None)?;
    /// #     ring.queue().kevent(&[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)], &mut [], None)?;
    /// # }
    /// # ring.fill()?;
    /// let mut room = [KEvent::default(); 16];
    /// let batch = ring.read(&mut room);
    /// assert_eq!(batch.len(), 3);
    /// assert!(batch.commit_first(2));
    /// assert_eq!(ring.unread(), 1);
    /// # Ok::<(), Errno>(())
    /// ```
    #[must_use = "another thread may have been first"]
    pub fn commit_first(self, n: usize) -> bool {
        assert!(n <= self.events.len(), "{n} of {} events", self.events.len());
        self.ring.commit(self.position, n)
    }
}

impl Deref for Batch<'_> {
    type Target = [KEvent];

    fn deref(&self) -> &[KEvent] {
        self.events
    }
}
