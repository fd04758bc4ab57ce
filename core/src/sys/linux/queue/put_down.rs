//! Numbers that were closed at a moment when nothing could be done about it, put down for later.

use super::sync::{AtomicBool, AtomicI32, Ordering};

/// A free place.
pub(super) const FREE: i32 = -1;

#[derive(Debug)]
pub(super) struct PutDown<const PLACES: usize> {
    pub(super) places: [AtomicI32; PLACES],
    /// Something was put down.
    pub(super) some: AtomicBool,
}

impl<const PLACES: usize> PutDown<PLACES> {
    /// Puts a number down. Where there is no room it is found out at its next touch, as without hooks.
    pub(super) fn put(&self, fd: i32) {
        for place in &self.places {
            let none = (Ordering::AcqRel, Ordering::Relaxed);
            if place.compare_exchange(FREE, fd, none.0, none.1).is_ok() {
                break;
            }
        }
        self.some.store(true, Ordering::Release);
    }

    /// Whether there is something; what this thread put down is seen in any case, unless another has
    /// taken it on.
    #[inline]
    pub(super) fn any(&self) -> bool {
        self.some.load(Ordering::Relaxed)
    }

    /// Takes all numbers up that were put down.
    pub(super) fn take(&self, mut f: impl FnMut(i32)) {
        if self.some.swap(false, Ordering::AcqRel) {
            for place in &self.places {
                let fd = place.swap(FREE, Ordering::AcqRel);
                if fd != FREE {
                    f(fd);
                }
            }
        }
    }
}
