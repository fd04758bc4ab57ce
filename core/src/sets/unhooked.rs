//! Programs whose closes nobody tells of: what was reported is compared with its number's file
//! before the thread relies on its registration again.
//!
//! A program closes what was reported to it, rarely anything else. So it is enough to ask the kernel
//! about these registrations, by EPOLL_CTL_MOD, whose ENOENT tells; closes of others are found out
//! once per T (see [`super::check`]).

use crate::hooks;

use super::counters::{Count, count};
use super::front::Front;
use super::set::{Set, State};
use super::table::CHECKED;

/// What a comparison of a registration with its number's file said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verified {
    Same,
    /// It was another: it is asked by number now.
    Distrusted,
    /// It was another, and the queue may not be changed here.
    Failed,
}

impl Set {
    /// Unhooked programs: what the kernel reported may be closed before the next call, too.
    pub(crate) fn note_kernel_reports<F: Front>(&mut self, front: &F, ready: usize) {
        if hooks::are_complete() || ready == 0 || self.watch.table.len() == 0 || self.doubted {
            return;
        }
        if ready > self.dense_limit() || self.reported.len() > self.entries {
            self.doubted = true;
            return;
        }
        front.each_reported(self, &mut |set, fd| {
            if let Some(slot) = set.watch.table.find(fd)
                && !set.reporting.push(slot)
            {
                set.doubted = true;
            }
        });
    }

    /// Unhooked programs: verifies what was reported since the queue last served.
    #[must_use]
    pub(crate) fn verify_all_reported(&mut self) -> bool {
        if !self.doubted {
            return self.verify_reported();
        }
        for slot in 0..self.watch.table.reached() {
            if self.watch.table.slot(slot).fd >= 0
                && self.verify_or_distrust(slot) == Verified::Failed
            {
                return false;
            }
        }
        for slot in 0..self.watch.table.reached() {
            self.watch.table.slot(slot).bits &= !CHECKED;
        }
        self.doubted = false;
        self.verified = true;
        true
    }

    /// Unhooked programs: what was reported at the last call may have been closed since, and its
    /// number be another file. Asks the kernel, whose ENOENT tells. False where
    /// the queue may not be changed here.
    fn verify_reported(&mut self) -> bool {
        self.verified = true;
        for at in 0..self.reported.len() {
            let slot = self.reported[at];
            if self.watch.table.is_live(slot) && self.verify_or_distrust(slot) == Verified::Failed {
                self.doubted = true;
                return false;
            }
        }
        true
    }

    /// Compares a slot's registration with its number's file, once in a call.
    pub(crate) fn verify_or_distrust(&mut self, slot: u32) -> Verified {
        if self.watch.table.slot(slot).bits & CHECKED != 0 {
            return Verified::Same;
        }
        if self.watch.verify(slot) {
            self.watch.table.slot(slot).bits |= CHECKED;
            return Verified::Same;
        }
        if !self.watch.may_change() {
            return Verified::Failed;
        }
        count(Count::Reused);
        self.distrust(slot, State::New);
        Verified::Distrusted
    }

    /// The call is over: what it reported is what the next one verifies, and what was not verified.
    pub(crate) fn end_reports(&mut self) {
        if !std::mem::take(&mut self.verified) {
            for at in 0..self.reporting.len() {
                let slot = self.reporting[at];
                self.doubted |= !self.reported.push(slot);
            }
            self.reporting.clear();
            return;
        }
        for at in 0..self.reported.len() + self.reporting.len() {
            let slot = match self.reported.get(at) {
                Some(&slot) => slot,
                None => self.reporting[at - self.reported.len()],
            };
            if let Some(slot) = self.watch.table.get(slot) {
                slot.bits &= !CHECKED;
            }
        }
        std::mem::swap(&mut self.reported, &mut self.reporting);
        self.reporting.clear();
    }
}
