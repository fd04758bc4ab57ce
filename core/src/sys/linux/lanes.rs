//! The epoll sets of a queue.
//!
//! Lane 0 is the queue's own descriptor. The others are nested in it and made when first needed: an
//! edge knote must not share a registration with another knote of its descriptor, and one epoll set
//! holds a descriptor only once.
//!
//! The *park* is a set that nobody waits on. A descriptor none of whose knotes report is registered
//! there, since epoll cannot mask hang-ups: left in a lane, a disabled knote would make the queue
//! readable. Parked, the kernel still tells us (ENOENT) when the number was closed and taken by
//! another file.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD};
use nix::errno::Errno;

use super::hidden::hidden;
use super::knote::{EXCLUSIVE, HUSHED, ONCE};
use super::raw::{self, Result};
use super::token::Token;

/// One for each filter that watches a descriptor.
pub(crate) const LANES: usize = 4;

#[derive(Debug)]
pub(crate) struct Lanes {
    sets: [Option<RawFd>; LANES],
    park: Option<RawFd>,
}

impl Lanes {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self { sets: [Some(kq), None, None, None], park: None }
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.sets[0] = Some(kq);
    }

    /// Gives a lane another set; returns the one that it had.
    pub(crate) fn replace(&mut self, lane: u8, set: RawFd) -> RawFd {
        self.sets[lane as usize].replace(set).unwrap_or(-1)
    }

    /// The descriptor of a lane that has registrations.
    pub(crate) fn set(&self, lane: u8) -> RawFd {
        self.sets[lane as usize].unwrap_or(-1)
    }

    fn make(&mut self, lane: u8) -> Result<RawFd> {
        if let Some(set) = self.sets[lane as usize] {
            return Ok(set);
        }
        let set = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        // Level: what one scan leaves in the lane keeps the queue readable.
        let event = epoll_event(libc::EPOLLIN as u32, Token::Lane(lane));
        if let Err(errno) = raw::epoll_ctl(self.set(0), EPOLL_CTL_ADD, set, &event) {
            let _ = raw::close(set);
            return Err(errno);
        }
        self.sets[lane as usize] = Some(set);
        Ok(set)
    }

    /// Registers a descriptor that the lane does not hold.
    pub(crate) fn add(
        &mut self,
        lane: u8,
        fd: RawFd,
        token: u32,
        want: u16,
        edge: bool,
    ) -> Result<()> {
        let set = self.make(lane)?;
        let event = event(fd, token, want, edge);
        match raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) {
            // The number was closed while a duplicate lived, and the duplicate moved back to it: the
            // old registration, which we had given up, is there again.
            Err(Errno::EEXIST) => raw::epoll_ctl(set, EPOLL_CTL_MOD, fd, &event),
            done => done,
        }
    }

    /// Changes a registration; arms it anew. ENOENT and EBADF: the number was closed.
    pub(crate) fn modify(
        &self,
        lane: u8,
        fd: RawFd,
        token: u32,
        want: u16,
        edge: bool,
    ) -> Result<()> {
        let event = event(fd, token, want, edge);
        if want & EXCLUSIVE != 0 {
            // It cannot be changed; what is ready is told when it is added.
            self.delete(lane, fd)?;
            return raw::epoll_ctl(self.set(lane), EPOLL_CTL_ADD, fd, &event);
        }
        raw::epoll_ctl(self.set(lane), EPOLL_CTL_MOD, fd, &event)
    }

    /// Ends a registration. ENOENT and EBADF: the number was closed.
    pub(crate) fn delete(&self, lane: u8, fd: RawFd) -> Result<()> {
        raw::epoll_ctl(self.set(lane), EPOLL_CTL_DEL, fd, std::ptr::null())
    }

    /// Whether a lane's registration is still that of this number, with nothing changed: EEXIST says
    /// so.
    pub(crate) fn check(&self, lane: u8, fd: RawFd) -> Result<()> {
        match raw::epoll_ctl(self.set(lane), EPOLL_CTL_ADD, fd, &event(fd, 0, 0, true)) {
            Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(errno),
            Ok(()) => {
                self.delete(lane, fd)?;
                Err(Errno::ENOENT)
            }
        }
    }

    /// Registers a descriptor in the park.
    pub(crate) fn park(&mut self, fd: RawFd) -> Result<()> {
        let set = match self.park {
            Some(set) => set,
            None => *self.park.insert(hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?),
        };
        match raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event(fd, 0, 0, true)) {
            Err(Errno::EEXIST) => Ok(()),
            done => done,
        }
    }

    /// Whether a parked descriptor is still the one that was parked: ENOENT and EBADF say it is not.
    pub(crate) fn check_parked(&self, fd: RawFd) -> Result<()> {
        raw::epoll_ctl(self.park.unwrap_or(-1), EPOLL_CTL_MOD, fd, &event(fd, 0, 0, true))
    }

    /// Takes a descriptor out of the park. ENOENT and EBADF: the number was closed.
    pub(crate) fn unpark(&self, fd: RawFd) -> Result<()> {
        raw::epoll_ctl(self.park.unwrap_or(-1), EPOLL_CTL_DEL, fd, std::ptr::null())
    }
}

impl Drop for Lanes {
    /// Closes what is ours; lane 0 is the program's.
    fn drop(&mut self) {
        for set in self.sets[1..].iter().chain([&self.park]).flatten() {
            let _ = raw::close(*set);
        }
    }
}

/// Registers a descriptor in a set that is no lane yet.
pub(crate) fn add_to(set: RawFd, fd: RawFd, token: u32, want: u16, edge: bool) -> Result<()> {
    raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event(fd, token, want, edge))
}

fn event(fd: RawFd, token: u32, want: u16, edge: bool) -> libc::epoll_event {
    let mut bits = u32::from(want & !(HUSHED | ONCE | EXCLUSIVE));
    if edge || want & HUSHED != 0 {
        bits |= libc::EPOLLET as u32;
    }
    if want & ONCE != 0 {
        bits |= libc::EPOLLONESHOT as u32;
    }
    if want & EXCLUSIVE != 0 {
        bits |= libc::EPOLLEXCLUSIVE as u32;
    }
    epoll_event(bits, Token::Descriptor { fd, token })
}

/// The kernel's struct.
pub(crate) fn epoll_event(events: u32, token: Token) -> libc::epoll_event {
    libc::epoll_event { events, u64: token.encode() }
}
