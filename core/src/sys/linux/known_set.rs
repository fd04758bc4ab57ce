//! An epoll set of our own, known by a *witness*: a descriptor of ours that lies in it for nothing.
//! Where the program has closed the set's number, and has a set of its own there, that has not got it
//! (see `registered.rs`).
//!
//! The witness of a set that lies in no other is the alarm. One that is nested in a queue has one of its
//! own: the kernel counts the paths from a file through sets in sets (500 from one file).

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, epoll_event};
use nix::errno::Errno;

use super::hidden::{Own, hidden};
use super::lanes;
use super::raw::{self, Result};
use super::roll;
use super::token::Token;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownSet {
    set: Own,
    witness: RawFd,
}

impl KnownSet {
    /// One that lies in no other.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, or no memory.
    pub(crate) fn new() -> Result<Self> {
        Self::with(roll::alarm()?)
    }

    /// One with another witness than the alarm.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn with(witness: RawFd) -> Result<Self> {
        let set = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        if let Err(errno) = raw::epoll_ctl(set, EPOLL_CTL_ADD, witness, &nothing()) {
            let _ = raw::close(set);
            return Err(errno);
        }
        Ok(Self { set: Own::at(set), witness })
    }

    /// The one of a number, that lies in no other. None: the program has closed the alarm, and nobody
    /// knows.
    pub(crate) fn of(set: Own) -> Option<Self> {
        roll::present_alarm().map(|witness| Self { set, witness })
    }

    pub(crate) fn own(self) -> Own {
        self.set
    }

    /// Its number.
    ///
    /// # Errors
    /// `ENOENT`: the program has closed it.
    pub(crate) fn check(self) -> Result<RawFd> {
        let set = self.set.number();
        if self.set.is_last() && has(set, self.witness) { Ok(set) } else { Err(Errno::ENOENT) }
    }

    /// Closes it, if it is ours.
    pub(crate) fn close(self) {
        if let Ok(set) = self.check() {
            let _ = raw::close(set);
        }
    }
}

/// Whether a witness is in a set. (Asked by EPOLL_CTL_MOD, so that nothing is done to a set of the
/// program's that has not got it.)
pub(crate) fn has(set: RawFd, witness: RawFd) -> bool {
    raw::epoll_ctl(set, EPOLL_CTL_MOD, witness, &nothing()).is_ok()
}

fn nothing() -> epoll_event {
    lanes::epoll_event(0, Token::Alarm)
}
