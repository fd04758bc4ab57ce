//! Interfaces that take turns on the same descriptors.
//!
//! Every queue that watches a descriptor is called when something arrives there, so a queue left
//! behind by another lane would be paid for by this one. epoll and kqueue therefore watch only
//! while it is their turn; select and poll keep nothing in the kernel (compat's own registrations
//! stay, as they do in a program).

use std::os::fd::RawFd;
use std::time::Duration;

use anyhow::Result;

use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};

/// A waiter and what it watches when its turn comes.
pub(crate) struct Watched {
    poller: Box<dyn Poller>,
    fds: Vec<RawFd>,
    want: Want,
    /// Whether the kernel keeps its registrations between calls.
    registers: bool,
}

impl Watched {
    pub(crate) fn new(
        interface: &Interface,
        fds: Vec<RawFd>,
        want: Want,
        max_events: usize,
    ) -> Result<Self> {
        let mut poller = interface.open(max_events)?;
        let registers = matches!(interface.family, Family::Epoll | Family::Kqueue);
        if !registers {
            for &fd in &fds {
                poller.add(fd, want)?;
            }
        }
        Ok(Self { poller, fds, want, registers })
    }

    /// Watches, does `turn`, and lets go again.
    pub(crate) fn with(
        &mut self,
        turn: impl FnOnce(&mut dyn Poller) -> Result<Duration>,
    ) -> Result<Duration> {
        if self.registers {
            for &fd in &self.fds {
                self.poller.add(fd, self.want)?;
            }
        }
        let took = turn(&mut *self.poller)?;
        if self.registers {
            for &fd in &self.fds {
                self.poller.delete(fd)?;
            }
        }
        Ok(took)
    }
}
