//! Asking the kernel about all entries, and mending what it knows better.

use nix::errno::Errno;

use crate::sys::poll_queue::Event;
use crate::sys::raw::Result;

use super::counters::{Count, count};
use super::front::{Front, Time};
use super::set::{Set, State};
use super::table::NOWHERE;
use super::wait::{about_now, now};

/// Asks the kernel about all entries, and mends what it knows better. Its answer is the call's
/// unless it is 0.
pub(crate) fn full_check<F: Front>(
    set: &mut Set,
    front: &mut F,
    events: &mut [Event],
) -> Result<usize> {
    count(Count::FullChecks);
    if set.watch.is_lost() && set.watch.may_change() {
        set.rebuild(true);
    }
    let start = now();
    // It is made without the caller's mask: a signal that this may block does not end it.
    let result = loop {
        match front.whole(set, Time::Now) {
            Err(Errno::EINTR) if front.timeout().1 => {}
            result => break result,
        }
    };
    let end = now();
    set.check_cost = end - start;
    set.checked_at = about_now();
    set.reconsider_sometimes(set.checked_at);
    if result == Err(Errno::EBADF) {
        repair_all(set);
    }
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

/// select says that a number is closed, and not which: those that are registered are compared.
pub(crate) fn repair_all(set: &mut Set) {
    if set.watch.queue().is_none() || !set.watch.may_change() {
        return;
    }
    for slot in 0..set.watch.table.reached() {
        if set.watch.table.is_live(slot) && !set.watch.verify(slot) {
            count(Count::Reused);
            set.distrust(slot, State::New);
        }
    }
}

/// The kernel's call has reported entries: are those that are registered still what they were?
pub(crate) fn repair<F: Front>(set: &mut Set, front: &mut F) {
    // Where registrations are armed once, these are asked by number next.
    if set.watch.once || set.watch.queue().is_none() || !set.watch.may_change() {
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
fn doubt_events<F: Front>(set: &mut Set, front: &mut F, events: &mut [Event]) {
    if set.watch.queue().is_none() || !set.watch.may_change() {
        return;
    }
    let Ok(taken) = set.watch.ready(events) else { return set.rebuild(true) };
    for event in taken {
        match set.watch.slot_of(event) {
            None if set.watch.once => count(Count::Stale),
            None => {
                count(Count::Stale);
                set.rebuild(false);
                return;
            }
            Some(slot) => {
                let s = *set.watch.table.slot(slot);
                if set.watch.once {
                    set.fired(slot);
                } else if s.index == NOWHERE {
                    set.watch.drop(slot);
                } else if !front.is_reported(set, s.index) && !set.watch.verify(slot) {
                    count(Count::Reused);
                    set.distrust(slot, State::New);
                }
            }
        }
    }
}
