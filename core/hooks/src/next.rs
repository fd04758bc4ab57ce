//! The next library's functions: libc's, or those of another preloaded library.

use std::ffi::c_int;

pub use kq_core::next::Next;
use libc::c_long;

// SAFETY: pthread_testcancel(3).
static TEST_CANCEL: Next<unsafe extern "C-unwind" fn()> =
    unsafe { Next::new(c"pthread_testcancel") };

pub(crate) fn find() {
    TEST_CANCEL.find();
}

/// Acts on a pending cancellation. poll and select do so at entry, also where they do not block.
///
/// May unwind the thread: nothing that needs a drop may be alive in the caller.
#[inline]
pub fn test_cancel() {
    if let Some(test) = TEST_CANCEL.get() {
        // SAFETY: takes nothing; where it unwinds, so may we.
        unsafe { test() }
    }
}

/// What a C function returns for a failure.
#[cold]
pub fn fail(errno: c_int) -> c_int {
    kq_core::Errno::set_raw(errno);
    -1
}

/// What a C function of libc's returned, as the engine's result.
///
/// # Errors
/// errno, where it returned -1.
#[inline]
pub fn returned(value: c_long) -> Result<usize, kq_core::Errno> {
    usize::try_from(value).map_err(|_| kq_core::Errno::last())
}
