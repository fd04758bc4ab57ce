//! The cost of each primitive, ours against the kernel's epoll on the same descriptors.

mod change;
mod least;
mod other;
mod rearm;
mod resources;
mod threads;
mod wait;

use anyhow::Result;
use clap::Args;

use least::Of;

use crate::ctx::Ctx;
use crate::epoll_bench;
use crate::iface::capi::EpollApi;
use crate::iface::kq::{Kq, Source, WithKq};
use crate::measure::{Lane, Row};
use crate::model::{Bench, Target};

/// Which parts to run.
#[derive(Args, Clone, Debug)]
pub(crate) struct MicroArgs {
    /// Only these parts
    #[arg(value_enum)]
    pub(crate) parts: Vec<Part>,
}

/// A part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Waiting with 1, 64 or 256 ready
    Wait,
    /// Registering, modifying, deleting
    Change,
    /// One-shot registrations re-armed, user events, write interest switched on and off
    Rearm,
    /// Timers and files
    Other,
    /// Memory, descriptors, threads
    Resources,
    /// epoll-bench on inet with edges
    Whole,
    /// Two threads on one queue
    Threads,
}

/// One primitive: how each kind of interface does it.
trait Primitive {
    /// With epoll(7), native or compat.
    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>>;

    /// Whether compat epoll has a lane of its own: not where epoll only carries another facility.
    fn compares_epolls(&self) -> bool {
        true
    }

    /// What no library on this kernel can be cheaper than, and whose floor it is.
    fn floors<'a>(&'a self, _api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        Ok(Vec::new())
    }

    /// With a kqueue; None where kqueue is not what the row is about.
    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>>;
}

/// What a row's interfaces should reach, at most, as parts of native's cost.
#[derive(Clone, Copy, Debug, Default)]
struct Targets {
    kqueue: Option<f64>,
    epoll: Option<f64>,
    /// A private kqueue's; None: it has no lane in the row.
    private: Option<f64>,
}

impl Targets {
    fn kqueue(most: f64) -> Self {
        Self { kqueue: Some(most), ..Self::default() }
    }
}

/// A primitive's lane on any kind of kqueue.
struct LaneOf<'a, 'b, P> {
    primitive: &'a P,
    name: &'b str,
}

impl<'a, P: Primitive> WithKq for LaneOf<'a, '_, P> {
    type Out = Result<Option<Lane<'a>>>;

    fn run<K: Kq + 'static>(
        self,
        make: impl Fn() -> std::io::Result<K> + Send + Sync + 'static,
    ) -> Self::Out {
        self.primitive.kqueue(make()?, self.name)
    }
}

/// Measures a row on every interface. One that fails is named in the notes, with its error.
fn measure(
    ctx: &Ctx,
    bench: &mut Bench,
    row: Row,
    primitive: &impl Primitive,
    targets: Targets,
) -> Result<()> {
    ctx.case(&row.title);
    let mut lanes = vec![primitive.epoll(ctx.interfaces.epoll, "epoll")?];
    let mut floors: Vec<(Of, String)> = Vec::new();
    for (of, lane) in primitive.floors(ctx.interfaces.epoll)? {
        floors.push((of, lane.name.clone()));
        lanes.push(lane);
    }
    for (of, name, lane, target) in tried(ctx, primitive, targets) {
        let floor_of = |of: Of| floors.iter().find(|(whose, _)| *whose == of && target.is_some());
        let floor = floor_of(of).or_else(|| floor_of(of.or_else()?));
        match lane.and_then(|l| l.map(|mut l| l.try_once().map(|()| l)).transpose()) {
            Ok(Some(lane)) => {
                let lane = lane.target(target.map(Target::AtMost));
                lanes.push(lane.floor(floor.map(|(_, name)| name.as_str())));
            }
            Ok(None) => {}
            Err(e) => bench.note(format!("{}: {}: {name} failed: {e:#}", row.group, row.title)),
        }
    }
    bench.cases.push(row.measure(&ctx.plan, lanes)?);
    ctx.done();
    Ok(())
}

/// A lane of ours or a peer's, if it could be made and is in the row, and its target.
type Tried<'a> = (Of, String, Result<Option<Lane<'a>>>, Option<f64>);

/// Makes a row's lanes.
fn tried<'a>(ctx: &Ctx, primitive: &'a impl Primitive, targets: Targets) -> Vec<Tried<'a>> {
    let mut tried: Vec<Tried<'a>> = Vec::new();
    for &(name, api) in &ctx.interfaces.compat_epolls {
        if !primitive.compares_epolls() {
            break;
        }
        let lane = primitive.epoll(api, name).map(Some);
        tried.push((Of::Compat, name.into(), lane, targets.epoll));
    }
    for source in &ctx.interfaces.kqueues {
        let lane = source.with(LaneOf { primitive, name: &source.name });
        // Targets are ours to reach, not the peers'.
        let target = targets.kqueue.filter(|_| source.is_ours());
        let of = if source.name == "kqueue-c" { Of::KqueueC } else { Of::Kqueue };
        tried.push((of, source.name.clone(), lane, target));
    }
    if targets.private.is_some() && ctx.interfaces.wants("kqueue") {
        let name = "kqueue-private";
        let lane = Source::private(name).with(LaneOf { primitive, name });
        tried.push((Of::Private, name.into(), lane, targets.private));
    }
    tried
}

/// Runs the table.
pub(crate) fn run(ctx: &Ctx, args: &MicroArgs) -> Result<Bench> {
    let mut bench = Bench::new(
        "micro",
        "the cost of each primitive as a part of native epoll's on the same descriptors",
    );
    let chosen = |part| args.parts.is_empty() || args.parts.contains(&part);
    ctx.begin("micro", 0);
    type Rows = fn(&Ctx, &mut Bench) -> Result<()>;
    let parts: [(Part, Rows); 7] = [
        (Part::Wait, wait::rows),
        (Part::Change, change::rows),
        (Part::Rearm, rearm::rows),
        (Part::Other, other::rows),
        (Part::Resources, resources::rows),
        (Part::Whole, whole),
        (Part::Threads, threads::rows),
    ];
    for (_, rows) in parts.iter().filter(|(part, _)| chosen(*part)) {
        rows(ctx, &mut bench)?;
    }
    ctx.end();
    Ok(bench)
}

/// The row that is a benchmark of its own.
fn whole(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    bench.cases.extend(epoll_bench::inet_edge(ctx, 4.0)?);
    Ok(())
}
