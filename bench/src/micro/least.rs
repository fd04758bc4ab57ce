//! The least that each interface can do: what the kernel must be asked for, and what the interface
//! promises beside it. Measured in the same turns as ours, it is the floor of a row.
//!
//! A kqueue promises (docs/deviations.md, kqueue(2)):
//! - knotes that several threads may use: one lock and one look-up for each change and each wait, and an
//!   event of 64 bytes written, with what the knote keeps for it;
//! - that an event which was fetched before its knote went does not reach the next owner of the number:
//!   the kernel's 64 bits hold a name beside the number;
//! - `EBADF` in a forked child: one look at whose process this is;
//! - that a signal handler may call kevent() which interrupted kevent(): a mark of the thread's while it
//!   holds the lock;
//! - that to close a queue wakes who sleeps in it: a wait that may sleep declares itself, and looks
//!   whether the queue is open.
//!
//! Its C library promises besides to find the queue by its number, and `EFAULT`, not a crash, for what is
//! no memory: a look at the page of each of the caller's arrays.
//!
//! Two threads on one queue need no more than a lock for each knote, over what the kernel is told of it:
//! what the list says and what the kernel has change together. That is measured too
//! ([`threads`](super::threads)).
//!
//! epoll's own 64 bits come back as they are, so its floor is the calls, and the queue found by its number,
//! to count them. All count what they do (`KQCOMPAT_STATS`).

use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use super::wait::Epoll;
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EVFILT_READ};
use crate::iface::kq_library::{Full, Layout};

/// Whose floor a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// kqueue's in Rust, and in C where that has no floor of its own.
    Kqueue,
    /// kqueue's in C.
    KqueueC,
    /// A private kqueue's.
    Private,
    /// compat epoll's.
    Compat,
}

impl Of {
    /// kqueue's, with what tells the lanes apart.
    pub(super) const KQUEUES: [(Self, &str); 2] =
        [(Self::Kqueue, ""), (Self::KqueueC, ", C's border")];

    /// Whose floor it has where it has none of its own.
    pub(super) fn or_else(self) -> Option<Self> {
        (self == Self::KqueueC).then_some(Self::Kqueue)
    }
}

thread_local! {
    /// This thread holds a lock.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Stands in for a page that the kernel wipes in a forked child.
static PROCESS: AtomicU32 = AtomicU32::new(1);

const NUMBERS: usize = 1 << 16;
/// Queues by number: how often each was made.
static QUEUES: [AtomicU32; NUMBERS] = [const { AtomicU32::new(0) }; NUMBERS];
/// Pages that are known to be memory.
static PAGES: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// Whether it is memory, as far as is known.
#[inline]
fn check<T>(at: *const T) {
    let page = at as usize >> 12;
    let known = &PAGES[page % PAGES.len()];
    if known.load(Ordering::Relaxed) != page {
        known.store(page, Ordering::Relaxed);
    }
}

/// What an event is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Knote {
    /// 0: there is none.
    name: u32,
    flags: u16,
    fflags: u32,
    udata: usize,
}

impl Knote {
    /// Has it registered, and keeps what the kernel was told.
    #[inline]
    pub(super) fn register(
        &mut self,
        ep: &Epoll,
        op: i32,
        fd: RawFd,
        events: u32,
    ) -> std::io::Result<()> {
        let name = self.name.wrapping_add(1).max(1);
        ep.ctl_named(op, fd, events, u64::from(name) << 32 | fd as u64)?;
        let there = Self { name, flags: EV_ADD, fflags: 0, udata: fd as usize };
        *self = if op == libc::EPOLL_CTL_DEL { Self::default() } else { there };
        Ok(())
    }

    /// Its event, if the kernel's is of this knote and not of an earlier one.
    #[inline]
    pub(super) fn event(&self, from: libc::epoll_event, data: bool) -> Result<Full> {
        let (fd, name) = (from.u64 as u32 as RawFd, (from.u64 >> 32) as u32);
        ensure!(self.name == name, "an event of no knote");
        let mut bytes: libc::c_int = 0;
        if data {
            // SAFETY: FIONREAD writes one int to `bytes`.
            unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
            ensure!(bytes == 1, "{bytes} bytes where one was sent");
        }
        Ok(Full::new(self.udata, EVFILT_READ, self.flags, self.fflags, bytes.into()))
    }
}

/// What the lock is for. Counted beneath it, where no locked instruction is needed.
#[derive(Debug, Default)]
struct Held {
    knotes: Vec<Knote>,
    changes: u64,
    waits: u64,
    events: u64,
    /// Sleeps that are over.
    woken: u64,
}

/// A queue that can do nothing but what a row needs.
pub(super) struct Least {
    pub(super) ep: Epoll,
    held: Mutex<Held>,
    process: AtomicU32,
    life: AtomicU32,
    sleeps: AtomicU64,
    /// Whether it has a C library's border.
    border: bool,
}

impl Least {
    pub(super) fn new(api: EpollApi, of: Of) -> Result<Self> {
        let ep = Epoll::new(api)?;
        ensure!((ep.number() as usize) < NUMBERS, "a number that is too high");
        QUEUES[ep.number() as usize].store(1, Ordering::Relaxed);
        let (held, process, life) = (Mutex::default(), AtomicU32::new(1), AtomicU32::new(1));
        let border = of == Of::KqueueC;
        Ok(Self { ep, held, process, life, sleeps: AtomicU64::new(0), border })
    }

    /// What comes before the work of a call.
    #[inline]
    pub(super) fn enter<T, U>(&self, array: *const T, time: *const U) -> std::io::Result<()> {
        let mut is_ours = self.process.load(Ordering::Relaxed) == PROCESS.load(Ordering::Acquire);
        if self.border {
            let number = std::hint::black_box(self.ep.number());
            is_ours &= QUEUES[number as usize % NUMBERS].load(Ordering::Acquire) == 1;
            check(array);
            check(time);
        }
        if is_ours { Ok(()) } else { Err(std::io::Error::from_raw_os_error(libc::EBADF)) }
    }

    /// Work for which something of this queue is locked.
    #[inline]
    pub(super) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        INSIDE.with(|inside| {
            let was = inside.replace(true);
            let done = work();
            inside.set(was);
            done
        })
    }

    #[inline]
    fn locked<R>(&self, work: impl FnOnce(&mut Held) -> R) -> R {
        self.inside(|| work(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// A change that the kernel is told of.
    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        self.enter(&raw const events, &raw const op)?;
        self.locked(|held| {
            let at = fd as usize;
            if at >= held.knotes.len() {
                held.knotes.resize(at + 1, Knote::default());
            }
            held.changes += 1;
            held.knotes[at].register(&self.ep, op, fd, events)
        })
    }

    /// A change that the kernel need not know of.
    #[inline]
    pub(super) fn note(&self, fd: RawFd) -> std::io::Result<()> {
        self.enter(&raw const fd, &raw const fd)?;
        self.locked(|held| {
            held.changes += 1;
            if let Some(knote) = held.knotes.get_mut(fd as usize) {
                knote.udata = std::hint::black_box(fd as usize);
            }
        });
        Ok(())
    }

    /// The kernel's events.
    #[inline]
    pub(super) fn fetch(&self, room: &mut Room, timeout: i32) -> Result<usize> {
        self.enter(room.events.as_ptr(), &raw const timeout)?;
        if timeout != 0 {
            self.sleeps.fetch_add(1, Ordering::SeqCst);
            self.must_be_open()?;
        }
        Ok(self.ep.wait(&mut room.kernels, timeout)?)
    }

    #[inline]
    pub(super) fn must_be_open(&self) -> Result<()> {
        ensure!(self.life.load(Ordering::SeqCst) == 1, "it is closed");
        Ok(())
    }

    /// A wait; with `data`, the kernel is asked how much there is to read.
    #[inline]
    pub(super) fn wait(&self, room: &mut Room, timeout: i32, data: bool) -> Result<usize> {
        let n = self.fetch(room, timeout)?;
        self.locked(|held| {
            held.woken += u64::from(timeout != 0);
            held.waits += 1;
            self.must_be_open()?;
            for (&from, to) in room.kernels[..n].iter().zip(&mut room.events) {
                let knote = held.knotes.get(from.u64 as u32 as usize);
                *to = knote.context("a number that is too high")?.event(from, data)?;
            }
            held.events += n as u64;
            std::hint::black_box(&room.events);
            Ok(n)
        })
    }
}

/// Room for events, the kernel's and ours.
#[derive(Clone)]
pub(super) struct Room {
    pub(super) kernels: Vec<libc::epoll_event>,
    pub(super) events: Vec<Full>,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        let kernels = vec![libc::epoll_event { events: 0, u64: 0 }; max];
        Self { kernels, events: vec![Full::default(); max] }
    }

    /// What the first `n` events are of.
    pub(super) fn idents(&self, n: usize) -> impl Iterator<Item = RawFd> {
        self.events[..n].iter().map(|event| event.ident() as RawFd)
    }
}

/// What the calls of an epoll set were.
#[derive(Default)]
struct Calls {
    ctl: AtomicU64,
    waits: AtomicU64,
    events: AtomicU64,
}

/// By the number of the set.
static CALLS: [Calls; 4096] = [const {
    Calls { ctl: AtomicU64::new(0), waits: AtomicU64::new(0), events: AtomicU64::new(0) }
}; 4096];

/// epoll whose calls are counted.
pub(super) struct Counted(Epoll);

impl Counted {
    pub(super) fn new(api: EpollApi) -> Result<Self> {
        Ok(Self(Epoll::new(api)?))
    }

    #[inline]
    fn calls(&self) -> &'static Calls {
        &CALLS[std::hint::black_box(self.0.number()) as usize % CALLS.len()]
    }

    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        self.0.ctl(op, fd, events)?;
        self.calls().ctl.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[inline]
    pub(super) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        timeout: i32,
    ) -> std::io::Result<usize> {
        let calls = self.calls();
        calls.waits.fetch_add(1, Ordering::Relaxed);
        let n = self.0.wait(events, timeout)?;
        calls.events.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
