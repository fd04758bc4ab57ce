//! What the C libraries tell of themselves, and the settings that they read.
//!
//! - `KQCOMPAT_STATS`: at exit, what the library did is written to where this says ([`exit`]).
//! - `kqcompat_stats(fd)` and `kqcompat_dump(kq, fd)`: the same at any moment, and a queue's knotes
//!   (`include/kqcompat.h`).
//!
//! A program into which several libraries are loaded has several engines. `kqcompat_stats` asks all
//! of them: each library calls the next one's.

pub mod exit;
mod out;

use std::ffi::{CStr, OsStr, c_int};
use std::os::unix::ffi::OsStrExt;

use kq_core::{Errno, stats};

use out::Out;

/// The value of a setting in the environment, `KQCOMPAT_...`. None in a program that runs with the
/// rights of another user (secure_getenv(3)).
///
/// To be called in a constructor only: later another thread could change the environment.
pub fn setting(name: &CStr) -> Option<&'static OsStr> {
    // SAFETY: takes a number; getenv takes a C string and returns one, or null. Constructors run
    // before any thread that could change the environment.
    let value = unsafe {
        if libc::getauxval(libc::AT_SECURE) != 0 {
            return None;
        }
        libc::getenv(name.as_ptr())
    };
    // SAFETY: getenv's; it stays as long as nobody changes the environment.
    (!value.is_null()).then(|| OsStr::from_bytes(unsafe { CStr::from_ptr(value) }.to_bytes()))
}

/// To be called in a library's constructor, with the library's name: reads `KQCOMPAT_STATS`.
pub fn init(library: &'static str) {
    out::name(library);
    exit::init();
}

type Stats = unsafe extern "C" fn(c_int) -> c_int;

/// `kqcompat_stats(fd)` - writes what the engine did in this process to a descriptor, a line for each
/// queue, thread and set; then has the next library do the same. 0, or -1.
///
/// errno: that of write(2).
#[unsafe(no_mangle)]
pub extern "C" fn kqcompat_stats(fd: c_int) -> c_int {
    let mut out = Out::new(fd);
    out.head();
    // Cannot fail: what the descriptor says is kept until the end.
    let _ = stats::write_summary(&mut out);
    if let Err(errno) = out.end() {
        return fail(errno);
    }
    // SAFETY: a C string; RTLD_NEXT is relative to the library that this code is linked into.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"kqcompat_stats".as_ptr()) };
    if next.is_null() {
        return 0;
    }
    // SAFETY: the name is ours, so it is this function in another library.
    unsafe { std::mem::transmute::<*mut libc::c_void, Stats>(next)(fd) }
}

type Dump = unsafe extern "C" fn(c_int, c_int) -> c_int;

/// `kqcompat_dump(kq, fd)` - writes the knotes of a live queue to a descriptor, or the registrations
/// of an epoll set, a line for each. 0, or -1.
///
/// errno: `EBADF` where `kq` is no queue of a library that is loaded; `EBUSY` where another thread is
/// changing the queue just now; that of write(2).
#[unsafe(no_mangle)]
pub extern "C" fn kqcompat_dump(kq: c_int, fd: c_int) -> c_int {
    let mut out = Out::new(fd);
    match stats::write_queue(kq, &mut out).and_then(|()| out.end()) {
        Ok(()) => 0,
        // Another library's, perhaps.
        Err(Errno::EBADF) if out.is_empty() => {
            // SAFETY: as in `kqcompat_stats`.
            let next = unsafe { libc::dlsym(libc::RTLD_NEXT, c"kqcompat_dump".as_ptr()) };
            if next.is_null() {
                return fail(Errno::EBADF);
            }
            // SAFETY: as in `kqcompat_stats`.
            unsafe { std::mem::transmute::<*mut libc::c_void, Dump>(next)(kq, fd) }
        }
        Err(errno) => fail(errno),
    }
}

fn fail(errno: Errno) -> c_int {
    errno.set();
    -1
}
