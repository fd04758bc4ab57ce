//! What a program does between two waits: re-arm, wake itself, switch an interest.

use std::os::fd::RawFd;

use anyhow::{Context, Result, ensure};

use super::least::{Counted, Least, Of, Room};
use super::wait::Epoll;
use super::{Primitive, Targets, measure};
use crate::ctx::Ctx;
use crate::fixture::{Pipe, eventfds};
use crate::iface::capi::EpollApi;
use crate::iface::kq::{
    EV_ADD, EV_CLEAR, EV_DISABLE, EV_DISPATCH, EV_ENABLE, EV_ONESHOT, EVFILT_READ, EVFILT_USER,
    EVFILT_WRITE, Kq, NOTE_TRIGGER,
};
use crate::measure::{Lane, Row};
use crate::model::Bench;

/// A one-shot registration of a readable pipe: armed again and fetched.
struct Rearm {
    fd: RawFd,
    /// EV_DISPATCH and EV_ENABLE, or EV_ONESHOT and EV_ADD.
    dispatch: bool,
    /// Whether kqueue fills `data`, which epoll has not.
    data: bool,
}

impl Rearm {
    const EVENTS: u32 = (libc::EPOLLIN | libc::EPOLLONESHOT) as u32;

    /// kqueue's floors, in Rust and C.
    fn both<'a>(&'a self, api: EpollApi, name: &str) -> Result<Vec<(Of, Lane<'a>)>> {
        let both = Of::KQUEUES.iter();
        both.map(|&(of, border)| Ok((of, self.least(api, of, &format!("{name}{border}"), true)?)))
            .collect()
    }

    /// Armed again by the kernel, or (`told` is false) left armed, and fetched.
    fn least<'a>(&'a self, api: EpollApi, of: Of, name: &str, told: bool) -> Result<Lane<'a>> {
        let least = Least::new(api, of)?;
        let events = if told { Self::EVENTS } else { libc::EPOLLIN as u32 };
        least.ctl(libc::EPOLL_CTL_ADD, self.fd, events)?;
        let mut room = Room::new(64);
        Ok(Lane::repeat(name, move || {
            if told {
                least.ctl(libc::EPOLL_CTL_MOD, self.fd, events)?;
            } else {
                least.note(self.fd)?;
            }
            ensure!(least.wait(&mut room, -1, self.data)? == 1, "the re-armed event did not come");
            Ok(())
        }))
    }
}

impl Primitive for Rearm {
    fn compares_epolls(&self) -> bool {
        !self.data
    }

    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        ep.ctl(libc::EPOLL_CTL_ADD, self.fd, Self::EVENTS)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        Ok(Lane::repeat(name, move || {
            ep.ctl(libc::EPOLL_CTL_MOD, self.fd, Self::EVENTS)?;
            ensure!(ep.wait(&mut room, -1)? == 1, "the re-armed event did not come");
            Ok(())
        }))
    }

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        if self.data {
            return self.both(api, "MOD, epoll_wait, FIONREAD, locks");
        }
        let counted = Counted::new(api)?;
        counted.ctl(libc::EPOLL_CTL_ADD, self.fd, Self::EVENTS)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let counted = Lane::repeat("MOD, epoll_wait, counted", move || {
            counted.ctl(libc::EPOLL_CTL_MOD, self.fd, Self::EVENTS)?;
            ensure!(counted.wait(&mut room, -1)? == 1, "the re-armed event did not come");
            Ok(())
        });
        let told = "MOD, epoll_wait, locks";
        let mut all = self.both(api, told)?;
        all.push((Of::Compat, counted));
        // To add a knote is to ask the kernel, in a private queue too.
        all.push(match self.dispatch {
            true => (Of::Private, self.least(api, Of::Private, "epoll_wait, locks", false)?),
            false => (Of::Private, self.least(api, Of::Private, told, true)?),
        });
        Ok(all)
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        let fflags = if self.data { 0 } else { kq.nodata() };
        let event = |flags| K::event(self.fd as usize, EVFILT_READ, flags, fflags, 0);
        let change = if self.dispatch {
            kq.change(&[event(EV_ADD | EV_DISPATCH)])?;
            event(EV_ENABLE | EV_DISPATCH)
        } else {
            event(EV_ADD | EV_ONESHOT)
        };
        let mut room = K::room(64);
        // Two calls, as epoll needs: a program re-arms where it is done with the event.
        Ok(Some(Lane::repeat(name, move || {
            kq.change(&[change])?;
            ensure!(kq.kevent(&[], &mut room, None)? == 1, "the re-armed event did not come");
            Ok(())
        })))
    }
}

/// A user event triggered and fetched by one thread; natively an eventfd with EPOLLET, which
/// needs no read.
struct User;

impl Primitive for User {
    fn compares_epolls(&self) -> bool {
        false
    }

    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        let eventfd = eventfds(1)?.pop().context("one eventfd")?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&eventfd);
        ep.ctl(libc::EPOLL_CTL_ADD, fd, (libc::EPOLLIN | libc::EPOLLET) as u32)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        Ok(Lane::repeat(name, move || {
            let _owned = &eventfd;
            let one = 1_u64;
            // SAFETY: reads eight bytes of `one`.
            let wrote = unsafe { libc::write(fd, (&raw const one).cast(), 8) };
            ensure!(wrote == 8, "eventfd: {}", std::io::Error::last_os_error());
            ensure!(ep.wait(&mut room, -1)? == 1, "the eventfd's edge did not come");
            Ok(())
        }))
    }

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        // A readable descriptor whose registration is made to look is an edge too, and costs no more
        // than a write.
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut all = Vec::new();
        for (of, border) in Of::KQUEUES {
            let pipe = Pipe::new()?;
            pipe.send()?;
            let least = Least::new(api, of)?;
            least.ctl(libc::EPOLL_CTL_ADD, pipe.read_fd(), events)?;
            let mut room = Room::new(64);
            let lane = Lane::repeat(format!("MOD, epoll_wait, locks{border}"), move || {
                least.ctl(libc::EPOLL_CTL_MOD, pipe.read_fd(), events)?;
                ensure!(least.wait(&mut room, -1, false)? == 1, "the edge did not come");
                Ok(())
            });
            all.push((of, lane));
        }
        Ok(all)
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        kq.change(&[K::event(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0)])?;
        let trigger = [K::event(1, EVFILT_USER, 0, NOTE_TRIGGER, 0)];
        let mut room = K::room(64);
        Ok(Some(Lane::repeat(name, move || {
            kq.change(&trigger)?;
            ensure!(kq.kevent(&[], &mut room, None)? == 1, "the user event did not come");
            Ok(())
        })))
    }
}

/// A connection with input watched: write interest is switched on and off again before the next
/// wait, as a server does whose write went through at once.
struct WriteSwitch {
    pipe: Pipe,
    pair: (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream),
}

impl WriteSwitch {
    fn new() -> Result<Self> {
        let this = Self { pipe: Pipe::new()?, pair: std::os::unix::net::UnixStream::pair()? };
        // Something else is always ready, so that the wait returns.
        this.pipe.send()?;
        Ok(this)
    }

    fn fd(&self) -> RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.pair.0)
    }
}

impl Primitive for WriteSwitch {
    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        let (read, both) = (libc::EPOLLIN as u32, (libc::EPOLLIN | libc::EPOLLOUT) as u32);
        ep.ctl(libc::EPOLL_CTL_ADD, self.fd(), read)?;
        ep.ctl(libc::EPOLL_CTL_ADD, self.pipe.read_fd(), read)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        Ok(Lane::repeat(name, move || {
            ep.ctl(libc::EPOLL_CTL_MOD, self.fd(), both)?;
            ep.ctl(libc::EPOLL_CTL_MOD, self.fd(), read)?;
            ensure!(ep.wait(&mut room, -1)? == 1, "only the pipe is ready");
            Ok(())
        }))
    }

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        let ep = Counted::new(api)?;
        let (read, both) = (libc::EPOLLIN as u32, (libc::EPOLLIN | libc::EPOLLOUT) as u32);
        ep.ctl(libc::EPOLL_CTL_ADD, self.fd(), read)?;
        ep.ctl(libc::EPOLL_CTL_ADD, self.pipe.read_fd(), read)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let counted = Lane::repeat("2 MOD, epoll_wait, counted", move || {
            ep.ctl(libc::EPOLL_CTL_MOD, self.fd(), both)?;
            ep.ctl(libc::EPOLL_CTL_MOD, self.fd(), read)?;
            ensure!(ep.wait(&mut room, -1)? == 1, "only the pipe is ready");
            Ok(())
        });
        Ok(vec![(Of::Compat, counted)])
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        let event = |fd: RawFd, filter, flags| K::event(fd as usize, filter, flags, 0, 0);
        kq.change(&[event(self.fd(), EVFILT_READ, EV_ADD)])?;
        let ready = K::event(self.pipe.read_fd() as usize, EVFILT_READ, EV_ADD, kq.nodata(), 0);
        kq.change(&[ready])?;
        kq.change(&[event(self.fd(), EVFILT_WRITE, EV_ADD | EV_DISABLE)])?;
        let on = [event(self.fd(), EVFILT_WRITE, EV_ENABLE)];
        let off = [event(self.fd(), EVFILT_WRITE, EV_DISABLE)];
        let mut room = K::room(64);
        Ok(Some(Lane::repeat(name, move || {
            kq.change(&on)?;
            kq.change(&off)?;
            ensure!(kq.kevent(&[], &mut room, None)? == 1, "only the pipe is ready");
            Ok(())
        })))
    }
}

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let pipe = Pipe::new()?;
    pipe.send()?;
    let one = Targets { kqueue: Some(1.10), epoll: Some(1.05), private: Some(0.7) };
    for (title, dispatch, data, targets) in [
        ("EV_DISPATCH re-armed and fetched, without data, vs EPOLLONESHOT", true, false, one),
        (
            "EV_ONESHOT added again and fetched, without data, vs EPOLLONESHOT",
            false,
            false,
            Targets { epoll: None, ..one },
        ),
        (
            "EV_DISPATCH re-armed and fetched, with data, vs EPOLLONESHOT",
            true,
            true,
            Targets::default(),
        ),
    ] {
        let rearm = Rearm { fd: pipe.read_fd(), dispatch, data };
        measure(ctx, bench, Row::cost("re-arm", title), &rearm, targets)?;
    }
    let row = Row::cost("re-arm", "USER triggered and fetched, vs eventfd EPOLLET");
    measure(ctx, bench, row, &User, Targets { private: Some(0.5), ..Targets::kqueue(1.10) })?;
    let row = Row::cost("re-arm", "write interest on, off, and a wait");
    let targets = Targets { kqueue: None, epoll: Some(1.05), private: None };
    measure(ctx, bench, row, &WriteSwitch::new()?, targets)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iface::libs;

    #[test]
    fn native_primitives_work() {
        let api = EpollApi::load(&libs::libc().unwrap()).unwrap();
        let pipe = Pipe::new().unwrap();
        pipe.send().unwrap();
        let rearm = Rearm { fd: pipe.read_fd(), dispatch: true, data: false };
        rearm.epoll(api, "x").unwrap().try_once().unwrap();
        User.epoll(api, "x").unwrap().try_once().unwrap();
        WriteSwitch::new().unwrap().epoll(api, "x").unwrap().try_once().unwrap();
    }
}
