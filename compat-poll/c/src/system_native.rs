//! The system's own calls, which core finds behind ours.

use std::ffi::c_int;

pub(crate) use kq_core::sets::RawCalls as Libc;
pub(crate) use kq_core::sets::raw::{poll, ppoll};
use libc::{nfds_t, pollfd, sigset_t, timespec};

/// `sets::prepare` has them found.
pub(crate) use kq_core::sets::raw::are_exported as find;

type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;

/// None: what core has found is called by core.
pub(crate) fn own_poll() -> Option<Poll> {
    None
}

/// As [`own_poll`].
#[cfg_attr(target_os = "macos", allow(dead_code, reason = "macOS has none"))]
pub(crate) fn own_ppoll() -> Option<Ppoll> {
    None
}
