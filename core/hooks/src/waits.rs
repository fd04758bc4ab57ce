//! libc's ppoll and pselect, behind ours: how the engine blocks in a C program.

use std::ffi::{c_int, c_void};
use std::ptr::{from_ref, null};

use kq_core::Errno;
use kq_core::sets::Calls;
use kq_core::sets::raw::Result;
use libc::{fd_set, nfds_t, pollfd, sigset_t, timespec};

use crate::next::{Next, returned};

/// libc's type of ppoll.
pub type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;
/// libc's type of pselect.
pub type Pselect = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *const timespec,
    *const sigset_t,
) -> c_int;

// SAFETY: ppoll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };
// SAFETY: pselect(2).
static PSELECT: Next<Pselect> = unsafe { Next::new(c"pselect") };
// SAFETY: pthread_testcancel(3).
static TEST_CANCEL: Next<unsafe extern "C-unwind" fn()> =
    unsafe { Next::new(c"pthread_testcancel") };

/// To be called when the library is loaded.
pub fn find() {
    TEST_CANCEL.find();
    PPOLL.find();
    PSELECT.find();
}

/// Acts on a pending cancellation. poll and select do so at entry, also where they do not block.
///
/// May unwind the thread: nothing that needs a drop may be alive in the caller.
#[inline]
fn test_cancel() {
    if let Some(test) = TEST_CANCEL.get() {
        // SAFETY: takes nothing; where it unwinds, so may we.
        unsafe { test() }
    }
}

/// Blocks through libc, whose functions are cancellation points; with the call as the program made it.
#[derive(Debug)]
pub struct Libc<F>(
    /// The call as the program made it.
    pub F,
);

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
        // SAFETY: the caller's promise; libc copies the timeout.
        unsafe { ppoll(fds, nfds as nfds_t, timeout.cast_mut(), sigmask) }
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

/// libc's ppoll, if it is there.
#[inline]
pub fn own_ppoll() -> Option<Ppoll> {
    PPOLL.get()
}

/// libc's pselect, if it is there.
#[inline]
pub fn own_pselect() -> Option<Pselect> {
    PSELECT.get()
}

/// libc's ppoll.
///
/// # Safety
/// As for ppoll(2), which leaves the timeout as it is.
///
/// # Errors
/// Those of ppoll(2); `ENOSYS`: libc has none.
#[inline]
pub unsafe fn ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *mut timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let Some(next) = PPOLL.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(fds, nfds, timeout, sigmask) }.into())
}

/// libc's pselect.
///
/// # Safety
/// As for pselect(2).
///
/// # Errors
/// Those of pselect(2); `ENOSYS`: libc has none.
#[inline]
pub unsafe fn pselect(
    nfds: c_int,
    [r, w, e]: [*mut fd_set; 3],
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let Some(next) = PSELECT.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(nfds, r, w, e, timeout, sigmask) }.into())
}
