//! timerfd: a timer that is read.
//!
//! The queue has a one-shot timer for the next expiry. What has expired is counted from the clock when it
//! is read, and then the knote is set anew; so an expiry that nobody reads is told once, as on Linux.

use std::os::fd::RawFd;
use std::time::Duration;

use libc::{c_int, clockid_t, timespec};
use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::super::kqueue::change;
use super::bell::Bell;
use super::{State, create, guarded, named};

/// It is closed on exec.
pub const TFD_CLOEXEC: c_int = libc::O_CLOEXEC;
/// It does not block.
pub const TFD_NONBLOCK: c_int = libc::O_NONBLOCK;
/// The time is a moment of the clock's, not a delay.
pub const TFD_TIMER_ABSTIME: c_int = 1;
/// Accepted, and without effect: no kqueue tells that a clock was set.
pub const TFD_TIMER_CANCEL_ON_SET: c_int = 2;

/// The knote's ident.
const IDENT: usize = 3;

/// The longest time that Linux's timers know.
const MOST: Duration = Duration::from_nanos(i64::MAX as u64);

/// `struct itimerspec`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Times {
    /// From one expiry to the next; zero: there is only one.
    pub it_interval: timespec,
    /// Until the first expiry, or when; zero: there is none.
    pub it_value: timespec,
}

/// A timerfd.
#[derive(Debug)]
pub(super) struct Timer {
    clock: clockid_t,
    /// The clock of `next`.
    by: clockid_t,
    /// When it expires next, or did first since it was read.
    next: Option<Duration>,
    interval: Duration,
    /// For what has expired already.
    bell: Bell,
}

/// `timerfd_create(clockid, flags)` - makes a timer that can be waited for, which is not set
/// (timerfd_create(2)); returns its descriptor. It is read by [`super::read`].
///
/// # Errors
/// - `EINVAL`: an unknown flag, or a clock other than `CLOCK_REALTIME`, `CLOCK_MONOTONIC`, and
///   `CLOCK_BOOTTIME` where there is one.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
pub fn timerfd_create(clockid: clockid_t, flags: c_int) -> Result<RawFd, Errno> {
    if flags & !(TFD_CLOEXEC | TFD_NONBLOCK) != 0 || !is_known(clockid) {
        return Err(Errno::EINVAL);
    }
    let timer = Timer {
        clock: clockid,
        by: clockid,
        next: None,
        interval: Duration::ZERO,
        bell: Bell::default(),
    };
    let (cloexec, nonblock) = (flags & TFD_CLOEXEC != 0, flags & TFD_NONBLOCK != 0);
    guarded(|| create(State::Timer(timer), cloexec, nonblock, |_, _| Ok(())))
}

fn is_known(clock: clockid_t) -> bool {
    #[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "openbsd"))]
    if clock == libc::CLOCK_BOOTTIME {
        return true;
    }
    matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC)
}

/// `timerfd_settime(fd, flags, new, old)` - sets a timer, and tells what it was set to
/// (timerfd_settime(2)).
///
/// # Errors
/// - `EFAULT`: `new` is null. A pointer that is not null is taken to be good.
/// - `EINVAL`: an unknown flag, or what is no time; `fd` is no timerfd.
/// - `EBADF`: `fd` is not open.
/// - `ENOMEM`: there is no memory for a knote.
///
/// # Safety
/// `new` is null or can be read; `old` is null or can be written.
pub unsafe fn timerfd_settime(
    fd: RawFd,
    flags: c_int,
    new: *const Times,
    old: *mut Times,
) -> Result<(), Errno> {
    if new.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the caller's promise; C's may be at any address.
    let new = unsafe { new.read_unaligned() };
    let (value, interval) = (duration(new.it_value)?, duration(new.it_interval)?);
    if flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let was = guarded(|| {
        let object = named(fd)?;
        let State::Timer(timer) = &mut *object.lock() else { return Err(Errno::EINVAL) };
        let was = timer.left();
        timer.set(fd, value, interval, flags & TFD_TIMER_ABSTIME != 0)?;
        Ok(was)
    })?;
    if !old.is_null() {
        // SAFETY: the caller's promise.
        unsafe { old.write_unaligned(was) };
    }
    Ok(())
}

/// `timerfd_gettime(fd, now)` - tells what is left until the next expiry, and the interval
/// (timerfd_gettime(2)).
///
/// # Errors
/// - `EBADF`: `fd` is not open.
/// - `EINVAL`: it is no timerfd.
/// - `EFAULT`: `now` is null.
///
/// # Safety
/// `now` is null or can be written.
pub unsafe fn timerfd_gettime(fd: RawFd, now: *mut Times) -> Result<(), Errno> {
    let left = guarded(|| match &*named(fd)?.lock() {
        State::Timer(timer) => Ok(timer.left()),
        _ => Err(Errno::EINVAL),
    })?;
    if now.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the caller's promise.
    unsafe { now.write_unaligned(left) };
    Ok(())
}

fn duration(time: timespec) -> Result<Duration, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    match u32::try_from(time.tv_nsec) {
        Ok(nanos @ 0..1_000_000_000) => Ok(Duration::new(seconds, nanos).min(MOST)),
        _ => Err(Errno::EINVAL),
    }
}

fn timespec_of(time: Duration) -> timespec {
    super::super::readiness::wait::timespec_of(time)
}

fn now(clock: clockid_t) -> Duration {
    // SAFETY: plain data, which the call fills; the clock is one that there is.
    let time = unsafe {
        let mut time = std::mem::zeroed();
        libc::clock_gettime(clock, &mut time);
        time
    };
    duration(time).unwrap_or_default()
}

impl Timer {
    /// What is left.
    fn left(&self) -> Times {
        let left = self.next.map_or(Duration::ZERO, |next| {
            let now = now(self.by);
            match self.expirations(next, now) {
                0 => next - now,
                _ if self.interval.is_zero() => Duration::ZERO,
                n => next.saturating_add(self.times(n)).saturating_sub(now),
            }
        });
        Times { it_interval: timespec_of(self.interval), it_value: timespec_of(left) }
    }

    /// How often it has expired.
    fn expirations(&self, next: Duration, now: Duration) -> u64 {
        let Some(since) = now.checked_sub(next) else { return 0 };
        if self.interval.is_zero() {
            return 1;
        }
        (since.as_nanos() / self.interval.as_nanos()) as u64 + 1
    }

    /// So many intervals.
    fn times(&self, n: u64) -> Duration {
        let nanos = self.interval.as_nanos().saturating_mul(n.into());
        u64::try_from(nanos).map_or(MOST, Duration::from_nanos).min(MOST)
    }

    fn set(
        &mut self,
        kq: RawFd,
        value: Duration,
        interval: Duration,
        is_moment: bool,
    ) -> Result<(), Errno> {
        self.disarm(kq);
        self.interval = interval;
        // A delay is a delay, whatever happens to the time of day.
        self.by = match self.clock {
            libc::CLOCK_REALTIME if !is_moment => libc::CLOCK_MONOTONIC,
            clock => clock,
        };
        self.next = match (value.is_zero(), is_moment) {
            (true, _) => None,
            (false, true) => Some(value),
            (false, false) => Some(now(self.by).saturating_add(value).min(MOST)),
        };
        self.arm(kq)
    }

    /// Takes the number of expirations since it was last taken.
    ///
    /// # Errors
    /// - `EAGAIN`: there were none.
    pub(super) fn take(&mut self, kq: RawFd) -> Result<u64, Errno> {
        let Some(next) = self.next else { return Err(Errno::EAGAIN) };
        let n = self.expirations(next, now(self.by));
        if n > 0 {
            let after = next.saturating_add(self.times(n)).min(MOST);
            self.next = (!self.interval.is_zero()).then_some(after);
        }
        // Also where it has told too early, or a clock was set back.
        self.disarm(kq);
        self.arm(kq)?;
        if n > 0 { Ok(n) } else { Err(Errno::EAGAIN) }
    }

    fn disarm(&mut self, kq: RawFd) {
        self.bell.hush(kq);
        let flags = EvFlags::EV_DELETE;
        let gone = KEvent::new(IDENT, EventFilter::EVFILT_TIMER, flags, FilterFlag::empty(), 0, 0);
        // There may be none.
        let _ = change(kq, &gone);
    }

    /// Has the queue tell of the next expiry.
    fn arm(&mut self, kq: RawFd) -> Result<(), Errno> {
        /// Longer ones are milliseconds, which all systems have, and
        const PRECISE: Duration = Duration::from_secs(3600);
        /// what is longer still is told early; whoever reads then waits for the rest.
        const LONGEST: Duration = Duration::from_secs(24 * 86_400);
        let Some(next) = self.next else { return Ok(()) };
        let left = next.saturating_sub(now(self.by));
        if left.is_zero() {
            return self.bell.ring(kq);
        }
        let (unit, data) = if left <= PRECISE {
            (FilterFlag::NOTE_NSECONDS, left.as_nanos())
        } else {
            (FilterFlag::empty(), left.min(LONGEST).as_nanos().div_ceil(1_000_000))
        };
        let flags = EvFlags::EV_ADD | EvFlags::EV_ONESHOT;
        let knote = |unit, data: u128| {
            KEvent::new(IDENT, EventFilter::EVFILT_TIMER, flags, unit, data as isize, 0)
        };
        change(kq, &knote(unit, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(interval: u64) -> Timer {
        let clock = libc::CLOCK_MONOTONIC;
        let interval = Duration::from_secs(interval);
        Timer { clock, by: clock, next: None, interval, bell: Bell::default() }
    }

    #[test]
    fn expirations_are_counted_from_the_first() {
        let of = |interval, now| timer(interval).expirations(Duration::from_secs(10), now);
        assert_eq!(of(3, Duration::from_secs(9)), 0);
        assert_eq!(of(3, Duration::from_secs(10)), 1);
        assert_eq!(of(3, Duration::from_secs(12)), 1);
        assert_eq!(of(3, Duration::from_secs(13)), 2);
        assert_eq!(of(0, Duration::from_secs(99)), 1);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let of = |tv_sec, tv_nsec| duration(timespec { tv_sec, tv_nsec });
        assert_eq!(of(1, 5), Ok(Duration::new(1, 5)));
        assert_eq!(of(-1, 0), Err(Errno::EINVAL));
        assert_eq!(of(0, -1), Err(Errno::EINVAL));
        assert_eq!(of(0, 1_000_000_000), Err(Errno::EINVAL));
        assert_eq!(of(i64::MAX, 0), Ok(MOST));
    }
}
