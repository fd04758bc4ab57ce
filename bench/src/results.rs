//! The results of a run while it grows: after each benchmark the files are written anew, so that a
//! run which is cut short leaves what it has measured.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::cli::Common;
use crate::ctx::Ctx;
use crate::model::{Bench, FORMAT, Run, Settings};
use crate::{compare, host, html, table};

/// A run and where it is written to.
#[derive(Debug)]
pub(crate) struct Results<'a> {
    pub(crate) run: Run,
    common: &'a Common,
    /// What every benchmark has to do without.
    missing: &'a [String],
}

impl<'a> Results<'a> {
    /// Nothing measured yet, or what the file of `--resume` has. `planned` will be.
    pub(crate) fn begin(ctx: &'a Ctx, common: &'a Common, planned: &[&str]) -> Result<Self> {
        let fresh = Run {
            format: FORMAT,
            date: host::now(),
            host: host::describe(),
            commit: host::commit(),
            settings: settings(ctx),
            planned: Vec::new(),
            benches: Vec::new(),
        };
        let mut run = match &common.resume {
            Some(path) if path.exists() => go_on(fresh, compare::read(path)?)
                .with_context(|| format!("--resume {}", path.display()))?,
            _ => fresh,
        };
        for name in planned {
            if !run.planned.iter().any(|p| p == name) {
                run.planned.push((*name).to_owned());
            }
        }
        Ok(Self { run, common, missing: &ctx.interfaces.missing })
    }

    /// Shows a benchmark's outcome, and writes it with those before it.
    pub(crate) fn add(&mut self, mut bench: Bench) -> Result<()> {
        for note in self.missing {
            bench.note(note);
        }
        if !self.to_stdout() {
            write!(io::stdout(), "{}", table::bench(&bench))?;
        }
        self.run.put(bench);
        self.run.date = host::now();
        let common = self.common;
        if let Some(path) = common.json.as_deref().filter(|_| !self.to_stdout()) {
            replace(path, &self.json()?)?;
        }
        if let Some(path) = self.kept() {
            replace(&path, &self.json()?)?;
        }
        if let Some(path) = &common.html {
            replace(path, &html::report(&self.run)?)?;
        }
        Ok(())
    }

    /// All is done.
    pub(crate) fn end(&self) -> Result<()> {
        let text = if self.to_stdout() { self.json()? } else { table::footer(&self.run) };
        io::stdout().write_all(text.as_bytes())?;
        if let Some(path) = self.kept() {
            eprintln!("kept as {}", path.display());
        }
        Ok(())
    }

    /// Where the results are kept, by `--resume` or `--save`.
    fn kept(&self) -> Option<PathBuf> {
        let named = self.common.resume.clone();
        named.or_else(|| self.common.save.then(|| keep_at(&self.run)))
    }

    fn to_stdout(&self) -> bool {
        self.common.json.as_deref() == Some(Path::new("-"))
    }

    fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.run)? + "\n")
    }
}

fn settings(ctx: &Ctx) -> Settings {
    Settings {
        rounds: ctx.plan.rounds,
        sample_ms: ctx.plan.sample.as_secs_f64() * 1000.0,
        clock: ctx.clock.name().into(),
        effort: ctx.plan.effort,
        pinned: ctx.cpus.clone(),
        quick: ctx.quick,
        profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
    }
}

/// An earlier run, to which this one adds. Ratios of two programs, machines or methods do not
/// belong into one file.
fn go_on(now: Run, earlier: Run) -> Result<Run> {
    let commits = (&earlier.commit, &now.commit);
    ensure!(commits.0 == commits.1, "it is of commit {}, and this is {}", commits.0, commits.1);
    ensure!(earlier.host == now.host, "it is of another machine: {:?}", earlier.host);
    ensure!(earlier.settings == now.settings, "it has other settings: {:?}", earlier.settings);
    Ok(earlier)
}

/// Writes the whole file or, if that fails, leaves the old one.
fn replace(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, text).and_then(|()| fs::rename(&beside, path)).with_context(|| {
        // Nothing more can be done about it.
        let _ = fs::remove_file(&beside);
        path.display().to_string()
    })
}

/// bench/results/DATE-COMMIT-NAME.json.
fn keep_at(run: &Run) -> PathBuf {
    let what = match (&*run.benches, &*run.planned) {
        ([only], []) => &*only.name,
        _ => "all",
    };
    let date = run.date.get(..10).unwrap_or("undated");
    let name = format!("{date}-{}-{what}.json", run.commit);
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::tests::run_of;
    use crate::measure::Row;

    fn bench(name: &str, measured: bool) -> Bench {
        let mut bench = Bench::new(name, "");
        if measured {
            let lanes = vec![("epoll".into(), None)];
            bench.cases.push(Row::cost("wait", "one").case(lanes, &[vec![1.0]]));
        }
        bench
    }

    #[test]
    fn what_could_not_be_run_is_missing_until_it_is() {
        let mut run = run_of(vec![bench("pipetest", true), bench("libevent", false)]);
        run.planned = ["pipetest", "libevent", "micro"].map(str::to_owned).to_vec();
        assert_eq!(run.missing(), ["libevent", "micro"]);
        assert!(table::footer(&run).contains("Missing: libevent, micro."));
        run.put(bench("libevent", true));
        assert_eq!((run.missing(), run.benches.len()), (vec!["micro"], 2));
    }

    #[test]
    fn only_runs_of_a_kind_are_put_together() {
        let now = run_of(vec![]);
        assert_eq!(
            go_on(now.clone(), run_of(vec![bench("micro", true)])).unwrap().benches.len(),
            1
        );
        let (mut commit, mut settings) = (now.clone(), now.clone());
        commit.commit = "other".into();
        settings.settings.rounds += 1;
        assert!(go_on(now.clone(), commit).unwrap_err().to_string().contains("of commit other"));
        assert!(go_on(now, settings).unwrap_err().to_string().contains("other settings"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no such folder/run.json");
        assert!(replace(&path, "x").unwrap_err().to_string().contains("no such folder"));
        let path = dir.path().join("run.json");
        replace(&path, "first").unwrap();
        replace(&path, "second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
