//! Where Rust ends: results become -1 and errno.
//!
//! A panic is a bug of ours and must not unwind into C. It ends the process: by itself in an `extern "C"`
//! function; where a cancelled thread unwinds through our frame (`extern "C-unwind"`), by a guard around
//! the engine's own work.

use nix::Result;

/// What a C function returns of its work.
#[inline]
pub(crate) fn told<T: From<i8>>(result: Result<T>) -> T {
    result.unwrap_or_else(|errno| {
        errno.set();
        T::from(-1)
    })
}
