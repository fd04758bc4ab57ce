//! The queue object, and the table of the process's queues by descriptor number.
//!
//! A queue's descriptor *is* an epoll descriptor; this is what we keep beside it. The objects are
//! never freed: one that was closed is taken again by the next queue that gets its number. So a
//! thread that comes out of a wait can always look at its queue, and asks [`Queue::life`] whether it
//! is still the one that it went to sleep on. (An `Arc` in a locked table would cost two more
//! atomic operations a call, and hang a child forked while the lock was held.)

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

use crate::counters::{Counters, Live};

use super::epoll_rules::Interest;
use super::fd_table::FdTable;
use super::fork;

/// What a queue does at close, dup and fork.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rules {
    /// kqueue's: closing a number drops its knotes, and a forked child has no queue.
    Kqueue,
    /// epoll's: the key is number and open file, and a child shares the queue.
    Epoll,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Odd while the queue is open; counted up at open and at close.
    life: AtomicU32,
    /// The process that opened it ([`fork::generation`]).
    generation: AtomicU32,
    epoll_rules: AtomicBool,
    pub(crate) counters: Live,
    /// Epoll's rules: what is registered, by number. Bookkeeping: the kernel has the truth.
    pub(crate) interests: FdTable<Interest>,
}

static QUEUES: FdTable<AtomicPtr<Queue>> = FdTable::new();
/// What queues that are closed now had counted.
static CLOSED: Live = Live::new();

impl Queue {
    fn new() -> Self {
        Self {
            life: AtomicU32::new(0),
            generation: AtomicU32::new(0),
            epoll_rules: AtomicBool::new(false),
            counters: Live::new(),
            interests: FdTable::new(),
        }
    }

    /// The queue's life: unlike that of any other queue that had or will have this object.
    #[inline]
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    /// The rules that it keeps.
    #[inline]
    pub(crate) fn rules(&self) -> Rules {
        if self.epoll_rules.load(Ordering::Relaxed) { Rules::Epoll } else { Rules::Kqueue }
    }

    fn is_open(&self) -> bool {
        self.life() % 2 == 1
    }
}

/// The open queue at a number, if this process knows one.
#[inline]
pub(crate) fn find(fd: RawFd) -> Option<&'static Queue> {
    let queue = QUEUES.get(fd)?.load(Ordering::Acquire);
    // SAFETY: the table holds null or a queue leaked by `open`.
    let queue = unsafe { queue.as_ref() }?;
    let ours = queue.generation.load(Ordering::Relaxed) == fork::generation();
    (ours && queue.is_open()).then_some(queue)
}

/// Makes the object of a queue whose new descriptor is `fd`; None where the number is too high for
/// the table. What the number stood for before is over.
pub(crate) fn open(fd: RawFd, rules: Rules) -> Option<&'static Queue> {
    forget(fd);
    let cell = QUEUES.entry(fd)?;
    let generation = fork::generation();
    // SAFETY: as in `find`.
    let mut queue = unsafe { cell.load(Ordering::Acquire).as_ref() };
    // The object that our parent left here may be locked for ever by a thread that we have not got.
    queue = queue.filter(|q| q.generation.load(Ordering::Relaxed) == generation && !q.is_open());
    let queue = queue.unwrap_or_else(|| Box::leak(Box::new(Queue::new())));
    queue.generation.store(generation, Ordering::Relaxed);
    queue.epoll_rules.store(rules == Rules::Epoll, Ordering::Relaxed);
    queue.interests.for_each(|_, interest| interest.clear());
    queue.counters.take();
    queue.counters.queues.store(1, Ordering::Relaxed);
    queue.life.fetch_add(1, Ordering::Release);
    cell.store(std::ptr::from_ref(queue).cast_mut(), Ordering::Release);
    Some(queue)
}

/// The number is closed, or about to be: its queue, if there was one, is no more.
pub(crate) fn forget(fd: RawFd) {
    let Some(queue) = find(fd) else { return };
    queue.life.fetch_add(1, Ordering::AcqRel);
    let mut counted = queue.counters.take();
    counted.queues = 0;
    counted.knotes = 0;
    CLOSED.add(counted);
}

/// What all queues of this process did so far.
pub fn counters() -> Counters {
    let mut sum = CLOSED.snapshot();
    QUEUES.for_each(|fd, _| {
        if let Some(queue) = find(fd) {
            sum += queue.counters.snapshot();
        }
    });
    sum
}

/// What the queue at `fd` did so far; None where there is none.
pub fn counters_of(fd: RawFd) -> Option<Counters> {
    find(fd).map(|queue| queue.counters.snapshot())
}
