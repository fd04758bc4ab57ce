//! Runs the tests of the columns, each in processes of its own, several at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::column::Column;
use crate::libevent::Build;
use crate::preload;
use crate::process;
use crate::progress::Progress;
use crate::suite::{Judgement, Test, Verdict, is_slow};

/// One run of one test.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) judgement: Judgement,
    pub(crate) elapsed: Duration,
    pub(crate) output: String,
}

/// What is known of a test in a column.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The run beside other tests.
    pub(crate) first: Attempt,
    /// The run alone, if the first one asked for it.
    pub(crate) alone: Option<Attempt>,
}

impl Outcome {
    /// The last word: what the test does alone, if that was tried.
    pub(crate) fn last(&self) -> &Attempt {
        self.alone.as_ref().unwrap_or(&self.first)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.last().judgement.verdict
    }
}

/// A column, ready to run, and what has been found out.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) column: Column,
    pub(crate) build: Build,
    /// The library that answers, and what it is built on.
    pub(crate) libraries: Vec<PathBuf>,
    pub(crate) tests: Vec<Test>,
    pub(crate) outcomes: BTreeMap<String, Outcome>,
}

/// What all tests have in common.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) jobs: usize,
    /// libevent's own limit of time for a test.
    pub(crate) timeout: Duration,
    pub(crate) python: PathBuf,
}

impl Stage {
    /// The command of a test, with everything that the column sets.
    pub(crate) fn command(&self, test: &Test, settings: &Settings) -> Command {
        let mut command = test.command(&self.build.bin, settings.timeout);
        preload::environment(&mut command, &self.column, &self.libraries);
        command
    }

    /// Runs one test to its end.
    ///
    /// # Errors
    /// If it cannot be run at all, or the loader leaves out the column's library.
    pub(crate) fn attempt(&self, test: &Test, settings: &Settings) -> Result<Attempt> {
        if test.off {
            return Ok(Attempt {
                judgement: Judgement { verdict: Verdict::Off, detail: None },
                elapsed: Duration::ZERO,
                output: String::new(),
            });
        }
        // A folder of its own: a test may make files where it stands.
        let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut command = self.command(test, settings);
        command.current_dir(dir.path());
        // tinytest ends the child that it forks; twice its time is for the case that it cannot.
        let finished = process::run(&mut command, settings.timeout * 2)?;
        if finished.output.contains(preload::IGNORED) {
            bail!("{}, {}: {}", self.column, test.name, finished.output.trim());
        }
        let judgement = test.judge(&finished, &self.build.source, &settings.python)?;
        Ok(Attempt { judgement, elapsed: finished.elapsed, output: finished.output })
    }
}

/// "poll native: 347 passed, 6 failed, 1 skipped"
fn summary(column: &Column, outcomes: &BTreeMap<String, Outcome>) -> String {
    let count = |verdict| outcomes.values().filter(|o| o.verdict() == verdict).count();
    format!(
        "{column}: {} passed, {} failed, {} skipped",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::Skipped)
    )
}

/// Runs every test of every stage, `settings.jobs` at a time.
///
/// # Errors
/// The first one of [`Stage::attempt`]; no test is begun after it.
pub(crate) fn run(stages: &mut [Stage], settings: &Settings) -> Result<()> {
    let queue = queue(stages);
    let progress = Progress::new(queue.len());
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let mut left: Vec<usize> = stages.iter().map(|stage| stage.tests.len()).collect();
    let mut error = None;
    // The workers read the stages, so what they find is put in when they are gone.
    let mut found: Vec<BTreeMap<String, Outcome>> = vec![BTreeMap::new(); stages.len()];

    let shared: &[Stage] = stages;
    std::thread::scope(|scope| {
        let (done, results) = mpsc::channel();
        for _ in 0..settings.jobs.min(queue.len()) {
            let done = done.clone();
            let (queue, next, stop) = (&queue, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(&(s, t)) = queue.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    let attempt = shared[s].attempt(&shared[s].tests[t], settings);
                    if done.send((s, t, attempt)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        for (s, t, attempt) in results {
            let name = &shared[s].tests[t].name;
            match attempt {
                Ok(first) => {
                    progress.tick(&shared[s].column.to_string(), name);
                    found[s].insert(name.clone(), Outcome { first, alone: None });
                }
                Err(e) => {
                    stop.store(true, Ordering::Relaxed);
                    error.get_or_insert(e);
                }
            }
            left[s] -= 1;
            if left[s] == 0 {
                progress.say(&summary(&shared[s].column, &found[s]));
            }
        }
    });
    progress.finish();
    if let Some(error) = error {
        return Err(error);
    }
    for (stage, outcomes) in stages.iter_mut().zip(found) {
        stage.outcomes = outcomes;
    }
    Ok(())
}

/// All tests as (stage, test), column by column, the slow ones of each first.
fn queue(stages: &[Stage]) -> Vec<(usize, usize)> {
    let mut queue = Vec::new();
    for (s, stage) in stages.iter().enumerate() {
        let mut tests: Vec<usize> = (0..stage.tests.len()).collect();
        tests.sort_by_key(|t| !is_slow(&stage.tests[*t].name));
        queue.extend(tests.into_iter().map(|t| (s, t)));
    }
    queue
}

/// More suspects than this in one column are no accidents: they are not tried again.
pub(crate) const MOST_RETRIES: usize = 40;

/// Runs the suspects of each stage again, with nothing beside them, and says what became of them.
///
/// # Errors
/// Those of [`Stage::attempt`].
pub(crate) fn retry(
    stages: &mut [Stage],
    settings: &Settings,
    suspect: impl Fn(&Stage, &str, &Outcome) -> bool,
) -> Result<()> {
    let mut suspects = Vec::new();
    for (s, stage) in stages.iter().enumerate() {
        let tests: Vec<Test> = stage
            .tests
            .iter()
            .filter(|test| {
                stage.outcomes.get(&test.name).is_some_and(|outcome| {
                    outcome.alone.is_none() && suspect(stage, &test.name, outcome)
                })
            })
            .cloned()
            .collect();
        if tests.len() > MOST_RETRIES {
            crate::progress::note(&format!(
                "{}: {} tests did not pass; so many are not tried again alone",
                stage.column,
                tests.len()
            ));
            continue;
        }
        suspects.extend(tests.into_iter().map(|test| (s, test)));
    }
    if suspects.is_empty() {
        return Ok(());
    }
    crate::progress::note(&format!("trying {} again, each alone", count(suspects.len(), "test")));
    let progress = Progress::new(suspects.len());
    for (s, test) in suspects {
        let stage = &mut stages[s];
        let attempt = stage.attempt(&test, settings)?;
        progress.tick(&stage.column.to_string(), &test.name);
        if let Some(outcome) = stage.outcomes.get_mut(&test.name) {
            outcome.alone = Some(attempt);
        }
    }
    progress.finish();
    Ok(())
}

/// "1 test", "2 tests"
pub(crate) fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// A command as a shell would take it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec!["env".to_owned()];
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => words.push(quoted(&format!("{}={}", name.display(), value.display()))),
            None => words.push(format!("-u {}", name.display())),
        }
    }
    words.push(quoted(&Path::new(command.get_program()).display().to_string()));
    words.extend(command.get_args().map(|arg| quoted(&arg.display().to_string())));
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.:,+@".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
