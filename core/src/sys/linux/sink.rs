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

    /// The filter of the event that was added last.
    pub(crate) fn last_filter(&self) -> i16 {
        assert!(self.len > 0, "no event was added");
        // SAFETY: `push` has written it; a C caller's array may be at any address.
        unsafe { (&raw const (*self.at.add(self.len - 1)).filter).read_unaligned() }
    }

    /// Gives the event that was added last an `ext`, if there is one.
    #[cold]
    pub(crate) fn set_last_ext(&mut self, ext: Option<&[u64; 4]>) {
        assert!(self.len > 0, "no event was added");
        if let Some(ext) = ext {
            // SAFETY: as above.
            unsafe { (&raw mut (*self.at.add(self.len - 1)).ext).write_unaligned(*ext) };
        }
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
    #[inline(always)]
    pub(crate) fn push(&mut self, event: KEvent) {
        assert!(self.len < self.capacity, "an event without a place for it");
        // SAFETY: `new`'s promise, and the check just above.
        unsafe { self.at.add(self.len).write_unaligned(event) };
        self.len += 1;
    }
}
