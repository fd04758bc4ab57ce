//! What can be drawn of a benchmark's rows.

use crate::model::{Bench, Case, Series, Unit};

/// A line: interface, and its points.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) interface: String,
    pub(crate) native: bool,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines that belong into one picture.
#[derive(Clone, Debug)]
pub(crate) struct Curves {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    /// N is a share in percent: its axis is linear and begins at 0.
    pub(crate) percent: bool,
    pub(crate) lines: Vec<Line>,
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) label: String,
    /// (interface, things a second)
    pub(crate) bars: Vec<(String, f64)>,
}

/// The interfaces' values of a row, the native one first.
fn all(case: &Case) -> impl Iterator<Item = (&Series, bool)> {
    std::iter::once((&case.native, true)).chain(case.others.iter().map(|s| (s, false)))
}

/// The title of the picture that a row belongs to: rows that differ in nothing but N and the
/// native interface lie side by side.
fn picture_of(case: &Case) -> String {
    if ["select", "poll", "epoll"].contains(&&*case.group) {
        case.title.clone()
    } else {
        format!("{}: {}", case.group, case.title)
    }
}

/// Everything that was measured at three sizes or more.
pub(crate) fn curves(bench: &Bench) -> Vec<Curves> {
    let mut pictures: Vec<Curves> = Vec::new();
    for case in &bench.cases {
        let Some(n) = case.n else { continue };
        if !matches!(case.unit, Unit::Nanoseconds | Unit::PerSecond) {
            continue;
        }
        let title = picture_of(case);
        let at = pictures.iter().position(|p| p.title == title).unwrap_or_else(|| {
            let percent = case.title.contains('%');
            pictures.push(Curves { title, unit: case.unit, percent, lines: Vec::new() });
            pictures.len() - 1
        });
        let lines = &mut pictures[at].lines;
        for (series, native) in all(case) {
            let point = (n as f64, series.value.median);
            match lines.iter_mut().find(|l| l.interface == series.interface) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    interface: series.interface.clone(),
                    native,
                    points: vec![point],
                }),
            }
        }
    }
    for picture in &mut pictures {
        picture.lines.retain(|l| l.points.len() >= 3);
    }
    pictures.retain(|p| !p.lines.is_empty());
    pictures
}

/// Rates that were measured at one size.
pub(crate) fn bars(bench: &Bench) -> Vec<Bars> {
    let drawn: Vec<String> = curves(bench).into_iter().map(|c| c.title).collect();
    let mut all_bars: Vec<Bars> = Vec::new();
    for case in &bench.cases {
        if case.unit != Unit::PerSecond || drawn.contains(&picture_of(case)) {
            continue;
        }
        let label = case.group.clone();
        let values = all(case).map(|(s, _)| (s.interface.clone(), s.value.median));
        match all_bars.iter_mut().find(|b| b.label == label) {
            Some(bars) => bars.bars.extend(values),
            None => all_bars.push(Bars { label, bars: values.collect() }),
        }
    }
    all_bars
}

/// (title, lines over percentiles) of rows that kept their distribution.
pub(crate) fn percentiles(bench: &Bench) -> Vec<(String, Vec<Line>)> {
    let with = bench.cases.iter().filter(|c| !c.native.percentiles.is_empty());
    with.map(|case| {
        let n = case.n.map_or_else(String::new, |n| format!(", N = {n}"));
        let lines = all(case).map(|(s, native)| Line {
            interface: s.interface.clone(),
            native,
            points: s.percentiles.clone(),
        });
        (format!("{}: latency by percentile{n}", case.group), lines.collect())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Row;

    fn bench() -> Bench {
        let mut bench = Bench::new("poller", "");
        for native in ["poll", "epoll"] {
            for n in [10, 100, 1000] {
                let lanes = vec![(native.to_owned(), None), (format!("compat-{native}"), None)];
                let row = Row::speedup(native, "turn").at(n);
                bench.cases.push(row.case(lanes, &[vec![n as f64], vec![5.0]]));
            }
        }
        bench
    }

    #[test]
    fn interfaces_share_a_picture() {
        let curves = curves(&bench());
        assert_eq!(curves.len(), 1);
        let names: Vec<&str> = curves[0].lines.iter().map(|l| l.interface.as_str()).collect();
        assert_eq!(names, ["poll", "compat-poll", "epoll", "compat-epoll"]);
        assert_eq!(curves[0].lines[0].points, [(10.0, 10.0), (100.0, 100.0), (1000.0, 1000.0)]);
    }

    #[test]
    fn two_sizes_make_no_curve() {
        let mut bench = bench();
        bench.cases.retain(|c| c.n != Some(1000));
        assert!(curves(&bench).is_empty());
    }
}
