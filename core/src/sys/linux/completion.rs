//! EVFILT_AIO and EVFILT_LIO: an asynchronous request, or a list of them, is complete.

use crate::event::{EvFlags, EventFilter};

use super::report::Report;
use super::source::Key;

/// The filters' part of a knote.
#[derive(Debug, Default)]
pub(crate) struct Completion {
    /// The errno that it ended with, or 0.
    ended: Option<i64>,
    /// It was reported, once and for all (EV_CLEAR).
    told: bool,
}

impl Completion {
    /// It has ended; whether there is something to report.
    pub(crate) fn notice(&mut self, errno: i64) -> bool {
        self.ended = Some(errno);
        self.is_ready()
    }

    /// A change of the knote has it look again.
    pub(crate) fn touch(&mut self) {
        self.told = false;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ended.is_some() && !self.told
    }

    /// See [`Source::take`](super::source::Source::take).
    pub(crate) fn take(&mut self, key: Key, clear: bool) -> Option<Report> {
        let data = self.ended.filter(|_| !self.told)?;
        self.told = clear;
        // As FreeBSD has it: of a request that is over, not of a list.
        let eof = key.0 == EventFilter::EVFILT_AIO;
        let flags = if eof { EvFlags::EV_EOF.bits() } else { 0 };
        Some(Report { flags, fflags: 0, data })
    }
}
