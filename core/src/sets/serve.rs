//! One call on a remembered set, the same for poll and select.
//!
//! ```text
//!  heed notes -> compare -> verify what was reported -> register some
//!     -> (kernel's own call | full check) -> take from the queue, ask by number
//!     -> sleep on both for at most T -> sleep in the kernel's own call over all
//! ```

use std::os::fd::RawFd;

use libc::{epoll_event, timespec};

use crate::hooks;
use crate::sys::linux::raw::Result;

use super::counters::{Count, count};
use super::policy::{self, Policy};
use super::set::{Kind, Set, State, Verified};
use super::table::CHECKED;
use super::wait::{Nanos, about_now, nanos, now, timespec_of};

/// What differs between poll and select: the form of the caller's memory.
pub(crate) trait Front {
    const KIND: Kind;

    /// Where the caller's memory is.
    fn key(&self) -> [usize; 3];

    /// Memory that a C program says is there, as (address, length); empty where Rust says so.
    fn unproven(&self) -> [(usize, usize); 4];

    /// Are there fewer descriptors than `smallest`? The memory is proven.
    fn is_small(&self, smallest: usize) -> bool;

    /// How many of [`SAMPLES`] entries spread over the caller's are in the set.
    fn likeness(&self, set: &mut Set) -> usize;

    /// A number that sets which differ hardly share.
    fn sketch(&self) -> u64;

    /// Fills an empty set with the caller's entries.
    fn fill(&mut self, set: &mut Set);

    /// Compares the caller's entries with the remembered ones, and brings the set up to date.
    fn update(&mut self, set: &mut Set, policy: Policy) -> Update;

    /// Empties what the caller will be given.
    fn begin(&mut self, set: &mut Set);

    /// Gives the caller an event. 0 where it maps to nothing that was asked.
    fn deliver(&mut self, set: &mut Set, index: u32, bits: u16) -> Delivered;

    /// Asks by number, and sleeps on the queue where one is given. How many results that made, and
    /// whether the queue has something.
    fn ask(&mut self, set: &mut Set, queue: Option<RawFd>, time: Time) -> Result<(usize, bool)>;

    /// The kernel's call over all entries with another timeout than the caller's. It writes the
    /// results where the caller wants them.
    fn whole(&mut self, set: &mut Set, time: Time) -> Result<usize>;

    /// Calls `f` with the number of each entry that the kernel's call reported.
    fn each_reported(&self, set: &mut Set, f: &mut dyn FnMut(&mut Set, RawFd));

    /// Did the kernel's call report this entry?
    fn is_reported(&self, set: &Set, index: u32) -> bool;

    /// Undoes what [`Front::whole`] wrote, when it found nothing.
    fn restore(&mut self, set: &Set);

    /// Everything was delivered: hands it to the caller.
    fn end(&mut self, set: &mut Set);

    /// The call as the program made it.
    fn own(&mut self) -> Result<usize>;

    /// The caller's timeout, and whether a signal mask comes with it.
    fn timeout(&self) -> (Option<timespec>, bool);
}

/// See [`Front::likeness`].
pub(crate) const SAMPLES: usize = 8;

/// How long to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Time {
    /// Not at all, and not with the caller's mask.
    Now,
    /// So long, with the caller's mask; None: for ever.
    AtMost(Option<Nanos>),
}

/// What became of the comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Update {
    /// The set is what the caller asks for.
    Done,
    /// This is another set.
    Another,
    /// The queue may not be changed here. Nothing was.
    Failed,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivered {
    /// So many new results.
    Results(usize),
    /// It was delivered before.
    Again,
    /// It maps to nothing that was asked.
    Nothing,
}

/// Who answered.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The call as the program made it: whatever else it does to the caller's memory is done.
    Own(Result<usize>),
    /// We did, or a call of ours.
    Ours(Result<usize>),
    /// Nobody: the entries are not this set's.
    Another,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    All,
    /// So many that the kernel's own call is faster.
    Dense,
    /// The engine cannot go on.
    Failed,
}

/// Serves one call.
///
/// Frames from here to the call that blocks own nothing that needs a drop: a cancelled thread
/// unwinds through them, and leaves a set that is consistent.
pub(crate) fn serve<F: Front>(set: &mut Set, front: &mut F, events: &mut [epoll_event]) -> Outcome {
    let policy = policy::policy();
    if set.watch.has_notes() {
        // In a vfork child the notes are for the parent.
        if !set.watch.may_change() {
            return hand_over(set, front);
        }
        set.heed_notes();
    }
    match front.update(set, policy) {
        Update::Done => {}
        Update::Another => return Outcome::Another,
        Update::Failed => return hand_over(set, front),
    }
    set.calls = set.calls.wrapping_add(1);
    set.enroll_some(policy);
    let outcome = choose(set, front, policy, events);
    if !hooks::are_complete() {
        set.end_reports();
    }
    if set.broken {
        set.free();
    }
    outcome
}

fn choose<F: Front>(
    set: &mut Set,
    front: &mut F,
    policy: Policy,
    events: &mut [epoll_event],
) -> Outcome {
    let (timeout, masked) = front.timeout();
    let immediate = timeout.is_some_and(|t| nanos(t) == 0);
    if set.broken {
        return hand_over(set, front);
    }
    match policy {
        Policy::Off => return hand_over(set, front),
        Policy::RegisterAtFirstSight => {}
        Policy::Default if set.dense > 0 => return hand_over(set, front),
        Policy::Default if immediate && set.entries < 16 => return hand_over(set, front),
        Policy::Default if set.asked.len() * 2 > set.entries => return hand_over(set, front),
        Policy::Default => {}
        // What sleeps beside the queue must be reported when it wakes, and strict reports what the
        // kernel's call over all says: with both there would be two answers.
        Policy::Strict if !set.asked.is_empty() => return hand_over(set, front),
        Policy::Strict => {}
    }
    if !hooks::are_complete() && !set.verify_all_reported() {
        return hand_over(set, front);
    }
    if policy == Policy::Strict || about_now().saturating_sub(set.checked_at) >= set.patience() {
        match full_check(set, front, events) {
            Ok(0) => {}
            found => {
                count(Count::Served);
                return Outcome::Ours(found);
            }
        }
    }
    front.begin(set);
    let mut results = 0;
    if policy != Policy::Strict {
        match take(set, front, policy, dense_limit(set), events, &mut results) {
            Taken::All => {}
            Taken::Dense if policy == Policy::RegisterAtFirstSight => {}
            Taken::Dense => {
                set.dense = DENSE_CALLS;
                return hand_over(set, front);
            }
            Taken::Failed => return hand_over(set, front),
        }
    }
    if results > 0 || (immediate && !masked) {
        if !set.asked.is_empty() {
            match front.ask(set, None, Time::Now) {
                Ok((more, _)) => results += more,
                Err(_) => return hand_over(set, front),
            }
        }
        return served(set, front, results);
    }
    sleep(set, front, policy, events, timeout.map(nanos))
}

/// How many calls the kernel serves after one with a large part ready. Long enough that a set that
/// is dense at each second call stays with it.
const DENSE_CALLS: u32 = 16;
/// The same where registrations must be compared anew, each by a system call, before they serve.
const DENSE_CALLS_UNHOOKED: u32 = 128;

/// So many results and the kernel's own call is as fast: an event costs some 70 ns to take, and in
/// an unhooked program twice a system call to verify; the kernel's poll costs 27 ns an entry.
fn dense_limit(set: &Set) -> usize {
    if hooks::are_complete() { set.entries / 3 + 1 } else { set.entries / 16 + 1 }
}

/// Hands the call to the kernel as the program made it.
fn hand_over<F: Front>(set: &mut Set, front: &mut F) -> Outcome {
    count(Count::Handed);
    let result = front.own();
    if let Ok(ready) = result {
        set.note_kernel_reports(front, ready);
        if ready > dense_limit(set) {
            set.dense = if hooks::are_complete() { DENSE_CALLS } else { DENSE_CALLS_UNHOOKED };
        } else {
            set.dense = set.dense.saturating_sub(1);
        }
        set.checked_at = about_now();
        set.reconsider_sometimes(set.checked_at);
    }
    Outcome::Own(result)
}

fn served<F: Front>(set: &mut Set, front: &mut F, results: usize) -> Outcome {
    count(Count::Served);
    front.end(set);
    Outcome::Ours(Ok(results))
}

/// Takes what the queue has and gives it to the caller; adds the number of results.
fn take<F: Front>(
    set: &mut Set,
    front: &mut F,
    policy: Policy,
    limit: usize,
    events: &mut [epoll_event],
    results: &mut usize,
) -> Taken {
    let all = policy == Policy::RegisterAtFirstSight;
    let limit = if all { usize::MAX } else { limit };
    let unhooked = !hooks::are_complete();
    let mut rebuilt = 0;
    'round: loop {
        if set.watch.queue().is_none() {
            return Taken::All;
        }
        let room = events.len().min(limit.saturating_add(1));
        let Ok(taken) = set.watch.ready(&mut events[..room]) else {
            // The number is not our queue any more: the program closed what it did not open.
            recover(set, true);
            return Taken::Failed;
        };
        let full = taken.len() == room;
        let mut again = false;
        for event in taken {
            let Some(slot) = set.watch.slot_of(event) else {
                // A registration that ended without being deleted: its number means another file,
                // and a dup of the old one lives on. It cannot be addressed, so the queue goes.
                count(Count::Stale);
                rebuilt += 1;
                if !recover(set, false) || set.broken || !all || rebuilt > 3 {
                    return Taken::Failed;
                }
                set.enroll_some(policy);
                continue 'round;
            };
            if unhooked {
                match set.verify_or_distrust(slot) {
                    Verified::Same => {}
                    Verified::Distrusted => continue,
                    Verified::Failed => return Taken::Failed,
                }
            }
            let index = set.watch.table.slot(slot).index;
            match front.deliver(set, index, event.events as u16) {
                Delivered::Results(more) => {
                    *results += more;
                    if unhooked && !set.reporting.push(slot) {
                        return Taken::Failed;
                    }
                }
                Delivered::Again => again = true,
                Delivered::Nothing => {
                    // It would wake us for ever. Asked by number it does not: select knows what
                    // maps to nothing.
                    if !set.watch.may_change() {
                        return Taken::Failed;
                    }
                    set.distrust(slot, State::Unfit);
                }
            }
        }
        if *results > limit {
            return Taken::Dense;
        }
        // Level-triggered events go to the end of the queue's list, so one that comes again says
        // that all have come.
        if !full || again {
            return Taken::All;
        }
    }
}

fn recover(set: &mut Set, lost: bool) -> bool {
    let may = set.watch.may_change();
    if may {
        set.rebuild(lost);
    }
    may
}

/// Nothing is ready: sleeps.
fn sleep<F: Front>(
    set: &mut Set,
    front: &mut F,
    policy: Policy,
    events: &mut [epoll_event],
    timeout: Option<Nanos>,
) -> Outcome {
    let start = now();
    let deadline = timeout.map(|t| start.saturating_add(t));
    let change_over = start.saturating_add(set.patience());
    let mut time = start;
    loop {
        let left = deadline.map(|d| d.saturating_sub(time));
        let patience = change_over.saturating_sub(time);
        if patience == 0 || set.watch.queue().is_none() || set.broken {
            return in_the_kernel(set, front, left);
        }
        let slice = left.map_or(patience, |left| left.min(patience));
        let (mut results, queue_has) =
            match front.ask(set, set.watch.queue(), Time::AtMost(Some(slice))) {
                Ok(answer) => answer,
                Err(errno) => return Outcome::Ours(Err(errno)),
            };
        if queue_has {
            if policy == Policy::Strict {
                match full_check(set, front, events) {
                    Ok(0) => front.begin(set),
                    found => {
                        count(Count::Served);
                        return Outcome::Ours(found);
                    }
                }
            } else {
                let limit = usize::MAX;
                let taken = take(set, front, policy, limit, events, &mut results);
                if taken == Taken::Failed && results == 0 {
                    let left = deadline.map(|d| d.saturating_sub(now()));
                    return in_the_kernel(set, front, left);
                }
                if results > dense_limit(set) {
                    set.dense = DENSE_CALLS;
                }
            }
        }
        if results > 0 {
            return served(set, front, results);
        }
        time = now();
        if deadline.is_some_and(|d| time >= d) {
            return served(set, front, 0);
        }
    }
}

/// Sleeps on in the kernel's own call over all entries: whatever became of the numbers, it sees
/// them as they are.
fn in_the_kernel<F: Front>(set: &mut Set, front: &mut F, left: Option<Nanos>) -> Outcome {
    count(Count::ChangedOver);
    let result = front.whole(set, Time::AtMost(left));
    if result.is_ok() {
        set.checked_at = about_now();
    }
    if let Ok(found @ 1..) = result {
        repair(set, front);
        set.note_kernel_reports(front, found);
    }
    Outcome::Ours(result)
}

/// Asks the kernel about all entries, and mends what it knows better. Its answer is the call's
/// unless it is 0.
fn full_check<F: Front>(set: &mut Set, front: &mut F, events: &mut [epoll_event]) -> Result<usize> {
    count(Count::FullChecks);
    let start = now();
    let result = front.whole(set, Time::Now);
    let end = now();
    set.check_cost = end - start;
    set.checked_at = about_now();
    set.reconsider_sometimes(set.checked_at);
    let found = result?;
    if found > 0 {
        repair(set, front);
        set.note_kernel_reports(front, found);
    }
    doubt_events(set, front, events);
    if found == 0 {
        front.restore(set);
    }
    Ok(found)
}

/// The kernel's call has reported entries: are those that are registered still what they were?
fn repair<F: Front>(set: &mut Set, front: &mut F) {
    if set.watch.queue().is_none() || !set.watch.may_change() {
        return;
    }
    front.each_reported(set, &mut |set, fd| {
        if let Some(slot) = set.watch.table.find(fd)
            && !set.watch.verify(slot)
        {
            count(Count::Reused);
            set.distrust(slot, State::New);
        }
    });
}

/// Does the queue report what the kernel does not? Then a registration is of an old file.
fn doubt_events<F: Front>(set: &mut Set, front: &mut F, events: &mut [epoll_event]) {
    if set.watch.queue().is_none() || !set.watch.may_change() {
        return;
    }
    let Ok(taken) = set.watch.ready(events) else { return set.rebuild(true) };
    for event in taken {
        match set.watch.slot_of(event) {
            None => {
                count(Count::Stale);
                set.rebuild(false);
                return;
            }
            Some(slot) => {
                let s = *set.watch.table.slot(slot);
                if !front.is_reported(set, s.index) && !set.watch.verify(slot) {
                    count(Count::Reused);
                    set.distrust(slot, State::New);
                }
            }
        }
    }
}

impl Set {
    /// Unhooked programs: what the kernel reported may be closed before the next call, too.
    fn note_kernel_reports<F: Front>(&mut self, front: &F, ready: usize) {
        if hooks::are_complete() || ready == 0 || self.watch.table.len() == 0 || self.doubted {
            return;
        }
        if ready > dense_limit(self) || self.reported.len() > self.entries {
            self.doubted = true;
            return;
        }
        front.each_reported(self, &mut |set, fd| {
            if let Some(slot) = set.watch.table.find(fd)
                && !set.reporting.push(slot)
            {
                set.doubted = true;
            }
        });
    }

    /// Unhooked programs: verifies what was reported since the queue last served.
    fn verify_all_reported(&mut self) -> bool {
        if !self.doubted {
            return self.verify_reported();
        }
        for slot in 0..self.watch.table.reached() {
            if self.watch.table.slot(slot).fd >= 0
                && self.verify_or_distrust(slot) == Verified::Failed
            {
                return false;
            }
        }
        for slot in 0..self.watch.table.reached() {
            self.watch.table.slot(slot).bits &= !CHECKED;
        }
        self.doubted = false;
        self.verified = true;
        true
    }
}

/// A time to hand to a system call.
pub(crate) fn timespec_for(time: Time) -> Option<timespec> {
    match time {
        Time::Now => Some(super::wait::ZERO),
        Time::AtMost(left) => left.map(timespec_of),
    }
}
