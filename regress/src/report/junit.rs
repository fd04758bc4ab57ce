//! The report for a CI system: JUnit XML.
//!
//! A failure in it is a difference. A test that fails natively too is skipped, with the reason:
//! it says nothing about this project, and would make the report red on any machine without a
//! network.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use quick_junit::{
    NonSuccessKind, Report as Junit, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use super::{ColumnReport, Report, TestReport};
use crate::compare::Standing;
use crate::runner::Attempt;
use crate::suite::Verdict;

/// # Errors
/// If the file cannot be written.
pub(crate) fn write(report: &Report, path: &Path) -> Result<()> {
    let mut junit = Junit::new(format!("regress: {}", report.libevent));
    junit.add_test_suites(report.columns.iter().map(suite));
    let text = junit.to_string().context("cannot make JUnit's XML")?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn suite(column: &ColumnReport) -> TestSuite {
    let mut suite = TestSuite::new(column.name());
    suite.add_test_cases(column.tests.iter().map(|test| case(&column.name(), test)));
    suite
}

fn case(column: &str, test: &TestReport) -> TestCase {
    let mut case = TestCase::new(test.name.as_str(), status(test));
    case.set_classname(column);
    case.set_time(seconds(test.outcome.last()));
    if test.is_of_interest() {
        case.set_system_out(test.outcome.last().output.as_str());
    }
    case
}

fn status(test: &TestReport) -> TestCaseStatus {
    let first = &test.outcome.first;
    let rerun = |kind, attempt: &Attempt| {
        let mut rerun = TestRerun::new(kind);
        rerun.set_message(attempt.judgement.detail.as_deref().unwrap_or("skipped"));
        rerun.set_time(seconds(attempt));
        rerun
    };
    match (test.standing, test.verdict()) {
        (Standing::Differs, _) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(first.judgement.detail.as_deref().unwrap_or("skipped"));
            if let Some(alone) = &test.outcome.alone {
                status.add_rerun(rerun(NonSuccessKind::Failure, alone));
            }
            status
        }
        (_, Verdict::Passed) => {
            let mut status = TestCaseStatus::success();
            if test.wavers() {
                status.add_rerun(rerun(NonSuccessKind::Failure, first));
            }
            status
        }
        (_, verdict) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(match verdict {
                Verdict::Failed => format!("fails with the kernel's own calls: {}", test.detail()),
                Verdict::Off => "off by default".to_owned(),
                Verdict::Skipped | Verdict::Passed => "skipped by libevent".to_owned(),
            });
            status
        }
    }
}

fn seconds(attempt: &Attempt) -> Duration {
    attempt.elapsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_failure_is_a_difference_and_the_text_is_valid_xml() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.xml");
        write(&samples::report(), &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();

        // Reading it back checks that it is well formed.
        let junit = Junit::deserialize_from_str(&text).unwrap();
        assert_eq!(junit.test_suites.len(), 2);
        let failed: Vec<&str> = junit
            .test_suites
            .iter()
            .flat_map(|suite| &suite.test_cases)
            .filter(|case| matches!(case.status, TestCaseStatus::NonSuccess { .. }))
            .map(|case| case.name.as_str())
            .collect();
        assert_eq!(failed, ["main/broken"]);
        let compat = &junit.test_suites[1];
        assert_eq!(compat.name.as_str(), "epoll compat");
        let wavers = &compat.test_cases[1];
        assert!(
            matches!(&wavers.status, TestCaseStatus::Success { flaky_runs } if flaky_runs.len() == 1)
        );
    }
}
