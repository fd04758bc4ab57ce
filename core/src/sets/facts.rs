//! What each thread's sets are, for whoever looks from another thread, or when the process ends
//! ([`crate::stats`]).
//!
//! A thread writes what it did into a place of its own by plain stores; the places are static, so
//! that looking needs no lock and no memory. Threads for which there is none are not shown; what
//! they did is in [`super::set_counters`] as that of all.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::sys::{fork, raw};

use super::serve::Outcome;
use super::set::{Kind, Set};
use super::thread::SETS;

/// How many threads can be shown.
const THREADS: usize = 1024;
const FREE: u32 = 0;

/// One thread that polls or selects.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ThreadStats {
    /// Its number (gettid(2)).
    pub tid: libc::pid_t,
    /// Calls that the engine answered.
    pub served: u64,
    /// Results of these, as poll and select return them.
    pub results: u64,
    /// Calls that the engine looked at and gave to the kernel. Sets that are too small for it do not
    /// come so far.
    pub handed: u64,
    sets: [Option<SetStats>; SETS],
}

impl ThreadStats {
    /// The sets that it remembers.
    pub fn sets(&self) -> impl Iterator<Item = &SetStats> {
        self.sets.iter().flatten()
    }
}

/// One set that a thread remembers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SetStats {
    /// Whose it is.
    pub kind: SetKind,
    /// How many descriptors are in it; of poll, negative ones too.
    pub entries: u32,
    /// How many of them are registered with the thread's queue.
    pub registered: u32,
    /// How many the kernel is asked about at each call.
    pub by_number: u32,
    /// The queue's descriptor; None before there is one.
    pub queue: Option<RawFd>,
    /// Calls on this set.
    pub calls: u32,
}

/// Whose a set is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetKind {
    /// poll's, ppoll's.
    Poll,
    /// select's, pselect's.
    Select,
}

/// See the module. Written by its thread only.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Facts {
    /// [`FREE`], or the generation of the process that the thread is of.
    generation: AtomicU32,
    tid: AtomicI32,
    served: AtomicU64,
    results: AtomicU64,
    handed: AtomicU64,
    sets: [SetFacts; SETS],
}

#[derive(Debug)]
struct SetFacts {
    kind: AtomicU8,
    queue: AtomicI32,
    entries: AtomicU32,
    registered: AtomicU32,
    by_number: AtomicU32,
    calls: AtomicU32,
}

static ALL: [Facts; THREADS] = [const {
    Facts {
        generation: AtomicU32::new(FREE),
        tid: AtomicI32::new(0),
        served: AtomicU64::new(0),
        results: AtomicU64::new(0),
        handed: AtomicU64::new(0),
        sets: [const {
            SetFacts {
                kind: AtomicU8::new(Kind::None as u8),
                queue: AtomicI32::new(-1),
                entries: AtomicU32::new(0),
                registered: AtomicU32::new(0),
                by_number: AtomicU32::new(0),
                calls: AtomicU32::new(0),
            }
        }; SETS],
    }
}; THREADS];

/// A place for this thread.
pub(super) fn claim() -> Option<&'static Facts> {
    let ours = fork::generation();
    ALL.iter().find(|facts| {
        let there = facts.generation.load(Relaxed);
        // A place of another generation is that of a thread of our parent's.
        let taken = there != ours
            && facts.generation.compare_exchange(there, ours, Relaxed, Relaxed).is_ok();
        if taken {
            facts.begin();
        }
        taken
    })
}

impl Facts {
    fn begin(&self) {
        self.tid.store(raw::gettid(), Relaxed);
        [&self.served, &self.results, &self.handed].iter().for_each(|n| n.store(0, Relaxed));
        self.sets.iter().for_each(|set| set.kind.store(Kind::None as u8, Relaxed));
    }

    /// The thread is at its end.
    pub(super) fn release(&self) {
        self.generation.store(FREE, Relaxed);
    }

    /// Notes one call.
    #[inline]
    pub(super) fn note(&self, outcome: &Outcome) {
        let add = |to: &AtomicU64, n: u64| to.store(to.load(Relaxed).wrapping_add(n), Relaxed);
        match outcome {
            Outcome::Ours(result) => {
                add(&self.served, 1);
                add(&self.results, result.map_or(0, |n| n as u64));
            }
            Outcome::Own(_) | Outcome::Another => add(&self.handed, 1),
        }
    }

    /// Notes what became of a set.
    #[inline]
    pub(super) fn note_set(&self, at: usize, set: &Set) {
        let facts = &self.sets[at];
        facts.kind.store(set.kind as u8, Relaxed);
        facts.queue.store(set.watch.queue().unwrap_or(-1), Relaxed);
        facts.entries.store(set.entries as u32, Relaxed);
        facts.registered.store(set.watch.table.len() as u32, Relaxed);
        facts.by_number.store(set.asked.len() as u32, Relaxed);
        facts.calls.store(set.calls, Relaxed);
    }

    fn stats(&self) -> ThreadStats {
        let set = |facts: &SetFacts| {
            let kind = match facts.kind.load(Relaxed) {
                kind if kind == Kind::Poll as u8 => SetKind::Poll,
                kind if kind == Kind::Select as u8 => SetKind::Select,
                _ => return None,
            };
            let queue = facts.queue.load(Relaxed);
            Some(SetStats {
                kind,
                entries: facts.entries.load(Relaxed),
                registered: facts.registered.load(Relaxed),
                by_number: facts.by_number.load(Relaxed),
                queue: (queue >= 0).then_some(queue),
                calls: facts.calls.load(Relaxed),
            })
        };
        ThreadStats {
            tid: self.tid.load(Relaxed),
            served: self.served.load(Relaxed),
            results: self.results.load(Relaxed),
            handed: self.handed.load(Relaxed),
            sets: std::array::from_fn(|at| set(&self.sets[at])),
        }
    }
}

/// Calls `f` with each thread of this process that polls or selects. A thread that is in a call is
/// shown as it was before it.
pub fn threads(mut f: impl FnMut(&ThreadStats)) {
    let ours = fork::generation();
    let there = ALL.iter().filter(|facts| facts.generation.load(Relaxed) == ours);
    there.for_each(|facts| f(&facts.stats()));
}
