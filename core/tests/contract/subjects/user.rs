//! USER: the program's own events.

use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::fixture::apply;
use crate::subject::Subject;

const IDENT: usize = 0xABCD;

struct User {
    /// The trigger stands, also for a knote yet to be added.
    triggered: bool,
}

pub(crate) fn user() -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(User { triggered: false }))
}

/// Touches the knote where there is one.
fn touch(queues: &[&Kqueue], flags: EvFlags, fflags: FilterFlag) {
    let flags = flags | EvFlags::EV_KEEPUDATA;
    for kq in queues {
        let done = apply(kq, &[KEvent::new(IDENT, EventFilter::EVFILT_USER, flags, fflags, 0, 0)]);
        assert!(matches!(done, Ok(()) | Err(Errno::ENOENT)), "{done:?}");
    }
}

impl Subject for User {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_USER
    }

    fn ident(&self) -> usize {
        IDENT
    }

    fn terms(&self, adding: bool) -> (FilterFlag, isize) {
        let trigger = adding && self.triggered;
        (if trigger { FilterFlag::NOTE_TRIGGER } else { FilterFlag::empty() }, 0)
    }

    fn trigger(&mut self, queues: &[&Kqueue]) {
        self.triggered = true;
        touch(queues, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
    }

    fn quench(&mut self, queues: &[&Kqueue]) {
        self.triggered = false;
        touch(queues, EvFlags::EV_CLEAR, FilterFlag::empty());
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.fflags(), FilterFlag::empty());
    }
}
