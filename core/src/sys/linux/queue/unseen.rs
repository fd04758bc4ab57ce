//! Queues that the program has closed where nobody sees it: by a raw system call, or from a library that
//! was opened after the start of the program, whose hooks are not in the way.
//!
//! Such a queue is found out when its number is another queue's. Where the number means something else by
//! then, what the queue has of its own would stay open for as long. So each queue that is made looks at
//! two others: the dead are never many more than the living.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::{NEWEST, Queue, QueueKnotes, Rules, closes, put_away};
use crate::sys::linux::roll;

/// The queue that is looked at next; null: the newest.
static NEXT: AtomicPtr<Queue> = AtomicPtr::new(null_mut());

pub(super) fn look_for_some() {
    const LOOKED_AT: usize = 2;
    const PASSED_BY: usize = 256;
    if closes::is_in_queue() {
        return; // a signal handler's queue
    }
    let mut looked_at = 0;
    for _ in 0..PASSED_BY {
        let next = NEXT.load(Ordering::Acquire);
        let next = if next.is_null() { NEWEST.load(Ordering::Acquire) } else { next };
        // SAFETY: the list holds leaked queues only, and ends with null.
        let Some(queue) = (unsafe { next.as_ref() }) else { return };
        NEXT.store(queue.older.load(Ordering::Relaxed), Ordering::Release);
        looked_at += usize::from(look(queue));
        if looked_at == LOOKED_AT {
            break;
        }
    }
}

/// Closes what a queue has of its own, if the program has closed its number. (The queue itself is over
/// when that is another queue's. The knotes tell which: they know the number that they were made for.)
/// False: there is nothing of its own.
fn look(queue: &Queue) -> bool {
    let is_one = queue.is_of_this_process() && queue.is_open() && queue.rules() == Rules::Kqueue;
    if !is_one || queue.numbers.load(Ordering::Relaxed) > 1 {
        return false; // one with duplicates is found out by its numbers alone
    }
    let inside = closes::enter();
    let looked = queue.knotes.try_lock().ok().and_then(|mut knotes| {
        let is_there = knotes.is_some();
        let dead = knotes.take_if(|knotes| knotes.has_lost_queue());
        is_there.then_some(dead)
    });
    closes::leave(&inside);
    let Some(dead) = looked else { return false };
    put_away(dead);
    true
}

impl QueueKnotes {
    /// Whether the program has closed the queue's number. (Where it means another epoll set, only what
    /// was registered in the queue can tell.)
    fn has_lost_queue(&self) -> bool {
        let (lanes, kq) = (&self.descriptors.lanes, self.descriptors.lanes.set(0));
        let has_own = self.soft.has_own() || self.descriptors.has_own() || lanes.has_park();
        if !has_own {
            return false; // and nothing to be closed
        }
        roll::is_no_set(kq) || self.soft.has_lost_queue() || lanes.have_lost()
    }
}
