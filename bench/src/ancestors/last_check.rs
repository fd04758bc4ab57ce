//! EV_LASTCHECK: what it costs to test the condition again, beside a program that asks poll(2) itself
//! before it reads.

use anyhow::{Result, ensure};
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::Pipe;
use crate::iface::poller::{EpollPoller, Poller, Want};
use crate::measure::{Lane, Row};
use crate::model::Bench;

pub(super) fn run(ctx: &Ctx, _args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    ctx.case("last check");
    let pipe = Pipe::new()?;
    pipe.send()?;
    let mut poller = EpollPoller::new(ctx.interfaces.epoll, 1)?;
    poller.add(pipe.read_fd(), Want::READ)?;
    let mut told = Vec::new();
    let native = Lane::repeat("epoll and poll", || {
        poller.wait(-1, &mut told)?;
        let mut entry = libc::pollfd { fd: told[0], events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        let n = unsafe { libc::poll(&mut entry, 1, 0) };
        ensure!(n == 1, "it is not readable");
        Ok(())
    });
    let lane = |name, last| -> Result<Lane<'_>> {
        let kq = Kqueue::new()?;
        let flags = EvFlags::EV_ADD | last;
        let (fd, filter) = (pipe.read_fd() as usize, EventFilter::EVFILT_READ);
        let add = KEvent::new(fd, filter, flags, FilterFlag::NOTE_NODATA, 0, 0);
        kq.kevent(&[add], &mut [], None)?;
        let mut events = [add];
        Ok(Lane::repeat(name, move || {
            ensure!(kq.kevent(&[], &mut events, None)? == 1, "it is not readable");
            Ok(())
        }))
    };
    let lanes = vec![
        native,
        lane("kqueue", EvFlags::empty())?,
        lane("kqueue, EV_LASTCHECK", EvFlags::EV_LASTCHECK)?,
    ];
    let row = Row::cost("last check", "one ready, waited for and looked at again");
    bench.cases.push(row.measure(&ctx.plan, lanes)?);
    ctx.done();
    Ok(())
}
