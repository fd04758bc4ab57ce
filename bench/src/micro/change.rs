//! Registering, modifying, deleting. What one direction does, the other undoes off the clock.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use anyhow::Result;

use super::least::{Counted, Least, Of};
use super::wait::Epoll;
use super::{Primitive, Targets, measure};
use crate::clock::Stopwatch;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EV_DELETE, EVFILT_READ, Kq};
use crate::measure::{Lane, Row};
use crate::model::Bench;

/// What is on the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timed {
    Add,
    /// EPOLL_CTL_MOD; with kqueue an EV_ADD of a knote that is there.
    Modify,
    Delete,
}

impl Timed {
    fn op(self) -> i32 {
        match self {
            Self::Add => libc::EPOLL_CTL_ADD,
            Self::Modify => libc::EPOLL_CTL_MOD,
            Self::Delete => libc::EPOLL_CTL_DEL,
        }
    }
}

/// Adds, modifies or deletes READ registrations of empty pipes.
struct Change {
    fds: Vec<RawFd>,
    timed: Timed,
    /// Changes in one kevent call. epoll_ctl takes one at a time.
    batch: usize,
}

impl Change {
    /// `n` descriptors at a time: prepare, clock on, do, clock off, undo.
    fn lane<'a>(
        &'a self,
        name: &str,
        mut set: impl FnMut(Timed, &[RawFd]) -> io::Result<()> + 'a,
    ) -> Lane<'a> {
        Lane::new(name, move |n| {
            let mut took = Duration::ZERO;
            // Whole batches, so that every call is of the size that the row says.
            let mut left = (n as usize).next_multiple_of(self.batch);
            let asked = left;
            while left > 0 {
                let fds = &self.fds[..left.min(self.fds.len())];
                if self.timed != Timed::Add {
                    set(Timed::Add, fds)?;
                }
                let start = Stopwatch::start();
                set(self.timed, fds)?;
                took += start.elapsed();
                if self.timed != Timed::Delete {
                    set(Timed::Delete, fds)?;
                }
                left -= fds.len();
            }
            Ok(took.mul_f64(n as f64 / asked as f64))
        })
    }
}

impl Primitive for Change {
    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        Ok(self.lane(name, move |what, fds| {
            fds.iter().try_for_each(|&fd| ep.ctl(what.op(), fd, libc::EPOLLIN as u32))
        }))
    }

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        let events = libc::EPOLLIN as u32;
        let mut all = Vec::new();
        for (of, border) in Of::KQUEUES {
            let least = Least::new(api, of)?;
            let lane = self.lane(&format!("epoll_ctl, lock{border}"), move |what, fds| {
                fds.iter().try_for_each(|&fd| least.ctl(what.op(), fd, events))
            });
            all.push((of, lane));
        }
        let counted = Counted::new(api)?;
        let counted = self.lane("epoll_ctl, counted", move |what, fds| {
            fds.iter().try_for_each(|&fd| counted.ctl(what.op(), fd, events))
        });
        all.push((Of::Compat, counted));
        Ok(all)
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        let mut changes = K::room(self.batch);
        Ok(Some(self.lane(name, move |what, fds| {
            let flags = if what == Timed::Delete { EV_DELETE } else { EV_ADD };
            for fds in fds.chunks(self.batch) {
                for (slot, &fd) in changes.iter_mut().zip(fds) {
                    *slot = K::event(fd as usize, EVFILT_READ, flags, 0, 0);
                }
                kq.change(&changes[..fds.len()])?;
            }
            Ok(())
        })))
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let pipes = pipes(512)?;
    let all = || pipes.iter().map(Pipe::read_fd).collect();
    let compat = Some(1.10);
    let one = [
        ("add READ", Timed::Add, Targets { kqueue: Some(1.15), epoll: compat, private: None }),
        ("modify READ", Timed::Modify, Targets { kqueue: None, epoll: compat, private: None }),
        ("delete READ", Timed::Delete, Targets { kqueue: None, epoll: compat, private: None }),
    ];
    for (title, timed, targets) in one {
        let change = Change { fds: all(), timed, batch: 1 };
        measure(ctx, bench, Row::cost("change", title), &change, targets)?;
    }
    let change = Change { fds: all(), timed: Timed::Add, batch: 64 };
    let row = Row::cost("change", "add READ, 64 in one change list, each");
    measure(ctx, bench, row, &change, Targets::kqueue(1.10))
}
