//! EVFILT_TIMER: one timerfd a clock, and all timers of the queue in order of their deadlines.
//!
//! A timer's count of expirations is not kept but computed, from its first deadline and its period:
//! so nothing drifts, and a timer that nobody retrieves wakes nobody.

use std::collections::BTreeSet;
use std::os::fd::RawFd;

use libc::{CLOCK_MONOTONIC, CLOCK_REALTIME, EPOLL_CTL_ADD, EPOLLIN, TFD_TIMER_ABSTIME, c_int};
use nix::errno::Errno;

use crate::event::{EvFlags, FilterFlag, KEvent};

use super::hidden::hidden;
use super::lanes::epoll_event;
use super::raw::{self, Result};
use super::token::Token;

/// Nanoseconds since the clock's epoch.
pub(crate) type Moment = u64;

/// The filter's part of a TIMER knote.
#[derive(Clone, Debug)]
pub(crate) struct Timer {
    pub(crate) realtime: bool,
    /// When it expires next, or did first.
    pub(crate) deadline: Moment,
    /// Nanoseconds from one expiration to the next; 0: there is no next.
    period: u64,
}

impl Timer {
    /// # Errors
    /// - `EINVAL`: a negative time, a time too long to count in nanoseconds, more than one unit, an
    ///   unknown flag.
    pub(crate) fn new(change: &KEvent) -> Result<Self> {
        let flags = FilterFlag::from_bits_retain(change.fflags);
        let units = FilterFlag::NOTE_SECONDS
            | FilterFlag::NOTE_MSECONDS
            | FilterFlag::NOTE_USECONDS
            | FilterFlag::NOTE_NSECONDS;
        if !(units | FilterFlag::NOTE_ABSTIME).contains(flags) {
            return Err(Errno::EINVAL);
        }
        let absolute = flags.contains(FilterFlag::NOTE_ABSTIME);
        let unit: u64 = match flags & units {
            FilterFlag::NOTE_SECONDS => 1_000_000_000,
            FilterFlag::NOTE_USECONDS => 1_000,
            FilterFlag::NOTE_NSECONDS => 1,
            other if other.is_empty() || other == FilterFlag::NOTE_MSECONDS => 1_000_000,
            _ => return Err(Errno::EINVAL),
        };
        let count = u64::try_from(change.data).map_err(|_| Errno::EINVAL)?;
        let oneshot = change.flags & EvFlags::EV_ONESHOT.bits() != 0;
        if absolute {
            // Saturates: a moment that far off never comes.
            let deadline = count.saturating_mul(unit);
            return Ok(Self { realtime: true, deadline, period: 0 });
        }
        // A periodic timer of 0 would never rest: one unit it is (kqueue(2)).
        let count = if oneshot { count } else { count.max(1) };
        let period = count.saturating_mul(unit);
        let deadline = now(false).saturating_add(period);
        Ok(Self { realtime: false, deadline, period: if oneshot { 0 } else { period } })
    }

    pub(crate) fn is_due(&self) -> bool {
        self.deadline <= now(self.realtime)
    }

    /// Nanoseconds until it expires next.
    pub(crate) fn left(&self) -> i64 {
        i64::try_from(self.deadline.saturating_sub(now(self.realtime))).unwrap_or(i64::MAX)
    }

    /// How often it has expired; sets the next deadline. A moment that is over stays over, unless it
    /// is cleared.
    pub(crate) fn take(&mut self, clear: bool) -> i64 {
        if self.period == 0 {
            if clear {
                self.deadline = Moment::MAX;
            }
            return 1;
        }
        let missed = now(self.realtime).saturating_sub(self.deadline) / self.period;
        let count = missed.saturating_add(1);
        self.deadline = self.deadline.saturating_add(count.saturating_mul(self.period));
        i64::try_from(count).unwrap_or(i64::MAX)
    }
}

/// The timers of one clock that wait for their deadlines.
#[derive(Debug)]
pub(crate) struct Clock {
    realtime: bool,
    fd: Option<RawFd>,
    /// (deadline, ident).
    waiting: BTreeSet<(Moment, usize)>,
    /// What the timerfd is set to.
    armed: Option<Moment>,
    /// It has fired, and stays readable until it is set again.
    must_set: bool,
}

impl Clock {
    pub(crate) fn new(realtime: bool) -> Self {
        Self { realtime, fd: None, waiting: BTreeSet::new(), armed: None, must_set: false }
    }

    /// Makes the timerfd, if it is not there yet; its events carry `token`.
    pub(crate) fn open(&mut self, kq: RawFd, token: Token) -> Result<()> {
        if self.fd.is_none() {
            let clock = if self.realtime { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
            let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
            let fd = hidden(|| raw::timerfd_create(clock, flags))?;
            let event = epoll_event(EPOLLIN as u32, token);
            if let Err(errno) = raw::epoll_ctl(kq, EPOLL_CTL_ADD, fd, &event) {
                let _ = raw::close(fd);
                return Err(errno);
            }
            self.fd = Some(fd);
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, deadline: Moment, ident: usize) {
        self.waiting.insert((deadline, ident));
        self.arm();
    }

    pub(crate) fn holds(&self, ident: usize) -> bool {
        self.waiting.iter().any(|&(_, there)| there == ident)
    }

    pub(crate) fn remove(&mut self, deadline: Moment, ident: usize) {
        if self.waiting.remove(&(deadline, ident)) {
            self.arm();
        }
    }

    /// The timers whose time has come, first deadline first; they wait no more. `fired`: the
    /// timerfd said so, and has to be set anew to become unreadable.
    pub(crate) fn expire(&mut self, fired: bool) -> Vec<usize> {
        let mut due = Vec::new();
        if fired {
            self.armed = None;
            self.must_set = true;
        } else if self.waiting.is_empty() {
            return due;
        }
        let now = now(self.realtime);
        while let Some(&(deadline, ident)) = self.waiting.first()
            && deadline <= now
        {
            self.waiting.pop_first();
            due.push(ident);
        }
        self.arm();
        due
    }

    /// Sets the timerfd to the first deadline: one system call if that has changed, else none.
    fn arm(&mut self) {
        let first = self.waiting.first().map(|&(deadline, _)| deadline);
        if first == self.armed && !self.must_set {
            return;
        }
        let Some(fd) = self.fd else { return };
        // 0 would disarm: a deadline at the epoch is over at 1 ns as well.
        let value = first.map_or(0, |deadline| deadline.max(1));
        let spec = libc::itimerspec { it_interval: timespec(0), it_value: timespec(value) };
        let flags: c_int = TFD_TIMER_ABSTIME;
        if raw::timerfd_settime(fd, flags, &spec).is_ok() {
            self.armed = first;
            self.must_set = false;
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Some(fd) = self.fd {
            let _ = raw::close(fd);
        }
    }
}

/// The clock's time now.
pub(crate) fn now(realtime: bool) -> Moment {
    let clock = if realtime { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
    let mut time = timespec(0);
    // SAFETY: fills one timespec; with these clocks it cannot fail. No compat library exports it.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds as the kernel wants them.
pub(crate) fn timespec(nanos: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (nanos / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventFilter;

    fn timer(flags: EvFlags, fflags: u32, data: i64) -> Result<Timer> {
        let fflags = FilterFlag::from_bits_retain(fflags);
        Timer::new(&KEvent::new(1, EventFilter::EVFILT_TIMER, flags, fflags, data as isize, 0))
    }

    #[test]
    fn units_and_their_errors() {
        let add = EvFlags::EV_ADD;
        for (unit, nanos) in [(0, 1_000_000), (1, 1_000_000_000), (2, 1_000_000), (4, 1000), (8, 1)]
        {
            assert_eq!(timer(add, unit, 7).unwrap().period, 7 * nanos);
        }
        assert_eq!(timer(add, 1 | 2, 7).unwrap_err(), Errno::EINVAL);
        assert_eq!(timer(add, 0x20, 7).unwrap_err(), Errno::EINVAL);
        assert_eq!(timer(add, 0, -1).unwrap_err(), Errno::EINVAL);
        assert_eq!(timer(add, 1, 0).unwrap().period, 1_000_000_000);
        assert_eq!(timer(add | EvFlags::EV_ONESHOT, 1, 0).unwrap().period, 0);
        assert!(timer(add, 1, i64::MAX).is_ok());
    }

    #[test]
    fn missed_expirations_are_counted_and_nothing_drifts() {
        let start = now(false);
        let mut timer = Timer { realtime: false, deadline: start - 50, period: 100 };
        assert!(timer.take(true) >= 1);
        assert_eq!((timer.deadline - (start - 50)) % 100, 0);
        assert!(timer.deadline > start);
    }
}
