//! TIMER: a moment, which stays over, and a period, which comes again.

use std::time::Duration;

use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use crate::fixture::apply;
use crate::subject::Subject;

const IDENT: usize = 0x71;

/// Its activity is that it is set to a moment that is over.
struct Absolute {
    over: bool,
}

pub(crate) fn absolute() -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(Absolute { over: false }))
}

impl Absolute {
    fn set(&self, queues: &[&Kqueue]) {
        let (fflags, data) = self.terms(true);
        let change = |flags| {
            let flags = flags | EvFlags::EV_KEEPUDATA;
            KEvent::new(IDENT, EventFilter::EVFILT_TIMER, flags, fflags, data, 0)
        };
        for kq in queues {
            // EV_ADD would make one where there is none.
            match apply(kq, &[change(EvFlags::empty())]) {
                Ok(()) => apply(kq, &[change(EvFlags::EV_ADD)]).unwrap(),
                none => assert_eq!(none, Err(Errno::ENOENT)),
            }
        }
    }
}

impl Subject for Absolute {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_TIMER
    }

    fn ident(&self) -> usize {
        IDENT
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        const FAR_OFF: isize = 8_000_000_000;
        let unit = FilterFlag::NOTE_ABSTIME | FilterFlag::NOTE_SECONDS;
        (unit, if self.over { 1 } else { FAR_OFF })
    }

    fn trigger(&mut self, queues: &[&Kqueue]) {
        self.over = true;
        self.set(queues);
    }

    fn quench(&mut self, queues: &[&Kqueue]) {
        self.over = false;
        self.set(queues);
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.data(), 1);
    }
}

struct Periodic;

pub(crate) fn periodic() -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(Periodic))
}

impl Subject for Periodic {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_TIMER
    }

    fn ident(&self) -> usize {
        IDENT
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::NOTE_USECONDS, 500)
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        std::thread::sleep(Duration::from_millis(1));
    }

    fn check(&self, event: &KEvent) {
        assert!(event.data() >= 1, "{event:?}");
    }
}
