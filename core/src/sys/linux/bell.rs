//! The bell: what makes the queue's descriptor ready when a knote that is no descriptor's has become
//! active.
//!
//! An eventfd that is always readable, registered in the queue. To ring is to have the registration
//! look: EPOLL_CTL_MOD for EPOLLIN|EPOLLET is one edge. The scan that fetches it has consumed it, and
//! what one scan leaves over is announced by ringing again. To hush is to register it for nothing.
//!
//! A bell that was hushed before a scan came stays in the kernel's list of what is ready, and to ring it
//! there would be no edge for who watches the queue from outside. So it is taken out and put in again.
//!
//! (To write to an eventfd costs as much, and where the program has closed the number by a raw system
//! call, and opened a file there, writes to that file. EPOLL_CTL_MOD fails then: see `registered.rs`.)

use std::os::fd::RawFd;

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLLET, EPOLLIN};
use nix::errno::Errno;

use super::raw::{self, Result};
use super::registered::{Registered, leave};
use super::token::Token;

const RUNG: i32 = EPOLLIN | EPOLLET;
const HUSHED: i32 = 0;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    eventfd: Option<Registered>,
    /// Rung, and no scan has come for it yet.
    rung: bool,
    /// Hushed, when no scan had come for it.
    unheard: bool,
}

impl Bell {
    /// Makes it, if it is not there yet: at the change that will need it, which can fail.
    pub(crate) fn hang(&mut self, kq: RawFd) -> Result<()> {
        if self.eventfd.is_none() {
            self.eventfd = Some(Registered::new(kq, HUSHED, Token::Bell, eventfd)?);
        }
        Ok(())
    }

    pub(crate) fn is_there(&self) -> bool {
        self.eventfd.is_some()
    }

    /// Makes it anew if the program has closed it. True: it had.
    pub(crate) fn mend(&mut self, kq: RawFd) -> Result<bool> {
        let is_lost = self.eventfd.as_ref().is_some_and(|eventfd| eventfd.is_lost(kq));
        if is_lost {
            self.eventfd = Some(Registered::new(kq, self.events(), Token::Bell, eventfd)?);
        }
        Ok(is_lost)
    }

    /// Whether the program has closed the queue.
    pub(crate) fn has_lost(&self, kq: RawFd) -> bool {
        self.eventfd.as_ref().is_some_and(|eventfd| eventfd.has_lost(kq))
    }

    /// Whether it hangs in an epoll set.
    pub(crate) fn hangs_in(&mut self, set: RawFd) -> Result<bool> {
        let events = self.events();
        let Some(eventfd) = &mut self.eventfd else { return Ok(false) };
        // Changes nothing, but that a bell which is rung may be heard a second time.
        match eventfd.listen(set, events) {
            Err(Errno::ENOENT) => Ok(false),
            done => done.map(|()| true),
        }
    }

    fn events(&self) -> i32 {
        if self.rung { RUNG } else { HUSHED }
    }

    /// Hangs it in the set that takes the queue's place.
    pub(crate) fn move_into(&mut self, set: RawFd) -> Result<()> {
        let events = self.events();
        self.eventfd.as_mut().map_or(Ok(()), |eventfd| eventfd.add_to(set, events))
    }

    /// Makes the queue's descriptor ready, once until it is heard. True: the program has closed the
    /// bell's number, and perhaps more of ours; it hangs anew.
    #[inline(always)]
    pub(crate) fn ring(&mut self, kq: RawFd) -> bool {
        let Some(eventfd) = self.eventfd.as_mut().filter(|_| !self.rung) else { return false };
        if self.unheard {
            return self.ring_out(kq);
        }
        self.rung = eventfd.listen(kq, RUNG).is_ok();
        !self.rung && self.ring_another(kq)
    }

    /// Takes it out, and rings by putting it in again.
    #[inline(never)]
    fn ring_out(&mut self, kq: RawFd) -> bool {
        self.unheard = false;
        let Some(eventfd) = &mut self.eventfd else { return false };
        let out = leave(kq, eventfd.own());
        let rung = if out { eventfd.add_to(kq, RUNG) } else { eventfd.listen(kq, RUNG) };
        self.rung = rung.is_ok();
        if self.rung {
            return false;
        }
        if out && let Some(eventfd) = self.eventfd.take() {
            eventfd.close(kq); // no memory to put it in again: another is tried for
        }
        self.ring_another(kq)
    }

    #[cold]
    fn ring_another(&mut self, kq: RawFd) -> bool {
        if self.has_lost(kq) {
            return false; // the queue's number may mean a set of the program's
        }
        // Where that fails, for want of a descriptor, the next change or report tries again.
        if let Ok(another) = Registered::new(kq, RUNG, Token::Bell, eventfd) {
            (self.eventfd, self.rung) = (Some(another), true);
        }
        self.rung
    }

    /// Whether the queue's descriptor is ready for it.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung
    }

    /// A scan has fetched the bell's event.
    pub(crate) fn heard(&mut self) {
        self.rung = false;
    }

    /// What it was rung for is gone: the queue's descriptor must not be ready for it.
    pub(crate) fn hush(&mut self, kq: RawFd) {
        if let Some(eventfd) = self.eventfd.as_mut().filter(|_| self.rung) {
            let _ = eventfd.listen(kq, HUSHED);
            (self.rung, self.unheard) = (false, true);
        }
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(eventfd) = self.eventfd.take() {
            eventfd.close(kq);
        }
    }
}

fn eventfd() -> Result<RawFd> {
    raw::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)
}
