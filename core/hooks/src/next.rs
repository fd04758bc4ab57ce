//! The next library's functions: libc's, or those of another preloaded library.

use std::ffi::c_int;

pub use kq_core::next::Next;
use libc::c_long;

/// What a C function returns for a failure.
#[cold]
pub fn fail(errno: c_int) -> c_int {
    kq_core::Errno::set_raw(errno);
    -1
}

/// What a C function returns for the engine's result.
#[inline]
pub fn to_c(result: Result<usize, kq_core::Errno>) -> c_int {
    match result {
        Ok(ready) => ready as c_int,
        Err(errno) => fail(errno as c_int),
    }
}

/// What a C function of libc's returned, as the engine's result.
///
/// # Errors
/// errno, where it returned -1.
#[inline]
pub fn returned(value: c_long) -> Result<usize, kq_core::Errno> {
    usize::try_from(value).map_err(|_| kq_core::Errno::last())
}
