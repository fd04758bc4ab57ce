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
//! Where the set is gone, closed by the program too, the [`roll`] knows, and of a set nested in it the
//! witness that is in that ([`known_set`]).
//!
//! So each use of such a number is an epoll_ctl, or comes right after one. (An event of the registration
//! proves nothing: a forked child may have the file, which then goes on to tell of things. Nor is there
//! another way: kcmp(2) is often forbidden, fcntl(F_DUPFD_QUERY) needs Linux 6.10, and a link in
//! /proc/self/fd tells the kind only.) What another thread closes between the look and the use is not
//! seen.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, epoll_event};
use nix::errno::Errno;

use super::hidden::Own;
use super::known_set::{self, KnownSet};
use super::lanes;
use super::raw::{self, Result};
use super::roll;
use super::token::Token;

/// See the module.
#[derive(Debug)]
pub(crate) struct Registered {
    own: Own,
    events: u32,
    token: Token,
    /// Of an epoll set.
    witness: Option<Own>,
}

impl Registered {
    /// Makes a descriptor, which is no epoll set's, hides it, and registers it in a set for `events`.
    ///
    /// # Errors
    /// What `make` says; `ENOMEM`, `ENOSPC`; `EBADF`, `EINVAL`: there is no such set.
    pub(crate) fn new(
        set: RawFd,
        events: i32,
        token: Token,
        make: impl FnOnce() -> Result<RawFd>,
    ) -> Result<Self> {
        let own = roll::hidden(make)?;
        Self { own, events: events as u32, token, witness: None }.put_into(set)
    }

    /// Makes an epoll set, with a witness of its own in it, and registers it in another.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn set(set: RawFd, events: i32, token: Token) -> Result<Self> {
        let witness = roll::hidden(|| raw::eventfd(0, libc::EFD_CLOEXEC))?;
        match KnownSet::with(witness.number()) {
            Ok(made) => {
                let (own, events) = (made.own(), events as u32);
                Self { own, events, token, witness: Some(witness) }.put_into(set)
            }
            Err(errno) => {
                close(-1, witness);
                Err(errno)
            }
        }
    }

    fn put_into(self, set: RawFd) -> Result<Self> {
        match self.control(set, EPOLL_CTL_ADD) {
            Ok(()) => Ok(self),
            Err(errno) => {
                self.close(set);
                Err(errno)
            }
        }
    }

    #[inline(always)]
    fn control(&self, set: RawFd, op: i32) -> Result<()> {
        control(set, op, self.own, &event(self.events, self.token, self.own))
    }

    /// The number, whatever it means: to be compared, or right after a look.
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
    #[inline(always)]
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

    /// Whether its number still means it, whatever has become of the set.
    fn is_ours(&self) -> bool {
        match self.witness {
            None => roll::holds(self.own),
            Some(witness) => {
                self.own.is_last() && known_set::has(self.own.number(), witness.number())
            }
        }
    }

    /// Whether the program has closed it; false where it is the set that was closed.
    pub(crate) fn is_lost(&self, set: RawFd) -> bool {
        self.check(set).is_err() && !self.is_ours()
    }

    /// Whether the program has closed the set that it was registered in.
    pub(crate) fn has_lost(&self, set: RawFd) -> bool {
        self.check(set).is_err() && self.is_ours()
    }

    /// Closes it, if it is ours.
    pub(crate) fn close(self, set: RawFd) {
        let Some(witness) = self.witness else { return close(set, self.own) };
        let was_in_set = leave(set, self.own);
        if was_in_set || self.is_ours() {
            let _ = raw::close(self.own.number());
        }
        close(-1, witness);
    }
}

/// What a hidden descriptor is registered with: an event tells which it is of.
pub(crate) fn event(events: u32, token: Token, own: Own) -> epoll_event {
    epoll_event { events, u64: token.encode_with(own.serial()) }
}

/// epoll_ctl on a hidden descriptor.
///
/// # Errors
/// `EBADF`, `ENOENT`, `EPERM`: the program has closed it.
#[inline(always)]
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

/// Takes a hidden descriptor out of a set. False: it was not in there.
pub(crate) fn leave(set: RawFd, own: Own) -> bool {
    own.is_last() && raw::epoll_ctl(set, EPOLL_CTL_DEL, own.number(), std::ptr::null()).is_ok()
}

/// Takes a hidden descriptor, which is no epoll set's, out of a set, so that it is nobody's any more.
/// False: the program has closed it.
pub(crate) fn take_out(set: RawFd, own: Own) -> bool {
    leave(set, own) || roll::holds(own)
}

/// Closes a hidden descriptor, which is no epoll set's and may be registered in a set, if it is ours.
pub(crate) fn close(set: RawFd, own: Own) {
    // (Out of both first: a child that the program forked may hold the same file.)
    let was_in_set = leave(set, own);
    if roll::strike(own) || was_in_set {
        let _ = raw::close(own.number());
    }
}
