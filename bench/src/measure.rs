//! The method: lanes measured in turns.
//!
//! The machine's speed drifts (frequency, neighbours, caches), so two values measured one after
//! the other differ even if the code does not. Here every round measures each lane once, for a
//! few milliseconds, and turns the order over from round to round; a ratio is taken within a
//! round, and the median of the rounds' ratios is what counts.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::clock::Stopwatch;
use crate::model::{Case, Sense, Series, Target, Unit, ratio};
use crate::stats::Spread;

/// How long and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Each lane runs this long before anything counts.
    pub(crate) warmup: Duration,
    /// One lane's share of one round.
    pub(crate) sample: Duration,
    /// How many times each lane is measured.
    pub(crate) rounds: usize,
    /// Share of the time that what has a time or turns of its own takes by default.
    pub(crate) effort: f64,
}

impl Plan {
    /// A run that shows that all works, and measures nothing.
    pub(crate) fn is_quick(&self) -> bool {
        self.warmup.is_zero()
    }

    /// Seconds for what would take `seconds`.
    pub(crate) fn seconds(&self, seconds: f64) -> f64 {
        if self.is_quick() { seconds.min(0.1) } else { seconds * self.effort }
    }

    /// Turns of what would take `turns`: two at least, so that a lane's order is turned over.
    pub(crate) fn turns(&self, turns: usize) -> usize {
        if self.is_quick() {
            return 1;
        }
        let share = (turns as f64 * self.effort).round() as usize;
        share.max(2.min(turns))
    }

    /// The plan for sets of `n` descriptors handed to poll or select.
    ///
    /// compat asks the kernel about the whole set once in max(10 ms, 100 times what that costs), so
    /// that the loop pays a hundredth more; between two turns of a lane that time is always over,
    /// and a turn shorter than it would charge one whole scan to a few calls. Turns are therefore
    /// two and a half times as long, at the kernel's 100 ns or less for each descriptor, and there
    /// are fewer of them.
    pub(crate) fn covering(&self, n: usize) -> Self {
        if self.is_quick() {
            return self.clone();
        }
        let whole = Duration::from_millis(10).max(Duration::from_micros(10) * n as u32);
        let sample = self.sample.max(whole.mul_f64(2.5));
        let rounds = if sample > self.sample * 20 { self.rounds.min(11) } else { self.rounds };
        Self { warmup: sample, sample, rounds, ..self.clone() }
    }
}

type Op<'a> = Box<dyn FnMut(u64) -> Result<Duration> + 'a>;

/// One interface in a row.
pub(crate) struct Lane<'a> {
    pub(crate) name: String,
    pub(crate) target: Option<Target>,
    /// The lane that shows the least which this one can cost.
    floor: Option<String>,
    /// Does its operation `n` times and says how long those took: what it prepares or tidies up
    /// in between is not counted.
    op: Op<'a>,
    /// `op` is not asked for less than this at once.
    least: u64,
    /// `op` is not asked for more than this at once (a list of descriptors it uses up, say).
    most: u64,
}

impl std::fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<'a> Lane<'a> {
    /// A lane whose operation does its own timing.
    pub(crate) fn new(
        name: impl Into<String>,
        op: impl FnMut(u64) -> Result<Duration> + 'a,
    ) -> Self {
        let (name, op) = (name.into(), Box::new(op));
        Self { name, target: None, floor: None, op, least: 1, most: u64::MAX }
    }

    /// A lane that does `op` again and again, all of it timed.
    pub(crate) fn repeat(name: impl Into<String>, mut op: impl FnMut() -> Result<()> + 'a) -> Self {
        Self::new(name, move |n| timed(n, &mut op))
    }

    /// Does the least it can once, to see whether it works at all.
    pub(crate) fn try_once(&mut self) -> Result<()> {
        (self.op)(self.least).map(drop)
    }

    /// What its ratio should reach.
    pub(crate) fn target(mut self, target: impl Into<Option<Target>>) -> Self {
        self.target = target.into();
        self
    }

    /// Names the lane that shows the least which this one can cost.
    pub(crate) fn floor(mut self, lane: Option<&str>) -> Self {
        self.floor = lane.map(str::to_owned);
        self
    }

    /// So many operations at once, whatever time they take.
    pub(crate) fn exactly(mut self, n: u64) -> Self {
        (self.least, self.most) = (n, n);
        self
    }
}

/// `op`, `n` times, against the clock.
pub(crate) fn timed(n: u64, mut op: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Stopwatch::start();
    for _ in 0..n {
        op()?;
    }
    Ok(start.elapsed())
}

/// Nanoseconds an operation, a vector of rounds for each lane.
pub(crate) fn rounds(plan: &Plan, lanes: &mut [Lane<'_>]) -> Result<Vec<Vec<f64>>> {
    let counts = lanes.iter_mut().map(|l| calibrate(plan, l)).collect::<Result<Vec<u64>>>()?;
    in_turns(plan.rounds, lanes.len(), |lane| {
        let took = (lanes[lane].op)(counts[lane])?;
        Ok(took.as_nanos() as f64 / counts[lane] as f64)
    })
}

/// Warms a lane up and finds how many operations fill one sample.
fn calibrate(plan: &Plan, lane: &mut Lane<'_>) -> Result<u64> {
    let mut n = lane.least;
    let began = Instant::now();
    // The least that was seen: a try that was interrupted would make the samples too short.
    let mut each = f64::MAX;
    loop {
        let took = (lane.op)(n)?;
        each = each.min(took.as_secs_f64() / n as f64);
        let enough = took >= plan.sample / 2 || n == lane.most;
        if enough && began.elapsed() >= plan.warmup {
            return Ok(((plan.sample.as_secs_f64() / each) as u64).clamp(lane.least, lane.most));
        }
        if !enough {
            n = (n * 2).min(lane.most);
        }
    }
}

/// Measures `lanes` lanes `rounds` times: a b c, then c b a, and so on.
pub(crate) fn in_turns(
    rounds: usize,
    lanes: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut values = vec![Vec::with_capacity(rounds); lanes];
    for round in 0..rounds {
        for i in 0..lanes {
            let lane = if round % 2 == 0 { i } else { lanes - 1 - i };
            values[lane].push(measure(lane)?);
        }
    }
    Ok(values)
}

/// What a row is called and how it is read.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) group: String,
    pub(crate) title: String,
    pub(crate) n: Option<u64>,
    pub(crate) unit: Unit,
    pub(crate) sense: Sense,
    /// Things that one operation of a lane does: events it fetches, tokens it passes.
    per: f64,
}

impl Row {
    /// A row of costs an operation.
    pub(crate) fn cost(group: &str, title: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            title: title.into(),
            n: None,
            unit: Unit::Nanoseconds,
            sense: Sense::Cost,
            per: 1.0,
        }
    }

    /// A row of things a second, whose ratio says how many times more.
    pub(crate) fn rate(group: &str, title: impl Into<String>) -> Self {
        let cost = Self::cost(group, title);
        Self { unit: Unit::PerSecond, sense: Sense::Speedup, ..cost }
    }

    /// A row of costs whose ratio says how many times faster.
    pub(crate) fn speedup(group: &str, title: impl Into<String>) -> Self {
        Self { sense: Sense::Speedup, ..Self::cost(group, title) }
    }

    /// How many things one operation does.
    pub(crate) fn per(mut self, things: usize) -> Self {
        self.per = things as f64;
        self
    }

    /// The row's place on its curve.
    pub(crate) fn at(mut self, n: usize) -> Self {
        self.n = Some(n as u64);
        self
    }

    /// The ratio's sense.
    pub(crate) fn sense(mut self, sense: Sense) -> Self {
        self.sense = sense;
        self
    }

    /// The value's unit.
    pub(crate) fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// Measures the lanes, of which the first is the native twin, in turns.
    pub(crate) fn measure(self, plan: &Plan, mut lanes: Vec<Lane<'_>>) -> Result<Case> {
        let mut values = rounds(plan, &mut lanes)?;
        for ns in values.iter_mut().flatten() {
            *ns = match self.unit {
                Unit::PerSecond => self.per * 1e9 / *ns,
                _ => *ns / self.per,
            };
        }
        let names = lanes.iter().map(|l| (l.name.clone(), l.target)).collect();
        let mut case = self.case(names, &values);
        for (series, lane) in case.others.iter_mut().zip(&lanes[1..]) {
            series.floor.clone_from(&lane.floor);
        }
        Ok(case)
    }

    /// The row of values that were measured elsewhere, one vector of rounds for each lane.
    pub(crate) fn case(self, lanes: Vec<(String, Option<Target>)>, values: &[Vec<f64>]) -> Case {
        let mut series = lanes.into_iter().zip(values).map(|((interface, target), v)| {
            let ratios: Vec<f64> = values[0]
                .iter()
                .zip(v)
                .map(|(&native, &ours)| ratio(self.unit, self.sense, native, ours))
                .collect();
            Series {
                interface,
                value: Spread::of(v),
                ratio: Some(Spread::of(&ratios)),
                target,
                floor: None,
                percentiles: Vec::new(),
            }
        });
        let mut native = series.next().expect("a row has a native lane");
        native.ratio = None;
        let others = series.collect();
        Case {
            group: self.group,
            title: self.title,
            n: self.n,
            unit: self.unit,
            sense: self.sense,
            native,
            others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { warmup: Duration::ZERO, sample: Duration::from_micros(50), rounds: 5, effort: 1.0 }
    }

    #[test]
    fn turns_cover_a_scan_of_the_whole_set() {
        let quick = plan();
        assert_eq!(quick.covering(9000).sample, quick.sample);
        let usual = Plan { warmup: quick.sample, ..quick };
        assert_eq!(usual.covering(1).sample, Duration::from_millis(25));
        assert_eq!(usual.covering(9000).sample, Duration::from_millis(225));
    }

    #[test]
    fn less_effort_takes_less_time() {
        let usual = Plan { warmup: Duration::from_millis(1), ..plan() };
        assert_eq!((usual.seconds(3.0), usual.turns(5)), (3.0, 5));
        let half = Plan { effort: 0.5, ..usual };
        assert_eq!((half.seconds(3.0), half.turns(9)), (1.5, 5));
        let least = Plan { effort: 0.01, ..half };
        assert_eq!((least.turns(5), least.turns(1)), (2, 1));
        assert_eq!((plan().seconds(3.0), plan().seconds(0.05), plan().turns(5)), (0.1, 0.05, 1));
    }

    #[test]
    fn turns_alternate_their_order() {
        let mut seen = Vec::new();
        let values = in_turns(3, 2, |lane| {
            seen.push(lane);
            Ok(seen.len() as f64)
        })
        .unwrap();
        assert_eq!(seen, [0, 1, 1, 0, 0, 1]);
        assert_eq!(values, [[1.0, 4.0, 5.0], [2.0, 3.0, 6.0]]);
    }

    #[test]
    fn a_lane_with_a_fixed_count_is_asked_for_no_other() {
        let mut asked = Vec::new();
        let lane = Lane::new("a", |n| {
            asked.push(n);
            Ok(Duration::from_nanos(n))
        })
        .exactly(7);
        rounds(&plan(), &mut [lane]).unwrap();
        assert!(asked.len() > 5 && asked.iter().all(|&n| n == 7), "{asked:?}");
    }

    #[test]
    fn a_row_divides_round_by_round() {
        let lane = |ns: u64| move |n: u64| Ok(Duration::from_nanos(n * ns));
        let case = Row::cost("g", "t")
            .measure(
                &plan(),
                vec![
                    Lane::new("native", lane(100)),
                    Lane::new("ours", lane(150)).target(Target::AtMost(1.6)),
                ],
            )
            .unwrap();
        assert_eq!(case.native.value.median, 100.0);
        assert!(case.native.ratio.is_none());
        assert_eq!(case.others[0].ratio.unwrap().median, 1.5);
        assert_eq!(case.others[0].verdict(), Some(crate::model::Verdict::Met));
    }
}
