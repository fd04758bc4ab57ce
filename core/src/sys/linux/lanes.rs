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
//!
//! The program may close their numbers by raw system calls, and have epoll sets of its own there: see
//! `registered.rs` and `known_set.rs`.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD};
use nix::errno::Errno;

use super::hidden::Own;
use super::knote::{EXCLUSIVE, HUSHED, ONCE};
use super::known_set::KnownSet;
use super::raw::{self, Result};
use super::registered::{self, Registered};
use super::token::Token;

/// One for each filter that watches a descriptor.
pub(crate) const LANES: usize = 4;

#[derive(Debug)]
pub(crate) struct Lanes {
    kq: RawFd,
    /// Lanes 1 and up.
    nested: [Option<Registered>; LANES - 1],
    /// There is one at least.
    are_nested: bool,
    park: Option<KnownSet>,
}

impl Lanes {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self { kq, nested: [None, None, None], are_nested: false, park: None }
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.kq = kq;
    }

    /// Gives a nested lane another set; returns the one that it had.
    pub(crate) fn replace(&mut self, lane: u8, set: Registered) -> Option<Registered> {
        self.nested[usize::from(lane) - 1].replace(set)
    }

    /// The descriptor of a lane that has registrations.
    #[inline]
    pub(crate) fn set(&self, lane: u8) -> RawFd {
        match lane {
            0 => self.kq,
            _ => self.nested[usize::from(lane) - 1].as_ref().map_or(-1, Registered::number),
        }
    }

    /// A nested lane's set.
    pub(crate) fn own(&self, lane: u8) -> Option<Own> {
        self.nested.get(usize::from(lane).wrapping_sub(1))?.as_ref().map(Registered::own)
    }

    /// A set for a nested lane.
    pub(crate) fn another(&self, lane: u8) -> Result<Registered> {
        // Level: what one scan leaves in the lane keeps the queue readable.
        Registered::set(self.kq, libc::EPOLLIN, Token::Lane(lane))
    }

    fn make(&mut self, lane: u8) -> Result<RawFd> {
        if self.set(lane) < 0 {
            self.nested[usize::from(lane) - 1] = Some(self.another(lane)?);
            self.are_nested = true;
        }
        Ok(self.set(lane))
    }

    /// Whether there are lanes but the first.
    #[inline]
    pub(crate) fn are_nested(&self) -> bool {
        self.are_nested
    }

    /// The nested lanes whose sets the program has closed.
    pub(crate) fn lost(&self) -> impl Iterator<Item = u8> + use<> {
        let is_lost =
            |lane: &Option<Registered>| lane.as_ref().is_some_and(|set| set.is_lost(self.kq));
        let lost =
            [1, 2, 3].map(|lane: u8| is_lost(&self.nested[usize::from(lane) - 1]).then_some(lane));
        lost.into_iter().flatten()
    }

    /// Whether the program has closed the queue.
    pub(crate) fn have_lost(&self) -> bool {
        self.nested.iter().flatten().any(|set| set.has_lost(self.kq))
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
    #[inline(always)]
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

    /// Whether a lane's registration is still that of this number, with nothing changed.
    pub(crate) fn check(&self, lane: u8, fd: RawFd) -> Result<()> {
        registered::check_number(self.set(lane), fd)
    }

    /// The park. ENOENT: there is none, or the program has closed it.
    fn parked(&self) -> Result<RawFd> {
        self.park.ok_or(Errno::ENOENT)?.check()
    }

    pub(crate) fn has_park(&self) -> bool {
        self.park.is_some()
    }

    /// Registers a descriptor in the park.
    pub(crate) fn park(&mut self, fd: RawFd) -> Result<()> {
        let set = match self.parked() {
            Ok(set) => set,
            // (Those that the program has closed with it are taken for closed.)
            Err(_) => self.park.insert(KnownSet::new()?).check()?,
        };
        match raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event(fd, 0, 0, true)) {
            Err(Errno::EEXIST) => Ok(()),
            done => done,
        }
    }

    /// Refuses the queue itself, or a duplicate of it: in a lane the kernel does.
    ///
    /// # Errors
    /// `EINVAL`.
    pub(crate) fn refuse_itself(&self, fd: RawFd) -> Result<()> {
        match raw::epoll_ctl(self.kq, EPOLL_CTL_DEL, fd, std::ptr::null()) {
            Err(Errno::EINVAL) => Err(Errno::EINVAL),
            _ => Ok(()), // it is not there
        }
    }

    /// Whether a parked descriptor is still the one that was parked: ENOENT and EBADF say it is not.
    pub(crate) fn check_parked(&self, fd: RawFd) -> Result<()> {
        raw::epoll_ctl(self.parked()?, EPOLL_CTL_MOD, fd, &event(fd, 0, 0, true))
    }

    /// Takes a descriptor out of the park. ENOENT and EBADF: the number was closed.
    pub(crate) fn unpark(&self, fd: RawFd) -> Result<()> {
        raw::epoll_ctl(self.parked()?, EPOLL_CTL_DEL, fd, std::ptr::null())
    }

    /// The queue is over: closes what is ours; lane 0 is the program's.
    pub(crate) fn close(&mut self) {
        for set in self.nested.iter_mut().filter_map(Option::take) {
            set.close(self.kq);
        }
        if let Some(park) = self.park.take() {
            park.close();
        }
    }
}

/// Registers a descriptor in a set that is no lane yet.
pub(crate) fn add_to(set: RawFd, fd: RawFd, token: u32, want: u16, edge: bool) -> Result<()> {
    raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event(fd, token, want, edge))
}

#[inline(always)]
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
