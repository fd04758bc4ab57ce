//! A comparison from beginning to end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cli::Options;
use crate::column::{self, Backend, Column, Compat, Entry, LINKED};
use crate::compare::{Baselines, Standing};
use crate::libevent::{Build, Builder, Flavor, Source, Tools};
use crate::progress::{note, spinner};
use crate::report::{self, Report};
use crate::runner::{self, Outcome, Settings, Stage};
use crate::suite::{self, Patterns, Verdict};
use crate::workspace::Workspace;
use crate::{interrupt, preload, prove};

/// Runs what the options ask for and reports it; returns the number of differences.
///
/// # Errors
/// If the comparison cannot be made: a tool is missing, something does not build, a library is
/// not used by the column that is meant to test it, a report cannot be written.
pub(crate) fn run(options: &Options) -> Result<usize> {
    interrupt::install()?;
    let patterns = Patterns::parse(&options.tests)?;
    let workspace = Workspace::find()?;
    let mut plan = column::plan(&options.wanted(), |compat| workspace.missing(compat))?;
    let source = match &options.libevent {
        Some(dir) => Source::own(dir)?,
        None => Source::bundled(&workspace.libevent()?)?,
    };
    let tools = Tools::find()?;
    plan.left_out.extend(tools.left_out());
    for (what, why) in &plan.left_out {
        note(&format!("left out: {what}: {why}"));
    }
    let settings =
        Settings { jobs: options.jobs(), timeout: options.timeout(), python: tools.python.clone() };
    let output_dir = workspace.output_dir();
    let mut workshop = Workshop {
        libraries: build_libraries(&workspace, &plan.columns, options.over.first())?,
        over: &options.over,
        builder: Builder::new(&source, &tools, &output_dir),
        root: workspace.root(),
        patterns: &patterns,
        builds: BTreeMap::new(),
    };

    let mut stages = Vec::new();
    for column in &plan.columns {
        stages.push(workshop.stage(*column)?);
    }
    runner::run(&mut stages, &settings)?;
    let mut asked = workshop.baselines_not_run(&stages)?;
    if !asked.is_empty() {
        note("asking the kernel's own calls about what did not pass");
        runner::run(&mut asked, &settings)?;
    }
    let shown = stages.len();
    stages.extend(asked);
    runner::retry(&mut stages, &settings, |_, _, outcome| outcome.verdict() == Verdict::Failed)?;
    let baselines = Baselines::of(&stages);
    runner::retry(&mut stages, &settings, |stage, test, outcome| {
        baselines.standing(&stage.column, test, outcome) == Standing::Differs
    })?;

    let report = Report::new(&source.description, &plan, stages, shown, &settings);
    report::logs::write(&report, &output_dir.join("logs"))?;
    if let Some(file) = &options.json {
        report::json::write(&report, file)?;
    }
    if let Some(file) = &options.junit {
        report::junit::write(&report, file)?;
    }
    report::text::print(&report);
    Ok(report.differences.len())
}

/// Builds libevent in every flavor that can be had, and prints the folders of its programs.
///
/// # Errors
/// If a tool is missing or something does not build.
pub(crate) fn build() -> Result<()> {
    let workspace = Workspace::find()?;
    let source = Source::bundled(&workspace.libevent()?)?;
    let tools = Tools::find()?;
    let output_dir = workspace.output_dir();
    let builder = Builder::new(&source, &tools, &output_dir);
    let plain = builder.build(Flavor::Plain, None)?;
    let compat = LINKED.compat;
    let linked = if workspace.missing(compat).is_none() {
        let libraries = workspace.build(&[compat], None)?;
        let library = &libraries[compat.library];
        let include = workspace.root().join(LINKED.include);
        let build = builder.build(Flavor::Linked, Some((&include, library)))?;
        Some((build.bin, library.clone()))
    } else {
        None
    };
    println!(
        "{}",
        serde_json::json!({
            "libevent": source.description,
            "plain": plain.bin,
            "kqueue": linked.as_ref().map(|(bin, _)| bin),
            "kqueue_library": linked.as_ref().map(|(_, library)| library),
        })
    );
    Ok(())
}

fn build_libraries(
    workspace: &Workspace,
    columns: &[Column],
    over: Option<&PathBuf>,
) -> Result<BTreeMap<&'static str, PathBuf>> {
    let mut wanted: Vec<&'static Compat> = Vec::new();
    for compat in columns.iter().filter_map(Column::compat) {
        if !wanted.iter().any(|known| known.library == compat.library) {
            wanted.push(compat);
        }
    }
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<String> = wanted.iter().map(|c| format!("lib{}.so", c.library)).collect();
    if over.is_some() && wanted.iter().any(|compat| compat.entry == Entry::Link) {
        bail!("--over is for the libraries of epoll, poll and select");
    }
    let kqueue = over.map(|over| format!(" over {}", over.display())).unwrap_or_default();
    let _spinner = spinner(&format!("building {}{kqueue}", names.join(", ")));
    workspace.build(&wanted, over.map(PathBuf::as_path))
}

/// Makes columns ready to run.
struct Workshop<'a> {
    libraries: BTreeMap<&'static str, PathBuf>,
    /// What they are built on, if not on Linux's own calls.
    over: &'a [PathBuf],
    builder: Builder<'a>,
    root: &'a Path,
    patterns: &'a Patterns,
    builds: BTreeMap<Flavor, Build>,
}

impl Workshop<'_> {
    /// Builds what the column needs, proves that it tests what it says, and lists its tests.
    fn stage(&mut self, column: Column) -> Result<Stage> {
        let library = column.compat().and_then(|c| self.libraries.get(c.library));
        let libraries: Vec<PathBuf> = match library {
            Some(library) => std::iter::once(library).chain(self.over).cloned().collect(),
            None => Vec::new(),
        };
        if column.compat().is_some_and(|c| c.entry == Entry::Preload) {
            preload::preload_list(&libraries)?;
        }
        let build = self.build(&column, libraries.first().map(PathBuf::as_path))?;
        prove::prove(&column, &build.bin, &libraries)?;
        let tests = suite::list(&build.bin, &build.source, self.patterns)?;
        Ok(Stage { column, build, libraries, tests, outcomes: BTreeMap::new() })
    }

    fn build(&mut self, column: &Column, library: Option<&Path>) -> Result<Build> {
        let include = self.root.join(LINKED.include);
        let (flavor, linked) = match (column.compat().map(|c| c.entry), library) {
            (Some(Entry::Link), Some(library)) => {
                (Flavor::Linked, Some((include.as_path(), library)))
            }
            _ => (Flavor::Plain, None),
        };
        if let Some(build) = self.builds.get(&flavor) {
            return Ok(build.clone());
        }
        let build = self.builder.build(flavor, linked)?;
        self.builds.insert(flavor, build.clone());
        Ok(build)
    }

    /// Native columns for the tests that did not pass in a column whose baseline was not run.
    fn baselines_not_run(&mut self, stages: &[Stage]) -> Result<Vec<Stage>> {
        let mut needed: Vec<(Column, Vec<&str>)> = Vec::new();
        for stage in stages.iter().filter(|s| s.column.backend == Backend::Compat) {
            let baseline = stage.column.baseline();
            if stages.iter().any(|s| s.column == baseline) {
                continue;
            }
            let bad = |o: &Outcome| matches!(o.verdict(), Verdict::Failed | Verdict::Skipped);
            let tests = stage.outcomes.iter().filter(|(_, o)| bad(o)).map(|(n, _)| n.as_str());
            match needed.iter_mut().find(|(column, _)| *column == baseline) {
                Some((_, all)) => all.extend(tests),
                None => needed.push((baseline, tests.collect())),
            }
        }
        let mut asked = Vec::new();
        for (column, names) in needed.iter().filter(|(_, names)| !names.is_empty()) {
            let mut stage = self.stage(*column)?;
            stage.tests.retain(|test| names.contains(&test.name.as_str()));
            asked.push(stage);
        }
        Ok(asked)
    }
}
