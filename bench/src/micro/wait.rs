//! Fetching what is ready.

use std::os::fd::RawFd;

use anyhow::{Result, ensure};

use super::least::{Counted, Least, Of, Room};
use super::{Primitive, Targets, measure};
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EVFILT_READ, Kq, NOTE_NODATA, ZERO};
use crate::measure::{Lane, Row};
use crate::model::Bench;

/// `ready` of the watched descriptors have a byte in them; level-triggered.
struct Wait {
    fds: Vec<RawFd>,
    ready: usize,
    /// Room for events.
    max: usize,
    /// Whether kqueue fills `data`. epoll has none: there, the row with and the row without are
    /// the same, and compat's calls (the readiness view) are measured in the latter.
    data: bool,
}

impl Primitive for Wait {
    fn compares_epolls(&self) -> bool {
        !self.data
    }

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

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        let name = if self.data { "epoll_wait, FIONREAD, lock" } else { "epoll_wait, lock" };
        let mut all = Vec::new();
        for (of, border) in Of::KQUEUES {
            let least = Least::new(api, of)?;
            for &fd in &self.fds {
                least.ctl(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32)?;
            }
            let mut room = Room::new(self.max);
            let lane = Lane::repeat(format!("{name}{border}"), move || {
                let got = least.wait(&mut room, 0, self.data)?;
                ensure!(got == self.ready, "{got} events, not {}", self.ready);
                Ok(())
            });
            all.push((of, lane));
        }
        if !self.data {
            let counted = Counted::new(api)?;
            for &fd in &self.fds {
                counted.ctl(libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN as u32)?;
            }
            let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; self.max];
            let lane = Lane::repeat("epoll_wait, counted", move || {
                let got = counted.wait(&mut events, 0)?;
                ensure!(got == self.ready, "{got} events, not {}", self.ready);
                Ok(())
            });
            all.push((Of::Compat, lane));
        }
        Ok(all)
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        if !self.data && !kq.has_nodata() {
            return Ok(None);
        }
        let fflags = if self.data { 0 } else { NOTE_NODATA };
        for &fd in &self.fds {
            kq.change(&[K::event(fd as usize, EVFILT_READ, EV_ADD, fflags, 0)])?;
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

    pub(super) fn number(&self) -> RawFd {
        self.fd
    }

    /// With the descriptor as its data.
    #[inline]
    pub(super) fn ctl(&self, op: i32, fd: RawFd, events: u32) -> std::io::Result<()> {
        self.ctl_named(op, fd, events, fd as u64)
    }

    #[inline]
    pub(super) fn ctl_named(
        &self,
        op: i32,
        fd: RawFd,
        events: u32,
        data: u64,
    ) -> std::io::Result<()> {
        self.api.ctl(self.fd, op, fd, events, data)
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
    let with = Targets::kqueue(1.7);
    let without = Targets { kqueue: Some(1.10), epoll: Some(1.05), private: None };
    for n in sizes {
        let pipes = pipes(n)?;
        pipes[n / 2].send()?;
        let fds: Vec<RawFd> = pipes.iter().map(Pipe::read_fd).collect();
        for (data, title, targets) in [
            (true, "1 ready of N, with data", with),
            (false, "1 ready of N, without data", without),
        ] {
            let wait = Wait { fds: fds.clone(), ready: 1, max: 64, data };
            measure(ctx, bench, Row::cost("wait", title).at(n), &wait, targets)?;
        }
    }
    for (ready, kqueue, epoll) in [(64, Some(1.15), None), (256, None, Some(1.05))] {
        let pipes = pipes(ready)?;
        for pipe in &pipes {
            pipe.send()?;
        }
        let fds: Vec<RawFd> = pipes.iter().map(Pipe::read_fd).collect();
        for (data, title, targets) in [
            (true, "all N ready, with data, each", Targets::default()),
            (false, "all N ready, without data, each", Targets { kqueue, epoll, private: None }),
        ] {
            let wait = Wait { fds: fds.clone(), ready, max: ready, data };
            let row = Row::cost("wait", title).at(ready).per(ready);
            measure(ctx, bench, row, &wait, targets)?;
        }
    }
    Ok(())
}
