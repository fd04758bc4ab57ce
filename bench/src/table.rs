//! The terminal's table: ratios first, every value beside its native twin.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::model::{Bench, Case, Run, Sense, Series, Target, Unit, Verdict};

/// One benchmark as a table with its notes.
pub(crate) fn bench(bench: &Bench) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header([
            "case",
            "N",
            "interface",
            "ratio",
            "(p10 .. p90)",
            "target",
            "",
            "ours",
            "native",
        ]);
    for column in [1, 3, 5, 7, 8] {
        table
            .column_mut(column)
            .expect("it is one of the nine")
            .set_cell_alignment(CellAlignment::Right);
    }
    for case in &bench.cases {
        if case.others.is_empty() {
            table.add_row(native_only(case));
        }
        for (i, series) in case.others.iter().enumerate() {
            table.add_row(row(case, series, i == 0));
        }
    }
    let mut text = format!("\n{}: {}\n{table}\n", bench.name, bench.about);
    if bench.seconds > 0.0 {
        text += &format!("  {:.0} s\n", bench.seconds);
    }
    for note in &bench.notes {
        text += &format!("  note: {note}\n");
    }
    text
}

/// What a reader must know of a run to judge it.
pub(crate) fn footer(run: &Run) -> String {
    let mut text = format!(
        "\nLinux {}, {} x {}, {} descriptors, commit {}, {}; medians of {} rounds of {} ms each, by \
         the {} clock\n",
        run.host.kernel,
        run.host.cpus,
        run.host.cpu,
        run.host.descriptors,
        run.commit,
        run.date,
        run.settings.rounds,
        run.settings.sample_ms,
        run.settings.clock,
    );
    let missing = run.missing();
    if !missing.is_empty() {
        text += &format!(
            "Missing: {}. The run was cut short or could not do them; `bench all --resume FILE` does \
             what FILE lacks.\n",
            missing.join(", ")
        );
    }
    if run.settings.quick {
        text += "A quick run: it shows that the benchmarks work, not how fast anything is.\n";
    }
    if run.settings.profile != "release" {
        text += "A debug build: its ratios mean nothing.\n";
    }
    text
}

fn title(case: &Case) -> String {
    format!("{}: {}", case.group, case.title)
}

fn number(case: &Case) -> String {
    case.n.map_or_else(String::new, |n| n.to_string())
}

/// A case that nothing was measured against: its interface's libraries are missing.
fn native_only(case: &Case) -> Vec<Cell> {
    let native = value(case.unit, case.native.value.median);
    let blank = || Cell::new("");
    vec![
        Cell::new(title(case)),
        Cell::new(number(case)),
        Cell::new(&case.native.interface),
        blank(),
        blank(),
        blank(),
        blank(),
        Cell::new("-"),
        Cell::new(native),
    ]
}

fn row(case: &Case, series: &Series, first: bool) -> Vec<Cell> {
    let (ratio, spread) = series.ratio.map_or_else(Default::default, |r| {
        (ratio(case, r.median), format!("({} .. {})", ratio(case, r.p10), ratio(case, r.p90)))
    });
    vec![
        Cell::new(if first { title(case) } else { String::new() }),
        Cell::new(if first { number(case) } else { String::new() }),
        Cell::new(&series.interface),
        Cell::new(ratio),
        Cell::new(spread),
        Cell::new(series.target.map_or_else(String::new, |t| target(case, t))),
        verdict(case, series),
        Cell::new(value(case.unit, series.value.median)),
        Cell::new(value(case.unit, case.native.value.median)),
    ]
}

fn verdict(case: &Case, series: &Series) -> Cell {
    let colour = match series.verdict() {
        None => return Cell::new(""),
        Some(Verdict::Met) => Color::Green,
        Some(Verdict::WithinNoise) => Color::Yellow,
        Some(Verdict::Missed) => Color::Red,
    };
    Cell::new(verdict_text(case, series)).fg(colour)
}

/// Met, or not; and then the floor, where one was measured.
pub(crate) fn verdict_text(case: &Case, series: &Series) -> String {
    let text = match series.verdict() {
        None => return String::new(),
        Some(Verdict::Met) => return "met".into(),
        Some(Verdict::WithinNoise) => "noise",
        Some(Verdict::Missed) => "MISSED",
    };
    let floor = case.floor_of(series).map(|f| format!(", floor {}", ratio(case, f.median)));
    text.to_owned() + &floor.unwrap_or_default()
}

/// A ratio as its row reads it: `1.07` of native's cost, `61x` faster, `+12 ns`.
pub(crate) fn ratio(case: &Case, r: f64) -> String {
    match case.sense {
        Sense::Cost => significant(r),
        Sense::Speedup => format!("{}x", significant(r)),
        Sense::Extra => format!("+{}", value(case.unit, r)).replace("+-", "-"),
    }
}

/// A target in the same words.
pub(crate) fn target(case: &Case, target: Target) -> String {
    match target {
        Target::AtMost(b) => format!("<= {}", ratio(case, b)),
        Target::AtLeast(b) => format!(">= {}", ratio(case, b)),
        Target::ValueAtMost(b) => format!("<= {}", value(case.unit, b)),
    }
}

/// A value with its unit, at a size that can be read.
pub(crate) fn value(unit: Unit, v: f64) -> String {
    match unit {
        Unit::Nanoseconds if v.abs() >= 1e6 => format!("{} ms", significant(v / 1e6)),
        Unit::Nanoseconds if v.abs() >= 1e4 => format!("{} us", significant(v / 1e3)),
        Unit::Nanoseconds => format!("{} ns", significant(v)),
        Unit::PerSecond => format!("{v:.0}/s"),
        Unit::Bytes => format!("{v:.0} B"),
        Unit::Count => format!("{v:.0}"),
    }
}

/// Three digits that mean something.
fn significant(v: f64) -> String {
    match v.abs() {
        a if !a.is_finite() => "?".into(),
        a if a >= 100.0 => format!("{v:.0}"),
        a if a >= 10.0 => format!("{v:.1}"),
        _ => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Row;

    fn case() -> Case {
        let lanes = vec![("poll".into(), None), ("ours".into(), Some(Target::AtLeast(55.0)))];
        Row::speedup("poll", "one ready").at(256).case(lanes, &[vec![14700.0; 3], vec![245.0; 3]])
    }

    #[test]
    fn a_row_shows_ratio_target_and_both_values() {
        let mut b = Bench::new("poll-table", "about");
        b.cases.push(case());
        b.note("N = 9000 could not be run");
        let text = bench(&b);
        for part in ["60.0x", ">= 55.0x", "met", "245 ns", "14.7 us", "256", "could not be run"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn a_case_without_a_twin_shows_the_native_value() {
        let mut b = Bench::new("x", "about");
        let lanes = vec![("poll".into(), None)];
        b.cases.push(Row::cost("poll", "one").case(lanes, &[vec![100.0]]));
        assert!(bench(&b).contains("100 ns"));
    }

    #[test]
    fn what_misses_its_target_stands_beside_its_floor() {
        let lanes = ["epoll", "lock", "ours"].map(|n| (n.to_owned(), Some(Target::AtMost(1.1))));
        let values = [vec![100.0; 3], vec![112.0; 3], vec![120.0; 3]];
        let mut case = Row::cost("wait", "one").case(lanes.to_vec(), &values);
        case.others[1].floor = Some("lock".into());
        assert_eq!(verdict_text(&case, &case.others[1]), "MISSED, floor 1.12");
        assert_eq!(verdict_text(&case, &case.others[0]), "MISSED");
    }

    #[test]
    fn values_are_readable() {
        assert_eq!(value(Unit::Nanoseconds, 195.4), "195 ns");
        assert_eq!(value(Unit::Nanoseconds, 842_000.0), "842 us");
        assert_eq!(value(Unit::Nanoseconds, 2_500_000.0), "2.50 ms");
        assert_eq!(value(Unit::PerSecond, 71000.4), "71000/s");
        assert_eq!(significant(f64::NAN), "?");
        let mut extra = case();
        extra.sense = Sense::Extra;
        assert_eq!(ratio(&extra, -3.0), "-3.00 ns");
    }
}
