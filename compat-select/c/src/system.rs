//! libc's own calls, found behind ours.

use std::ffi::{c_int, c_void};
use std::ptr::{from_ref, null};

use kq_core::Errno;
use kq_core::sets::Calls;
use kq_core::sets::raw::Result;
use kq_hooks_c::{Next, returned, test_cancel};
use libc::{fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;
type Pselect = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *const timespec,
    *const sigset_t,
) -> c_int;
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;

// SAFETY: select(2).
static SELECT: Next<Select> = unsafe { Next::new(c"select") };
// SAFETY: pselect(2).
static PSELECT: Next<Pselect> = unsafe { Next::new(c"pselect") };
// SAFETY: ppoll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };

pub(crate) fn find() {
    SELECT.find();
    PSELECT.find();
    PPOLL.find();
}

/// Blocks through libc, whose functions are cancellation points.
pub(crate) struct Libc<F>(pub(crate) F);

// SAFETY: each method is libc's function of its name.
unsafe impl<F: Fn() -> Result<usize>> Calls for Libc<F> {
    fn own(&self) -> Result<usize> {
        (self.0)()
    }

    #[inline]
    fn test_cancel(&self) {
        test_cancel();
    }

    unsafe fn ppoll(
        &self,
        fds: *mut pollfd,
        nfds: usize,
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_ref().map_or(null(), from_ref);
        let Some(next) = PPOLL.get() else { return Err(Errno::ENOSYS) };
        // SAFETY: the caller's promise; libc copies the timeout.
        returned(unsafe { next(fds, nfds as nfds_t, timeout, sigmask) }.into())
    }

    unsafe fn pselect(
        &self,
        nfds: c_int,
        sets: [*mut c_void; 3],
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_ref().map_or(null(), from_ref);
        // SAFETY: the caller's promise.
        unsafe { pselect(nfds, sets.map(<*mut c_void>::cast), timeout, sigmask) }
    }
}

/// # Safety
/// As for pselect(2).
#[inline]
pub(crate) unsafe fn pselect(
    nfds: c_int,
    [r, w, e]: [*mut fd_set; 3],
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let Some(next) = PSELECT.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(nfds, r, w, e, timeout, sigmask) }.into())
}

/// # Safety
/// As for select(2).
#[inline]
pub(crate) unsafe fn select(
    nfds: c_int,
    [r, w, e]: [*mut fd_set; 3],
    timeout: *mut timeval,
) -> Result<usize> {
    let Some(next) = SELECT.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(nfds, r, w, e, timeout) }.into())
}
