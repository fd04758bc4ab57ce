//! The clock that measures what one thread does without sleeping.
//!
//! By default that is the processor time of this process. On an idle machine it is the time that
//! passed; on one that others use too it stands still while somebody else runs: with four times as
//! many runnable threads as processors, ratios of the same two calls spread by 5 % instead of by
//! half. It counts all threads, so that a library which lets a helper thread do the work is charged
//! for it. It does not count waiting: where somebody waits (wake-ups, epoll-bench, scale, libevent,
//! servers), the wall clock is used always.

use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use nix::time::{ClockId, clock_gettime};

/// Which time is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Clock {
    /// The time that passed
    Wall,
    /// The processor time that this process used, which others on the machine do not disturb
    Cpu,
}

impl Clock {
    /// What the results call it.
    pub(crate) fn name(self) -> &'static str {
        if self == Self::Wall { "wall" } else { "cpu" }
    }
}

static CLOCK: OnceLock<ClockId> = OnceLock::new();

/// Chooses the clock, once, before anything is measured.
pub(crate) fn choose(clock: Clock) {
    let id = match clock {
        Clock::Wall => ClockId::CLOCK_MONOTONIC,
        Clock::Cpu => ClockId::CLOCK_PROCESS_CPUTIME_ID,
    };
    CLOCK.get_or_init(|| id);
}

/// A running measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Duration);

fn now() -> Duration {
    let id = *CLOCK.get_or_init(|| ClockId::CLOCK_MONOTONIC);
    // Both clocks are always there (Linux 2.6.12), and the pointer is nix's own.
    clock_gettime(id).map_or(Duration::ZERO, Duration::from)
}

impl Stopwatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Self(now())
    }

    #[inline]
    pub(crate) fn elapsed(self) -> Duration {
        now().saturating_sub(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on() {
        let watch = Stopwatch::start();
        std::thread::sleep(Duration::from_millis(2));
        assert!(watch.elapsed() >= Duration::from_millis(2));
    }
}
