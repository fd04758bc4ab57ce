//! libc's own calls, found behind ours.

use std::ffi::c_int;

use kq_core::Errno;
use kq_core::sets::raw::Result;
pub(crate) use kq_hooks_c::waits::{Libc, own_ppoll, ppoll};
use kq_hooks_c::{Next, returned, waits};
use libc::{nfds_t, pollfd};

pub(crate) type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;

// SAFETY: poll(2).
static POLL: Next<Poll> = unsafe { Next::new(c"poll") };

/// libc's poll, if it is there.
#[inline]
pub(crate) fn own_poll() -> Option<Poll> {
    POLL.get()
}

pub(crate) fn find() {
    POLL.find();
    waits::find();
}

/// # Safety
/// As for poll(2).
#[inline]
pub(crate) unsafe fn poll(fds: *mut pollfd, nfds: usize, timeout: c_int) -> Result<usize> {
    let Some(next) = POLL.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(fds, nfds as nfds_t, timeout) }.into())
}
