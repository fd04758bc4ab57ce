//! Events of registrations that should not be there.
//!
//! A number was closed and nobody told; the kernel keeps the registration while a duplicate of the
//! file lives (a dup, or a forked child), and it can no longer be addressed: epoll_ctl finds it by
//! number *and* file. A level one fires for ever. It carries a token that is in our table no more.
//!
//! An event may carry such a token for an innocent reason too: another thread has changed the
//! registration since the event was fetched. But that comes once. A token that comes again in a
//! wait begun *after* it was found to be in no table is proof of a registration that must be got
//! rid of (see `rebuild`).

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// Who an event was for: descriptor, token, lane.
pub(crate) type Addressee = (RawFd, u32, u8);

/// The innocent ones are forgotten after so many.
const MOST: usize = 64;

/// The strays of a queue.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// With what the count was when they were seen.
    seen: Vec<(Addressee, u32)>,
}

impl Strays {
    /// Notes an event that is for nobody, of a wait at whose beginning `count` was `begun`. True: it
    /// is proven.
    pub(crate) fn note(&mut self, who: Addressee, begun: u32, count: &AtomicU32) -> bool {
        if let Some((_, when)) = self.seen.iter().find(|(other, _)| *other == who) {
            // The difference, since the count may go round.
            return (begun.wrapping_sub(*when) as i32) >= 0;
        }
        if self.seen.len() == MOST {
            self.seen.remove(0);
        }
        // Only ever counted up with the queue locked; read by those about to wait.
        let when = count.load(Ordering::Relaxed).wrapping_add(1);
        self.seen.push((who, when));
        count.store(when, Ordering::Release);
        false
    }

    /// Those of a lane are gone.
    pub(crate) fn forget(&mut self, lane: u8) {
        self.seen.retain(|((_, _, of), _)| *of != lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_is_a_second_time_in_a_later_wait() {
        let (mut strays, count) = (Strays::default(), AtomicU32::new(u32::MAX));
        let (one, other) = ((5, 1, 0), (5, 2, 0));
        let begun = count.load(Ordering::Acquire);
        assert!(!strays.note(one, begun, &count));
        assert!(!strays.note(one, begun, &count), "another thread's wait of the same time");
        let later = count.load(Ordering::Acquire);
        assert!(!strays.note(other, later, &count));
        assert!(strays.note(one, later, &count));
        strays.forget(0);
        assert!(!strays.note(one, count.load(Ordering::Acquire), &count));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (mut strays, count) = (Strays::default(), AtomicU32::new(0));
        for token in 0..1000 {
            assert!(!strays.note((1, token, 0), count.load(Ordering::Acquire), &count));
        }
        assert_eq!(strays.seen.len(), MOST);
        assert!(strays.note((1, 999, 0), count.load(Ordering::Acquire), &count));
    }
}
