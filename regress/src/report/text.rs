//! The report for a person.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use console::style;

use super::{ColumnReport, Report, TestReport};
use crate::compare::{Difference, Standing};
use crate::runner::count;
use crate::suite::Verdict;

/// Prints the report on standard output.
pub(crate) fn print(report: &Report) {
    print!("{}", text(report));
}

/// The report as text; console leaves its colours out where they are not wanted.
fn text(report: &Report) -> String {
    let mut text = format!("\n{}\n{}\n", report.libevent, table(report));
    for (what, why) in &report.left_out {
        line(&mut text, &format!("left out: {what}: {why}"));
    }
    for section in
        [native_failures(report), wavering(report), not_applicable(report), differences(report)]
    {
        if !section.is_empty() {
            line(&mut text, "");
            line(&mut text, section.trim_end());
        }
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_header(["column", "passed", "failed", "skipped", "off", "differs", "seconds"]);
    for column in report.columns.iter().filter(|column| column.whole) {
        let differs = match column.stage.column.compat() {
            Some(_) => column.standing(Standing::Differs).count().to_string(),
            None => "-".to_owned(),
        };
        table.add_row([
            column.name(),
            column.count(Verdict::Passed).to_string(),
            column.count(Verdict::Failed).to_string(),
            column.count(Verdict::Skipped).to_string(),
            column.count(Verdict::Off).to_string(),
            differs,
            format!("{:.1}", column.elapsed().as_secs_f64()),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// One line a test with the columns it is true of, in the order of the tests.
fn by_test<'a>(
    report: &'a Report,
    choose: impl Fn(&'a ColumnReport, &'a TestReport) -> bool,
    say: impl Fn(&TestReport) -> String,
) -> String {
    let mut order: Vec<&str> = Vec::new();
    let mut found: BTreeMap<&str, (Vec<String>, String)> = BTreeMap::new();
    for column in &report.columns {
        for test in column.tests.iter().filter(|test| choose(column, test)) {
            let entry = found.entry(&test.name).or_insert_with(|| {
                order.push(&test.name);
                (Vec::new(), say(test))
            });
            entry.0.push(column.name());
        }
    }
    order.iter().fold(String::new(), |mut text, name| {
        let (columns, say) = &found[name];
        line(&mut text, &format!("  {name} ({})", columns.join(", ")));
        if !say.is_empty() {
            line(&mut text, &format!("      {say}"));
        }
        text
    })
}

fn native_failures(report: &Report) -> String {
    let tests = by_test(
        report,
        |column, test| column.stage.column.compat().is_none() && test.verdict() == Verdict::Failed,
        |test| test.detail().to_owned(),
    );
    if tests.is_empty() {
        return tests;
    }
    format!("Fail with the kernel's own calls, so nothing is expected of them here:\n{tests}")
}

fn wavering(report: &Report) -> String {
    let tests = by_test(
        report,
        |_, test| test.wavers(),
        |test| {
            let first = test.outcome.first.judgement.detail.as_deref().unwrap_or("skipped");
            format!("at first: {first}")
        },
    );
    if tests.is_empty() {
        return tests;
    }
    format!("Ended otherwise when tried again alone; the second run counts:\n{tests}")
}

fn not_applicable(report: &Report) -> String {
    let tests =
        by_test(report, |_, test| test.standing == Standing::DoesNotApply, |_| String::new());
    if tests.is_empty() {
        return tests;
    }
    format!("Skipped by libevent because the method lacks something that epoll has:\n{tests}")
}

fn differences(report: &Report) -> String {
    let compared = report.columns.iter().any(|column| column.stage.column.compat().is_some());
    if report.differences.is_empty() {
        return match compared {
            true => style("No difference: what passes natively passes here.").green().to_string(),
            false => "Only native columns: nothing was compared.".to_owned(),
        };
    }
    let headline = format!("{}:", count(report.differences.len(), "difference"));
    let mut text = style(headline).red().bold().to_string();
    text.push('\n');
    for difference in &report.differences {
        line(&mut text, &difference_line(difference));
        if let Some(detail) = &difference.detail {
            line(&mut text, &format!("      {detail}"));
        }
    }
    line(&mut text, "What they printed, and how to run each by hand, is in target/regress/logs.");
    text
}

fn difference_line(difference: &Difference) -> String {
    let native = match difference.natively {
        Some(verdict) => format!("{} natively", word(verdict)),
        None => "does not exist natively".to_owned(),
    };
    let alone = match difference.alone {
        Some(_) => "tried again alone",
        None => "not tried again alone",
    };
    format!(
        "  {}: {}: {native}, {} here ({alone})",
        difference.column,
        difference.test,
        word(difference.here)
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passes",
        Verdict::Failed => "fails",
        Verdict::Skipped => "is skipped",
        Verdict::Off => "is off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_person_sees_the_counts_and_every_difference_by_name() {
        let text = console::strip_ansi_codes(&text(&samples::report())).into_owned();
        let row = |name: &str| {
            let line = text.lines().find(|l| l.trim_start().starts_with(name)).unwrap();
            line.split_whitespace().skip(2).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(row("epoll native"), ["3", "1", "1", "1", "-", "1.5"]);
        assert_eq!(row("epoll compat"), ["2", "2", "1", "1", "1", "1.5"]);
        assert!(
            text.contains("1 difference:\n  epoll compat: main/broken: passes natively, fails")
        );
        assert!(text.contains("dns/no_network (epoll native)"));
        assert!(text.contains("main/wavers (epoll compat)"));
        assert!(text.contains("left out: poll compat: no package"));
        assert_eq!(text.matches("main/good").count(), 0);
    }
}
