//! One call on a remembered set, the same for poll and select.
//!
//! ```text
//!  heed notes -> compare -> verify what was reported -> register some
//!     -> (kernel's own call | full check) -> take from the queue, ask by number
//!     -> sleep on both for at most T -> sleep in the kernel's own call over all
//! ```

use crate::sys::poll_queue::Event;
use crate::sys::raw::Result;

use super::check::full_check;
use super::counters::{Count, count};
use super::front::{Front, Time, Update};
use super::policy::{self, Policy};
use super::set::Set;
use super::sleep::sleep;
use super::take::{Taken, take};
use super::wait::{about_now, nanos};
use super::watch;

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

/// Serves one call.
///
/// Frames from here to the call that blocks own nothing that needs a drop: a cancelled thread
/// unwinds through them, and leaves a set that is consistent.
pub(crate) fn serve<F: Front>(set: &mut Set, front: &mut F, events: &mut [Event]) -> Outcome {
    let policy = policy::policy();
    if set.dense > 0 && policy == Policy::Default {
        return hand_over_dense(set, front);
    }
    if set.watch.once && !watch::once() && set.watch.may_change() {
        // From now on closes are told.
        set.rebuild(false);
    }
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
    if set.broken {
        set.free();
    }
    outcome
}

fn choose<F: Front>(set: &mut Set, front: &mut F, policy: Policy, events: &mut [Event]) -> Outcome {
    let (timeout, masked) = front.timeout();
    let immediate = timeout.is_some_and(|t| nanos(t) == 0);
    if set.broken {
        return hand_over(set, front);
    }
    match policy {
        Policy::Off => return hand_over(set, front),
        Policy::RegisterAtFirstSight => {}
        Policy::Default if immediate && set.entries < 16 => return hand_over(set, front),
        Policy::Default if set.asked.len() * 2 > set.entries => return hand_over(set, front),
        Policy::Default => {}
        // What sleeps beside the queue must be reported when it wakes, and strict reports what the
        // kernel's call over all says: with both there would be two answers.
        Policy::Strict if !set.asked.is_empty() => return hand_over(set, front),
        Policy::Strict => {}
    }
    if !set.settle_doubts() {
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
    if set.broken {
        return hand_over(set, front);
    }
    let (mut results, mut queue_has) = (0, policy != Policy::Strict);
    if !set.asked.is_empty() {
        // One call for those and the queue.
        let queue = if queue_has { set.watch.queue() } else { None };
        match front.ask(set, queue, Time::Now) {
            Ok((found, has)) => (results, queue_has) = (found, has),
            Err(_) => return hand_over(set, front),
        }
    }
    if queue_has {
        match take(set, front, policy, set.dense_limit(), events, &mut results) {
            Taken::All => {}
            Taken::Dense if policy == Policy::RegisterAtFirstSight => {}
            Taken::Dense => {
                set.is_found_dense();
                return hand_over(set, front);
            }
            Taken::Failed => return hand_over(set, front),
        }
        if set.broken {
            return hand_over(set, front);
        }
    }
    if results > 0 || (immediate && !masked) {
        return served(set, front, results);
    }
    sleep(set, front, policy, events, timeout.map(nanos))
}

/// Hands a call to the kernel where much was ready lately.
///
/// Nothing is compared or heeded: the call is the program's own, whatever it asks for, and notes of
/// closes stay where they are until the queue is to serve again.
fn hand_over_dense<F: Front>(set: &mut Set, front: &mut F) -> Outcome {
    count(Count::Handed);
    let result = front.own();
    if let Ok(ready) = result {
        set.note_kernel_reports(front, ready);
        set.note_density(ready);
    }
    Outcome::Own(result)
}

/// Hands the call to the kernel as the program made it.
fn hand_over<F: Front>(set: &mut Set, front: &mut F) -> Outcome {
    count(Count::Handed);
    let result = front.own();
    if let Ok(ready) = result {
        set.note_kernel_reports(front, ready);
        set.note_density(ready);
        set.checked_at = about_now();
        set.reconsider_sometimes(set.checked_at);
    }
    Outcome::Own(result)
}

pub(crate) fn served<F: Front>(set: &mut Set, front: &mut F, results: usize) -> Outcome {
    count(Count::Served);
    front.end(set);
    Outcome::Ours(Ok(results))
}
