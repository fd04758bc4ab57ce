//! What is shown while a run goes on: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A line about what is going on, on standard error.
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// Clears its line when it is dropped.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Shows that something of unknown length goes on.
pub(crate) fn spinner(what: &str) -> Spinner {
    if !std::io::stderr().is_terminal() {
        note(what);
        return Spinner(None);
    }
    let bar = ProgressBar::new_spinner();
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    Spinner(Some(bar))
}

/// Counts tests.
#[derive(Debug)]
pub(crate) struct Progress {
    /// None where nobody watches: then each column has its line when it is done.
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(tests: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let length = u64::try_from(tests).unwrap_or(u64::MAX);
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // A template without mistakes; if it had one, the default style would do.
            if let Ok(style) =
                ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} {wide_msg}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar }
    }

    /// A test of this column has ended.
    pub(crate) fn tick(&self, column: &str, test: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{column}: {test}"));
            bar.inc(1);
        }
    }

    /// Says a line without disturbing the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
