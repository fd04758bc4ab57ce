//! close(2), dup2(2), dup3(2), close_range(2), closefrom(3) and syscall(2) of these.

use std::ffi::{c_int, c_long, c_uint};

use kq_core::hooks::{
    after_close, after_close_range, before_close, before_close_range, first_hidden, is_hidden,
};
use libc::{EBADF, ENOSYS};

use crate::next::{Next, fail};
use crate::sandbox;
use crate::socket::setsockopt;

type Close = unsafe extern "C-unwind" fn(c_int) -> c_int;
type Dup2 = unsafe extern "C-unwind" fn(c_int, c_int) -> c_int;
type Dup3 = unsafe extern "C-unwind" fn(c_int, c_int, c_int) -> c_int;
type CloseRange = unsafe extern "C-unwind" fn(c_uint, c_uint, c_int) -> c_int;
type CloseFrom = unsafe extern "C-unwind" fn(c_int);
type Syscall =
    unsafe extern "C-unwind" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

// SAFETY: here and below, the types are those of the C functions; syscall's variable arguments are
// passed as six longs, which is how libc takes them.
static CLOSE: Next<Close> = unsafe { Next::new(c"close") };
// SAFETY: see above.
static DUP2: Next<Dup2> = unsafe { Next::new(c"dup2") };
// SAFETY: see above.
static DUP3: Next<Dup3> = unsafe { Next::new(c"dup3") };
// SAFETY: see above.
static CLOSE_RANGE: Next<CloseRange> = unsafe { Next::new(c"close_range") };
// SAFETY: see above.
static CLOSE_FROM: Next<CloseFrom> = unsafe { Next::new(c"closefrom") };
// SAFETY: see above.
static SYSCALL: Next<Syscall> = unsafe { Next::new(c"syscall") };

pub(crate) fn find() {
    CLOSE.find();
    DUP2.find();
    DUP3.find();
    CLOSE_RANGE.find();
    CLOSE_FROM.find();
    SYSCALL.find();
}

/// Runs a function that closes `fd`, with the hooks around it. If it is cancelled in between, the
/// number stays untrusted, which costs time and nothing else.
#[inline]
pub(crate) fn closing<R>(fd: c_int, close: impl FnOnce() -> R) -> R {
    before_close(fd);
    let result = close();
    after_close(fd);
    result
}

/// `close(fd)` - closes a descriptor.
///
/// # Safety
/// As for close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    // Descriptors of ours are not open to the program.
    if is_hidden(fd) {
        return fail(EBADF);
    }
    let Some(next) = CLOSE.get() else { return fail(ENOSYS) };
    // SAFETY: the caller's promise.
    closing(fd, || unsafe { next(fd) })
}

/// `__close(fd)` - libc's other name of [`close`].
///
/// # Safety
/// As for close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __close(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { close(fd) }
}

/// Will a duplication of `old` to `new` close what `new` is now?
fn replaces(old: c_int, new: c_int) -> bool {
    // SAFETY: takes numbers. (Where `old` is not open nothing is closed.)
    old != new && kq_core::raw::fcntl(old, libc::F_GETFD, 0).is_ok()
}

/// `dup2(old, new)` - makes `new` a copy of `old`, and closes what it was.
///
/// # Safety
/// As for dup2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup2(old: c_int, new: c_int) -> c_int {
    let Some(next) = DUP2.get() else { return fail(ENOSYS) };
    // SAFETY: the caller's promise.
    let dup = || unsafe { next(old, new) };
    if replaces(old, new) { closing(new, dup) } else { dup() }
}

/// `__dup2(old, new)` - libc's other name of [`dup2`].
///
/// # Safety
/// As for dup2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __dup2(old: c_int, new: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { dup2(old, new) }
}

/// `dup3(old, new, flags)` - as [`dup2`], with O_CLOEXEC.
///
/// # Safety
/// As for dup3(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn dup3(old: c_int, new: c_int, flags: c_int) -> c_int {
    let Some(next) = DUP3.get() else { return fail(ENOSYS) };
    // SAFETY: the caller's promise.
    let dup = || unsafe { next(old, new, flags) };
    // (With another flag it closes nothing.)
    let may = flags & !libc::O_CLOEXEC == 0;
    if may && replaces(old, new) { closing(new, dup) } else { dup() }
}

/// `close_range(first, last, flags)` - closes all numbers from `first` to `last`, but for
/// descriptors of ours.
///
/// # Safety
/// As for close_range(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let close = |first, last| match CLOSE_RANGE.get() {
        // SAFETY: see above.
        Some(next) => unsafe { next(first, last, flags) },
        None => fail(ENOSYS),
    };
    // With any other flag it closes nothing.
    if flags & !(libc::CLOSE_RANGE_UNSHARE as c_int) != 0 || first > last {
        return close(first, last);
    }
    around_hidden(first, last, close)
}

/// Closes the parts of a range between descriptors of ours.
fn around_hidden(first: u32, last: u32, close: impl Fn(u32, u32) -> c_int) -> c_int {
    let mut first = first;
    loop {
        let hidden = first_hidden(first, last).map(|fd| fd as u32);
        if hidden != Some(first) {
            let end = hidden.map_or(last, |fd| fd - 1);
            let highest = before_close_range(first, end);
            let result = close(first, end);
            after_close_range(first, end, highest);
            if result != 0 {
                return result;
            }
        }
        match hidden {
            Some(fd) if fd < last => first = fd + 1,
            _ => return 0,
        }
    }
}

/// `closefrom(low)` - closes all numbers from `low` on, but for descriptors of ours.
///
/// # Safety
/// As for closefrom(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn closefrom(low: c_int) {
    let low = low.max(0) as u32;
    // SAFETY: takes no pointer.
    let close = |first, last| kq_core::raw::close_range(first, last).map_or(-1, |()| 0);
    if around_hidden(low, u32::MAX, close) == 0 {
        return;
    }
    // A kernel before 5.9. Ours are closed too; the engine notices.
    if let Some(next) = CLOSE_FROM.get() {
        let highest = before_close_range(low, u32::MAX);
        // SAFETY: the caller's promise.
        unsafe { next(low as c_int) };
        after_close_range(low, u32::MAX, highest);
    }
}

/// `syscall(number, ...)` - a system call. Those that close, or set a socket's option, come by the
/// hooks.
///
/// libc's takes what variable arguments there are as longs, and reads six whether or not they were
/// passed; so does this.
///
/// # Safety
/// As for syscall(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    match number {
        // SAFETY: here and below, the caller's promise.
        libc::SYS_close => unsafe { close(a as c_int).into() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: see above.
        libc::SYS_dup2 => unsafe { dup2(a as c_int, b as c_int).into() },
        // SAFETY: see above.
        libc::SYS_dup3 => unsafe { dup3(a as c_int, b as c_int, c as c_int).into() },
        // SAFETY: see above.
        libc::SYS_close_range => unsafe {
            close_range(a as c_uint, b as c_uint, c as c_int).into()
        },
        // SAFETY: see above.
        libc::SYS_setsockopt => unsafe {
            let value = std::ptr::with_exposed_provenance(d as usize);
            setsockopt(a as c_int, b as c_int, c as c_int, value, e as u32).into()
        },
        _ => match SYSCALL.get() {
            Some(next) => {
                // SAFETY: see above.
                let done = unsafe { next(number, a, b, c, d, e, f) };
                if done >= 0 && sandbox::confines(number, a) {
                    kq_core::hooks::calls_are_filtered();
                }
                done
            }
            None => fail(ENOSYS).into(),
        },
    }
}
