//! Sets that change from call to call, N = 1000.

use std::os::fd::RawFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Table;
use super::blocking::lanes;
use crate::clock::Stopwatch;
use crate::fixture::{Pipe, pipes};
use crate::iface::callset::Caller;
use crate::measure::{Lane, Row};
use crate::model::{Bench, Target};

pub(super) fn rows(
    table: &Table<'_>,
    bench: &mut Bench,
    native: Caller,
    others: &[Caller],
) -> Result<()> {
    let n = table.sizes(&[16, 1000]).pop().unwrap_or(1);
    let fds = table.fds(n);
    let ready = &table.pipes[n / 2];
    ready.send()?;
    let plan = &table.ctx.plan.covering(n);

    table.case(bench, &format!("{} one replaced", native.name), || {
        let spare = pipes(64)?;
        let lanes = lanes(native, others, |c| replaced(c, &fds, &spare).target(least(c, 30.0)));
        let title = "one entry replaced by another open descriptor at each call";
        Row::speedup(native.name, title).at(n).measure(plan, lanes)
    })?;

    table.case(bench, &format!("{} one reopened", native.name), || {
        // Each caller its own numbers: one that another closed behind its back is another row.
        let mut numbers = vec![];
        for _ in 0..=others.len() {
            numbers.push(pipes(16)?);
        }
        let lanes = std::iter::once(&native)
            .chain(others)
            .zip(&numbers)
            .map(|(c, own)| reopened(c, &fds, own).target(least(c, 10.0)))
            .collect();
        let title = "one number closed and reopened at each call (close, dup and call)";
        Row::speedup(native.name, title).at(n).measure(plan, lanes)
    })?;

    table.case(bench, &format!("{} new sets", native.name), || {
        let lanes = lanes(native, others, |c| new_sets(table, c, n).target(Target::AtLeast(0.9)));
        Row::speedup(native.name, "a wholly new set at each call").at(n).measure(plan, lanes)
    })?;

    table.case(bench, &format!("{} turned", native.name), || {
        let lanes = lanes(native, others, |c| turned(c, &fds).target(Target::AtLeast(0.9)));
        let title = "every entry at another place at each call";
        Row::speedup(native.name, title).at(n).measure(plan, lanes)
    })?;
    Ok(ready.receive()?)
}

/// What the C library should reach. Without hooks a changed entry is asked of the kernel.
fn least(caller: &Caller, times: f64) -> Option<Target> {
    caller.is_hooked().then_some(Target::AtLeast(times))
}

/// Every place of the set but the ready one, again and again, far apart.
fn places(n: usize) -> impl Iterator<Item = usize> {
    (0..).map(move |i: usize| i.wrapping_mul(617) % n).filter(move |&at| at != n / 2)
}

fn replaced<'a>(caller: &Caller, fds: &[RawFd], spare: &'a [Pipe]) -> Lane<'a> {
    let mut set = caller.set(fds);
    let own = fds.to_vec();
    let mut places = places(own.len());
    let mut spares = spare.iter().cycle();
    let mut last = None;
    Lane::repeat(caller.name, move || {
        if let Some(at) = last {
            set.replace(at, own[at]);
        }
        let at = places.next().context("places never end")?;
        set.replace(at, spares.next().context("spares never end")?.read_fd());
        last = Some(at);
        ensure!(set.call(-1)? == 1, "one pipe was ready, and another number came back");
        Ok(())
    })
}

fn reopened<'a>(caller: &Caller, fds: &[RawFd], own: &'a [Pipe]) -> Lane<'a> {
    let close = caller.close;
    // The numbers that are closed and reopened are copies of this caller's own pipes.
    let copy = |pipe: &Pipe| -> RawFd {
        // SAFETY: takes no pointer.
        unsafe { libc::fcntl(pipe.read_fd(), libc::F_DUPFD_CLOEXEC, 0) }
    };
    let mut numbers: Vec<RawFd> = own.iter().map(copy).collect();
    let mut mine = fds.to_vec();
    let places: Vec<usize> = places(fds.len()).take(numbers.len()).collect();
    for (&at, &fd) in places.iter().zip(&numbers) {
        mine[at] = fd;
    }
    let mut set = caller.set(&mine);
    let mut turn = 0;
    Lane::repeat(caller.name, move || {
        let i = turn % numbers.len();
        turn += 1;
        let number = numbers[i];
        close.close(number)?;
        // Another file than before, at the number that was just closed.
        let file = own[(i + turn) % own.len()].read_fd();
        // SAFETY: takes no pointer.
        let got = unsafe { libc::fcntl(file, libc::F_DUPFD_CLOEXEC, number) };
        ensure!(got == number, "number {number} was taken before it could be reopened");
        numbers[i] = got;
        ensure!(set.call(-1)? == 1, "one pipe was ready, and another number came back");
        Ok(())
    })
}

fn new_sets<'a>(table: &'a Table<'_>, caller: &Caller, n: usize) -> Lane<'a> {
    let all = table.fds(table.pipes.len());
    let ready = table.pipes[n / 2].read_fd();
    let mut random = fastrand::Rng::with_seed(0x5e7);
    let first = all[..n].to_vec();
    filled(caller, first, move |fds| {
        *fds = random.choose_multiple(all.iter().copied(), n);
        if !fds.contains(&ready) {
            fds[n / 2] = ready;
        }
    })
}

fn turned(caller: &Caller, fds: &[RawFd]) -> Lane<'static> {
    filled(caller, fds.to_vec(), |fds| fds.rotate_left(1))
}

/// The set as `next` makes it of the last one. Filling it is the program's own work: not counted.
fn filled<'a>(
    caller: &Caller,
    mut fds: Vec<RawFd>,
    mut next: impl FnMut(&mut Vec<RawFd>) + 'a,
) -> Lane<'a> {
    let mut set = caller.set(&fds);
    Lane::new(caller.name, move |times| {
        let mut took = Duration::ZERO;
        for _ in 0..times {
            next(&mut fds);
            set.fill(&fds);
            let start = Stopwatch::start();
            let got = set.call(-1)?;
            took += start.elapsed();
            ensure!(got == 1, "one pipe was ready, and {got} came back");
        }
        Ok(took)
    })
}
