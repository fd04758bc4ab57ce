//! `cargo xtask fuzz`: libFuzzer over the targets of `fuzz`, which run programs beside the kernel's own
//! calls. Stable Rust: the instrumentation is LLVM's, asked for as cargo-fuzz does.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::run::cargo;

/// What is found goes to target/fuzz/corpus, an input that fails to target/fuzz/TARGET-crash-*
#[derive(Args, Debug)]
pub(crate) struct Fuzz {
    /// Only these targets: folders of fuzz/corpus [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Runs these inputs once, and nothing else
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// At the end, makes fuzz/corpus of the fewest inputs that reach all that was reached
    #[arg(long)]
    keep: bool,
}

/// What makes the compiler count for libFuzzer: in each basic block, and at comparisons.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Programs take some milliseconds; one that goes on for so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

impl Fuzz {
    /// All targets, some seconds each.
    pub(crate) fn briefly() -> Self {
        Self { targets: Vec::new(), seconds: 4, input: Vec::new(), keep: false }
    }

    /// Builds the targets and runs them, one after the other.
    ///
    /// # Errors
    /// If they cannot be built, or one finds something.
    pub(crate) fn run(&self) -> Result<()> {
        // A target of its own, so that build scripts are not instrumented.
        let host = host()?;
        let target_dir = crate::root().join("target/fuzz");
        let dir = target_dir.to_str().context("a path that is no text")?;
        let args = ["build", "--locked", "--package=kq-fuzz", "--bin=fuzz", "--profile=fuzz"];
        let places = ["--target", &host, "--target-dir", dir];
        cargo(&[&args[..], &places[..]].concat(), &[("RUSTFLAGS", FLAGS)])?;
        let program = target_dir.join(&host).join("fuzz/fuzz");
        for target in self.targets()? {
            let kept = crate::root().join("fuzz/corpus").join(&target);
            let found = target_dir.join("corpus").join(&target);
            std::fs::create_dir_all(&found)?;
            let fuzzer = Fuzzer { program: &program, target: &target, dir: &target_dir };
            if !self.input.is_empty() {
                fuzzer.run(&[], &self.input, Duration::ZERO)?;
                continue;
            }
            let time = Duration::from_secs(self.seconds);
            let most = format!("-max_total_time={}", self.seconds);
            fuzzer.run(&[&most], &[found.clone(), kept.clone()], time)?;
            if self.keep {
                let fewer = tempfile::tempdir_in(&target_dir)?;
                let all = [fewer.path().to_owned(), found, kept.clone()];
                fuzzer.run(&["-set_cover_merge=1"], &all, Duration::from_secs(3600))?;
                std::fs::remove_dir_all(&kept)?;
                std::fs::create_dir(&kept)?;
                for input in std::fs::read_dir(fewer.path())? {
                    let input = input?;
                    std::fs::copy(input.path(), kept.join(input.file_name()))?;
                }
            }
        }
        Ok(())
    }

    fn targets(&self) -> Result<Vec<String>> {
        if !self.targets.is_empty() {
            return Ok(self.targets.clone());
        }
        if !self.input.is_empty() {
            bail!("say of which target the inputs are");
        }
        let folders = std::fs::read_dir(crate::root().join("fuzz/corpus"))?;
        let mut names = Vec::new();
        for folder in folders {
            names.push(folder?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

/// A target that is built.
struct Fuzzer<'a> {
    program: &'a Path,
    target: &'a str,
    dir: &'a Path,
}

impl Fuzzer<'_> {
    fn run(&self, args: &[&str], paths: &[PathBuf], time: Duration) -> Result<()> {
        // What programs put there goes when they do, also when one fails.
        let temporary = tempfile::tempdir()?;
        let artifacts = format!("-artifact_prefix={}/{}-", self.dir.display(), self.target);
        let child = Command::new(self.program)
            // Without libFuzzer's timer and its thread: a signal would be an event, and a thread takes
            // what was meant for another.
            .args([
                "-timeout=0",
                "-rss_limit_mb=0",
                "-verbosity=0",
                "-len_control=0",
                "-max_len=200",
            ])
            .arg(artifacts)
            .args(args)
            .args(paths)
            .env("KQCOMPAT_FUZZ", self.target)
            .env("TMPDIR", temporary.path())
            .current_dir(crate::root())
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let status = wait(child, time + PATIENCE)?;
        if !status.success() {
            bail!("{}: {status}; the input can be run again by --input", self.target);
        }
        Ok(())
    }
}

/// Waits for the fuzzer's end; one that hangs is aborted, upon which it writes down what it was at.
fn wait(mut child: Child, most: Duration) -> Result<ExitStatus> {
    let end = Instant::now() + most;
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Command::new("kill").args(["-ABRT", &child.id().to_string()]).status()?;
    Ok(child.wait()?)
}

/// The triple that rustc builds for.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}
