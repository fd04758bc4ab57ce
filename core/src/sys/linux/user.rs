//! EVFILT_USER: the program's own events.

use crate::event::{EvFlags, FilterFlag, KEvent};

/// The filter's part of a USER knote.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) flags: u32,
    data: i64,
    triggered: bool,
}

impl User {
    /// A change: turns the program's 24 bits as NOTE_FF... says, and triggers.
    pub(crate) fn touch(&mut self, change: &KEvent) {
        let mine = change.fflags & FilterFlag::NOTE_FFLAGSMASK.bits();
        let how = FilterFlag::from_bits_retain(change.fflags & FilterFlag::NOTE_FFCTRLMASK.bits());
        if how == FilterFlag::NOTE_FFAND {
            self.flags &= mine;
        } else if how == FilterFlag::NOTE_FFOR {
            self.flags |= mine;
        } else if how == FilterFlag::NOTE_FFCOPY {
            self.flags = mine;
        }
        self.data = change.data;
        if change.fflags & FilterFlag::NOTE_TRIGGER.bits() != 0 {
            self.triggered = true;
        } else if change.flags & EvFlags::EV_CLEAR.bits() != 0
            && change.flags & EvFlags::EV_ADD.bits() == 0
        {
            // Taking the trigger back (FreeBSD's filt_usertouch).
            self.triggered = false;
        }
    }

    pub(crate) fn new(change: &KEvent) -> Self {
        let mut user = Self::default();
        user.touch(change);
        // At EV_ADD there is nothing to combine with: the bits are the program's as they stand.
        user.flags = change.fflags & FilterFlag::NOTE_FFLAGSMASK.bits();
        user
    }

    pub(crate) fn is_triggered(&self) -> bool {
        self.triggered
    }

    /// fflags and data to report; a clearing knote starts afresh.
    pub(crate) fn take(&mut self, clear: bool) -> (u32, i64) {
        let taken = (self.flags, self.data);
        if clear {
            *self = Self::default();
        }
        taken
    }
}
