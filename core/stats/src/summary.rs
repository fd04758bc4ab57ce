//! What the engine did, as C programs ask for it.

use std::ffi::c_int;

use kq_core::{Errno, stats};

use crate::out::Out;

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
