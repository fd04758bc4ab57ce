//! What the tests of interest printed, a file each, with the command that runs it by hand.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Report, TestReport};
use crate::runner::Attempt;

/// Replaces the logs of the last run.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write(report: &Report, dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    for column in &report.columns {
        let folder = dir.join(column.stage.column.file_name());
        for test in column.tests.iter().filter(|test| test.is_of_interest()) {
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
            let path = folder.join(format!("{}.log", test.name.replace('/', "_")));
            fs::write(&path, log(test))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    Ok(())
}

fn log(test: &TestReport) -> String {
    let run = |what: &str, attempt: &Attempt| {
        format!(
            "--- {what}: {:?} after {:.3} s{}\n{}\n",
            attempt.judgement.verdict,
            attempt.elapsed.as_secs_f64(),
            attempt.judgement.detail.as_ref().map(|d| format!(": {d}")).unwrap_or_default(),
            attempt.output
        )
    };
    let alone = test.outcome.alone.as_ref().map(|a| run("alone", a)).unwrap_or_default();
    format!("{}\n{}{alone}", test.command, run("beside other tests", &test.outcome.first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn old_logs_go_and_each_test_of_interest_has_one() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).unwrap();
        fs::write(logs.join("old"), "").unwrap();
        write(&samples::report(), &logs).unwrap();
        assert!(!logs.join("old").exists());
        let text = fs::read_to_string(logs.join("epoll-compat/main_broken.log")).unwrap();
        assert!(text.contains("LD_PRELOAD=/l/libkqcompat_epoll.so") && text.contains("--- alone"));
        assert!(logs.join("epoll-compat/main_wavers.log").exists());
        assert!(!logs.join("epoll-compat/main_good.log").exists());
    }
}
