//! Any share ready: where much is ready the kernel's own scan is the cheaper one.

use anyhow::{Result, ensure};

use super::Table;
use super::blocking::lanes;
use crate::iface::callset::Caller;
use crate::measure::{Lane, Row};
use crate::model::{Bench, Target};

pub(super) fn rows(
    table: &Table<'_>,
    bench: &mut Bench,
    native: Caller,
    others: &[Caller],
) -> Result<()> {
    // A short run is content with fewer places.
    let short = table.ctx.plan.effort < 0.5;
    let sizes: &[usize] = if short { &[16, 1000] } else { &[16, 256, 1000, 9000] };
    let shares: &[usize] =
        if short { &[0, 10, 33, 100] } else { &[0, 1, 3, 10, 20, 33, 50, 75, 100] };
    for n in table.sizes(sizes) {
        let fds = table.fds(n);
        for &percent in shares {
            let count = n * percent / 100;
            if count == 0 && percent != 0 {
                continue;
            }
            // Spread evenly over the set.
            let ready: Vec<_> = (0..count).map(|i| &table.pipes[i * n / count]).collect();
            table.case(bench, &format!("{} N={n} {percent} %", native.name), || {
                for pipe in &ready {
                    pipe.send()?;
                }
                let timeout = if count == 0 { 0 } else { -1 };
                let lanes = lanes(native, others, |c| {
                    let mut set = c.set(&fds);
                    let lane = Lane::repeat(c.name, move || {
                        let got = set.call(timeout)?;
                        ensure!(got == count, "{count} were ready, and {got} came back");
                        Ok(())
                    });
                    lane.target(Target::AtLeast(0.9))
                });
                let group = format!("{} of {n}", native.name);
                let row = Row::speedup(&group, "N % ready").at(percent);
                let case = row.measure(&table.ctx.plan.covering(n), lanes)?;
                for pipe in &ready {
                    pipe.receive()?;
                }
                Ok(case)
            })?;
        }
    }
    Ok(())
}
