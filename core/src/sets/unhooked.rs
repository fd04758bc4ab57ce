//! Programs whose closes nobody tells of.
//!
//! A number that was closed and opened again is another file, and an event may be of the old one,
//! which a dup keeps alive. A program closes what was reported to it, rarely anything else. So a queue
//! of such a program is armed *once* (EPOLLONESHOT): an event ends the registration's watch, and says
//! no more than where to look. The descriptor is asked by number from then on, in the very call that
//! also asks the queue: the answer is the kernel's own, about whatever file the number means now.
//! When it has been quiet for some calls, EPOLL_CTL_MOD arms it again, and its ENOENT tells another
//! file. Closes of numbers that were not reported are found out once per T (see [`super::check`]).
//!
//! (To compare what was reported by EPOLL_CTL_MOD at each call, and leave it armed, was tried: a
//! second system call in every call.)

use super::counters::{Count, count};
use super::front::Front;
use super::set::{Set, State};
use super::table::NOWHERE;

/// So many calls without a report, and a registration is armed again. To ask costs some 30 ns at
/// each call, to arm 200 once.
pub(crate) const QUIET: u16 = 8;

impl Set {
    /// A registration that was armed once has told of something.
    pub(crate) fn fired(&mut self, slot: u32) {
        let s = *self.watch.table.slot(slot);
        self.watch.forget(slot);
        if s.index != NOWHERE {
            self.ask_for(s.fd, s.index, s.bits, State::Fired);
        }
    }

    /// What the kernel's own call reported may be closed before the next one, too: it is asked by
    /// number. Its registration is still armed; when that fires, nobody knows it any more.
    pub(crate) fn note_kernel_reports<F: Front>(&mut self, front: &F, ready: usize) {
        if !self.watch.once || ready == 0 || self.watch.table.len() == 0 || self.doubted {
            return;
        }
        if ready > self.dense_limit() {
            self.doubted = true;
            return;
        }
        front.each_reported(self, &mut |set, fd| {
            if let Some(slot) = set.watch.table.find(fd) {
                set.fired(slot);
            }
        });
    }

    /// The kernel's own calls have reported so much that each registration is to be compared with its
    /// number's file before the queue serves again. False where the queue may not be changed here.
    #[must_use]
    pub(crate) fn settle_doubts(&mut self) -> bool {
        if !self.doubted {
            return true;
        }
        if !self.watch.may_change() {
            return false;
        }
        for slot in 0..self.watch.table.reached() {
            if self.watch.table.slot(slot).fd >= 0 && !self.watch.verify(slot) {
                count(Count::Reused);
                self.distrust(slot, State::New);
            }
        }
        self.doubted = false;
        true
    }
}
