//! From the write in one thread to the return of the call in another that slept.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Table;
use crate::ctx::Ctx;
use crate::fixture::Pipe;
use crate::iface::callset::Caller;
use crate::measure::Row;
use crate::model::{Bench, Target};
use crate::stats::percentile;

/// Runs whose percentiles are compared.
const RUNS: usize = 5;

pub(super) fn rows(
    table: &Table<'_>,
    bench: &mut Bench,
    native: Caller,
    others: &[Caller],
) -> Result<()> {
    let callers: Vec<Caller> = std::iter::once(native).chain(others.iter().copied()).collect();
    let (blocks, wakes) = if table.ctx.quick { (2, 10) } else { (table.ctx.plan.turns(20), 100) };
    for n in table.sizes(&[1, 16, 1000]) {
        table.ctx.case(&format!("{} N={n} wake-up", native.name));
        let fds = table.fds(n);
        // In each run the callers take turns, a block of wake-ups each.
        let mut runs = vec![Vec::new(); callers.len()];
        for _ in 0..RUNS {
            let mut latencies = vec![Vec::new(); callers.len()];
            for block in 0..blocks {
                for i in 0..callers.len() {
                    let lane = (i + block) % callers.len();
                    let pipe = &table.pipes[n / 2];
                    latencies[lane].extend(sleep_and_wake(
                        table.ctx,
                        &callers[lane],
                        &fds,
                        pipe,
                        wakes,
                    )?);
                }
            }
            for (run, mut l) in runs.iter_mut().zip(latencies) {
                l.sort_unstable_by(f64::total_cmp);
                run.push(l);
            }
        }
        for p in [50.0, 99.0] {
            let values: Vec<Vec<f64>> =
                runs.iter().map(|r| r.iter().map(|l| percentile(l, p)).collect()).collect();
            let names = callers.iter().map(|c| (c.name.into(), Some(Target::AtMost(1.10))));
            let title = format!("wake-up by another thread, p{p:.0} of {RUNS} runs");
            let mut case = Row::cost(native.name, title).at(n).case(names.collect(), &values);
            if p == 50.0 {
                let all = std::iter::once(&mut case.native).chain(&mut case.others);
                for (series, run) in all.zip(&runs) {
                    series.percentiles = curve(run);
                }
            }
            bench.cases.push(case);
        }
    }
    Ok(())
}

/// The percentiles of all runs together, for the plot.
fn curve(runs: &[Vec<f64>]) -> Vec<(f64, f64)> {
    let mut all = runs.concat();
    all.sort_unstable_by(f64::total_cmp);
    [1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9].map(|p| (p, percentile(&all, p))).to_vec()
}

/// Latencies in nanoseconds.
fn sleep_and_wake(
    ctx: &Ctx,
    caller: &Caller,
    fds: &[i32],
    pipe: &Pipe,
    wakes: usize,
) -> Result<Vec<f64>> {
    let epoch = Instant::now();
    let now = || epoch.elapsed().as_nanos() as u64;
    let written = AtomicU64::new(0);
    let taken = AtomicU64::new(0);
    let latencies = std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| -> Result<Vec<f64>> {
            ctx.pin_side(1)?;
            let mut set = caller.set(fds);
            let mut latencies = Vec::with_capacity(wakes);
            for _ in 0..wakes {
                set.call(-1)?;
                let woken = now();
                latencies.push((woken - written.load(Ordering::Acquire)) as f64);
                pipe.receive()?;
                taken.fetch_add(1, Ordering::Release);
            }
            Ok(latencies)
        });
        ctx.pin_side(0)?;
        for i in 0..wakes as u64 {
            while taken.load(Ordering::Acquire) < i && !sleeper.is_finished() {
                std::thread::yield_now();
            }
            // Long enough to be asleep again, far below what makes a sleeper change over.
            std::thread::sleep(Duration::from_micros(60 + fds.len() as u64 / 4));
            written.store(now(), Ordering::Release);
            pipe.send()?;
        }
        sleeper.join().ok().context("the sleeper panicked")?
    });
    crate::host::pin(&ctx.cpus)?;
    latencies
}
