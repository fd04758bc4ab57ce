//! The least that each interface can do: what the kernel must be asked for, and what the interface
//! promises beside it. Measured in the same turns as ours, it is the floor of a row.
//!
//! A kqueue has a table of knotes, which several threads may use: one lock and one look-up for each
//! change and each wait, and an event of 64 bytes written. epoll's own 64 bits come back as they are,
//! so its floor is the calls. Both count what they do (`KQCOMPAT_STATS`).

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, ensure};

use super::wait::Epoll;
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EVFILT_READ};
use crate::iface::kq_library::{Full, Layout};

/// Whose floor a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// kqueue's, in Rust and in C.
    Kqueue,
    /// A private kqueue's.
    Private,
    /// compat epoll's.
    Compat,
}

/// A queue that can do nothing but what a row needs.
pub(super) struct Least {
    ep: Epoll,
    /// Whether a number has a knote.
    knotes: Mutex<Vec<bool>>,
    waits: AtomicU64,
    events: AtomicU64,
}

impl Least {
    pub(super) fn new(api: EpollApi) -> Result<Self> {
        let (waits, events) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { ep: Epoll::new(api)?, knotes: Mutex::default(), waits, events })
    }

    /// A change that the kernel is told of.
    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        let mut knotes = self.knotes.lock().unwrap_or_else(PoisonError::into_inner);
        self.ep.ctl(op, fd, events)?;
        let at = fd as usize;
        if at >= knotes.len() {
            knotes.resize(at + 1, false);
        }
        knotes[at] = op != libc::EPOLL_CTL_DEL;
        Ok(())
    }

    /// A change that the kernel need not know of.
    #[inline]
    pub(super) fn note(&self, fd: RawFd) {
        let mut knotes = self.knotes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(knote) = knotes.get_mut(fd as usize) {
            *knote = true;
        }
    }

    /// A wait; with `data`, the kernel is asked how much there is to read.
    #[inline]
    pub(super) fn wait(&self, room: &mut Room, timeout: i32, data: bool) -> Result<usize> {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let n = self.ep.wait(&mut room.kernels, timeout)?;
        let knotes = self.knotes.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, to) in room.kernels[..n].iter().zip(&mut room.events) {
            let fd = from.u64 as RawFd;
            ensure!(knotes.get(fd as usize) == Some(&true), "an event of no knote");
            let mut bytes: libc::c_int = 0;
            if data {
                // SAFETY: FIONREAD writes one int to `bytes`.
                unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut bytes) };
                ensure!(bytes == 1, "{bytes} bytes where one was sent");
            }
            *to = Full::new(fd as usize, EVFILT_READ, EV_ADD, 0, bytes.into());
        }
        // Under the lock, so that no locked instruction is needed.
        self.events.store(self.events.load(Ordering::Relaxed) + n as u64, Ordering::Relaxed);
        std::hint::black_box(&room.events);
        Ok(n)
    }
}

/// Room for events, the kernel's and ours.
pub(super) struct Room {
    kernels: Vec<libc::epoll_event>,
    events: Vec<Full>,
}

impl Room {
    pub(super) fn new(max: usize) -> Self {
        let kernels = vec![libc::epoll_event { events: 0, u64: 0 }; max];
        Self { kernels, events: vec![Full::default(); max] }
    }
}

/// epoll whose calls are counted.
pub(super) struct Counted {
    ep: Epoll,
    calls: [AtomicU64; 3],
}

impl Counted {
    pub(super) fn new(api: EpollApi) -> Result<Self> {
        Ok(Self { ep: Epoll::new(api)?, calls: Default::default() })
    }

    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        self.calls[0].fetch_add(1, Ordering::Relaxed);
        self.ep.ctl(op, fd, events)
    }

    #[inline]
    pub(super) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        timeout: i32,
    ) -> std::io::Result<usize> {
        self.calls[1].fetch_add(1, Ordering::Relaxed);
        let n = self.ep.wait(events, timeout)?;
        self.calls[2].fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
