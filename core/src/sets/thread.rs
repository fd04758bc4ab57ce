//! What each thread remembers.
//!
//! It is reached by one pointer in thread-local storage that needs no destructor (registering one
//! would allocate), lies in memory straight from the kernel, and is given back by a pthread key.
//! After that, the thread's calls go to the kernel.

use std::cell::Cell as Slot;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, compiler_fence};

use crate::hooks::process::{self, Whose};
use crate::sys::poll_queue::{Event, NO_EVENT};
use crate::sys::{fork, raw};

use super::cell;
use super::counters::{Count, count};
use super::facts::{self, Facts};
use super::front::{Front, SAMPLES};
use super::memory::{PAGE, Region};
use super::policy::{self, Policy, policy};
use super::serve::{Outcome, serve};
use super::set::Set;

/// How many sets a thread remembers.
pub(super) const SETS: usize = 6;
/// How many sketches of sets that were seen once.
const SEEN: usize = 16;
/// How many ranges of the caller's memory.
const RANGES: usize = 8;
/// A set that so many calls passed by is given up when another comes.
const EXPIRES: u32 = 4096;
/// Events taken from a queue at once.
const EVENTS: usize = 256;

#[derive(Debug)]
struct Thread {
    /// A call is under way: another one, from a signal handler, goes to the kernel.
    busy: AtomicBool,
    generation: u32,
    clock: u32,
    last: usize,
    sets: [Set; SETS],
    seen: [u64; SEEN],
    /// Memory of the program that the kernel has read and written for it, as (begin, end).
    proven: [(usize, usize); RANGES],
    /// For who looks from outside.
    facts: Option<&'static Facts>,
    events: [Event; EVENTS],
}

/// The thread is at its end.
const ENDED: *mut Thread = std::ptr::without_provenance_mut(1);

thread_local! {
    // It is const; where thread-locals are emulated (OpenBSD) the lint does not see it.
    #[allow(clippy::missing_const_for_thread_local)]
    static THREAD: Slot<*mut Thread> = const { Slot::new(null_mut()) };
}

/// The pthread key plus one; 0 before there is one.
static KEY: AtomicUsize = AtomicUsize::new(0);

/// Serves a call by one of the thread's sets, or has the kernel serve it.
pub(super) fn call<F: Front>(front: &mut F) -> Outcome {
    let Some(thread) = enter() else {
        count(Count::Handed);
        return Outcome::Own(front.own());
    };
    let outcome = thread.call(front);
    thread.note(&outcome);
    // A handler on this very thread sees it after all that was done before.
    compiler_fence(Ordering::Release);
    thread.busy.store(false, Ordering::Relaxed);
    outcome
}

/// Makes the pthread key. Done when a C library is loaded; else when the first thread needs it.
pub fn prepare() -> bool {
    if KEY.load(Ordering::Acquire) != 0 {
        return true;
    }
    raw::prepare();
    let mut key = 0;
    // SAFETY: `key` is ours; the destructor takes what `enter` sets.
    if unsafe { libc::pthread_key_create(&mut key, Some(thread_ends)) } != 0 {
        return false;
    }
    if KEY.compare_exchange(0, key as usize + 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: made above, and known to nobody else.
        unsafe { libc::pthread_key_delete(key) };
    }
    true
}

fn enter() -> Option<&'static mut Thread> {
    let mut thread = THREAD.get();
    if thread == ENDED {
        return None;
    }
    if thread.is_null() {
        thread = begin()?;
    }
    // SAFETY: a Thread that `begin` made, of this thread alone. Only `busy` is read before it is
    // known that there is no other reference, through a shared one.
    let busy = unsafe { &(*thread).busy };
    // No other thread looks, and a handler that comes between the two has ended, and left things as
    // they were, before the second: no need for an atomic exchange, the dearest thing in a call.
    if busy.load(Ordering::Relaxed) {
        return None;
    }
    busy.store(true, Ordering::Relaxed);
    compiler_fence(Ordering::Acquire);
    // SAFETY: as above; `busy` says that there is no other reference.
    let thread = unsafe { &mut *thread };
    if thread.generation != fork::generation() {
        thread.is_born_by_fork();
    }
    Some(thread)
}

#[cold]
fn begin() -> Option<*mut Thread> {
    if !prepare() {
        return None;
    }
    let region = Region::map(size_of::<Thread>())?;
    let thread = region.base().cast::<Thread>();
    // SAFETY: the mapping is large enough, and aligned to a page.
    unsafe {
        thread.write(Thread {
            busy: AtomicBool::new(false),
            generation: fork::generation(),
            clock: 0,
            last: 0,
            sets: [const { Set::EMPTY }; SETS],
            seen: [0; SEEN],
            proven: [(0, 0); RANGES],
            facts: facts::claim(),
            events: [NO_EVENT; EVENTS],
        });
    }
    let key = (KEY.load(Ordering::Acquire) - 1) as libc::pthread_key_t;
    // SAFETY: the key exists. Keys made early have their place in the thread's own block: this
    // allocates nothing.
    if unsafe { libc::pthread_setspecific(key, thread.cast_const().cast()) } != 0 {
        let mut region = region;
        region.free();
        return None;
    }
    THREAD.set(thread);
    Some(thread)
}

/// The key's destructor.
unsafe extern "C" fn thread_ends(thread: *mut c_void) {
    THREAD.set(ENDED);
    let thread = thread.cast::<Thread>();
    // SAFETY: what `begin` set; the thread runs no call any more, even if it was cancelled in one.
    for set in unsafe { &mut (*thread).sets } {
        set.free();
    }
    // SAFETY: as above.
    if let Some(facts) = unsafe { (*thread).facts } {
        facts.release();
    }
    // SAFETY: mapped by `begin` with this length; nobody has a pointer to it any more.
    let _ = unsafe { raw::munmap(thread.cast(), LENGTH) };
}

const LENGTH: usize = size_of::<Thread>().next_multiple_of(PAGE);

impl Thread {
    /// The sets in our memory are of our parent, with its queues, of which we have copies.
    #[cold]
    fn is_born_by_fork(&mut self) {
        cell::close_inherited_queues();
        for set in &mut self.sets {
            set.free();
        }
        self.generation = fork::generation();
        self.facts = facts::claim();
    }

    /// Notes what became of a call, and of its set.
    #[inline]
    fn note(&self, outcome: &Outcome) {
        if let Some(facts) = self.facts {
            facts.note(outcome);
        }
        self.note_set(self.last);
    }

    #[inline]
    fn note_set(&self, at: usize) {
        if let Some(facts) = self.facts {
            facts.note_set(at, &self.sets[at]);
        }
    }

    fn call<F: Front>(&mut self, front: &mut F) -> Outcome {
        self.clock = self.clock.wrapping_add(1);
        let unproven = front.unproven();
        if !unproven.iter().all(|&range| self.is_proven(range) || self.is_shown(range)) {
            count(Count::Handed);
            let result = front.own();
            if result.is_ok() {
                unproven.into_iter().for_each(|range| self.learn(range));
            }
            return Outcome::Own(result);
        }
        if front.is_small(policy::smallest()) {
            count(Count::Handed);
            return Outcome::Own(front.own());
        }
        let key = front.key();
        let last = self.last;
        if self.sets[last].key == key
            && self.sets[last].kind == F::KIND
            && let Some(outcome) = self.serve(last, front)
        {
            return outcome;
        }
        self.call_another(front, key)
    }

    fn serve<F: Front>(&mut self, at: usize, front: &mut F) -> Option<Outcome> {
        self.last = at;
        let set = &mut self.sets[at];
        set.used_at = self.clock;
        match serve(set, front, &mut self.events) {
            Outcome::Another => None,
            outcome => Some(outcome),
        }
    }

    /// Not the set that was used last, or it has changed beyond recognition.
    fn call_another<F: Front>(&mut self, front: &mut F, key: [usize; 3]) -> Outcome {
        let before = self.last;
        let mut best = (SAMPLES / 2, SETS);
        for (at, set) in self.sets.iter_mut().enumerate() {
            let tried = at == before && set.key == key;
            if tried || set.kind != F::KIND {
                continue;
            }
            // An array at another place must be very like.
            let handicap = if set.key == key { 0 } else { SAMPLES / 2 - 1 };
            let likeness = front.likeness(set).saturating_sub(handicap);
            if likeness > best.0 || likeness == SAMPLES - handicap && likeness >= best.0 {
                best = (likeness, at);
            }
        }
        if best.1 < SETS {
            if let Some(outcome) = self.serve(best.1, front) {
                self.sets[best.1].key = key;
                return outcome;
            }
            self.last = before;
        }
        if process::whose() == Whose::Shared {
            count(Count::Handed);
            return Outcome::Own(front.own());
        }
        let sketch = front.sketch() | 1;
        if policy() != Policy::RegisterAtFirstSight && !self.seen.contains(&sketch) {
            self.seen[self.clock as usize % SEEN] = sketch;
            let old = self.clock as usize % SETS;
            if self.clock.wrapping_sub(self.sets[old].used_at) > EXPIRES {
                self.sets[old].free();
                self.note_set(old);
            }
            count(Count::Handed);
            return Outcome::Own(front.own());
        }
        let at = self.free_place(before, key);
        let set = &mut self.sets[at];
        set.free();
        front.fill(set);
        if set.broken {
            set.free();
            self.note_set(at);
            count(Count::Handed);
            return Outcome::Own(front.own());
        }
        set.key = key;
        set.kind = F::KIND;
        match self.serve(at, front) {
            Some(outcome) => outcome,
            // It is what was just filled in, unless another thread writes there.
            None => Outcome::Own(front.own()),
        }
    }

    /// An empty place, or that of the set that was not used for longest. A program whose sets are
    /// each another, at one place, has but one set.
    fn free_place(&self, before: usize, key: [usize; 3]) -> usize {
        if policy() == Policy::RegisterAtFirstSight && self.sets[before].key == key {
            return before;
        }
        let age = |at: &usize| match &self.sets[*at] {
            set if set.is_empty() => u32::MAX,
            set => self.clock.wrapping_sub(set.used_at),
        };
        (0..SETS).max_by_key(age).unwrap_or(0)
    }

    #[inline]
    fn is_proven(&self, (address, len): (usize, usize)) -> bool {
        len == 0
            || self.proven.iter().any(|&(begin, end)| {
                begin <= address && address.checked_add(len).is_some_and(|e| e <= end)
            })
    }

    /// [`Policy::RegisterAtFirstSight`] does not wait for a call to show that the memory is there: it
    /// has the kernel make it ready to be written, which fails where poll would say EFAULT. (Linux
    /// 5.14; before, and for a mask that is only readable, this policy begins at the second call.)
    #[inline]
    fn is_shown(&mut self, range: (usize, usize)) -> bool {
        if policy() != Policy::RegisterAtFirstSight {
            return false;
        }
        let (begin, end) = pages(range);
        let begin = std::ptr::without_provenance_mut(begin);
        // SAFETY: populating pages changes nothing that is in them.
        let shown = unsafe { raw::populate(begin, end - begin.addr()) }.is_ok();
        if shown {
            self.learn(range);
        }
        shown
    }

    /// The kernel has accepted this memory: whole pages are alike.
    fn learn(&mut self, range: (usize, usize)) {
        if self.is_proven(range) {
            return;
        }
        let (mut begin, mut end) = pages(range);
        for range in &mut self.proven {
            if range.0 <= end && begin <= range.1 && range.1 > 0 {
                (begin, end) = (begin.min(range.0), end.max(range.1));
                *range = (0, 0);
            }
        }
        self.proven.rotate_right(1);
        self.proven[0] = (begin, end);
    }
}

/// The pages of a range, as (begin, end).
fn pages((address, len): (usize, usize)) -> (usize, usize) {
    let end = address.saturating_add(len);
    (address & !(PAGE - 1), end.checked_next_multiple_of(PAGE).unwrap_or(end))
}
