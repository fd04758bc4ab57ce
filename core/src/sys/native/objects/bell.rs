//! What makes a queue readable at our word: a user event, triggered.

use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::super::kqueue::{change, kevent};

/// The two knotes' idents. The mark has one of another kind, timers have [`super::timer`]'s.
const IDENTS: [usize; 2] = [1, 2];

/// Is the queue readable?
#[derive(Debug, Default)]
pub(super) struct Bell {
    /// Which of the two knotes is triggered.
    rung: Option<usize>,
}

impl Bell {
    /// Makes the queue readable, or, if it was, more so: who waits for edges is told of each call. That
    /// is why there are two knotes: the one that is triggered says nothing new, and taking it away
    /// first would leave a moment in which there is nothing.
    ///
    /// # Errors
    /// - `ENOMEM`: there is no memory for a knote.
    pub(super) fn ring(&mut self, kq: RawFd) -> Result<(), Errno> {
        let before = self.rung;
        let next = before.map_or(0, |at| 1 - at);
        trigger(kq, IDENTS[next])?;
        self.rung = Some(next);
        if let Some(at) = before {
            take_away(kq, IDENTS[at]);
        }
        Ok(())
    }

    /// Makes it unreadable. A queue may find out that it is empty when somebody looks, and tell of the
    /// next event after that.
    pub(super) fn hush(&mut self, kq: RawFd) {
        if let Some(at) = self.rung.take() {
            take_away(kq, IDENTS[at]);
            let none = event(0, EventFilter::EVFILT_USER, EvFlags::empty(), FilterFlag::empty());
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let _ = kevent(kq, &[], &mut [none], Some(&now));
        }
    }
}

fn event(ident: usize, filter: EventFilter, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    let data = isize::from(filter == EventFilter::EVFILT_TIMER);
    KEvent::new(ident, filter, flags, fflags, data, 0)
}

/// Where there are no user events, a timer of a millisecond.
fn trigger(kq: RawFd, ident: usize) -> Result<(), Errno> {
    let (add, none) = (EvFlags::EV_ADD, FilterFlag::empty());
    let added = change(kq, &event(ident, EventFilter::EVFILT_USER, add, none));
    if added == Err(Errno::EINVAL) {
        let once = add | EvFlags::EV_ONESHOT;
        return change(kq, &event(ident, EventFilter::EVFILT_TIMER, once, none));
    }
    added?;
    let trigger = FilterFlag::NOTE_TRIGGER;
    change(kq, &event(ident, EventFilter::EVFILT_USER, EvFlags::empty(), trigger))
}

fn take_away(kq: RawFd, ident: usize) {
    for filter in [EventFilter::EVFILT_USER, EventFilter::EVFILT_TIMER] {
        let gone = event(ident, filter, EvFlags::EV_DELETE, FilterFlag::empty());
        if change(kq, &gone).is_ok() {
            return;
        }
    }
}
