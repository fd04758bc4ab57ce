//! A SIGNAL knote, and what the queue's SIGNAL knotes share.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLLET, EPOLLIN, c_int};

use super::ringer::Ringer;
use super::{count, number, pending, unwatch, watch};
use crate::sys::linux::hidden::hidden;
use crate::sys::linux::lanes::epoll_event;
use crate::sys::linux::raw::{self, Result};
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
    pub(crate) fn rest(&self, enabled: bool, side: &mut Side) -> Result<()> {
        side.listen(self.signal, enabled)
    }

    /// The knote goes.
    pub(crate) fn leave(&self, side: &mut Side) {
        // Fewer signals: cannot fail.
        let _ = side.listen(self.signal, false);
    }
}

/// What a queue has for its SIGNAL knotes, made with the first of them.
#[derive(Debug, Default)]
pub(crate) struct Side {
    ringer: Option<&'static Ringer>,
    /// Polled, never read.
    signalfd: Option<RawFd>,
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
            let fd = hidden(|| raw::signalfd(-1, 0))?;
            // Edges: what stays pending is told once.
            let event = epoll_event(EPOLLIN as u32 | EPOLLET as u32, Token::Pending);
            if let Err(errno) = raw::epoll_ctl(kq, EPOLL_CTL_ADD, fd, &event) {
                let _ = raw::close(fd);
                return Err(errno);
            }
            self.signalfd = Some(fd);
        }
        Ok(())
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

    fn listen(&mut self, signal: c_int, on: bool) -> Result<()> {
        let (Some(ringer), Some(signalfd)) = (self.ringer, self.signalfd) else { return Ok(()) };
        if ringer.rings_for(signal) == on {
            return Ok(());
        }
        ringer.set(signal, on);
        // It may have come before we listened; or the ringer was rung for it, and for others too.
        self.unlooked = true;
        if !on {
            ringer.hush();
        }
        // Tells at once of what is pending already.
        raw::signalfd(signalfd, self.mask()).map(drop)
    }

    /// Whether knotes may have something to report that nobody was told of; once.
    pub(crate) fn take_unlooked(&mut self) -> bool {
        std::mem::take(&mut self.unlooked)
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

impl Drop for Side {
    fn drop(&mut self) {
        if let Some(ringer) = self.ringer {
            ringer.retire();
        }
        if let Some(fd) = self.signalfd {
            let _ = raw::close(fd);
        }
    }
}
