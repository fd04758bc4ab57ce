//! Time, and the calls that block.

use libc::{c_int, c_void, pollfd, sigset_t, timespec};

use crate::sys::raw::{self, Result};

/// How a caller blocks. The C libraries do it through libc's functions, which are cancellation
/// points; nothing that needs to be dropped is alive while one of these runs.
///
/// # Safety
/// The methods do what the system calls of their names do, and nothing else to the caller's memory.
pub unsafe trait Calls {
    /// The call as the program made it, with the kernel's own function.
    ///
    /// # Errors
    /// The kernel's.
    fn own(&self) -> Result<usize>;

    /// Where calls are cancellation points: acts on a pending cancellation, also if the call will
    /// not block. Nothing that needs to be dropped is alive in whoever calls this.
    fn test_cancel(&self) {}

    /// `ppoll(fds, nfds, timeout, sigmask)`.
    ///
    /// # Safety
    /// As for [`raw::ppoll`]; the timeout is only read.
    ///
    /// # Errors
    /// Those of ppoll(2).
    unsafe fn ppoll(
        &self,
        fds: *mut pollfd,
        nfds: usize,
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize>;

    /// `pselect(nfds, sets, timeout, sigmask)`, for any `nfds`.
    ///
    /// # Safety
    /// As for [`raw::pselect`]; the timeout is only read.
    ///
    /// # Errors
    /// Those of pselect(2).
    unsafe fn pselect(
        &self,
        nfds: c_int,
        sets: [*mut c_void; 3],
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize>;
}

/// What a call asks for besides its descriptors.
#[derive(Debug)]
pub struct Wait<'a, C> {
    /// How long at most; None: for ever. Valid, and not negative.
    pub timeout: Option<timespec>,
    /// The signal mask for the wait, or null.
    pub sigmask: *const sigset_t,
    /// Memory comes from a C program and may not be there: it is not touched before the kernel has
    /// accepted it in an earlier call.
    pub unproven: bool,
    /// How to block.
    pub calls: &'a C,
}

impl<C> Wait<'_, C> {
    /// Where the mask is; (0, 0) where there is none.
    pub(crate) fn mask_range(&self) -> (usize, usize) {
        let bytes = if self.sigmask.is_null() { 0 } else { raw::SIGSET_BYTES };
        (self.sigmask as usize, bytes)
    }
}

/// Nanoseconds of the monotonic clock.
pub(crate) type Nanos = u64;

pub(crate) fn nanos(time: timespec) -> Nanos {
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
}

pub(crate) fn timespec_of(nanos: Nanos) -> timespec {
    timespec { tv_sec: (nanos / 1_000_000_000) as _, tv_nsec: (nanos % 1_000_000_000) as _ }
}

fn read_clock(clock: libc::clockid_t) -> Nanos {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec. Through libc, which has it from the vDSO; no library of ours
    // exports it, and it is async-signal-safe.
    unsafe { libc::clock_gettime(clock, &mut time) };
    nanos(time)
}

/// The time now.
pub(crate) fn now() -> Nanos {
    read_clock(libc::CLOCK_MONOTONIC)
}

/// The time at the last tick: some milliseconds old, for a fifth of the price.
#[inline]
pub(crate) fn about_now() -> Nanos {
    read_clock(raw::COARSE_CLOCK)
}

/// No time at all.
pub(crate) const ZERO: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// [`Calls`] by raw system calls, with `own` for the call as the program made it. What a Rust
/// program uses; no cancellation point.
#[derive(Clone, Copy, Debug)]
pub struct RawCalls<F>(
    /// The call as the program made it.
    pub F,
);

// SAFETY: each method is the system call of its name.
unsafe impl<F: Fn() -> Result<usize>> Calls for RawCalls<F> {
    fn own(&self) -> Result<usize> {
        (self.0)()
    }

    unsafe fn ppoll(
        &self,
        fds: *mut pollfd,
        nfds: usize,
        mut timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: the caller's promise; `timeout` is null or our copy.
        unsafe { raw::ppoll(fds, nfds as libc::nfds_t, timeout, sigmask) }
    }

    unsafe fn pselect(
        &self,
        nfds: c_int,
        sets: [*mut c_void; 3],
        mut timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: the caller's promise; `timeout` is null or our copy.
        unsafe { raw::pselect(nfds, sets, timeout, sigmask) }
    }
}
