//! libc's own calls, found behind ours.

use std::ffi::{c_int, c_void};

use kq_core::Errno;
use kq_core::sets::Calls;
use kq_core::sets::raw::Result;
use kq_hooks_c::{Next, returned, test_cancel};
use libc::{nfds_t, pollfd, sigset_t, timespec};

type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;

// SAFETY: poll(2).
static POLL: Next<Poll> = unsafe { Next::new(c"poll") };
// SAFETY: ppoll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };

pub(crate) fn find() {
    POLL.find();
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
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the caller's promise; libc copies the timeout.
        unsafe { ppoll(fds, nfds as nfds_t, timeout.cast_mut(), sigmask) }
    }

    unsafe fn pselect(
        &self,
        _: c_int,
        _: [*mut c_void; 3],
        _: Option<timespec>,
        _: *const sigset_t,
    ) -> Result<usize> {
        unreachable!("poll asks with ppoll")
    }
}

/// # Safety
/// As for poll(2).
#[inline]
pub(crate) unsafe fn poll(fds: *mut pollfd, nfds: usize, timeout: c_int) -> Result<usize> {
    let Some(next) = POLL.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(fds, nfds as nfds_t, timeout) }.into())
}

/// # Safety
/// As for ppoll(2), which leaves the timeout as it is.
#[inline]
pub(crate) unsafe fn ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *mut timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let Some(next) = PPOLL.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(fds, nfds, timeout, sigmask) }.into())
}
