//! libevent's tests: which there are, how each is started, and what its output says.

mod pattern;
mod programs;
mod tinytest;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub(crate) use self::pattern::Patterns;
use self::programs::Program;
use crate::process::{End, Finished};

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// libevent skipped it, because the method or the machine lacks something.
    Skipped,
    /// libevent does not run it unless it is named.
    Off,
}

/// A verdict and, where it is not plain, the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) detail: Option<String>,
}

impl Judgement {
    pub(crate) fn failed(detail: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failed, detail: Some(detail.into()) }
    }

    fn plain(verdict: Verdict) -> Self {
        Self { verdict, detail: None }
    }
}

/// One test: a case of the regress program, or a program of its own.
#[derive(Debug, Clone)]
pub(crate) struct Test {
    pub(crate) name: String,
    /// Not to be run: it is off by default and was not named.
    pub(crate) off: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A case of tinytest; `off_by_default` ones must be switched on.
    Case {
        off_by_default: bool,
    },
    Program(&'static Program),
}

impl Test {
    /// A case for the tests of other modules.
    #[cfg(test)]
    pub(crate) fn sample(name: &str) -> Self {
        let kind = Kind::Case { off_by_default: false };
        Test { name: name.to_owned(), off: false, kind }
    }

    /// The command line below the folder of built programs.
    pub(crate) fn command(&self, bin: &Path, timeout: Duration) -> Command {
        match self.kind {
            Kind::Case { off_by_default } => {
                let mut command = Command::new(bin.join("regress"));
                command.arg("--timeout").arg(timeout.as_secs().to_string());
                let plus = if off_by_default { "+" } else { "" };
                command.arg(format!("{plus}{}", self.name));
                command
            }
            Kind::Program(program) => {
                let mut command = Command::new(bin.join(program.file));
                command.args(program.args);
                command
            }
        }
    }

    /// What the end of the test means. `source` is libevent's tree, `python` its interpreter.
    ///
    /// # Errors
    /// If a script that checks the output cannot be run.
    pub(crate) fn judge(
        &self,
        finished: &Finished,
        source: &Path,
        python: &Path,
    ) -> Result<Judgement> {
        match &finished.end {
            End::TimedOut(limit) => {
                Ok(Judgement::failed(format!("did not end within {} s", limit.as_secs_f32())))
            }
            End::Signal(signal) => Ok(Judgement::failed(format!("killed by signal {signal}"))),
            End::Exit(code) => match self.kind {
                Kind::Case { .. } => Ok(tinytest::judge(*code, &finished.output)),
                Kind::Program(program) => program.judge(*code, &finished.output, source, python),
            },
        }
    }
}

/// Lists the tests of a built libevent that the patterns choose (all, if there are none).
///
/// # Errors
/// If the regress program cannot list its tests, or a pattern chooses none.
pub(crate) fn list(bin: &Path, source: &Path, patterns: &Patterns) -> Result<Vec<Test>> {
    let output = Command::new(bin.join("regress"))
        .arg("--list-tests")
        .output()
        .context("cannot start libevent's regress program")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let cases = tinytest::parse_list(&text);
    if cases.is_empty() {
        bail!("libevent's regress program lists no tests:\n{text}");
    }
    let mut tests: Vec<Test> = cases
        .into_iter()
        .map(|case| Test {
            off: case.off,
            kind: Kind::Case { off_by_default: case.off },
            name: case.name,
        })
        .collect();
    tests.extend(programs::in_tree(source).map(|program| Test {
        name: program.name.to_owned(),
        off: program.off,
        kind: Kind::Program(program),
    }));
    let names: Vec<&str> = tests.iter().map(|t| t.name.as_str()).collect();
    patterns.check(&names)?;
    tests.retain(|test| patterns.choose(&test.name));
    for test in &mut tests {
        test.off = test.off && !patterns.name_exactly(&test.name);
    }
    Ok(tests)
}

/// Whether a test is worth starting early: the ones that wait for a name server that does not
/// answer sleep for 6 to 12 s, all others for 2 s at most.
pub(crate) fn is_slow(name: &str) -> bool {
    name.starts_with("http/cancel")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(end: End) -> Finished {
        Finished { end, output: String::new(), elapsed: Duration::ZERO }
    }

    fn case(name: &str, off_by_default: bool) -> Test {
        Test { name: name.to_owned(), off: off_by_default, kind: Kind::Case { off_by_default } }
    }

    #[test]
    fn a_crash_and_a_hang_are_failures_whatever_was_printed() {
        let test = case("main/x", false);
        for end in [End::Signal(11), End::TimedOut(Duration::from_secs(60))] {
            let judged = test.judge(&finished(end), Path::new(""), Path::new("")).unwrap();
            assert_eq!(judged.verdict, Verdict::Failed);
            assert!(judged.detail.is_some());
        }
    }

    #[test]
    fn a_test_that_is_off_is_switched_on_by_name() {
        let command = case("util/live", true).command(Path::new("/b"), Duration::from_secs(30));
        let args: Vec<_> = command.get_args().collect();
        assert_eq!(args, ["--timeout", "30", "+util/live"]);
    }
}
