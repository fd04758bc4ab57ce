//! Where Rust ends: results become -1 and errno, and panics stop.

use std::panic::{AssertUnwindSafe, catch_unwind};

use libc::c_int;
use nix::Result;
use nix::errno::Errno;

/// Runs a call's work; None, with errno set, where it failed. A panic is a bug of ours and must not
/// unwind into C: it is EIO.
pub(crate) fn attempt<T>(work: impl FnOnce() -> Result<T>) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno::EIO)) {
        Ok(value) => Some(value),
        Err(errno) => {
            errno.set();
            None
        }
    }
}

/// What a C function returns of its work.
pub(crate) fn answer(work: impl FnOnce() -> Result<c_int>) -> c_int {
    attempt(work).unwrap_or(-1)
}

/// The same where no panic is to be stopped, since a cancelled thread unwinds through it.
#[cfg(any(not(target_os = "linux"), kqcompat_native))]
pub(crate) fn told<T: From<i8>>(result: Result<T>) -> T {
    result.unwrap_or_else(|errno| {
        errno.set();
        T::from(-1)
    })
}
