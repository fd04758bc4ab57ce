//! NOTE_LOWAT of WRITE: Linux wakes a writer when there is room after there was none, and not when
//! room that was there grows. So while a writer's room is less than its knote asks for, it is looked
//! at again from time to time: the one thing that this engine does periodically, and only then.
//!
//! (To report it early would be worse: the program would ask again at once, and spin.)

use std::os::fd::RawFd;

use super::hidden::Own;
use super::raw::Result;
use super::timer::{Clock, Moment, now};
use super::token::Token;

/// Nanoseconds from one look to the next.
const PERIOD: Moment = 10_000_000;

/// The descriptors that are to be looked at again.
#[derive(Debug)]
pub(crate) struct LowWater(Clock);

impl LowWater {
    pub(crate) fn new() -> Self {
        Self(Clock::new(false))
    }

    /// Makes ready for [`hold`](Self::hold), at the change that will need it, which can fail.
    pub(crate) fn open(&mut self, kq: RawFd) -> Result<()> {
        self.0.open(kq, Token::LowWater)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.is_there()
    }

    /// The timerfd.
    pub(crate) fn own(&self) -> Option<Own> {
        self.0.own()
    }

    /// Makes it anew if the program has closed it.
    pub(crate) fn mend(&mut self, kq: RawFd) {
        self.0.mend(kq);
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        self.0.close(kq);
    }

    /// A writer has less room than it asks for.
    pub(crate) fn hold(&mut self, kq: RawFd, fd: RawFd) {
        if !self.0.holds(fd as usize) {
            self.0.insert(kq, now(false) + PERIOD, fd as usize);
        }
    }

    /// Those whose time has come.
    pub(crate) fn expire(&mut self, kq: RawFd) -> Vec<usize> {
        self.0.expire(kq, true)
    }
}
