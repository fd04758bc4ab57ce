//! A descriptor of our own in an epoll set of ours, and how we know that its number still means it.
//!
//! Some programs close every number that they find, and by raw system calls, which no hook sees. The
//! number may then mean a file of the program's, which we must neither write to nor read from, nor
//! close. The set knows: its key is the number *and* the open file. EPOLL_CTL_MOD and EPOLL_CTL_DEL
//! succeed for what was registered; where the number means another file they say ENOENT or EPERM,
//! where it is closed EBADF, and do nothing.
//!
//! (Another of ours, which has been hidden at the number since: [`Own`] knows that.)
//!
//! So each use of such a number is an epoll_ctl, or comes right after one, or after an event of the
//! registration. (kcmp(2) is often forbidden, fcntl(F_DUPFD_QUERY) needs Linux 6.10, and a link in
//! /proc/self/fd tells the kind only.) What another thread closes between the look and the use is not
//! seen.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, epoll_event};
use nix::errno::Errno;

use super::hidden::{Own, hidden};
use super::lanes;
use super::raw::{self, Result};
use super::token::Token;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registered {
    own: Own,
    events: u32,
    token: Token,
}

impl Registered {
    /// Makes a descriptor, hides it, and registers it in a set for `events`.
    ///
    /// # Errors
    /// What `make` says; `ENOMEM`, `ENOSPC`; `EBADF`, `EINVAL`: there is no such set.
    pub(crate) fn new(
        set: RawFd,
        events: i32,
        token: Token,
        make: impl FnOnce() -> Result<RawFd>,
    ) -> Result<Self> {
        let made = Self { own: Own::at(hidden(make)?), events: events as u32, token };
        match made.control(set, EPOLL_CTL_ADD) {
            Ok(()) => Ok(made),
            Err(errno) => {
                let _ = raw::close(made.own.number());
                Err(errno)
            }
        }
    }

    fn control(&self, set: RawFd, op: i32) -> Result<()> {
        control(set, op, self.own, &lanes::epoll_event(self.events, self.token))
    }

    /// The number, whatever it means: to be compared, or right after an event of the registration.
    pub(crate) fn number(&self) -> RawFd {
        self.own.number()
    }

    /// Who its events are for.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The number, if it still means what was registered in the set.
    ///
    /// # Errors
    /// `EBADF`, `ENOENT`, `EPERM`: the program has closed it; it is lost.
    pub(crate) fn check(&self, set: RawFd) -> Result<RawFd> {
        let looked = match self.events & EPOLLET as u32 {
            0 => self.control(set, EPOLL_CTL_MOD), // changes nothing
            _ => check(set, self.own),             // and this would tell once more what is ready
        };
        looked.map(|()| self.own.number())
    }

    /// Registers it for other events.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub(crate) fn listen(&mut self, set: RawFd, events: i32) -> Result<()> {
        self.events = events as u32;
        self.control(set, EPOLL_CTL_MOD)
    }

    pub(crate) fn own(&self) -> Own {
        self.own
    }

    /// Registers it in another set too, for other events.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`, `EBADF`.
    pub(crate) fn add_to(&mut self, set: RawFd, events: i32) -> Result<()> {
        self.events = events as u32;
        self.control(set, EPOLL_CTL_ADD)
    }

    /// Closes it, if it is ours. Where the set is not there any more nobody knows, and it stays open.
    pub(crate) fn close(self, set: RawFd) {
        close_if_in(set, self.own);
    }
}

/// epoll_ctl on a hidden descriptor.
///
/// # Errors
/// `EBADF`, `ENOENT`, `EPERM`: the program has closed it.
pub(crate) fn control(set: RawFd, op: i32, own: Own, event: &epoll_event) -> Result<()> {
    if !own.is_last() {
        return Err(Errno::ENOENT);
    }
    raw::epoll_ctl(set, op, own.number(), event)
}

/// Whether a hidden descriptor is registered in the set, of which nothing is changed.
///
/// # Errors
/// As for [`control`].
pub(crate) fn check(set: RawFd, own: Own) -> Result<()> {
    if own.is_last() { check_number(set, own.number()) } else { Err(Errno::ENOENT) }
}

/// Whether a number means what was registered in the set, of which nothing is changed: EEXIST says so,
/// before anything else is looked at.
///
/// # Errors
/// `EBADF`, `ENOENT`, `EPERM`: it does not.
pub(crate) fn check_number(set: RawFd, fd: RawFd) -> Result<()> {
    let nothing = lanes::epoll_event(EPOLLET as u32, Token::Alarm);
    match raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &nothing) {
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => {
            raw::epoll_ctl(set, EPOLL_CTL_DEL, fd, std::ptr::null())?;
            Err(Errno::ENOENT)
        }
    }
}

/// Takes a hidden descriptor out of a set and closes it, if it is registered there.
pub(crate) fn close_if_in(set: RawFd, own: Own) {
    if own.is_last() && raw::epoll_ctl(set, EPOLL_CTL_DEL, own.number(), std::ptr::null()).is_ok() {
        let _ = raw::close(own.number());
    }
}
