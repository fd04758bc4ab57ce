//! An epoll set of our own that lies in no other. It is known by the alarm, which is in it for nothing:
//! where the program has closed the number, and has a set of its own there, that has not got it (see
//! `registered.rs`).

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, epoll_event};
use nix::errno::Errno;

use super::alarm;
use super::hidden::{Own, hidden};
use super::lanes;
use super::raw::{self, Result};
use super::token::Token;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoneSet {
    set: Own,
    alarm: RawFd,
}

impl LoneSet {
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, or no memory.
    pub(crate) fn new() -> Result<Self> {
        let alarm = alarm::descriptor()?;
        let set = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        if let Err(errno) = raw::epoll_ctl(set, EPOLL_CTL_ADD, alarm, &nothing()) {
            let _ = raw::close(set);
            return Err(errno);
        }
        Ok(Self { set: Own::at(set), alarm })
    }

    /// Its number.
    ///
    /// # Errors
    /// `ENOENT`: the program has closed it.
    pub(crate) fn check(self) -> Result<RawFd> {
        let set = self.set.number();
        let there = || raw::epoll_ctl(set, EPOLL_CTL_MOD, self.alarm, &nothing()).is_ok();
        if self.set.is_last() && there() { Ok(set) } else { Err(Errno::ENOENT) }
    }

    /// Closes it, if it is ours.
    pub(crate) fn close(self) {
        if let Ok(set) = self.check() {
            let _ = raw::close(set);
        }
    }
}

fn nothing() -> epoll_event {
    lanes::epoll_event(0, Token::Alarm)
}
