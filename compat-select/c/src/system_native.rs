//! The system's own calls, which core finds behind ours.

use std::ffi::c_int;

pub(crate) use kq_core::sets::RawCalls as Libc;
use kq_core::sets::raw::{self, Result};
use libc::{fd_set, sigset_t, timespec, timeval};

/// `sets::prepare` has them found.
pub(crate) use kq_core::sets::raw::are_exported as find;

/// # Safety
/// As for select(2).
pub(crate) unsafe fn select(
    nfds: c_int,
    sets: [*mut fd_set; 3],
    timeout: *mut timeval,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    unsafe { raw::select(nfds, sets, timeout) }
}

/// # Safety
/// As for pselect(2).
pub(crate) unsafe fn pselect(
    nfds: c_int,
    sets: [*mut fd_set; 3],
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise; a copy is what the time left is written to.
    unsafe {
        let mut timeout = timeout.as_ref().copied();
        let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        raw::pselect(nfds, sets.map(<*mut fd_set>::cast), timeout, sigmask)
    }
}

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

/// None: what core has found is called by core.
pub(crate) fn own_select() -> Option<Select> {
    None
}

/// As [`own_select`].
pub(crate) fn own_pselect() -> Option<Pselect> {
    None
}
