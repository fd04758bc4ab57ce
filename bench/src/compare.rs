//! Two results files side by side: what changed beyond noise.
//!
//! Ratios are compared, not nanoseconds: the two runs had two machines, or one machine in two
//! moods, but each ratio has its native twin from the same second.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use crate::model::{Case, FORMAT, Run, Sense};
use crate::stats::Spread;
use crate::table;

/// Reads a results file.
pub(crate) fn read(path: &Path) -> Result<Run> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let run: Run = serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is no results file", path.display()))?;
    ensure!(run.format == FORMAT, "{}: format {}, not {FORMAT}", path.display(), run.format);
    Ok(run)
}

/// The comparison as text.
pub(crate) fn files(before: &Path, after: &Path, percent: f64) -> Result<String> {
    let (before, after) = (read(before)?, read(after)?);
    let report = compare(&before, &after, percent);
    let mut text = format!(
        "before: {} {}\nafter:  {} {}\n",
        before.commit, before.date, after.commit, after.date
    );
    for (run, which) in [(&before, "before"), (&after, "after")] {
        if run.settings.quick || run.settings.profile != "release" {
            text +=
                &format!("The run {which} was a quick or debug one: nothing below means much.\n");
        }
    }
    if before.host.cpu != after.host.cpu || before.host.kernel != after.host.kernel {
        text += "The two runs are of different machines or kernels.\n";
    }
    text += &render(&report);
    Ok(text)
}

/// A row of one interface that both runs have.
#[derive(Debug)]
struct Change {
    what: String,
    before: String,
    after: String,
    /// Of ours against native: 0.9 is ten percent faster than before.
    factor: f64,
}

#[derive(Debug, Default)]
struct Report {
    faster: Vec<Change>,
    slower: Vec<Change>,
    same: usize,
    /// Rows that only one of the runs has.
    unmatched: usize,
}

fn key(bench: &str, case: &Case, interface: &str) -> String {
    let n = case.n.map_or_else(String::new, |n| format!(" N={n}"));
    format!("{bench}: {}: {}{n}: {interface}", case.group, case.title)
}

/// Every (row, interface) of a run with its ratio.
fn ratios(run: &Run) -> HashMap<String, (&Case, Spread)> {
    let mut all = HashMap::new();
    for bench in &run.benches {
        for case in &bench.cases {
            for series in &case.others {
                if let Some(ratio) = series.ratio {
                    all.insert(key(&bench.name, case, &series.interface), (case, ratio));
                }
            }
        }
    }
    all
}

fn compare(before: &Run, after: &Run, percent: f64) -> Report {
    let (old, new) = (ratios(before), ratios(after));
    let unmatched = old.keys().filter(|k| !new.contains_key(*k)).count();
    let mut report = Report { unmatched, ..Report::default() };
    for (what, (case, b)) in new {
        let Some(&(_, a)) = old.get(&what) else {
            report.unmatched += 1;
            continue;
        };
        if !beyond_noise(a, b, case.sense, percent) {
            report.same += 1;
            continue;
        }
        let change = Change {
            what,
            before: table::ratio(case, a.median),
            after: table::ratio(case, b.median),
            factor: cost_factor(case.sense, a.median, b.median),
        };
        if change.factor < 1.0 { &mut report.faster } else { &mut report.slower }.push(change);
    }
    report.faster.sort_by(|a, b| a.factor.total_cmp(&b.factor));
    report.slower.sort_by(|a, b| b.factor.total_cmp(&a.factor));
    report
}

/// How many times the cost `after` is of `before`.
fn cost_factor(sense: Sense, before: f64, after: f64) -> f64 {
    match sense {
        Sense::Cost => after / before,
        Sense::Speedup => before / after,
        // Differences may be 0 or negative, where a quotient says nothing.
        Sense::Extra => 2_f64.powf((after - before).signum()),
    }
}

/// A change counts if each median lies outside the other run's middle four fifths, and if it is
/// large enough to care.
fn beyond_noise(a: Spread, b: Spread, sense: Sense, percent: f64) -> bool {
    if a.contains(b.median) || b.contains(a.median) {
        return false;
    }
    let large = match sense {
        // One nanosecond or byte is the least that a difference can be trusted to.
        Sense::Extra => (a.median - b.median).abs() >= 1.0,
        _ => (b.median / a.median).ln().abs() >= (1.0 + percent / 100.0).ln(),
    };
    large && a.median.is_finite() && b.median.is_finite()
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    for (title, changes, color) in
        [("Slower", &report.slower, Color::Red), ("Faster", &report.faster, Color::Green)]
    {
        if changes.is_empty() {
            continue;
        }
        let mut table = Table::new();
        table
            .load_preset(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header([title, "ratio before", "ratio after", "cost"]);
        for c in changes {
            let percent = format!("{:+.0} %", (c.factor - 1.0) * 100.0);
            table.add_row([
                Cell::new(&c.what),
                Cell::new(&c.before),
                Cell::new(&c.after),
                Cell::new(percent).fg(color),
            ]);
        }
        text += &format!("{table}\n");
    }
    text += &format!(
        "{} slower, {} faster, {} within noise; {} rows that only one run has\n",
        report.slower.len(),
        report.faster.len(),
        report.same,
        report.unmatched
    );
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::measure::Row;
    use crate::model::{Bench, Host, Settings};

    fn run(native: &[f64], ours: &[f64], row: Row) -> Run {
        let lanes = vec![("epoll".into(), None), ("compat-epoll".into(), None)];
        let mut bench = Bench::new("micro", "");
        bench.cases.push(row.case(lanes, &[native.to_vec(), ours.to_vec()]));
        run_of(vec![bench])
    }

    /// A run with these benchmarks on some machine.
    pub(crate) fn run_of(benches: Vec<Bench>) -> Run {
        Run {
            format: FORMAT,
            date: "2000-01-01T00:00:00Z".into(),
            host: Host { kernel: "k".into(), cpu: "c".into(), cpus: 2, descriptors: 1024 },
            commit: "abc".into(),
            settings: Settings {
                rounds: 3,
                sample_ms: 1.0,
                clock: "wall".into(),
                effort: 1.0,
                pinned: vec![],
                quick: false,
                profile: "release".into(),
            },
            planned: vec![],
            benches,
        }
    }

    fn cost(ours: &[f64]) -> Run {
        run(&[100.0; 3], ours, Row::cost("wait", "one ready"))
    }

    #[test]
    fn a_slower_machine_alone_is_no_change() {
        let (a, b) =
            (cost(&[110.0; 3]), run(&[200.0; 3], &[220.0; 3], Row::cost("wait", "one ready")));
        let r = compare(&a, &b, 3.0);
        assert_eq!((r.slower.len(), r.faster.len(), r.same), (0, 0, 1));
    }

    #[test]
    fn beyond_the_spread_is_a_change_and_within_is_not() {
        let before = cost(&[100.0, 110.0, 120.0]);
        assert_eq!(compare(&before, &cost(&[108.0, 112.0, 116.0]), 1.0).same, 1);
        let slower = compare(&before, &cost(&[150.0, 151.0, 152.0]), 3.0);
        assert_eq!(slower.slower.len(), 1);
        assert!((slower.slower[0].factor - 1.51 / 1.1).abs() < 1e-9);
        let faster = compare(&before, &cost(&[50.0; 3]), 3.0);
        assert_eq!(faster.faster.len(), 1);
        assert!(render(&faster).contains("-55 %"), "{}", render(&faster));
    }

    #[test]
    fn more_speedup_is_faster() {
        let row = || Row::rate("inet", "events");
        let r = compare(
            &run(&[100.0; 3], &[100.0; 3], row()),
            &run(&[100.0; 3], &[120.0; 3], row()),
            3.0,
        );
        assert_eq!(r.faster.len(), 1);
    }

    #[test]
    fn a_small_change_is_not_worth_a_line() {
        assert_eq!(compare(&cost(&[100.0; 3]), &cost(&[101.0; 3]), 3.0).same, 1);
    }

    #[test]
    fn rows_of_one_run_only_are_counted() {
        let other = run(&[100.0; 3], &[100.0; 3], Row::cost("wait", "other"));
        assert_eq!(compare(&cost(&[100.0; 3]), &other, 3.0).unmatched, 2);
    }

    #[test]
    fn files_are_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        std::fs::write(&path, serde_json::to_string(&cost(&[110.0; 3])).unwrap()).unwrap();
        let text = files(&path, &path, 3.0).unwrap();
        assert!(text.contains("0 slower, 0 faster, 1 within noise"), "{text}");
        std::fs::write(&path, "{}").unwrap();
        assert!(files(&path, &path, 3.0).unwrap_err().to_string().contains("no results file"));
    }
}
