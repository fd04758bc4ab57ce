//! Before Linux 5.11 there is no epoll_pwait2: its timeout becomes milliseconds.

use libc::{c_int, timespec};

use super::raw::{self, Result};

/// A timeout in milliseconds that may be longer than epoll_wait's can say.
///
/// Rounded up, so that a wait is never shorter than was asked for. A ppoll on the epoll descriptor
/// would keep the nanoseconds, but another thread may take the event between it and the epoll_wait
/// after it, and a stopped process would not get its EINTR; a millisecond is what programs of those
/// kernels know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Millis(Option<u64>);

impl Millis {
    /// Reads a timeout; null is for ever.
    ///
    /// # Errors
    /// - `EFAULT`: it cannot be read.
    /// - `EINVAL`: it is negative or has a second's worth of nanoseconds.
    ///
    /// # Safety
    /// Memory that can be read must stay so during the call.
    pub unsafe fn of(timeout: *const timespec) -> Result<Self> {
        if timeout.is_null() {
            return Ok(Self(None));
        }
        raw::check_timespec(timeout)?;
        // SAFETY: the kernel could read it, so we can.
        Ok(Self::rounded_up(unsafe { timeout.read_unaligned() }))
    }

    /// A valid time, rounded up.
    fn rounded_up(time: timespec) -> Self {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
        Self(Some(seconds.saturating_mul(1000).saturating_add(nanos.div_ceil(1_000_000))))
    }

    /// Takes as much of it as epoll_wait can be told at once; negative is for ever.
    pub fn take_part(&mut self) -> c_int {
        let Some(left) = &mut self.0 else { return -1 };
        let part = (*left).min(c_int::MAX as u64);
        *left -= part;
        part as c_int
    }

    /// Was all of it taken?
    pub fn is_over(&self) -> bool {
        self.0.is_none_or(|left| left == 0)
    }

    /// Waits that long with a call that takes milliseconds as epoll_wait does: as often as it
    /// takes, until something other than "nothing" comes of it.
    ///
    /// # Errors
    /// What the call says.
    pub fn wait(mut self, mut call: impl FnMut(c_int) -> Result<usize>) -> Result<usize> {
        loop {
            match call(self.take_part()) {
                Ok(0) if !self.is_over() => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    fn of(tv_sec: i64, tv_nsec: i64) -> Result<Millis> {
        // SAFETY: a valid reference.
        unsafe { Millis::of(&timespec { tv_sec, tv_nsec }) }
    }

    #[test]
    fn rounds_up() {
        assert_eq!(of(0, 0), Ok(Millis(Some(0))));
        assert_eq!(of(0, 1), Ok(Millis(Some(1))));
        assert_eq!(of(0, 1_000_000), Ok(Millis(Some(1))));
        assert_eq!(of(0, 1_000_001), Ok(Millis(Some(2))));
        assert_eq!(of(2, 999_999_999), Ok(Millis(Some(3000))));
        assert_eq!(of(i64::MAX, 0), Ok(Millis(Some(u64::MAX))));
    }

    #[test]
    fn refuses_what_is_no_time() {
        assert_eq!(of(-1, 0), Err(Errno::EINVAL));
        assert_eq!(of(0, -1), Err(Errno::EINVAL));
        assert_eq!(of(0, 1_000_000_000), Err(Errno::EINVAL));
        // SAFETY: nothing can be read there.
        unsafe {
            assert_eq!(Millis::of(std::ptr::dangling::<timespec>()), Err(Errno::EFAULT));
            assert_eq!(Millis::of(std::ptr::null()), Ok(Millis(None)));
        }
    }

    #[test]
    fn waits_in_parts_until_all_is_over() {
        let mut parts = Vec::new();
        let whole = Millis(Some(2 * c_int::MAX as u64 + 5));
        let result = whole.wait(|ms| {
            parts.push(ms);
            Ok(0)
        });
        assert_eq!((result, parts), (Ok(0), vec![c_int::MAX, c_int::MAX, 5]));
    }

    #[test]
    fn stops_at_an_event_or_an_error() {
        let whole = Millis(Some(u64::MAX));
        assert_eq!(whole.wait(|_| Ok(3)), Ok(3));
        assert_eq!(whole.wait(|_| Err(Errno::EINTR)), Err(Errno::EINTR));
        assert_eq!(Millis(None).wait(|ms| Ok(ms.unsigned_abs() as usize)), Ok(1));
    }
}
