//! select's timeout, which Linux updates to the time left.

use libc::{timespec, timeval};
use nix::errno::Errno;

use super::wait::{Nanos, nanos, now, timespec_of};
use crate::sys::raw::Result;

/// A timeout of select that has begun to run.
#[derive(Clone, Copy, Debug)]
pub struct SelectTimeout {
    timeout: timespec,
    end: Nanos,
}

impl SelectTimeout {
    /// Begins now. Microseconds over a second count as more seconds (rule K03).
    ///
    /// # Errors
    /// - `EINVAL`: it is negative.
    pub fn begin(time: timeval) -> Result<Self> {
        if time.tv_sec < 0 || time.tv_usec < 0 {
            return Err(Errno::EINVAL);
        }
        let timeout = timespec {
            tv_sec: time.tv_sec.saturating_add((time.tv_usec / 1_000_000) as _),
            tv_nsec: (time.tv_usec % 1_000_000 * 1000) as _,
        };
        // A timeout of zero has nothing left at any time, and needs no clock.
        let end = if nanos(timeout) == 0 { 0 } else { now().saturating_add(nanos(timeout)) };
        Ok(Self { timeout, end })
    }

    /// How long to wait.
    pub fn timeout(&self) -> timespec {
        self.timeout
    }

    /// What is left.
    pub fn left(&self) -> timeval {
        let left = if self.end == 0 { 0 } else { self.end.saturating_sub(now()) };
        let left = timespec_of(left);
        timeval { tv_sec: left.tv_sec, tv_usec: (left.tv_nsec / 1000) as _ }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_down_and_never_up() {
        let begun = SelectTimeout::begin(timeval { tv_sec: 5, tv_usec: 3_500_000 }).unwrap();
        assert_eq!((begun.timeout().tv_sec, begun.timeout().tv_nsec), (8, 500_000_000));
        let (one, two) = (begun.left(), begun.left());
        assert!(one.tv_sec == 8 && (two.tv_sec, two.tv_usec) <= (one.tv_sec, one.tv_usec));
        let none = SelectTimeout::begin(timeval { tv_sec: 0, tv_usec: 0 }).unwrap().left();
        assert_eq!((none.tv_sec, none.tv_usec), (0, 0));
        let huge = timeval { tv_sec: i64::MAX, tv_usec: 999_999 };
        assert!(SelectTimeout::begin(huge).unwrap().left().tv_sec > 1 << 30);
        for (s, us) in [(-1, 0), (0, -1), (5, -1)] {
            assert!(SelectTimeout::begin(timeval { tv_sec: s, tv_usec: us }).is_err());
        }
    }
}
