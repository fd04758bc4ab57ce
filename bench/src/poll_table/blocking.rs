//! One set, call after call.

use anyhow::{Result, ensure};

use super::Table;
use crate::iface::Family;
use crate::iface::callset::Caller;
use crate::measure::{Lane, Row};
use crate::model::{Bench, Target};

/// What a call with one ready pipe in the middle of `n` should reach. `hooked`: the C library,
/// which sees closes; without hooks what was reported is asked again by number.
fn target(caller: &Caller, n: usize) -> Option<Target> {
    let least = match (caller.family, n) {
        (_, 1) => 1.0,
        (_, 16) if !caller.is_hooked() => 2.5,
        (_, 16) => 4.5,
        (_, 256) => 55.0,
        (Family::Poll, 1000) => 150.0,
        (Family::Poll, 9000) => 260.0,
        (Family::Select, 1000) => 170.0,
        (Family::Select, 9000) => 1000.0,
        _ => return None,
    };
    Some(Target::AtLeast(least))
}

pub(super) fn rows(
    table: &Table<'_>,
    bench: &mut Bench,
    native: Caller,
    others: &[Caller],
) -> Result<()> {
    for n in table.sizes(&[1, 16, 64, 256, 1000, 3000, 9000]) {
        let fds = table.fds(n);
        let ready = &table.pipes[n / 2];
        table.case(bench, &format!("{} N={n}", native.name), || {
            ready.send()?;
            let lanes = lanes(native, others, |c| {
                let mut set = c.set(&fds);
                let lane = Lane::repeat(c.name, move || {
                    ensure!(set.call(-1)? == 1, "one pipe was ready, and another number came back");
                    Ok(())
                });
                lane.target(target(c, n))
            });
            let row = Row::speedup(native.name, "blocking, one ready in the middle").at(n);
            let case = row.measure(&table.ctx.plan.covering(n), lanes)?;
            ready.receive()?;
            Ok(case)
        })?;
    }
    for n in table.sizes(&[16, 1000]) {
        let fds = table.fds(n);
        let least = if n == 1000 { 50.0 } else { 0.9 };
        table.case(bench, &format!("{} N={n}, none ready", native.name), || {
            let lanes = lanes(native, others, |c| {
                let mut set = c.set(&fds);
                let lane = Lane::repeat(c.name, move || {
                    ensure!(set.call(0)? == 0, "nothing was ready, and something came back");
                    Ok(())
                });
                lane.target(Target::AtLeast(least))
            });
            let row = Row::speedup(native.name, "timeout 0, nothing ready").at(n);
            row.measure(&table.ctx.plan.covering(n), lanes)
        })?;
    }
    Ok(())
}

/// A lane for the native caller and one for each other.
pub(super) fn lanes<'a>(
    native: Caller,
    others: &[Caller],
    lane: impl Fn(&Caller) -> Lane<'a>,
) -> Vec<Lane<'a>> {
    std::iter::once(&native).chain(others).map(lane).collect()
}
