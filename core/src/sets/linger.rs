//! Registrations whose entry has left the set.
//!
//! Programs take a descriptor out of the set while they are busy with it, and put it back: to delete
//! and make a registration costs five times as much as to ask the kernel whether it is still good.
//! So the last few that left stay registered, without an entry.
//!
//! No program can tell: an event of one is not delivered but ends it (one wake-up at most), a close
//! ends it as any other registration, and one that comes back is compared with its number's file
//! first, by EPOLL_CTL_MOD, as if it were made anew.

use crate::sys::poll_queue::POLL_BITS;

use super::set::{Set, State};
use super::table::NOWHERE;

/// How many stay.
pub(crate) const LINGER: usize = 16;

impl Set {
    /// The entry of this slot has left. The one that left [`LINGER`] entries before goes for good.
    pub(crate) fn linger(&mut self, slot: u32) {
        self.watch.table.slot(slot).index = NOWHERE;
        let at = self.left as usize % LINGER;
        self.left = self.left.wrapping_add(1);
        let old = std::mem::replace(&mut self.lingering[at], slot);
        // It may have come back since, or be free, or another's.
        let gone = self.watch.table.get(old).is_some_and(|s| s.fd >= 0 && s.index == NOWHERE);
        if gone && old != slot {
            self.watch.drop(old);
        }
    }

    /// A registration has found its entry: it moved to another place, or came back.
    pub(crate) fn place(&mut self, slot: u32, index: u32, bits: u16) {
        let lingered = self.lingering.iter_mut().find(|old| **old == slot);
        let came_back = lingered.map(|old| *old = NOWHERE).is_some();
        let s = self.watch.table.slot(slot);
        s.index = index;
        let same = s.bits & POLL_BITS == bits;
        if (came_back || !same) && !self.watch.modify(slot, bits) {
            self.distrust(slot, State::New);
        }
    }
}
