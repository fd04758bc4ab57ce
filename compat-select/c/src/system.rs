//! libc's own calls, found behind ours.

use std::ffi::c_int;

use kq_core::Errno;
use kq_core::sets::raw::Result;
pub(crate) use kq_hooks_c::waits::{Libc, own_pselect, pselect};
use kq_hooks_c::{Next, returned, waits};
use libc::{fd_set, timeval};

pub(crate) type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;

// SAFETY: select(2).
static SELECT: Next<Select> = unsafe { Next::new(c"select") };

/// libc's select, if it is there.
#[inline]
pub(crate) fn own_select() -> Option<Select> {
    SELECT.get()
}

pub(crate) fn find() {
    SELECT.find();
    waits::find();
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
