//! Where events go: the caller's eventlist.

use crate::event::KEvent;

/// The caller's eventlist, filled from the front.
///
/// It is a pointer and not a slice since a C caller's memory need not be initialised, and may be the
/// changelist too.
#[derive(Debug)]
pub(crate) struct Sink {
    at: *mut KEvent,
    len: usize,
    capacity: usize,
}

impl Sink {
    /// # Safety
    /// `at` has room for `capacity` events, and nothing else uses that memory while the sink lives,
    /// but for a changelist that is read ahead of what is written.
    pub(crate) unsafe fn new(at: *mut KEvent, capacity: usize) -> Self {
        Self { at, len: 0, capacity }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Runs `work` with no more room than `budget`.
    pub(crate) fn within<R>(&mut self, budget: usize, work: impl FnOnce(&mut Self) -> R) -> R {
        let capacity = self.capacity;
        self.capacity = capacity.min(self.len + budget);
        let done = work(self);
        self.capacity = capacity;
        done
    }

    /// Adds an event. There must be room.
    #[inline]
    pub(crate) fn push(&mut self, event: KEvent) {
        assert!(self.len < self.capacity, "an event without a place for it");
        // SAFETY: `new`'s promise, and the check just above.
        unsafe { self.at.add(self.len).write_unaligned(event) };
        self.len += 1;
    }
}
