//! What every benchmark is given.

#[cfg(target_os = "linux")]
use std::path::PathBuf;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Common;
use crate::clock::Clock;
use crate::host;
use crate::iface::Interfaces;
use crate::measure::Plan;

/// The run's interfaces, its plan, and its progress bar.
#[derive(Debug)]
pub(crate) struct Ctx {
    pub(crate) plan: Plan,
    pub(crate) interfaces: Interfaces,
    /// Short runs: small numbers, to see that it works.
    pub(crate) quick: bool,
    /// CPUs asked for; those that run two sides put the first side on the first of them and the
    /// second on the second.
    pub(crate) cpus: Vec<usize>,
    /// The clock of what does not wait.
    pub(crate) clock: Clock,
    /// Where our C libraries are.
    #[cfg(target_os = "linux")]
    pub(crate) dir: PathBuf,
    bar: ProgressBar,
}

impl Ctx {
    pub(crate) fn new(
        plan: Plan,
        interfaces: Interfaces,
        common: &Common,
        #[cfg(target_os = "linux")] dir: PathBuf,
    ) -> Self {
        // Hidden by indicatif itself where standard error is no terminal.
        let bar = ProgressBar::new(0).with_style(
            ProgressStyle::with_template("{prefix:>12} {wide_bar:.cyan} {pos}/{len} {msg}")
                .expect("the template is a constant"),
        );
        let (quick, cpus) = (common.quick, common.cpu.clone());
        Self {
            plan,
            interfaces,
            quick,
            cpus,
            clock: common.clock,
            #[cfg(target_os = "linux")]
            dir,
            bar,
        }
    }

    /// The options by which a probe measures as this process does.
    #[cfg(target_os = "linux")]
    pub(crate) fn probe_options(&self) -> Vec<String> {
        let mut options = vec![
            format!("--rounds={}", self.plan.rounds),
            format!("--sample-ms={}", self.plan.sample.as_secs_f64() * 1000.0),
        ];
        options.push(format!("--clock={}", self.clock.name()));
        if self.quick {
            options.push("--quick".into());
        }
        if !self.cpus.is_empty() {
            let cpus: Vec<String> = self.cpus.iter().map(usize::to_string).collect();
            options.push(format!("--cpu={}", cpus.join(",")));
        }
        options
    }

    /// A benchmark of so many cases begins.
    pub(crate) fn begin(&self, name: &str, cases: usize) {
        self.bar.reset();
        self.bar.set_length(cases as u64);
        self.bar.set_prefix(name.to_owned());
    }

    /// Its next case begins.
    pub(crate) fn case(&self, title: &str) {
        self.bar.set_message(title.to_owned());
        self.bar.tick();
    }

    /// A case is done.
    pub(crate) fn done(&self) {
        self.bar.inc(1);
    }

    /// The benchmark is done: the bar makes room for the table.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// Those of `wanted` that fit when each takes `each` descriptors, and a sentence for those
    /// that do not.
    pub(crate) fn that_fit(
        &self,
        wanted: &[usize],
        each: usize,
        extra: usize,
    ) -> Result<(Vec<usize>, Option<String>)> {
        let most = host::free_descriptors()?.saturating_sub(extra) / each;
        let (fit, not): (Vec<usize>, Vec<usize>) = wanted.iter().partition(|&&n| n <= most);
        let note = (!not.is_empty()).then(|| {
            let not: Vec<String> = not.iter().map(usize::to_string).collect();
            format!(
                "N = {} could not be run: it takes {each} descriptors each, and {most} is the most \
                 that fits",
                not.join(", ")
            )
        });
        Ok((fit, note))
    }

    /// Puts the calling thread on the `nth` of the CPUs asked for, if any were.
    pub(crate) fn pin_side(&self, nth: usize) -> Result<()> {
        match self.cpus.len() {
            0 => Ok(()),
            n => host::pin(&[self.cpus[nth % n]]),
        }
    }
}
