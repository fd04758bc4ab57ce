//! What Linux's kevent of 2006 promised, against plain epoll: the ring, wake-one, and the web server.

mod http;
mod ring;
mod wake_one;

use anyhow::Result;
use clap::Args;

use crate::ctx::Ctx;
use crate::model::Bench;

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct AncestorsArgs {
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

/// Runs all of it.
pub(crate) fn run(ctx: &Ctx, args: &AncestorsArgs) -> Result<Bench> {
    let about = "the ring, wake-one and a web server, against plain epoll";
    let mut bench = Bench::new("ancestors", about);
    ctx.begin("ancestors", 5);
    for case in [ring::run, wake_one::run, http::run] {
        bench.cases.extend(case(ctx, args)?);
    }
    ctx.end();
    Ok(bench)
}
