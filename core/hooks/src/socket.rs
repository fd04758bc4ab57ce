//! setsockopt(2), for the options that change what is ready without waking anybody.

use std::ffi::{c_int, c_void};

use libc::{ENOSYS, SOL_SOCKET, socklen_t};

use crate::next::{Next, fail};

type Setsockopt =
    unsafe extern "C-unwind" fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int;

// SAFETY: setsockopt(2).
static SETSOCKOPT: Next<Setsockopt> = unsafe { Next::new(c"setsockopt") };

pub(crate) fn find() {
    SETSOCKOPT.find();
}

/// `setsockopt(fd, level, name, value, length)` - sets an option of a socket.
///
/// # Safety
/// As for setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    let Some(next) = SETSOCKOPT.get() else { return fail(ENOSYS) };
    // SAFETY: the caller's promise.
    let result = unsafe { next(fd, level, name, value, length) };
    if level == SOL_SOCKET && matches!(name, libc::SO_OOBINLINE | libc::SO_SELECT_ERR_QUEUE) {
        kq_core::hooks::changed_silently();
    }
    result
}
