//! poll and select at the cost of what is ready: what compat's calls must reach, row by row.

mod blocking;
mod changing;
mod density;
#[cfg(target_os = "linux")]
pub(crate) mod probes;
mod wakeup;

use anyhow::Result;
use clap::Args;

use crate::ctx::Ctx;
use crate::fixture::{Pipe, pipes};
use crate::iface::callset::Caller;
use crate::model::{Bench, Case};

/// Which parts to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct PollTableArgs {
    /// Only these parts
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// One ready pipe in the middle of N, blocking; and nothing ready, timeout 0
    Blocking,
    /// One entry replaced, a number closed and reopened, a wholly new set
    Changing,
    /// 0 to 100 % ready
    Density,
    /// A second thread writes while the first sleeps
    Wakeup,
    #[cfg(target_os = "linux")]
    /// close()'s hook, memory, and what an idle thread costs
    Hooks,
}

type Rows = fn(&Table<'_>, &mut Bench, Caller, &[Caller]) -> Result<()>;

/// What the parts share: as many pipes as the longest row needs, made once.
pub(crate) struct Table<'a> {
    ctx: &'a Ctx,
    pipes: Vec<Pipe>,
}

impl Table<'_> {
    /// The first `n` pipes' read ends, as a set holds them.
    fn fds(&self, n: usize) -> Vec<i32> {
        self.pipes[..n].iter().map(Pipe::read_fd).collect()
    }

    /// The sizes among `wanted` that there are pipes for.
    fn sizes(&self, wanted: &[usize]) -> Vec<usize> {
        wanted.iter().copied().filter(|&n| n <= self.pipes.len()).collect()
    }

    fn case(
        &self,
        bench: &mut Bench,
        title: &str,
        case: impl FnOnce() -> Result<Case>,
    ) -> Result<()> {
        self.ctx.case(title);
        bench.cases.push(case()?);
        Ok(())
    }
}

/// Runs the table.
pub(crate) fn run(ctx: &Ctx, args: &PollTableArgs) -> Result<Bench> {
    let mut bench = Bench::new(
        "poll-table",
        "poll and select of N pipes; how many times faster than the kernel's own call",
    );
    let wanted: &[usize] = if ctx.quick { &[16, 64] } else { &[1000, 9000] };
    let (fit, note) = ctx.that_fit(wanted, 2, 100)?;
    bench.notes.extend(note);
    let most = fit.into_iter().max().unwrap_or(1);
    let parts: [(Part, Rows); 4] = [
        (Part::Blocking, blocking::rows),
        (Part::Changing, changing::rows),
        (Part::Density, density::rows),
        (Part::Wakeup, wakeup::rows),
    ];
    let chosen = |part| args.parts.is_empty() || args.parts.contains(&part);
    let parts: Vec<Rows> = parts.iter().filter(|(p, _)| chosen(*p)).map(|(_, r)| *r).collect();
    ctx.begin("poll-table", parts.len() * 2);
    if !parts.is_empty() {
        let table = Table { ctx, pipes: pipes(most)? };
        for rows in parts {
            for (native, others) in ctx.interfaces.callers() {
                rows(&table, &mut bench, native, &others)?;
                ctx.done();
            }
        }
    }
    #[cfg(target_os = "linux")]
    if chosen(Part::Hooks) {
        ctx.case("hooks");
        probes::rows(ctx, &mut bench)?;
    }
    ctx.end();
    Ok(bench)
}
