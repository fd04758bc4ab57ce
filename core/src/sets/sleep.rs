//! Sleeping: on the queue and those asked by number for at most T, then in the kernel's own call.

use nix::errno::Errno;

use crate::sys::poll_queue::Event;

use super::check::{full_check, repair, repair_all};
use super::counters::{Count, count};
use super::front::{Front, Time};
use super::policy::Policy;
use super::serve::{Outcome, served};
use super::set::Set;
use super::take::{Taken, take};
use super::wait::{Nanos, about_now, now};

/// Nothing is ready: sleeps.
pub(crate) fn sleep<F: Front>(
    set: &mut Set,
    front: &mut F,
    policy: Policy,
    events: &mut [Event],
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
                // It may be us who have none.
                Err(Errno::ENOMEM) => return in_the_kernel(set, front, left),
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
                if results > set.dense_limit() {
                    set.is_found_dense();
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
    if result == Err(Errno::EBADF) {
        repair_all(set);
    }
    if let Ok(found @ 1..) = result {
        repair(set, front);
        set.note_kernel_reports(front, found);
    }
    Outcome::Ours(result)
}
