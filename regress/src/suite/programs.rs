//! libevent's test programs beside regress, as its own `test/test.sh` runs them on each method.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Judgement, Verdict};

/// A program that passes if it exits with 0.
#[derive(Debug)]
pub(super) struct Program {
    /// The test's name in reports.
    pub(super) name: &'static str,
    /// The executable, and the source's name without `.c`.
    pub(super) file: &'static str,
    pub(super) args: &'static [&'static str],
    /// A script of libevent's that must accept the output.
    check: Option<&'static str>,
    pub(super) off: bool,
}

const PROGRAM: Program = Program { name: "", file: "", args: &[], check: None, off: false };

/// The rate limiter's programs measure rates for 5 s and judge their deviation, so what they say
/// depends on who else uses the machine: off by default, as the timing tests of regress are.
const RATE: Program = Program { file: "test-ratelim", off: true, ..PROGRAM };

const PROGRAMS: &[Program] = &[
    Program { name: "test-init", file: "test-init", ..PROGRAM },
    Program { name: "test-eof", file: "test-eof", ..PROGRAM },
    Program { name: "test-closed", file: "test-closed", ..PROGRAM },
    Program { name: "test-weof", file: "test-weof", ..PROGRAM },
    Program { name: "test-time", file: "test-time", ..PROGRAM },
    Program { name: "test-changelist", file: "test-changelist", ..PROGRAM },
    Program { name: "test-fdleak", file: "test-fdleak", ..PROGRAM },
    Program {
        name: "test-dumpevents",
        file: "test-dumpevents",
        check: Some("check-dumpevents.py"),
        ..PROGRAM
    },
    Program {
        name: "test-ratelim/group",
        args: &[
            "-g",
            "30000",
            "-n",
            "30",
            "-t",
            "100",
            "--check-grouplimit",
            "1000",
            "--check-stddev",
            "100",
        ],
        ..RATE
    },
    Program {
        name: "test-ratelim/connection",
        args: &[
            "-c",
            "1000",
            "-n",
            "30",
            "-t",
            "100",
            "--check-connlimit",
            "50",
            "--check-stddev",
            "50",
        ],
        ..RATE
    },
    Program {
        name: "test-ratelim/both",
        args: &[
            "-c",
            "1000",
            "-g",
            "30000",
            "-n",
            "30",
            "-t",
            "100",
            "--check-grouplimit",
            "1000",
            "--check-connlimit",
            "50",
            "--check-stddev",
            "50",
        ],
        ..RATE
    },
    Program {
        name: "test-ratelim/both-drained",
        args: &[
            "-c",
            "1000",
            "-g",
            "35000",
            "-n",
            "30",
            "-t",
            "100",
            "-G",
            "500",
            "--check-grouplimit",
            "1000",
            "--check-connlimit",
            "50",
            "--check-stddev",
            "50",
        ],
        ..RATE
    },
];

/// The programs that this source tree has.
pub(super) fn in_tree(source: &Path) -> impl Iterator<Item = &'static Program> {
    PROGRAMS.iter().filter(|p| source.join("test").join(format!("{}.c", p.file)).exists())
}

impl Program {
    /// # Errors
    /// If the script that checks the output cannot be run.
    pub(super) fn judge(
        &self,
        code: i32,
        output: &str,
        source: &Path,
        python: &Path,
    ) -> Result<Judgement> {
        if code != 0 {
            let said = output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
            return Ok(Judgement::failed(format!("exit status {code}; said: {said}")));
        }
        let Some(script) = self.check else {
            return Ok(Judgement::plain(Verdict::Passed));
        };
        let mut child = Command::new(python)
            .arg(source.join("test").join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {script}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // The script may refuse the output before it has read all of it.
            let _ = stdin.write_all(output.as_bytes());
        }
        let checked = child.wait_with_output().with_context(|| format!("cannot run {script}"))?;
        Ok(if checked.status.success() {
            Judgement::plain(Verdict::Passed)
        } else {
            let said = String::from_utf8_lossy(&checked.stderr).trim().to_owned();
            Judgement::failed(format!("{script}: {said}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_of_the_tree_are_listed() {
        let dir = tempfile::tempdir().unwrap();
        let test = dir.path().join("test");
        std::fs::create_dir(&test).unwrap();
        std::fs::write(test.join("test-eof.c"), "").unwrap();
        let names: Vec<&str> = in_tree(dir.path()).map(|p| p.name).collect();
        assert_eq!(names, ["test-eof"]);
    }

    #[test]
    fn a_status_other_than_0_fails_and_quotes_the_last_words() {
        let judged = PROGRAMS[1].judge(1, "read_cb: Timeout!\n\n", Path::new(""), Path::new(""));
        let judged = judged.unwrap();
        assert_eq!(judged.verdict, Verdict::Failed);
        assert!(judged.detail.unwrap().contains("Timeout!"));
    }
}
