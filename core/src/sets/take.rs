//! Taking what the queue has.

use crate::sys::poll_queue::{self, Event};

use super::counters::{Count, count};
use super::front::{Delivered, Front, Time};
use super::policy::Policy;
use super::set::{Set, State};
use super::table::NOWHERE;

/// How far it went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Taken {
    All,
    /// So many that the kernel's own call is faster.
    Dense,
    /// The engine cannot go on.
    Failed,
}

/// Takes what the queue has and gives it to the caller; adds the number of results.
#[inline(always)]
pub(crate) fn take<F: Front>(
    set: &mut Set,
    front: &mut F,
    policy: Policy,
    limit: usize,
    events: &mut [Event],
    results: &mut usize,
) -> Taken {
    let all = policy == Policy::RegisterAtFirstSight;
    let limit = if all { usize::MAX } else { limit };
    let (mut rebuilt, mut room, mut fired) = (0, 0, 0);
    'round: loop {
        if set.watch.queue().is_none() {
            return Taken::All;
        }
        room =
            next_room(set.expected, *results, room).min(events.len()).min(limit.saturating_add(1));
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
                let lost = set.watch.is_lost();
                if set.watch.once && !lost {
                    // It has ended itself now.
                    continue;
                }
                rebuilt += 1;
                if !recover(set, lost) || set.broken || !all || rebuilt > 3 {
                    return Taken::Failed;
                }
                set.enroll_some(policy);
                continue 'round;
            };
            if set.watch.once {
                set.fired(slot);
                fired += 1;
                continue;
            }
            let index = set.watch.table.slot(slot).index;
            if index == NOWHERE {
                // Its entry has left: it shall not wake us again.
                if !set.watch.may_change() {
                    return Taken::Failed;
                }
                set.watch.drop(slot);
                continue;
            }
            match front.deliver(set, index, poll_queue::bits(event)) {
                Delivered::Results(more) => *results += more,
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
        if *results + fired > limit {
            return Taken::Dense;
        }
        // Level-triggered events go to the end of the queue's list, so one that comes again says
        // that all have come.
        if !full || again {
            set.expected = *results + fired;
            break;
        }
    }
    // What fired, or became another, is asked by number.
    if set.asked_changed && !set.asked.is_empty() {
        match front.ask(set, None, Time::Now) {
            Ok((more, _)) => *results += more,
            Err(_) => return Taken::Failed,
        }
    }
    Taken::All
}

/// How many events to ask for, when `before` were asked for in the round before: one more than are
/// left of as many as the last call had. An event that is taken twice was paid for in vain.
fn next_room(expected: usize, results: usize, before: usize) -> usize {
    const LEAST: usize = 16;
    let left = if expected >= results { expected - results + 1 } else { 2 * before };
    left.max(LEAST)
}

fn recover(set: &mut Set, lost: bool) -> bool {
    let may = set.watch.may_change();
    if may {
        set.rebuild(lost);
    }
    may
}
