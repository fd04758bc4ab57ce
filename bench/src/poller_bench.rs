//! dkftpbench's Poller_bench: N socket pairs, k of them active; the time of k one-byte writes and
//! of the waits and reads that take them in.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use clap::Args;

use crate::ctx::Ctx;
use crate::fixture::{Kind, Stream, read_some, streams, write_byte};
use crate::host;
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};
use crate::measure::{Lane, Row, timed};
use crate::model::Bench;
use crate::watched::Watched;

/// The original's parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct PollerArgs {
    /// Socket pairs; without it 100, 300, 1000, 3000 and as many as the descriptor limit allows
    #[arg(short, long, value_delimiter = ',')]
    pub(crate) n: Vec<usize>,
    /// Active pairs, spread evenly
    #[arg(short, long, default_value_t = 1)]
    pub(crate) active: usize,
    /// What is watched
    #[arg(long, value_enum, default_value_t = Kind::Unix)]
    pub(crate) kind: Kind,
}

/// Runs it on every interface.
pub(crate) fn run(ctx: &Ctx, args: &PollerArgs) -> Result<Bench> {
    ensure!(args.active >= 1, "at least one pair must be active");
    let mut bench = Bench::new(
        "poller",
        format!(
            "Poller_bench: {} active of N {} streams: write a byte to each, wait, read; time of it \
             all",
            args.active,
            args.kind.name()
        ),
    );
    let wanted = if args.n.is_empty() { default_sizes(ctx.quick)? } else { args.n.clone() };
    let (sizes, note) = ctx.that_fit(&wanted, 2, 0)?;
    bench.notes.extend(note);
    ctx.begin("poller", sizes.len() * 3);
    for n in sizes {
        ensure!(n >= args.active, "{} active of {n}", args.active);
        let streams = streams(args.kind, n)?;
        for (native, others) in ctx.interfaces.pairs() {
            ctx.case(&format!("{} N={n}", native.name));
            let lanes: Vec<Lane<'_>> = std::iter::once(native)
                .chain(others)
                .map(|i| lane(i, &streams, args.active))
                .collect::<Result<_>>()?;
            let row = Row::speedup(&native.name, "write, wait, dispatch").at(n);
            // The others keep nothing between calls that has to be looked after.
            let plan = match native.family {
                Family::Epoll | Family::Kqueue => ctx.plan.clone(),
                _ => ctx.plan.covering(n),
            };
            bench.cases.push(row.measure(&plan, lanes)?);
            ctx.done();
        }
    }
    ctx.end();
    Ok(bench)
}

fn default_sizes(quick: bool) -> Result<Vec<usize>> {
    if quick {
        return Ok(vec![10, 100]);
    }
    let most = host::free_descriptors()? / 2 / 100 * 100;
    let mut sizes: Vec<usize> = [100, 300, 1000, 3000].into_iter().filter(|&n| n < most).collect();
    sizes.push(most);
    Ok(sizes)
}

fn lane<'a>(interface: &Interface, streams: &'a [Stream], active: usize) -> Result<Lane<'a>> {
    let fds = streams.iter().map(Stream::read_fd).collect();
    let watched = RefCell::new(Watched::new(interface, fds, Want::READ, active)?);
    // The middle of each of `active` equal parts: poll's cost depends on the place.
    let place = move |i: usize| (2 * i + 1) * streams.len() / (2 * active);
    let writers: Vec<_> = (0..active).map(|i| streams[place(i)].write_fd()).collect();
    let mut ready = Vec::new();
    let mut turn = move |poller: &mut dyn Poller| -> Result<()> {
        for &fd in &writers {
            write_byte(fd)?;
        }
        let mut seen = 0;
        while seen < writers.len() {
            poller.wait(-1, &mut ready)?;
            for &fd in &ready {
                read_some(fd, &mut [0])?;
                seen += 1;
            }
        }
        Ok(())
    };
    Ok(Lane::new(interface.name.clone(), move |n| {
        watched.borrow_mut().with(|poller| {
            turn(poller)?;
            timed(n, || turn(poller))
        })
    }))
}
