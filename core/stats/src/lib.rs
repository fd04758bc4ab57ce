//! What the C libraries tell of themselves, and the settings that they read.
//!
//! - `KQCOMPAT_STATS`: at exit, what the library did is written to where this says ([`exit`]).
//! - `kqcompat_stats(fd)` and `kqcompat_dump(kq, fd)`: the same at any moment, and a queue's knotes
//!   (`include/kqcompat.h`).
//!
//! A program into which several libraries are loaded has several engines. `kqcompat_stats` asks all
//! of them: each library calls the next one's.

#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub mod exit;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
mod out;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
mod summary;

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;

#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub use summary::{kqcompat_dump, kqcompat_stats};

/// The value of a setting in the environment, `KQCOMPAT_...`. None in a program that runs with the
/// rights of another user (secure_getenv(3)).
///
/// To be called in a constructor only: later another thread could change the environment.
pub fn setting(name: &CStr) -> Option<&'static OsStr> {
    if has_anothers_rights() {
        return None;
    }
    // SAFETY: getenv takes a C string and returns one, or null. Constructors run before any thread
    // that could change the environment.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: getenv's; it stays as long as nobody changes the environment.
    (!value.is_null()).then(|| OsStr::from_bytes(unsafe { CStr::from_ptr(value) }.to_bytes()))
}

fn has_anothers_rights() -> bool {
    // SAFETY: takes a number.
    #[cfg(target_os = "linux")]
    return unsafe { libc::getauxval(libc::AT_SECURE) != 0 };
    // SAFETY: takes nothing.
    #[cfg(not(target_os = "linux"))]
    return unsafe { libc::issetugid() != 0 };
}

/// To be called in a library's constructor, with the library's name: reads `KQCOMPAT_STATS`
/// (a native kqueue does not count).
pub fn init(library: &'static str) {
    #[cfg(all(target_os = "linux", not(kqcompat_native)))]
    {
        out::name(library);
        exit::init();
    }
    #[cfg(any(not(target_os = "linux"), kqcompat_native))]
    let _ = library;
}
