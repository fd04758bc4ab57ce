//! Objects of queues that are over and that no number leads to any more: another queue has been found
//! under the last one by which they were known. The next queue takes one, so that a program which always
//! uses duplicates does not make objects without end.

use std::sync::Mutex;

use super::Queue;

/// (Only ever tried: a signal handler may make a queue, and a child that was forked may have this locked
/// for ever. Then an object more is made.)
static SPARE: Mutex<Vec<&'static Queue>> = Mutex::new(Vec::new());

pub(super) fn keep(queue: &'static Queue) {
    if let Ok(mut spare) = SPARE.try_lock() {
        spare.push(queue);
    }
}

pub(super) fn take() -> Option<&'static Queue> {
    let mut spare = SPARE.try_lock().ok()?;
    // (One that our parent left may be locked for ever by a thread that we have not got.)
    std::iter::from_fn(|| spare.pop()).find(|queue| queue.is_of_this_process() && !queue.is_open())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::NEWEST;
    use super::*;
    use crate::KEvent;
    use crate::sys::linux::{abi, kevent::RawWait, queue::closes, raw};

    fn objects() -> usize {
        // SAFETY: the list holds leaked queues only; `older` was set before its queue was published.
        let follow = |at: &std::sync::atomic::AtomicPtr<Queue>| unsafe {
            at.load(Ordering::Acquire).as_ref()
        };
        std::iter::successors(follow(&NEWEST), |queue| follow(&queue.older)).count()
    }

    #[test]
    fn queues_that_are_used_by_duplicates_take_each_others_objects() {
        const ROUNDS: usize = 1000;
        let close = |fd| {
            closes::closing(fd);
            raw::close(fd).unwrap();
        };
        let before = objects();
        for _ in 0..ROUNDS {
            let kq = abi::kqueue(0).unwrap();
            let change = KEvent::new(
                1,
                crate::EventFilter::EVFILT_USER,
                crate::EvFlags::EV_ADD,
                crate::FilterFlag::empty(),
                0,
                0,
            );
            let used = |kq| {
                let (at, none) = (&raw const change, std::ptr::null_mut());
                // SAFETY: one change, and room for no event.
                let done = unsafe { abi::kevent::<RawWait>(kq, at, 1, none, 0, std::ptr::null()) };
                assert_eq!(done, Ok(0));
            };
            used(kq);
            let other = raw::fcntl(kq, libc::F_DUPFD_CLOEXEC, 700).unwrap();
            used(other);
            close(kq);
            used(other);
            close(other);
        }
        // Other tests make some meanwhile.
        assert!(objects() - before < ROUNDS / 10, "{} objects more", objects() - before);
    }
}
