//! EVFILT_TIMER: one timerfd a clock, and all timers of the queue in order of their deadlines.
//!
//! A timer's count of expirations is not kept but computed, from its first deadline and its period:
//! so nothing drifts, and a timer that nobody retrieves wakes nobody.

use std::collections::BTreeSet;
use std::os::fd::RawFd;

use libc::{CLOCK_MONOTONIC, CLOCK_REALTIME, EPOLLIN, TFD_TIMER_ABSTIME, c_int};
use nix::errno::Errno;

use crate::event::{EvFlags, FilterFlag, KEvent};

use super::hidden::Own;
use super::raw::{self, Result};
use super::registered::Registered;
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
    /// - `EINVAL`: a negative time, more than one unit, an unknown flag.
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
    timerfd: Option<Registered>,
    /// (deadline, ident).
    waiting: BTreeSet<(Moment, usize)>,
    /// What the timerfd is set to.
    armed: Option<Moment>,
    /// It has fired, and stays readable until it is set again.
    must_set: bool,
}

impl Clock {
    pub(crate) fn new(realtime: bool) -> Self {
        Self { realtime, timerfd: None, waiting: BTreeSet::new(), armed: None, must_set: false }
    }

    /// Makes the timerfd, if it is not there yet; its events carry `token`.
    pub(crate) fn open(&mut self, kq: RawFd, token: Token) -> Result<()> {
        if self.timerfd.is_none() {
            self.timerfd = Some(self.make(kq, token)?);
        }
        Ok(())
    }

    pub(crate) fn is_there(&self) -> bool {
        self.timerfd.is_some()
    }

    /// The timerfd.
    pub(crate) fn own(&self) -> Option<Own> {
        self.timerfd.as_ref().map(Registered::own)
    }

    fn make(&self, kq: RawFd, token: Token) -> Result<Registered> {
        let clock = if self.realtime { CLOCK_REALTIME } else { CLOCK_MONOTONIC };
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        Registered::new(kq, EPOLLIN, token, || raw::timerfd_create(clock, flags))
    }

    /// Sets another timerfd, if the program has closed the one that was set.
    pub(crate) fn mend(&mut self, kq: RawFd) {
        if self.timerfd.as_ref().is_some_and(|timerfd| timerfd.is_lost(kq)) {
            self.armed = None;
            self.arm(kq);
        }
    }

    pub(crate) fn insert(&mut self, kq: RawFd, deadline: Moment, ident: usize) {
        self.waiting.insert((deadline, ident));
        self.arm(kq);
    }

    pub(crate) fn holds(&self, ident: usize) -> bool {
        self.waiting.iter().any(|&(_, there)| there == ident)
    }

    pub(crate) fn remove(&mut self, kq: RawFd, deadline: Moment, ident: usize) {
        if self.waiting.remove(&(deadline, ident)) {
            self.arm(kq);
        }
    }

    /// Whether there are timers that wait.
    #[inline]
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The timers whose time has come, first deadline first; they wait no more. `fired`: the
    /// timerfd said so, and has to be set anew to become unreadable.
    pub(crate) fn expire(&mut self, kq: RawFd, fired: bool) -> Vec<usize> {
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
        self.arm(kq);
        due
    }

    /// Sets the timerfd to the first deadline, if that has changed.
    fn arm(&mut self, kq: RawFd) {
        let first = self.waiting.first().map(|&(deadline, _)| deadline);
        if first == self.armed && !self.must_set {
            return;
        }
        let Ok(fd) = self.descriptor(kq) else { return };
        // 0 would disarm: a deadline at the epoch is over at 1 ns as well.
        let value = first.map_or(0, |deadline| deadline.max(1));
        let spec = libc::itimerspec { it_interval: timespec(0), it_value: timespec(value) };
        let flags: c_int = TFD_TIMER_ABSTIME;
        if raw::timerfd_settime(fd, flags, &spec).is_ok() {
            self.armed = first;
            self.must_set = false;
        }
    }

    /// The timerfd; another, if the program has closed it.
    fn descriptor(&mut self, kq: RawFd) -> Result<RawFd> {
        let Some(timerfd) = &self.timerfd else { return Err(Errno::EBADF) };
        if !timerfd.is_lost(kq) {
            return Ok(timerfd.number());
        }
        let another = self.make(kq, timerfd.token())?;
        Ok(self.timerfd.insert(another).number())
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(timerfd) = self.timerfd.take() {
            timerfd.close(kq);
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
