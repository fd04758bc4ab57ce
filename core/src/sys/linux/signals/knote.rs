//! A SIGNAL knote, and what the queue's SIGNAL knotes share.

use std::os::fd::RawFd;

use libc::{EPOLLET, EPOLLIN, c_int};

use super::ringer::Ringer;
use super::{count, number, pending, unwatch, watch};
use crate::sys::linux::raw::{self, Result};
use crate::sys::linux::registered::Registered;
use crate::sys::linux::token::Token;

/// The filter's part of a SIGNAL knote.
#[derive(Debug)]
pub(crate) struct Signal {
    signal: c_int,
    /// The count when it last reported.
    reported: u64,
    /// Watched, until this is dropped.
    _watched: Watched,
}

#[derive(Debug)]
struct Watched(c_int);

impl Drop for Watched {
    fn drop(&mut self) {
        unwatch(self.0);
    }
}

impl Signal {
    /// # Errors
    /// - `EINVAL`: no signal that can be caught.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory.
    pub(crate) fn new(ident: usize, side: &mut Side, kq: RawFd) -> Result<Self> {
        let signal = number(ident)?;
        side.open(kq)?;
        watch(signal)?;
        let watched = Watched(signal);
        // What is pending already came before.
        pending::look(super::bit(signal));
        Ok(Self { signal, reported: count::look(signal).count(), _watched: watched })
    }

    pub(crate) fn is_ready(&self) -> bool {
        count::look(self.signal).count() != self.reported
    }

    /// How many came since the last report.
    pub(crate) fn take(&mut self) -> Option<i64> {
        let count = count::look(self.signal).count();
        let came = count - std::mem::replace(&mut self.reported, count);
        (came != 0).then_some(came as i64)
    }

    /// Has the queue woken by it, or not.
    pub(crate) fn rest(&self, enabled: bool, side: &mut Side, kq: RawFd) -> Result<()> {
        side.listen(kq, self.signal, enabled)
    }

    /// The knote goes.
    pub(crate) fn leave(&self, side: &mut Side, kq: RawFd) {
        // Fewer signals: what wakes for too many does no harm.
        let _ = side.listen(kq, self.signal, false);
    }
}

/// What a queue has for its SIGNAL knotes, made with the first of them.
#[derive(Debug, Default)]
pub(crate) struct Side {
    ringer: Option<&'static Ringer>,
    /// Polled, never read.
    signalfd: Option<Registered>,
    /// Of a signal that is pending it is not known yet whether a thread will take it.
    pub(crate) is_open: bool,
    /// Knotes may have something to report that the ringer does not tell of.
    unlooked: bool,
}

impl Side {
    fn open(&mut self, kq: RawFd) -> Result<()> {
        if self.ringer.is_none() {
            self.ringer = Some(Ringer::open(kq)?);
        }
        if self.signalfd.is_none() {
            self.signalfd = Some(signalfd(kq, 0)?);
        }
        Ok(())
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        if let Some(ringer) = self.ringer {
            ringer.move_to(kq);
        }
    }

    /// The queue's set was replaced, and what rang meanwhile rang in the old one.
    pub(crate) fn look_again(&mut self) {
        self.unlooked = true;
    }

    /// Makes anew what the program has closed.
    pub(crate) fn mend(&mut self, kq: RawFd) {
        if let Some(ringer) = self.ringer {
            ringer.mend();
            self.unlooked = true;
        }
        if self.signalfd.as_ref().is_some_and(|signalfd| signalfd.is_lost(kq)) {
            let _ = self.set_mask(kq);
        }
    }

    /// Whether any knote is enabled.
    pub(crate) fn is_listening(&self) -> bool {
        self.mask() != 0
    }

    fn mask(&self) -> u64 {
        self.ringer.map_or(0, Ringer::mask)
    }

    /// The signals of knotes that are enabled.
    pub(crate) fn signals(&self) -> impl Iterator<Item = c_int> + use<> {
        let mask = self.mask();
        (1..super::SIGNALS as c_int).filter(move |&signal| mask & super::bit(signal) != 0)
    }

    fn listen(&mut self, kq: RawFd, signal: c_int, on: bool) -> Result<()> {
        let Some(ringer) = self.ringer else { return Ok(()) };
        if ringer.rings_for(signal) == on {
            return Ok(());
        }
        ringer.set(signal, on);
        // It may have come before we listened; or the ringer was rung for it, and for others too.
        self.unlooked = true;
        if !on {
            ringer.hush();
        }
        self.set_mask(kq)
    }

    /// Has the signalfd tell of the signals of enabled knotes; at once of what is pending already.
    fn set_mask(&mut self, kq: RawFd) -> Result<()> {
        let mask = self.mask();
        let Some(there) = &self.signalfd else { return Ok(()) };
        if there.is_lost(kq) {
            self.signalfd = Some(signalfd(kq, mask)?);
            return Ok(());
        }
        raw::signalfd(there.number(), mask).map(drop)
    }

    /// Whether knotes may have something to report that nobody was told of; once.
    pub(crate) fn take_unlooked(&mut self) -> bool {
        std::mem::take(&mut self.unlooked)
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(ringer) = self.ringer.take() {
            ringer.retire();
        }
        if let Some(signalfd) = self.signalfd.take() {
            signalfd.close(kq);
        }
    }

    /// Counts what has become pending.
    pub(crate) fn look(&mut self) {
        self.is_open = pending::look(self.mask());
    }

    /// Before a wait: has the program put handlers in the place of ours, is something pending that
    /// the signalfd did not tell of?
    pub(crate) fn examine(&mut self) {
        if !super::ALL_TOLD.load(std::sync::atomic::Ordering::Relaxed) {
            self.signals().for_each(super::action::reinstall);
        }
        self.look();
    }
}

fn signalfd(kq: RawFd, mask: u64) -> Result<Registered> {
    // Edges: what stays pending is told once.
    Registered::new(kq, EPOLLIN | EPOLLET, Token::Pending, || raw::signalfd(-1, mask))
}
