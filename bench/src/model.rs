//! What a run leaves behind: the file that `--json` writes, that `report` draws and `compare`
//! reads. Every value stands beside its native twin, measured in the same run.

use serde::{Deserialize, Serialize};

use crate::stats::Spread;

/// Version of the file's layout; `compare` and `report` refuse another.
pub(crate) const FORMAT: u32 = 1;

/// One run of one or more benchmarks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) format: u32,
    /// When the run ended, UTC, RFC 3339.
    pub(crate) date: String,
    pub(crate) host: Host,
    /// Short commit of the sources, `-dirty` when they had changes, or `unknown`.
    pub(crate) commit: String,
    pub(crate) settings: Settings,
    /// The benchmarks that the run set out to do: what is not among `benches` is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) planned: Vec<String>,
    pub(crate) benches: Vec<Bench>,
}

impl Run {
    /// Whether the run has measured this benchmark.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.benches.iter().any(|b| b.name == name && !b.cases.is_empty())
    }

    /// What the run set out to do and did not come to, or could not do.
    pub(crate) fn missing(&self) -> Vec<&str> {
        self.planned.iter().map(String::as_str).filter(|name| !self.has(name)).collect()
    }

    /// Puts a benchmark's outcome in, in the place of an earlier one.
    pub(crate) fn put(&mut self, bench: Bench) {
        match self.benches.iter_mut().find(|b| b.name == bench.name) {
            Some(earlier) => *earlier = bench,
            None => self.benches.push(bench),
        }
    }
}

/// The machine, without its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    /// The descriptor limit that the run had.
    pub(crate) descriptors: u64,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) rounds: usize,
    pub(crate) sample_ms: f64,
    /// `wall`, or `cpu`: the processor time of the process, for what does not wait.
    #[serde(default = "wall")]
    pub(crate) clock: String,
    /// Share of the default time of what has a time or turns of its own (`all --minutes`).
    #[serde(default = "whole")]
    pub(crate) effort: f64,
    /// CPUs the run was pinned to; empty: not pinned.
    pub(crate) pinned: Vec<usize>,
    /// Short runs prove that a benchmark works, not how fast anything is.
    pub(crate) quick: bool,
    /// `debug` builds prove nothing about speed either.
    pub(crate) profile: String,
}

fn whole() -> f64 {
    1.0
}

fn wall() -> String {
    "wall".into()
}

/// One benchmark's outcome.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Bench {
    /// The subcommand.
    pub(crate) name: String,
    /// One line: what is measured.
    pub(crate) about: String,
    pub(crate) cases: Vec<Case>,
    /// What could not be run, and why.
    pub(crate) notes: Vec<String>,
    /// How long it took.
    #[serde(default)]
    pub(crate) seconds: f64,
}

impl Bench {
    /// A benchmark without cases yet.
    pub(crate) fn new(name: &str, about: impl Into<String>) -> Self {
        let (cases, notes) = (Vec::new(), Vec::new());
        Self { name: name.into(), about: about.into(), cases, notes, seconds: 0.0 }
    }

    /// Keeps what could not be run, once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// One row: the native value and those beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Rows of one group and different `n` make a curve.
    pub(crate) group: String,
    /// What is counted or done, in words.
    pub(crate) title: String,
    /// Descriptors (or threads, or percent ready) of this row, where it has such a number.
    pub(crate) n: Option<u64>,
    pub(crate) unit: Unit,
    pub(crate) sense: Sense,
    pub(crate) native: Series,
    pub(crate) others: Vec<Series>,
}

/// One interface's value in a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) interface: String,
    pub(crate) value: Spread,
    /// Against the native twin, round by round, in the row's sense.
    pub(crate) ratio: Option<Spread>,
    pub(crate) target: Option<Target>,
    /// The series of this row that shows the least which this one can cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<String>,
    /// (percentile, value) pairs, where the distribution matters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) percentiles: Vec<(f64, f64)>,
}

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// Nanoseconds an operation: less is better.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Things a second: more is better.
    #[serde(rename = "1/s")]
    PerSecond,
    /// Bytes: less is better.
    #[serde(rename = "bytes")]
    Bytes,
    /// A plain count: less is better.
    #[serde(rename = "count")]
    Count,
}

impl Unit {
    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::PerSecond
    }
}

/// Which way a row's ratio is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sense {
    /// Ours / native, where 1.10 is ten percent dearer: less is better.
    Cost,
    /// How many times faster ours is: more is better.
    Speedup,
    /// Ours - native, in the row's unit: less is better. For what has no sensible quotient (native
    /// epoll takes no user memory) or where the difference is what was promised (close's hook).
    Extra,
}

/// What a row should reach: a bound on the ratio, or on the value where the row says so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// The ratio is at most this.
    AtMost(f64),
    /// The ratio is at least this.
    AtLeast(f64),
    /// The value itself is at most this.
    ValueAtMost(f64),
}

/// Whether a target was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    /// The median missed it, but the bound lies within the spread.
    WithinNoise,
    Missed,
}

impl Case {
    /// The ratio of a series' floor.
    pub(crate) fn floor_of(&self, series: &Series) -> Option<Spread> {
        let name = series.floor.as_ref()?;
        self.others.iter().find(|s| s.interface == *name)?.ratio
    }
}

impl Series {
    /// Whether the target, if there is one, was reached.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        let (spread, met, bound) = match self.target? {
            Target::AtMost(b) => (self.ratio?, self.ratio?.median <= b, b),
            Target::AtLeast(b) => (self.ratio?, self.ratio?.median >= b, b),
            Target::ValueAtMost(b) => (self.value, self.value.median <= b, b),
        };
        Some(match (met, spread.contains(bound)) {
            (true, _) => Verdict::Met,
            (false, true) => Verdict::WithinNoise,
            (false, false) => Verdict::Missed,
        })
    }
}

/// One round's ratio of two values, in a row's sense.
pub(crate) fn ratio(unit: Unit, sense: Sense, native: f64, ours: f64) -> f64 {
    match (sense, unit.more_is_better()) {
        (Sense::Extra, _) => ours - native,
        (Sense::Cost, false) | (Sense::Speedup, true) => ours / native,
        (Sense::Cost, true) | (Sense::Speedup, false) => native / ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(ratio: Spread, target: Target) -> Series {
        Series {
            interface: "x".into(),
            value: Spread::of(&[5.0]),
            ratio: Some(ratio),
            target: Some(target),
            floor: None,
            percentiles: Vec::new(),
        }
    }

    #[test]
    fn ratios_follow_unit_and_sense() {
        use Sense::{Cost, Extra, Speedup};
        use Unit::{Bytes, Nanoseconds, PerSecond};
        assert_eq!(ratio(Nanoseconds, Cost, 100.0, 110.0), 1.1);
        assert_eq!(ratio(Nanoseconds, Speedup, 100.0, 10.0), 10.0);
        assert_eq!(ratio(PerSecond, Speedup, 100.0, 110.0), 1.1);
        assert_eq!(ratio(PerSecond, Cost, 110.0, 100.0), 1.1);
        assert_eq!(ratio(Bytes, Extra, 8.0, 40.0), 32.0);
    }

    #[test]
    fn verdicts() {
        let r = Spread { median: 1.2, p10: 1.05, p90: 1.3, n: 9 };
        assert_eq!(series(r, Target::AtMost(1.25)).verdict(), Some(Verdict::Met));
        assert_eq!(series(r, Target::AtMost(1.10)).verdict(), Some(Verdict::WithinNoise));
        assert_eq!(series(r, Target::AtMost(1.0)).verdict(), Some(Verdict::Missed));
        assert_eq!(series(r, Target::AtLeast(2.0)).verdict(), Some(Verdict::Missed));
        assert_eq!(series(r, Target::ValueAtMost(5.0)).verdict(), Some(Verdict::Met));
        assert_eq!(series(r, Target::ValueAtMost(4.0)).verdict(), Some(Verdict::Missed));
    }
}
