//! The process's queues by descriptor number.
//!
//! A plain array in .bss, as the hooks have one ([`numbers`](crate::hooks::numbers)): a look is one
//! load, there is nothing to allocate, and pages of numbers that are no queue's are never touched.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use super::Queue;
use crate::hooks::numbers::NUMBERS;

static QUEUES: [AtomicPtr<Queue>; NUMBERS] = [const { AtomicPtr::new(null_mut()) }; NUMBERS];
/// One more than the highest number that was a queue's.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// The queue that was put down for a number, and may be over.
#[inline(always)]
pub(super) fn get(fd: RawFd) -> Option<&'static Queue> {
    // A negative number becomes one that is far too high.
    let queue = QUEUES.get(fd as u32 as usize)?.load(Ordering::Acquire);
    // SAFETY: the table holds null or a queue leaked by `open`.
    unsafe { queue.as_ref() }
}

/// Puts down what a number means; false where it is too high.
pub(super) fn set(fd: RawFd, queue: Option<&'static Queue>) -> bool {
    let Some(place) = QUEUES.get(fd as u32 as usize) else { return false };
    HIGHEST.fetch_max(fd as usize + 1, Ordering::AcqRel);
    place
        .store(queue.map_or(null_mut(), |queue| (&raw const *queue).cast_mut()), Ordering::Release);
    true
}

/// Whether there is room for a number.
pub(super) fn has_room_for(fd: RawFd) -> bool {
    (fd as u32 as usize) < NUMBERS
}

/// Each number that was a queue's, with the queue that was put down for it last.
pub(super) fn all() -> impl Iterator<Item = (RawFd, &'static Queue)> {
    let numbers = 0..HIGHEST.load(Ordering::Acquire) as RawFd;
    numbers.filter_map(|fd| get(fd).map(|queue| (fd, queue)))
}
