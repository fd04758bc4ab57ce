//! Selective wake-up: of the threads that wait in one queue, the one that is nearest to an event's data
//! is woken.

use std::borrow::Borrow;
use std::fmt;
use std::time::{Duration, Instant};

use libc::{c_int, timespec};
use nix::errno::Errno;
use smallvec::SmallVec;

use crate::event::{EventFilter, KEvent};
use crate::kqueue::Kqueue;
use crate::ring::sync;
use crate::sys::linux::raw;

mod hand_over;

use hand_over::{HandOver, Lead, Turn};

pub use hand_over::SelectiveCounts;

/// Where threads are, and where events belong: CPUs ([`Cpus`]), or what groups them (nodes of memory,
/// shared caches), by numbers of the implementor's own.
pub trait Places {
    /// Where the calling thread is now.
    fn here(&self) -> u32;

    /// Where an event's data is; None: nowhere in particular, and any thread will do.
    fn of(&self, event: &KEvent) -> Option<u32>;
}

/// CPUs: a thread is on the one that it runs on; an event of a socket belongs to the one that the
/// socket's last packet was processed on (`SO_INCOMING_CPU`, socket(7)). Other events belong nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpus;

impl Places for Cpus {
    fn here(&self) -> u32 {
        // SAFETY: takes no pointer.
        let cpu = unsafe { libc::sched_getcpu() };
        u32::try_from(cpu).unwrap_or(u32::MAX)
    }

    fn of(&self, event: &KEvent) -> Option<u32> {
        use EventFilter::{EVFILT_EXCEPT, EVFILT_READ, EVFILT_WRITE};
        let of_descriptor =
            matches!(event.filter(), Ok(EVFILT_READ | EVFILT_WRITE | EVFILT_EXCEPT));
        let fd = c_int::try_from(event.ident()).ok().filter(|_| of_descriptor)?;
        let cpu = raw::getsockopt::<c_int>(fd, libc::SOL_SOCKET, SO_INCOMING_CPU).ok()?;
        u32::try_from(cpu).ok() // -1: no packet came yet, or there are none (UNIX)
    }
}

/// asm-generic/socket.h; libc lacks it for some architectures.
const SO_INCOMING_CPU: c_int = 49;

/// A queue in which several threads wait, and in which an event wakes the thread that waits where the
/// event's data is (DragonFly's plan of *selective wake-up*).
///
/// One of the waiting threads waits in the kernel. What it is told of and belongs to another's place
/// it hands on; where none of the others that sleep is near, it keeps the event: nobody sleeps beside
/// an event because it is far. An event that is handed on costs one wake-up more, so this pays where
/// moving the data between CPUs is dearer.
///
/// Use `EV_CLEAR`, `EV_DISPATCH` or `EV_ONESHOT`, as wherever several threads wait in one queue: a
/// level-triggered event comes again as long as its condition holds.
///
/// It owns its queue, or borrows or shares it: `Selective<Kqueue>`, `Selective<&Kqueue>`.
///
/// # Examples
/// ```
/// # use kq_core::*;
/// # use std::io::Write;
/// # use std::net::{TcpListener, TcpStream};
/// # use std::os::fd::AsRawFd;
/// let listener = TcpListener::bind("127.0.0.1:0").unwrap();
/// let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
/// let (server, _) = listener.accept().unwrap();
///
/// let queue = Selective::new(Kqueue::new()?);
/// let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
/// let fd = server.as_raw_fd() as usize;
/// let add = KEvent::new(fd, EventFilter::EVFILT_READ, flags, FilterFlag::empty(), 0, 7);
/// queue.queue().kevent(&[add], &mut [], None)?;
///
/// let events = std::thread::scope(|threads| {
///     // Of two threads one is told: that on the CPU which the data came to, if it waits by then.
///     let wait = || {
///         let mut events = [KEvent::default(); 8];
///         queue.wait(&mut events, Some(libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 }))
///     };
///     let waiters = [threads.spawn(wait), threads.spawn(wait)];
///     client.write_all(b"hello").unwrap();
///     waiters.map(|waiter| waiter.join().unwrap())
/// });
/// assert_eq!(events[0]? + events[1]?, 1);
/// # Ok::<(), Errno>(())
/// ```
pub struct Selective<Q: Borrow<Kqueue> = Kqueue, P: Places = Cpus> {
    queue: Q,
    places: P,
    hand_over: HandOver<KEvent>,
}

impl<Q: Borrow<Kqueue>> Selective<Q> {
    /// Wakes by CPU.
    pub fn new(queue: Q) -> Self {
        Self::with(queue, Cpus)
    }
}

impl<Q: Borrow<Kqueue>, P: Places> Selective<Q, P> {
    /// Wakes by places of the caller's own.
    pub fn with(queue: Q, places: P) -> Self {
        Self { queue, places, hand_over: HandOver::new() }
    }

    /// The queue, for changes. (Who waits in it past this object takes events from its threads.)
    pub fn queue(&self) -> &Kqueue {
        self.queue.borrow()
    }

    /// Waits for events, as [`Kqueue::kevent`] does; of the events of this thread's place first.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    /// - `EINVAL`: the timeout is negative, or its nanoseconds are out of range.
    /// - `EINTR`: a signal handler ran in the thread that waits in the kernel for all of them.
    pub fn wait(
        &self,
        eventlist: &mut [KEvent],
        timeout: Option<timespec>,
    ) -> Result<usize, Errno> {
        if timeout.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
            return Err(Errno::EINVAL);
        }
        // A child has no queue, and what it inherited may be locked for ever.
        self.queue().caller()?;
        if eventlist.is_empty() {
            return Ok(0);
        }
        // (None too where the time is so long that it has no end.)
        let until = timeout.and_then(|t| {
            Instant::now().checked_add(Duration::new(t.tv_sec as u64, t.tv_nsec as u32))
        });
        let here = self.places.here();
        match self.hand_over.wait(here, eventlist.len(), until) {
            Turn::GiveUp => Ok(0),
            Turn::Given(events) => {
                eventlist[..events.len()].copy_from_slice(&events);
                Ok(events.len())
            }
            Turn::Lead(lead) => loop {
                let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                let left = left.map(|left| timespec {
                    tv_sec: left.as_secs() as libc::time_t,
                    tv_nsec: left.subsec_nanos().into(),
                });
                let n = self.queue().kevent(&[], eventlist, left)?;
                let kept = self.hand_on(&lead, &mut eventlist[..n]);
                if kept > 0 || n == 0 {
                    return Ok(kept);
                }
            },
        }
    }

    /// Hands on what belongs to others; how many events are left, at the front.
    fn hand_on(&self, lead: &Lead<'_, KEvent>, events: &mut [KEvent]) -> usize {
        let mut places = SmallVec::<[Option<u32>; 64]>::new();
        if lead.has_sleepers() {
            places.extend(events.iter().map(|event| self.places.of(event)));
        }
        // (This thread may have woken on another CPU than it went to sleep on.)
        lead.hand_on(self.places.here(), events, &places)
    }

    /// How many threads wait just now.
    pub fn waiting(&self) -> usize {
        self.hand_over.waiting()
    }

    /// Where events went so far.
    pub fn counts(&self) -> SelectiveCounts {
        self.hand_over.counts()
    }
}

impl<Q: Borrow<Kqueue>, P: Places> fmt::Debug for Selective<Q, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selective")
            .field("queue", self.queue())
            .field("waiting", &self.waiting())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
