//! timerfd_create(2) and kin where the system has none, with the names of `nix::sys::timerfd`.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

use bitflags::bitflags;
use kq_core::objects::{self, Times};
use libc::{c_int, clockid_t, timespec};
use nix::Result;
use nix::sys::time::TimeSpec;

bitflags! {
    /// How a timer is made (timerfd_create(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct TimerFlags: c_int {
        /// It does not block.
        const TFD_NONBLOCK = objects::TFD_NONBLOCK;
        /// It is closed on exec.
        const TFD_CLOEXEC = objects::TFD_CLOEXEC;
    }
}

bitflags! {
    /// How a timer is set (timerfd_settime(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct TimerSetTimeFlags: c_int {
        /// The time is a moment of the clock's, not a delay.
        const TFD_TIMER_ABSTIME = objects::TFD_TIMER_ABSTIME;
        /// Without effect: no kqueue tells that a clock was set.
        const TFD_TIMER_CANCEL_ON_SET = objects::TFD_TIMER_CANCEL_ON_SET;
    }
}

/// The clock of a timer.
#[allow(non_camel_case_types, reason = "nix's names")]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum ClockId {
    /// The time of day.
    CLOCK_REALTIME,
    /// What is never set.
    CLOCK_MONOTONIC,
}

/// When a timer expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiration {
    /// Once.
    OneShot(TimeSpec),
    /// After the first time, and then each time the second has passed.
    IntervalDelayed(TimeSpec, TimeSpec),
    /// Each time that this has passed.
    Interval(TimeSpec),
}

/// A timer that can be waited for.
///
/// Its descriptor is a queue's: only what is here knows how often it has expired.
#[derive(Debug)]
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// `timerfd_create(clockid, flags)` - makes one, which is not set (timerfd_create(2)).
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
    #[doc(alias("timerfd_create"))]
    pub fn new(clockid: ClockId, flags: TimerFlags) -> Result<Self> {
        let clock = match clockid {
            ClockId::CLOCK_REALTIME => libc::CLOCK_REALTIME,
            ClockId::CLOCK_MONOTONIC => libc::CLOCK_MONOTONIC,
        };
        let fd = objects::timerfd_create(clock as clockid_t, flags.bits())?;
        // SAFETY: made just now, and known to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `timerfd_settime(fd, flags, expiration)` - sets it (timerfd_settime(2)).
    ///
    /// # Errors
    /// - `EINVAL`: it is no time.
    #[doc(alias("timerfd_settime"))]
    pub fn set(&self, expiration: Expiration, flags: TimerSetTimeFlags) -> Result<()> {
        let zero = TimeSpec::new(0, 0);
        let (value, interval) = match expiration {
            Expiration::OneShot(value) => (value, zero),
            Expiration::IntervalDelayed(value, interval) => (value, interval),
            Expiration::Interval(interval) => (interval, interval),
        };
        self.settime(flags, Times { it_interval: *interval.as_ref(), it_value: *value.as_ref() })
    }

    fn settime(&self, flags: TimerSetTimeFlags, times: Times) -> Result<()> {
        // SAFETY: the times are ours.
        unsafe { objects::timerfd_settime(self.as_raw_fd(), flags.bits(), &times, null_mut()) }
    }

    /// `timerfd_gettime(fd)` - what is left until it expires; None where it is not set
    /// (timerfd_gettime(2)).
    ///
    /// # Errors
    /// None that can happen to a timer.
    #[doc(alias("timerfd_gettime"))]
    pub fn get(&self) -> Result<Option<Expiration>> {
        let none = timespec { tv_sec: 0, tv_nsec: 0 };
        let mut times = Times { it_interval: none, it_value: none };
        // SAFETY: the times are ours.
        unsafe { objects::timerfd_gettime(self.as_raw_fd(), &mut times) }?;
        let (value, interval) = (TimeSpec::from(times.it_value), TimeSpec::from(times.it_interval));
        let zero = TimeSpec::new(0, 0);
        Ok(match (value == zero, interval == zero) {
            (true, _) => None,
            (false, true) => Some(Expiration::OneShot(value)),
            (false, false) if value == interval => Some(Expiration::Interval(interval)),
            (false, false) => Some(Expiration::IntervalDelayed(value, interval)),
        })
    }

    /// Has it expire no more.
    ///
    /// # Errors
    /// None that can happen to a timer.
    #[doc(alias("timerfd_settime"))]
    pub fn unset(&self) -> Result<()> {
        let none = timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Times { it_interval: none, it_value: none };
        self.settime(TimerSetTimeFlags::empty(), times)
    }

    /// `read(fd)` - waits until it has expired, unless it is not to block.
    ///
    /// # Errors
    /// - `EAGAIN`: it has not expired, and does not block.
    pub fn wait(&self) -> Result<()> {
        let mut times = 0_u64;
        loop {
            // SAFETY: a number of ours.
            let read = unsafe {
                objects::read(self.as_raw_fd(), (&raw mut times).cast(), size_of::<u64>())
            };
            match read {
                Err(nix::errno::Errno::EINTR) => {}
                other => return other.map(drop),
            }
        }
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<TimerFd> for OwnedFd {
    fn from(timer: TimerFd) -> Self {
        timer.0
    }
}
