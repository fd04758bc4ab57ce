//! A wait that came to nothing and has to go on.
//!
//! Where kevent() has put knotes on an instance, the kernel may wake two threads for one knote's
//! event. The second finds it taken, and must not return before its time.

use libc::{c_int, timespec};

use super::epoll_rules::Waiting;

/// Waits as often as it takes: `call` makes the system call with a timeout and says what is ready,
/// `end` what is left of that when the engine has seen it, `rest` the timeout that remains.
///
/// It owns nothing, so that `call` may be a cancellation point.
///
/// # Errors
/// What `call` says.
#[inline]
pub fn until_taken<T: Copy, E>(
    mut timeout: T,
    mut call: impl FnMut(T) -> Result<usize, E>,
    end: impl Fn(usize) -> usize,
    mut rest: impl FnMut() -> Option<T>,
) -> Result<usize, E> {
    loop {
        let ready = call(timeout)?;
        let taken = end(ready);
        if taken > 0 || ready == 0 {
            return Ok(taken);
        }
        match rest() {
            Some(remains) => timeout = remains,
            None => return Ok(0),
        }
    }
}

/// Since when a wait lasts. The clock is read only where it may have to go on.
#[derive(Clone, Copy, Debug)]
pub struct Since(Option<i128>);

impl Since {
    /// Now: the wait is about to begin.
    #[inline]
    pub fn now(waiting: Waiting) -> Self {
        Self(waiting.has_knotes().then(monotonic_ns))
    }

    /// What is left of so many milliseconds, rounded up; negative is for ever. None: nothing.
    pub fn left_of_millis(&mut self, timeout: c_int) -> Option<c_int> {
        if timeout < 0 {
            return Some(timeout);
        }
        let left = self.left_of_ns(i128::from(timeout) * 1_000_000)?;
        Some((left + 999_999).div_euclid(1_000_000) as c_int)
    }

    /// What is left of a time; null is for ever. None: nothing.
    ///
    /// # Safety
    /// It is null or can be read.
    pub unsafe fn left_of(&mut self, timeout: *const timespec) -> Option<Rest> {
        if timeout.is_null() {
            return Some(Rest::CallersOwn);
        }
        // SAFETY: the caller's promise.
        let time = unsafe { timeout.read_unaligned() };
        let ns = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
        let left = self.left_of_ns(ns)?;
        let (tv_sec, tv_nsec) = (left.div_euclid(1_000_000_000), left.rem_euclid(1_000_000_000));
        Some(Rest::Of(timespec { tv_sec: tv_sec as _, tv_nsec: tv_nsec as _ }))
    }

    /// If it was not known that the wait might go on, its time begins now: too long, but not too
    /// short.
    fn left_of_ns(&mut self, timeout: i128) -> Option<i128> {
        let now = monotonic_ns();
        let left = *self.0.get_or_insert(now) + timeout - now;
        (left > 0).then_some(left)
    }
}

/// A timeout to wait with.
#[derive(Clone, Copy, Debug)]
pub enum Rest {
    /// What the caller passed, wherever it points.
    CallersOwn,
    /// What remains of it.
    Of(timespec),
}

impl Rest {
    /// As a system call takes it.
    #[inline]
    pub fn or(&self, callers: *const timespec) -> *const timespec {
        match self {
            Self::CallersOwn => callers,
            Self::Of(time) => time,
        }
    }
}

fn monotonic_ns() -> i128 {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG_AGO: Since = Since(Some(0));

    #[test]
    fn ends_with_the_first_that_is_left_or_with_nothing_ready() {
        let calls = |ready: &[usize], left: &[usize]| {
            let (mut made, mut rests) = (0, 0);
            let call = |timeout: i32| {
                assert_eq!(timeout, if made == 0 { 7 } else { 3 });
                made += 1;
                Ok::<_, ()>(ready[made - 1])
            };
            let ended = std::cell::Cell::new(0);
            let end = |_| {
                ended.set(ended.get() + 1);
                left[ended.get() - 1]
            };
            let rest = || {
                rests += 1;
                (rests < 3).then_some(3)
            };
            until_taken(7, call, end, rest)
        };
        assert_eq!(calls(&[2], &[5]), Ok(5));
        assert_eq!(calls(&[0], &[0]), Ok(0));
        assert_eq!(calls(&[1, 1], &[0, 1]), Ok(1));
        assert_eq!(calls(&[1, 1, 1], &[0, 0, 0]), Ok(0));
    }

    #[test]
    fn time_that_is_over_is_none() {
        assert_eq!(LONG_AGO.clone().left_of_millis(5), None);
        assert_eq!(LONG_AGO.clone().left_of_millis(-1), Some(-1));
        assert_eq!(Since(None).left_of_millis(0), None);
        // SAFETY: null or a reference.
        unsafe {
            let time = timespec { tv_sec: 0, tv_nsec: 5 };
            assert!(LONG_AGO.clone().left_of(&time).is_none());
            assert!(matches!(LONG_AGO.clone().left_of(std::ptr::null()), Some(Rest::CallersOwn)));
        }
    }

    #[test]
    fn what_is_left_is_rounded_up_and_no_more_than_it_was() {
        assert_eq!(Since(None).left_of_millis(5), Some(5));
        let mut just_begun = Since(Some(monotonic_ns()));
        let left = just_begun.left_of_millis(c_int::MAX);
        assert!(left.is_some_and(|ms| ms > c_int::MAX - 60_000), "{left:?}");
        let time = timespec { tv_sec: i64::MAX, tv_nsec: 999_999_999 };
        // SAFETY: a reference.
        let left = unsafe { just_begun.left_of(&time) };
        assert!(matches!(left, Some(Rest::Of(rest)) if rest.tv_sec > i64::MAX - 60), "{left:?}");
    }
}
