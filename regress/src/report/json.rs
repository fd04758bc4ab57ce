//! The report for a program: JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{ColumnReport, Report, TestReport};
use crate::column::{Backend, Policy};
use crate::compare::{Difference, Standing};
use crate::runner::Attempt;
use crate::suite::Verdict;

#[derive(Serialize)]
struct Document<'a> {
    libevent: &'a str,
    columns: Vec<Column<'a>>,
    left_out: Vec<LeftOut<'a>>,
    differences: &'a [Difference],
}

#[derive(Serialize)]
struct Column<'a> {
    name: String,
    method: &'a str,
    backend: Backend,
    policy: Option<Policy>,
    /// False for a native column that was only asked about tests that did not pass elsewhere.
    whole: bool,
    passed: usize,
    failed: usize,
    skipped: usize,
    off: usize,
    tests: Vec<Test<'a>>,
}

#[derive(Serialize)]
struct Test<'a> {
    name: &'a str,
    verdict: Verdict,
    standing: Standing,
    first: Run<'a>,
    /// The run alone, if there was one; its verdict is the test's.
    alone: Option<Run<'a>>,
}

#[derive(Serialize)]
struct Run<'a> {
    verdict: Verdict,
    seconds: f64,
    detail: Option<&'a str>,
}

#[derive(Serialize)]
struct LeftOut<'a> {
    column: &'a str,
    reason: &'a str,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            libevent: &report.libevent,
            columns: report.columns.iter().map(Column::of).collect(),
            left_out: report
                .left_out
                .iter()
                .map(|(column, reason)| LeftOut { column, reason })
                .collect(),
            differences: &report.differences,
        }
    }
}

impl<'a> Column<'a> {
    fn of(report: &'a ColumnReport) -> Self {
        let column = &report.stage.column;
        Self {
            name: report.name(),
            method: column.method.name,
            backend: column.backend,
            policy: column.policy,
            whole: report.whole,
            passed: report.count(Verdict::Passed),
            failed: report.count(Verdict::Failed),
            skipped: report.count(Verdict::Skipped),
            off: report.count(Verdict::Off),
            tests: report.tests.iter().map(Test::of).collect(),
        }
    }
}

impl<'a> Test<'a> {
    fn of(test: &'a TestReport) -> Self {
        Self {
            name: &test.name,
            verdict: test.verdict(),
            standing: test.standing,
            first: Run::of(&test.outcome.first),
            alone: test.outcome.alone.as_ref().map(Run::of),
        }
    }
}

impl<'a> Run<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            verdict: attempt.judgement.verdict,
            seconds: attempt.elapsed.as_secs_f64(),
            detail: attempt.judgement.detail.as_deref(),
        }
    }
}

/// # Errors
/// If the file cannot be written.
pub(crate) fn write(report: &Report, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut file = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut file, &Document::of(report))
        .with_context(|| format!("cannot write {}", path.display()))?;
    writeln!(file)
        .and_then(|()| file.flush())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_document_holds_counts_tests_and_differences() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        write(&samples::report(), &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();

        let compat = &value["columns"][1];
        assert_eq!(compat["name"], "epoll compat");
        assert_eq!(compat["backend"], "compat");
        assert_eq!(compat["failed"], 2);
        let wavers = &compat["tests"][1];
        assert_eq!(wavers["name"], "main/wavers");
        assert_eq!(wavers["verdict"], "passed");
        assert_eq!(wavers["first"]["verdict"], "failed");
        assert_eq!(wavers["standing"], "equal");
        assert_eq!(wavers["alone"]["seconds"], 0.25);
        assert_eq!(compat["tests"][3]["standing"], "fails_natively_too");
        assert_eq!(value["differences"][0]["test"], "main/broken");
        assert_eq!(value["differences"][0]["natively"], "passed");
        assert_eq!(value["left_out"][0]["column"], "poll compat");
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let error = write(&samples::report(), Path::new("/no/such/folder/x")).unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/x"));
    }
}
