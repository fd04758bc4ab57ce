//! Connections that are opened, used, half closed, reset and reopened at random, for as long as is
//! asked, on numbers that are reused at once. Every byte has its place: one that comes elsewhere, or
//! not at all, ends the run.

mod connection;
mod world;

use std::os::fd::RawFd;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::ctx::Ctx;
use crate::iface::poller::Want;
use crate::iface::{Family, Interface};
use crate::usage::{self, Memory};

use self::world::{Counts, World};

/// Parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct SoakArgs {
    /// Connections that each interface has to carry
    #[arg(short = 'n', long, default_value_t = 1_000_000)]
    pub(crate) connections: u64,
    /// Connections that are open at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) open: u16,
    /// The same number, the same run [default: by the clock]
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// More than this is a leak, in bytes: queues and sets are a few pages.
const GROWTH: i64 = 4 << 20;

/// The libraries' own descriptors lie from here on.
const HIDDEN: RawFd = 1000;

/// Runs it on every interface of ours, and on those of the kernel's that are asked for by name.
///
/// # Errors
/// What went wrong first, and the seed that shows it again.
pub(crate) fn run(ctx: &Ctx, args: &SoakArgs) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |time| time.as_nanos() as u64)
    });
    let interfaces = ctx.interfaces.pairs().into_iter().flat_map(|(native, ours)| {
        std::iter::once(native).filter(|native| ctx.interfaces.names(&native.name)).chain(ours)
    });
    for interface in interfaces {
        for want in wants(interface) {
            soak(interface, want, args, seed)
                .with_context(|| format!("{}, --seed {seed}", interface.name))?;
        }
    }
    Ok(())
}

fn wants(interface: &Interface) -> Vec<Want> {
    match interface.family {
        Family::Select | Family::Poll => vec![Want::READ],
        Family::Epoll | Family::Kqueue => vec![Want::READ, Want::READ_EDGE],
    }
}

fn soak(interface: &Interface, want: Want, args: &SoakArgs, seed: u64) -> Result<()> {
    // With their thread, the sets of poll and select go.
    let carry = |connections| {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| carry(interface, want, args, connections, seed));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    };
    // What a library has for as long as the process lives is there from its first queue on.
    carry(args.connections.min(1000))?;
    let mut numbers = open_numbers()?;
    let (counts, growth) = carry(args.connections)?;
    ensure!(growth.heap < GROWTH && growth.dirty < GROWTH, "it grew by {growth:?}");
    let mut left = open_numbers()?;
    if interface.name == "kqueue-c" {
        // It is not preloaded here, and does not see that its queue is closed: what belongs to that
        // stays hidden until more queues are made.
        left.retain(|&number| number < HIDDEN);
        numbers.retain(|&number| number < HIDDEN);
    }
    ensure!(left == numbers, "descriptors are left: {left:?}, there were {numbers:?}");
    println!(
        "{}{}: {} connections, {} bytes, {} waits, {} events, {} of them for nothing; {} KiB grown",
        interface.name,
        if want.edge { ", edge" } else { "" },
        counts.connections,
        counts.bytes,
        counts.waits,
        counts.events,
        counts.fruitless,
        growth.dirty / 1024,
    );
    Ok(())
}

fn carry(
    interface: &Interface,
    want: Want,
    args: &SoakArgs,
    connections: u64,
    seed: u64,
) -> Result<(Counts, Memory)> {
    let mut world = World::new(interface, want, args.open.into(), seed)?;
    // What there is after a tenth is what there has to be.
    world.carry(connections / 10)?;
    let settled = usage::memory()?;
    world.carry(connections)?;
    let growth = usage::memory()?.since(settled);
    Ok((world.end()?, growth))
}

/// The numbers of open descriptors.
fn open_numbers() -> Result<Vec<RawFd>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").context("/proc/self/fd")? {
        let name = entry.context("/proc/self/fd")?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}
