//! What Linux's kevent of 2006 and the last stages of DragonFly's kqueue promised, against plain
//! epoll: docs/ancestors.md has the figures.

mod aio;
mod http;
mod last_check;
mod min;
mod names;
pub(crate) mod ring;
mod selective;
mod threads;
mod wake_one;

use anyhow::Result;
use clap::Args;

use crate::ctx::Ctx;
use crate::model::Bench;

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct AncestorsArgs {
    /// Only these parts
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
    /// Seconds for each lane of each row, in turns
    #[arg(short, long, default_value_t = 2.0)]
    pub(crate) time: f64,
    /// Streams of epoll_bench
    #[arg(short, long, default_value_t = 100)]
    pub(crate) n: usize,
    /// Threads that wait for one source
    #[arg(long, default_value_t = 4)]
    pub(crate) threads: usize,
    /// Connections to the web server
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// epoll_bench's reader with the ring
    Ring,
    /// One of several queues is woken for a source
    WakeOne,
    /// A wait for at least so many events
    Min,
    /// The condition tested again at retrieval
    LastCheck,
    /// Messages and files sent and received by requests
    Aio,
    /// Entries of a directory that come and go
    Names,
    /// Waits and triggers from several threads
    Threads,
    /// The thread on the data's CPU is woken
    Selective,
    /// The web server
    Web,
}

/// Runs what was chosen, or all of it.
pub(crate) fn run(ctx: &Ctx, args: &AncestorsArgs) -> Result<Bench> {
    let about = "what Linux's kevent and DragonFly's last stages promised, against plain epoll";
    let mut bench = Bench::new("ancestors", about);
    ctx.begin("ancestors", 0);
    type Rows = fn(&Ctx, &AncestorsArgs, &mut Bench) -> Result<()>;
    let parts: [(Part, Rows); 9] = [
        (Part::Ring, ring::run),
        (Part::WakeOne, wake_one::run),
        (Part::Min, min::run),
        (Part::LastCheck, last_check::run),
        (Part::Aio, aio::run),
        (Part::Names, names::run),
        (Part::Threads, threads::run),
        (Part::Selective, selective::run),
        (Part::Web, http::run),
    ];
    let chosen = |part| args.parts.is_empty() || args.parts.contains(&part);
    for (_, rows) in parts.into_iter().filter(|(part, _)| chosen(*part)) {
        rows(ctx, args, &mut bench)?;
    }
    ctx.end();
    Ok(bench)
}
