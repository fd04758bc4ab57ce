//! The queue object, and the table of the process's queues by descriptor number.
//!
//! A queue's descriptor *is* an epoll descriptor; this is what we keep beside it. The objects are
//! never freed: one that was closed is taken again by the next queue that gets its number (or any
//! number, where none leads to it any more: [`spare`]). So a thread that comes out of a wait can always
//! look at its queue, and asks [`Queue::life`] whether it is still the one that it went to sleep on. (An
//! `Arc` in a locked table would cost two more atomic operations a call, and hang a child forked while
//! the lock was held.)

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use nix::errno::Errno;

use crate::counters::{Counters, Live, count};
use crate::sets::wait::about_now;

use super::aio;
use super::alarm;
use super::both_rules;
use super::descriptor::Descriptors;
use super::epoll_rules::Interest;
use super::fd_table::FdTable;
use super::fork;
use super::raw::Result;
use super::soft::Soft;
use super::strays::Strays;

use closes::Inside;
use handshake::Handshake;

mod by_number;
pub(crate) mod closes;
pub(crate) mod duplicates;
pub(crate) mod handlers;
mod handshake;
mod private;
mod put_down;
mod spare;
mod sync;
mod unseen;

pub(crate) use private::Held;

/// What a queue does at close, dup and fork.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rules {
    /// kqueue's: closing a number drops its knotes, and a forked child has no queue.
    Kqueue,
    /// epoll's: the key is number and open file, and a child shares the queue.
    Epoll,
}

/// Files, or signals, are watched that must be looked at before a wait.
const UNTOLD: u8 = 1;
/// There are descriptors of our own that the program may close.
const OWN: u8 = 2;
/// Some of these are processes'.
const PROCESSES: u8 = 4;

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    handshake: Handshake,
    /// The process that opened it ([`fork::generation`]).
    generation: AtomicU32,
    epoll_rules: AtomicBool,
    /// See [`private`].
    pub(crate) held: Held,
    /// `waits` are those that did not sleep; the handshake counts sleeps.
    pub(crate) counters: Live,
    /// Sleeps that are no wait of this life's: those of earlier lives, and the second and more of a wait.
    uncounted: AtomicU64,
    /// Epoll's rules: what is registered, by number. Bookkeeping: the kernel has the truth.
    pub(crate) interests: FdTable<Interest>,
    /// Epoll's rules: the nested queue of kevent()'s knotes, or -1.
    pub(crate) inner: AtomicI32,
    /// kqueue's rules: what a wait has to see to before it begins, [`UNTOLD`], [`OWN`] and [`PROCESSES`].
    to_see: AtomicU8,
    /// kqueue's rules: there is a ring of asynchronous requests.
    has_requests: AtomicBool,
    /// When these were last looked at, in nanoseconds.
    looked_at: AtomicU64,
    /// kqueue's rules: the knotes. Never locked while waiting.
    knotes: Mutex<Option<Box<QueueKnotes>>>,
    /// How many descriptor numbers are known to be this queue's.
    numbers: AtomicU32,
    /// How many stray events were noted ([`Strays::note`]).
    pub(crate) strays: AtomicU32,
    /// The life in which it has a ring.
    ring: AtomicU32,
    /// The object made before this one.
    older: AtomicPtr<Queue>,
}

/// The knotes of a queue under kqueue's rules.
#[derive(Debug)]
pub(crate) struct QueueKnotes {
    pub(crate) descriptors: Descriptors,
    pub(crate) soft: Soft,
    pub(crate) strays: Strays,
    /// The queue's own set is not the one that it began with.
    pub(crate) rebuilt: bool,
    /// A private queue's line has the larger half of an odd room, at every second wait.
    larger_half: bool,
}

impl QueueKnotes {
    fn new(kq: RawFd) -> Box<Self> {
        Box::new(Self {
            descriptors: Descriptors::new(kq),
            soft: Soft::new(kq),
            strays: Strays::default(),
            rebuilt: false,
            larger_half: false,
        })
    }
}

/// The knotes of an open queue, locked until [`unlock`](Self::unlock), and not by being dropped: so
/// nothing has to be dropped on the way out of a panic, and all of it can lie in registers.
#[derive(Debug)]
#[must_use]
pub(crate) struct Lock<'a> {
    guard: ManuallyDrop<MutexGuard<'a, Option<Box<QueueKnotes>>>>,
    /// What the guard guards.
    knotes: NonNull<QueueKnotes>,
    queue: &'a Queue,
    inside: Inside,
}

impl Lock<'_> {
    #[inline(always)]
    pub(crate) fn knotes(&mut self) -> &mut QueueKnotes {
        // SAFETY: `Queue::guarded` has it from the guard, which is not used for anything else.
        unsafe { self.knotes.as_mut() }
    }

    #[inline(always)]
    pub(crate) fn unlock(mut self) {
        let queue = self.queue;
        queue.before_unlock(self.knotes());
        drop(ManuallyDrop::into_inner(self.guard));
        closes::leave(&self.inside);
    }
}

/// A [`Lock`] that is unlocked by being dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a>(ManuallyDrop<Lock<'a>>);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody can use it after this.
        unsafe { ManuallyDrop::take(&mut self.0) }.unlock();
    }
}

impl Deref for Locked<'_> {
    type Target = QueueKnotes;

    #[inline(always)]
    fn deref(&self) -> &QueueKnotes {
        // SAFETY: as in `Lock::knotes`.
        unsafe { self.0.knotes.as_ref() }
    }
}

impl DerefMut for Locked<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut QueueKnotes {
        self.0.knotes()
    }
}

/// The newest object; the others follow by [`Queue::older`].
static NEWEST: AtomicPtr<Queue> = AtomicPtr::new(null_mut());
/// What queues that are closed now had counted.
static CLOSED: Live = Live::new();

impl Queue {
    fn new() -> Self {
        Self {
            handshake: Handshake::new(),
            generation: AtomicU32::new(0),
            epoll_rules: AtomicBool::new(false),
            held: Held::new(),
            counters: Live::new(),
            uncounted: AtomicU64::new(0),
            interests: FdTable::new(),
            inner: AtomicI32::new(-1),
            to_see: AtomicU8::new(0),
            has_requests: AtomicBool::new(false),
            looked_at: AtomicU64::new(0),
            knotes: Mutex::new(None),
            numbers: AtomicU32::new(0),
            strays: AtomicU32::new(0),
            ring: AtomicU32::new(0),
            older: AtomicPtr::new(null_mut()),
        }
    }

    /// The queue's life: unlike that of any other queue that had or will have this object.
    #[inline]
    pub(crate) fn life(&self) -> u32 {
        self.handshake.life()
    }

    /// The rules that it keeps.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        if self.epoll_rules.load(Ordering::Relaxed) { Rules::Epoll } else { Rules::Kqueue }
    }

    /// The knotes, if the queue is still in the life that the caller knows.
    ///
    /// # Errors
    /// - `EBADF`: it was closed.
    /// - `EDEADLK`: this is a signal handler, which interrupted this thread in a queue.
    #[inline(always)]
    pub(crate) fn knotes(&self, life: u32) -> Result<Locked<'_>> {
        let inside = closes::enter();
        if inside.was { Err(Errno::EDEADLK) } else { self.knotes_inside(life, inside) }
    }

    /// The [`knotes`](Self::knotes); `wakes`: this thread has slept in the queue, which is over, whatever
    /// this returns. A panic before they are unlocked leaves them locked, so the process must end then.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    pub(crate) fn lock_knotes(&self, life: u32, wakes: bool) -> Result<Lock<'_>> {
        let inside = closes::enter();
        if inside.was {
            return Err(Errno::EDEADLK);
        }
        let guard = self.lock();
        if wakes {
            self.handshake.wake();
        }
        self.of_life(life, guard, inside)
    }

    /// What is locked may be told the kernel later, if nobody sleeps, or not.
    #[inline(always)]
    fn hold_if_private(&self, knotes: &mut QueueKnotes) {
        if self.held.is_private() {
            knotes.hold(!self.handshake.has_sleepers());
        }
    }

    /// What others are to know of the knotes.
    #[inline(always)]
    fn before_unlock(&self, knotes: &mut QueueKnotes) {
        self.counters.knotes.store(knotes.count() as u64, Ordering::Relaxed);
        if self.held.is_private() {
            self.publish(knotes);
        }
    }

    /// As [`knotes`](Self::knotes), for a thread that counts as in a queue, but has none locked.
    pub(crate) fn knotes_anyway(&self, life: u32) -> Result<Locked<'_>> {
        self.knotes_inside(life, closes::enter())
    }

    fn knotes_inside(&self, life: u32, inside: Inside) -> Result<Locked<'_>> {
        self.of_life(life, self.lock(), inside).map(|lock| Locked(ManuallyDrop::new(lock)))
    }

    /// What a thread has locked, if the queue is in that life.
    #[inline(always)]
    fn of_life<'a>(
        &'a self,
        life: u32,
        guard: MutexGuard<'a, Option<Box<QueueKnotes>>>,
        inside: Inside,
    ) -> Result<Lock<'a>> {
        let mut lock = self.guarded(guard, inside).ok_or(Errno::EBADF)?;
        if self.life() != life {
            lock.unlock();
            return Err(Errno::EBADF);
        }
        self.hold_if_private(lock.knotes());
        Ok(lock)
    }

    /// The knotes, if the queue has any and nobody holds them just now.
    pub(crate) fn try_knotes(&self) -> Option<Locked<'_>> {
        let inside = closes::enter();
        let guard = match self.knotes.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                closes::leave(&inside);
                return None;
            }
        };
        self.guarded(guard, inside).map(|lock| Locked(ManuallyDrop::new(lock)))
    }

    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, Option<Box<QueueKnotes>>> {
        // A panic under the lock was our own bug; the table is as it was between two changes.
        self.knotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread has locked, if it is there.
    #[inline(always)]
    fn guarded<'a>(
        &'a self,
        mut guard: MutexGuard<'a, Option<Box<QueueKnotes>>>,
        inside: Inside,
    ) -> Option<Lock<'a>> {
        let Some(knotes) = guard.as_deref_mut() else {
            drop(guard);
            closes::leave(&inside);
            return None;
        };
        let knotes = NonNull::from(knotes);
        Some(Lock { guard: ManuallyDrop::new(guard), knotes, queue: self, inside })
    }

    /// Declares that this thread is about to sleep: from here on closing the queue wakes it. It counts as
    /// a wait, and until it has [woken](Self::wake) as a sleeper. False: something is held back, so it
    /// must not sleep.
    ///
    /// # Errors
    /// `EBADF`: the queue was closed since the caller knew it.
    #[inline(always)]
    pub(crate) fn may_sleep(&self, life: u32) -> Result<bool> {
        if self.handshake.may_sleep(life) { Ok(!self.held.is_any()) } else { Err(Errno::EBADF) }
    }

    /// A sleep after which the knotes are not looked at is over.
    #[cold]
    pub(crate) fn wake(&self) {
        let inside = closes::enter();
        let guard = self.lock();
        self.handshake.wake();
        drop(guard);
        closes::leave(&inside);
    }

    /// A sleep was part of a wait that is counted.
    #[cold]
    pub(crate) fn uncount_sleep(&self) {
        self.uncounted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a wait that did not sleep, and after which the knotes are not looked at.
    #[cold]
    pub(crate) fn count_look(&self) {
        let inside = closes::enter();
        let guard = self.lock();
        count(&self.counters.waits, 1);
        drop(guard);
        closes::leave(&inside);
    }

    /// What it did so far.
    pub(crate) fn counted(&self) -> Counters {
        self.with_sleeps(self.counters.snapshot())
    }

    /// Each wait that slept is counted there.
    fn with_sleeps(&self, mut counters: Counters) -> Counters {
        let sleeps = self.handshake.sleeps().wrapping_sub(self.uncounted.load(Ordering::Relaxed));
        counters.waits = counters.waits.wrapping_add(sleeps);
        counters
    }

    /// Whether this process opened it, and did not inherit it.
    #[inline]
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.generation.load(Ordering::Relaxed) == fork::generation()
    }

    /// No wait returns more events than this: each knote has at most one. (With room for those that
    /// other threads add meanwhile: who adds more gets the rest next time.)
    #[inline]
    pub(crate) fn most_events(&self) -> usize {
        self.counters.knotes.load(Ordering::Relaxed) as usize
    }

    /// Gives the queue its ring, unless it has one.
    pub(crate) fn take_ring(&self, life: u32) -> bool {
        self.ring.swap(life, Ordering::Relaxed) != life
    }

    /// The ring goes, which may outlive the queue.
    pub(crate) fn drop_ring(&self, life: u32) {
        let _ = self.ring.compare_exchange(life, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether there is a ring of asynchronous requests.
    #[inline]
    pub(crate) fn has_requests(&self) -> bool {
        self.has_requests.load(Ordering::Relaxed)
    }

    pub(crate) fn set_has_requests(&self, has: bool) {
        self.has_requests.store(has, Ordering::Relaxed);
    }

    /// Whether a wait may begin at once; `sleeps`: one that may sleep.
    #[inline(always)]
    pub(crate) fn has_nothing_to_see(&self, sleeps: bool) -> bool {
        let of_interest = if sleeps { UNTOLD | OWN } else { UNTOLD };
        self.to_see.load(Ordering::Relaxed) & of_interest == 0 && !self.held.is_any()
    }

    /// Whether files or signals are watched that must be looked at before a wait.
    pub(crate) fn has_untold(&self) -> bool {
        self.to_see.load(Ordering::Relaxed) & UNTOLD != 0
    }

    /// Whether there are descriptors of our own that the program may close.
    pub(crate) fn has_own(&self) -> bool {
        self.to_see.load(Ordering::Relaxed) & OWN != 0
    }

    /// Whether some of these are processes'.
    pub(crate) fn has_processes(&self) -> bool {
        self.to_see.load(Ordering::Relaxed) & PROCESSES != 0
    }

    /// After changes: what a wait has to see to.
    #[inline(always)]
    pub(crate) fn note_what_to_see(&self, knotes: &QueueKnotes) {
        let own = knotes.soft.has_own() || knotes.descriptors.has_own();
        let bit = |is, bit| if is { bit } else { 0 };
        let to_see = bit(own, OWN)
            | bit(knotes.soft.has_untold(), UNTOLD)
            | bit(knotes.soft.has_processes(), PROCESSES);
        self.to_see.store(to_see, Ordering::Relaxed);
    }

    /// Whether it is time to look whether the program has closed what is our own.
    #[inline]
    pub(crate) fn must_look(&self) -> bool {
        /// Nanoseconds from one look to the next.
        const PERIOD: u64 = 10_000_000;
        let (now, before) = (about_now(), self.looked_at.load(Ordering::Relaxed));
        let must = now.saturating_sub(before) >= PERIOD;
        if must {
            self.looked_at.store(now, Ordering::Relaxed);
        }
        must
    }

    #[cfg(test)]
    pub(crate) fn looked_just_now(&self) {
        self.looked_at.store(u64::MAX, Ordering::Relaxed);
    }

    #[inline]
    fn is_open(&self) -> bool {
        self.life() % 2 == 1
    }
}

/// The open queue at a number, if this process knows one.
#[inline]
pub(crate) fn find(fd: RawFd) -> Option<&'static Queue> {
    let queue = by_number::get(fd)?;
    (queue.is_of_this_process() && queue.is_open()).then_some(queue)
}

/// Makes the object of a queue whose new descriptor is `fd`; None where the number is too high for
/// the table. What the number stood for before is over.
pub(crate) fn open(fd: RawFd, rules: Rules, private: bool) -> Option<&'static Queue> {
    let_go(fd, false);
    if rules == Rules::Kqueue {
        unseen::look_for_some();
    }
    if !by_number::has_room_for(fd) {
        return None;
    }
    let generation = fork::generation();
    let mut queue = by_number::get(fd);
    // The object that our parent left here may be locked for ever by a thread that we have not got.
    queue = queue.filter(|q| q.generation.load(Ordering::Relaxed) == generation && !q.is_open());
    let queue = queue.or_else(spare::take).unwrap_or_else(make);
    queue.generation.store(generation, Ordering::Relaxed);
    queue.epoll_rules.store(rules == Rules::Epoll, Ordering::Relaxed);
    queue.held.begin(private);
    queue.interests.for_each(|_, interest| interest.clear());
    queue.to_see.store(0, Ordering::Relaxed);
    queue.has_requests.store(false, Ordering::Relaxed);
    queue.looked_at.store(0, Ordering::Relaxed);
    queue.counters.take();
    queue.uncounted.store(queue.handshake.sleeps(), Ordering::Relaxed);
    queue.counters.queues.store(1, Ordering::Relaxed);
    if rules == Rules::Kqueue {
        closes::watch(fd);
        let knotes = QueueKnotes::new(fd);
        *queue.lock() = Some(knotes);
    }
    queue.numbers.store(1, Ordering::Relaxed);
    queue.handshake.open();
    by_number::set(fd, Some(queue));
    Some(queue)
}

/// A new object, in the list of them all.
fn make() -> &'static Queue {
    let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
    let link = std::ptr::from_ref(queue).cast_mut();
    let mut newest = NEWEST.load(Ordering::Relaxed);
    loop {
        queue.older.store(newest, Ordering::Relaxed);
        match NEWEST.compare_exchange_weak(newest, link, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return queue,
            Err(other) => newest = other,
        }
    }
}

/// Every open queue of this process.
pub(crate) fn all() -> impl Iterator<Item = &'static Queue> {
    // SAFETY: the list holds leaked queues only.
    let newest = unsafe { NEWEST.load(Ordering::Acquire).as_ref() };
    // SAFETY: as above; `older` was set before its queue was published.
    let older = |queue: &&'static Queue| unsafe { queue.older.load(Ordering::Relaxed).as_ref() };
    let generation = fork::generation();
    std::iter::successors(newest, older)
        .filter(move |q| q.generation.load(Ordering::Relaxed) == generation && q.is_open())
}

/// Calls `f` with each number that is known to be an open queue's, in order.
pub(crate) fn each(mut f: impl FnMut(RawFd, &'static Queue)) {
    by_number::all()
        .filter_map(|(fd, _)| find(fd).map(|queue| (fd, queue)))
        .for_each(|(fd, q)| f(fd, q));
}

/// The number of a queue is about to be closed. With its last number the queue is no more, and who
/// sleeps in it wakes.
pub(crate) fn forget(fd: RawFd) {
    let_go(fd, true);
}

/// As [`forget`], of a number that was closed already.
pub(crate) fn forget_closed(fd: RawFd) {
    let_go(fd, false);
}

/// As [`forget`]; `still_open`: the number still means the queue.
fn let_go(fd: RawFd, still_open: bool) {
    let Some(queue) = find(fd) else { return };
    if queue.rules() == Rules::Kqueue && duplicates::leave(queue, fd) {
        return;
    }
    let has_sleepers = queue.handshake.close();
    if queue.rules() == Rules::Kqueue {
        if still_open && has_sleepers {
            // Out of descriptors: then they sleep on, as they would on a closed epoll set.
            let _ = alarm::sound(fd);
        }
        let inside = closes::enter();
        let knotes = queue.lock().take();
        closes::leave(&inside);
        put_away(knotes);
    }
    both_rules::drop_inner(queue, fd);
    let mut counted = queue.with_sleeps(queue.counters.take());
    counted.queues = 0;
    counted.knotes = 0;
    CLOSED.add(counted);
}

/// A queue is over: closes what is its own. Its requests may go on.
fn put_away(knotes: Option<Box<QueueKnotes>>) {
    if let Some(aio) = knotes.and_then(|mut knotes| knotes.soft.take_aio()) {
        aio::calls::take_home(*aio);
    }
}

/// What queues that are closed now had done.
pub(crate) fn closed_counters() -> Counters {
    CLOSED.snapshot()
}

/// Forgets it.
pub(crate) fn forget_closed_counters() {
    CLOSED.take();
}

/// What all queues of this process did so far.
pub fn counters() -> Counters {
    let mut sum = CLOSED.snapshot();
    all().for_each(|queue| sum += queue.counted());
    sum
}

/// What the queue at `fd` did so far; None where there is none.
pub fn counters_of(fd: RawFd) -> Option<Counters> {
    find(fd).map(Queue::counted)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::Kqueue;

    /// Else its first wait beside a process's knote would sleep in two parts, and a signal handler that
    /// runs between them would not end it.
    #[test]
    fn a_new_queue_looks_at_once_whatever_had_its_number() {
        let kq = Kqueue::new().unwrap();
        assert!(find(kq.as_raw_fd()).unwrap().must_look());
        drop(kq);
        // Most likely the same number, and with it the object.
        let kq = Kqueue::new().unwrap();
        assert!(find(kq.as_raw_fd()).unwrap().must_look());
    }
}
