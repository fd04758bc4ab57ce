//! pipetest, by which epoll was first measured: tokens are passed through pipes, a batch at a
//! time, and the traffic sits on the last pipes, the worst place for poll's scan.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cli::Numbers;
use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes, read_some};
use crate::iface::poller::{Poller, Want};
use crate::iface::{Family, Interface};
use crate::measure::{Lane, Row, timed};
use crate::model::Bench;
use crate::watched::Watched;

/// The original's parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct PipetestArgs {
    /// Pipes that are watched (a list makes a curve)
    #[arg(default_value = "10,100,1000,4000")]
    pub(crate) pipes: Numbers,
    /// Tokens in flight, one to each of the last pipes
    #[arg(default_value_t = 1)]
    pub(crate) threads: usize,
    /// Batches in one sample; 0: as many as fill its time
    #[arg(default_value_t = 0)]
    pub(crate) generations: u64,
    /// Bytes in a token
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) bufsize: u16,
}

/// Runs it on every interface.
pub(crate) fn run(ctx: &Ctx, args: &PipetestArgs) -> Result<Bench> {
    ensure!(args.threads >= 1, "pipetest needs a token to pass");
    let mut bench = Bench::new(
        "pipetest",
        format!(
            "{} token(s) of {} byte(s) through the last of N pipes: write, wait, read; passes a \
             second",
            args.threads, args.bufsize
        ),
    );
    let (sizes, note) = ctx.that_fit(&args.pipes.0, 2, 0)?;
    bench.notes.extend(note);
    ctx.begin("pipetest", sizes.len() * 3);
    for n in sizes {
        ensure!(n >= args.threads, "{} tokens need as many pipes, not {n}", args.threads);
        let pipes = pipes(n)?;
        for (native, others) in ctx.interfaces.pairs() {
            ctx.case(&format!("{} N={n}", native.name));
            let lanes: Vec<Lane<'_>> = std::iter::once(native)
                .chain(others)
                .map(|i| lane(i, &pipes, args))
                .collect::<Result<_>>()?;
            let row = Row::rate(&native.name, "passes").per(args.threads).at(n);
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

fn lane<'a>(interface: &Interface, pipes: &'a [Pipe], args: &PipetestArgs) -> Result<Lane<'a>> {
    let fds = pipes.iter().map(Pipe::read_fd).collect();
    let watched = RefCell::new(Watched::new(interface, fds, Want::READ, args.threads)?);
    let active = &pipes[pipes.len() - args.threads..];
    let token = vec![b'x'; usize::from(args.bufsize)];
    let mut room = token.clone();
    let mut ready = Vec::new();
    let mut generation = move |poller: &mut dyn Poller| -> Result<()> {
        for pipe in active {
            send(pipe, &token)?;
        }
        let mut passed = 0;
        while passed < active.len() {
            poller.wait(-1, &mut ready)?;
            for &fd in &ready {
                let got = read_some(fd, &mut room)?;
                ensure!(got == token.len(), "{got} bytes of a token of {}", token.len());
                passed += 1;
            }
        }
        Ok(())
    };
    let lane = Lane::new(interface.name.clone(), move |n| -> Result<Duration> {
        watched.borrow_mut().with(|poller| {
            generation(poller)?;
            timed(n, || generation(poller))
        })
    });
    Ok(if args.generations == 0 { lane } else { lane.exactly(args.generations) })
}

fn send(pipe: &Pipe, token: &[u8]) -> Result<()> {
    // SAFETY: reads `token.len()` bytes of `token`.
    let sent = unsafe { libc::write(pipe.write_fd(), token.as_ptr().cast(), token.len()) };
    ensure!(sent == token.len() as isize, "a token did not fit into its pipe");
    Ok(())
}
