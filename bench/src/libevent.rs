//! libevent's own benchmarks, bench and bench_cascade, on each method and backend.
//!
//! `regress` builds them, from the same tree as the tests that it runs; a run of one of them times
//! 25 rounds, of which the median is one value here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Deserialize;

use crate::ctx::Ctx;
use crate::iface::libs;
use crate::measure::{Row, in_turns};
use crate::model::Bench;
use crate::stats::Spread;

/// The originals' parameters.
#[derive(Args, Clone, Debug)]
pub(crate) struct LibeventArgs {
    /// Pipes (socket pairs, in fact) of bench
    #[arg(short, long, value_delimiter = ',', default_values_t = [100, 1000, 9000])]
    pub(crate) n: Vec<usize>,
    /// Active ones
    #[arg(short, long, default_value_t = 100)]
    pub(crate) active: usize,
    /// Writes until all is over
    #[arg(short, long, default_value_t = 1000)]
    pub(crate) writes: usize,
    /// Links of bench_cascade's chain
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    pub(crate) cascade: Vec<usize>,
    /// Turns of each backend
    #[arg(long, default_value_t = 5)]
    pub(crate) turns: usize,
}

/// What `regress build` prints.
#[derive(Debug, Deserialize)]
struct Built {
    libevent: String,
    plain: PathBuf,
    kqueue: Option<PathBuf>,
    kqueue_library: Option<PathBuf>,
}

/// One way to run a libevent program.
#[derive(Debug)]
struct Backend {
    name: String,
    /// What libevent calls its method.
    method: &'static str,
    bin: PathBuf,
    env: Vec<(&'static str, OsString)>,
}

/// Every method that libevent can be told not to use.
const METHODS: [(&str, &str); 4] = [
    ("epoll", "EVENT_NOEPOLL"),
    ("poll", "EVENT_NOPOLL"),
    ("select", "EVENT_NOSELECT"),
    ("kqueue", "EVENT_NOKQUEUE"),
];

impl Backend {
    fn new(name: &str, method: &'static str, bin: &Path) -> Self {
        let others = METHODS.iter().filter(|(m, _)| *m != method);
        let env = others.map(|(_, variable)| (*variable, OsString::from("1"))).collect();
        Self { name: name.into(), method, bin: bin.into(), env }
    }

    fn with(mut self, variable: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((variable, value.into()));
        self
    }

    fn command(&self, program: &str, args: &[String]) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).envs(self.env.iter().map(|(k, v)| (k, v))).stdin(Stdio::null());
        command
    }

    /// One run: the median of its rounds, in nanoseconds.
    fn run(&self, program: &str, args: &[String]) -> Result<f64> {
        let out = self.command(program, args).output().with_context(|| program.to_owned())?;
        let errors = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "{program} on {}: {}: {errors}", self.name, out.status);
        median_of(&String::from_utf8_lossy(&out.stdout))
            .with_context(|| format!("{program} on {}", self.name))
    }

    /// Whether libevent really uses the method: what it cannot use it replaces without a word.
    fn prove(&self) -> Result<()> {
        let mut command = self.command("bench_cascade", &["-n".into(), "2".into()]);
        let out = command.env("EVENT_SHOW_METHOD", "1").output().context("bench_cascade")?;
        let said = String::from_utf8_lossy(&out.stderr);
        let expected = format!("libevent using: {}", self.method);
        ensure!(
            said.lines().any(|l| l.trim_end().ends_with(&expected)),
            "libevent does not use {} for {}: {said}",
            self.method,
            self.name
        );
        Ok(())
    }
}

/// The median of lines of microseconds, the first left out: it warms up.
fn median_of(text: &str) -> Result<f64> {
    let lines: Vec<f64> = text
        .split_whitespace()
        .map(|l| l.parse::<f64>().with_context(|| format!("{l:?} is no time")))
        .collect::<Result<_>>()?;
    ensure!(lines.len() > 1, "no times were printed");
    Ok(Spread::of(&lines[1..]).median * 1000.0)
}

/// Runs both on every backend.
pub(crate) fn run(ctx: &Ctx, args: &LibeventArgs) -> Result<Bench> {
    let built = build()?;
    let mut bench = Bench::new(
        "libevent",
        format!(
            "{}: bench -a {} -w {} over N socket pairs, and bench_cascade down a chain of N; time \
             until all events are consumed",
            built.libevent, args.active, args.writes
        ),
    );
    let groups = groups(ctx, &built)?;
    for backend in groups.iter().flatten() {
        backend.prove()?;
    }
    let turns = ctx.plan.turns(args.turns);
    // A program of its own, which raises its own limit to 2 N + 50.
    let (sizes, note) = ctx.that_fit(&args.n, 2, 0)?;
    bench.notes.extend(note);
    ctx.begin("libevent", groups.len() * (sizes.len() + args.cascade.len()));
    let number = |n: usize| n.to_string();
    let plain = sizes.iter().map(|&n| {
        let active = args.active.min(n);
        let list = ["-n", &number(n), "-a", &number(active), "-w", &number(args.writes)];
        ("bench", n, list.map(str::to_owned).to_vec())
    });
    let cascade =
        args.cascade.iter().map(|&n| ("bench_cascade", n, vec!["-n".to_owned(), number(n)]));
    for (program, n, list) in plain.chain(cascade) {
        for group in &groups {
            ctx.case(&format!("{program} {} N={n}", group[0].name));
            let values = in_turns(turns, group.len(), |lane| group[lane].run(program, &list))?;
            let names = group.iter().map(|b| (b.name.clone(), None)).collect();
            bench.cases.push(Row::speedup(&group[0].name, program).at(n).case(names, &values));
            ctx.done();
        }
    }
    ctx.end();
    Ok(bench)
}

/// Has `regress` build libevent.
fn build() -> Result<Built> {
    let mut cargo = libs::cargo("run")?.context("bench must lie where cargo built it")?;
    let out = cargo
        .args(["-p", "regress", "--", "build"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    if !out.status.success() {
        bail!("libevent's benchmarks could not be built: regress build: {}", out.status);
    }
    serde_json::from_slice(&out.stdout).context("what regress build printed")
}

/// Each native backend with those that are measured against it.
fn groups(ctx: &Ctx, built: &Built) -> Result<Vec<Vec<Backend>>> {
    let mut groups = Vec::new();
    for (method, compat, file) in [
        ("select", "compat-select", "libkqcompat_select.so"),
        ("poll", "compat-poll", "libkqcompat_poll.so"),
        ("epoll", "compat-epoll", "libkqcompat_epoll.so"),
    ] {
        let mut group = vec![Backend::new(method, method, &built.plain)];
        if ctx.dir.join(file).exists() && ctx.interfaces.wants(compat) {
            let preload = libs::preload_value(&ctx.dir, &[file])?;
            let backend = Backend::new(compat, method, &built.plain);
            group.push(backend.with("LD_PRELOAD", preload));
        }
        groups.push(group);
    }
    let kqueue = built.kqueue.as_deref().filter(|_| ctx.interfaces.wants("kqueue-c"));
    if let (Some(bin), Some(library)) = (kqueue, &built.kqueue_library) {
        let dir = library.parent().context("the library lies in no directory")?;
        let backend = Backend::new("kqueue-c", "kqueue", bin).with("LD_LIBRARY_PATH", dir);
        groups.last_mut().expect("epoll is the last").push(backend);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_round_warms_up() {
        assert_eq!(median_of("900\n10\n30\n20\n").unwrap(), 20_000.0);
        assert!(median_of("7\n").is_err());
        assert!(median_of("10\nError\n").unwrap_err().to_string().contains("Error"));
    }

    #[test]
    fn a_backend_forbids_every_other_method() {
        let poll = Backend::new("poll", "poll", Path::new("/bin"));
        let names: Vec<&str> = poll.env.iter().map(|(k, _)| *k).collect();
        assert_eq!(names, ["EVENT_NOEPOLL", "EVENT_NOSELECT", "EVENT_NOKQUEUE"]);
    }
}
