//! Fetching what is ready.

use std::os::fd::RawFd;

use anyhow::{Result, ensure};

use super::{Primitive, Targets, measure};
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EVFILT_READ, Kq, ZERO};
use crate::measure::{Lane, Row};
use crate::model::Bench;

/// `ready` of the watched descriptors have a byte in them; level-triggered.
struct Wait {
    fds: Vec<RawFd>,
    ready: usize,
    /// Room for events.
    max: usize,
}

impl Primitive for Wait {
    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        for &fd in &self.fds {
            ep.ctl(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32)?;
        }
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; self.max];
        Ok(Lane::repeat(name, move || {
            let got = ep.wait(&mut events, 0)?;
            ensure!(got == self.ready, "{got} events, not {}", self.ready);
            Ok(())
        }))
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        for &fd in &self.fds {
            kq.change(&[K::event(fd as usize, EVFILT_READ, EV_ADD, 0, 0)])?;
        }
        let mut events = K::room(self.max);
        Ok(Some(Lane::repeat(name, move || {
            let got = kq.kevent(&[], &mut events, Some(&ZERO))?;
            ensure!(got == self.ready, "{got} events, not {}", self.ready);
            Ok(())
        })))
    }
}

/// An epoll descriptor, closed with the lane that owns it.
pub(super) struct Epoll {
    api: EpollApi,
    fd: RawFd,
}

impl Epoll {
    pub(super) fn new(api: EpollApi) -> Result<Self> {
        Ok(Self { fd: api.create()?, api })
    }

    /// With the descriptor as its data.
    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        self.api.ctl(self.fd, op, fd, events, fd as u64)
    }

    // A method, and the fields private: a closure that used the fields alone would capture copies
    // of them and leave the owner behind, to close the descriptor at once.
    #[inline]
    pub(super) fn wait(
        &self,
        events: &mut [libc::epoll_event],
        timeout: i32,
    ) -> std::io::Result<usize> {
        self.api.wait(self.fd, events, timeout)
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // SAFETY: the queue's own number, closed once.
        unsafe { libc::close(self.fd) };
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let sizes: &[usize] = if ctx.quick { &[1, 10] } else { &[1, 10, 100, 1000, 9900] };
    let (sizes, note) = ctx.that_fit(sizes, 2, 0)?;
    bench.notes.extend(note);
    for n in sizes {
        let pipes = pipes(n)?;
        pipes[n / 2].send()?;
        let fds = pipes.iter().map(Pipe::read_fd).collect();
        let wait = Wait { fds, ready: 1, max: 64 };
        let row = Row::cost("wait", "1 ready of N, with data").at(n);
        let targets = Targets { kqueue: Some(1.7), epoll: Some(1.05) };
        measure(ctx, bench, row, &wait, targets)?;
    }
    for (ready, targets) in [
        (64, Targets { kqueue: None, epoll: None }),
        (256, Targets { kqueue: None, epoll: Some(1.05) }),
    ] {
        let pipes = pipes(ready)?;
        for pipe in &pipes {
            pipe.send()?;
        }
        let fds = pipes.iter().map(Pipe::read_fd).collect();
        let wait = Wait { fds, ready, max: ready };
        let row = Row::cost("wait", "all N ready, with data, per event").at(ready).per(ready);
        measure(ctx, bench, row, &wait, targets)?;
    }
    Ok(())
}
