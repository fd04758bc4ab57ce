//! libkqcompat_select: select, __select and pselect for C programs, linked or preloaded, for any
//! nfds, and the functions that close descriptors, hooked (kq-hooks-c).
//!
//! The environment variable `KQCOMPAT_POLICY` is `default`, `register`, `strict` or `off`
//! (`kq_core::sets::Policy`); a set-user-id program ignores it.
//!
//! On a native kqueue select and pselect alone, under the names that the system's headers give them,
//! and no hooks: closing a number drops its knotes there.

#[cfg_attr(any(not(target_os = "linux"), kqcompat_native), path = "system_native.rs")]
mod system;

use std::ffi::c_int;
use std::ptr::null;

use kq_core::sets::{self, AnsweredBy, SelectTimeout, Wait};
use kq_hooks_c::{fail, to_c};
use libc::{EINVAL, fd_set, sigset_t, timespec, timeval};

use system::Libc;

#[used]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_os = "macos"), unsafe(link_section = ".init_array"))]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        kq_hooks_c::init("libkqcompat_select");
        system::find();
        sets::prepare();
        kq_hooks_c::policy_from_environment();
    }
    init
};

/// `select(nfds, readfds, writefds, exceptfds, timeout)` - waits until a descriptor is ready. The
/// timeout is updated to the time left, as Linux does.
///
/// # Safety
/// As for select(2).
#[cfg_attr(target_os = "netbsd", unsafe(export_name = "__select50"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "select$DARWIN_EXTSN"))]
#[cfg_attr(not(any(target_os = "netbsd", target_os = "macos")), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn select(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    if let Some(own) = system::own_select()
        && sets::hands_over_select(nfds, true)
    {
        // SAFETY: the caller's promise.
        return unsafe { own(nfds, readfds, writefds, exceptfds, timeout) };
    }
    // SAFETY: the caller's promise.
    unsafe { select_many(nfds, readfds, writefds, exceptfds, timeout) }
}

/// # Safety
/// As for select(2).
#[inline(never)]
unsafe fn select_many(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: null, or the caller's; libc reads it in the same way.
    let begun = match unsafe { timeout.as_ref() }.map(|t| SelectTimeout::begin(*t)) {
        Some(Err(_)) => return fail(EINVAL),
        Some(Ok(begun)) => Some(begun),
        None => None,
    };
    // SAFETY: the caller's promise.
    let own = move || unsafe { system::select(nfds, [readfds, writefds, exceptfds], timeout) };
    let time = begun.map(|begun| begun.timeout());
    let wait = Wait { timeout: time, sigmask: null(), unproven: true, calls: &Libc(own) };
    let sets = [readfds, writefds, exceptfds].map(<*mut fd_set>::cast);
    // SAFETY: the caller's promise.
    let (result, by) = unsafe { sets::select_here(nfds, sets, &wait) };
    // Elsewhere select leaves the timeout as it is.
    if cfg!(target_os = "linux")
        && let (AnsweredBy::Engine, Some(begun)) = (by, begun)
    {
        // SAFETY: not null, and the caller's to be written.
        unsafe { timeout.write(begun.left()) };
    }
    to_c(result)
}

/// `__select(nfds, readfds, writefds, exceptfds, timeout)` - libc's other name of [`select`].
///
/// # Safety
/// As for select(2).
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __select(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { select(nfds, readfds, writefds, exceptfds, timeout) }
}

/// `pselect(nfds, readfds, writefds, exceptfds, timeout, sigmask)` - waits until a descriptor is
/// ready, with another signal mask meanwhile.
///
/// # Safety
/// As for pselect(2).
#[cfg_attr(target_os = "netbsd", unsafe(export_name = "__pselect50"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "pselect$DARWIN_EXTSN"))]
#[cfg_attr(not(any(target_os = "netbsd", target_os = "macos")), unsafe(no_mangle))]
pub unsafe extern "C-unwind" fn pselect(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    if let Some(own) = system::own_pselect()
        && sets::hands_over_select(nfds, true)
    {
        // SAFETY: the caller's promise.
        return unsafe { own(nfds, readfds, writefds, exceptfds, timeout, sigmask) };
    }
    // SAFETY: the caller's promise.
    unsafe { pselect_many(nfds, readfds, writefds, exceptfds, timeout, sigmask) }
}

/// # Safety
/// As for pselect(2).
#[inline(never)]
unsafe fn pselect_many(
    nfds: c_int,
    readfds: *mut fd_set,
    writefds: *mut fd_set,
    exceptfds: *mut fd_set,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    // SAFETY: null, or the caller's; libc reads it in the same way.
    let time = unsafe { timeout.as_ref() }.copied();
    if time.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
        return fail(EINVAL);
    }
    let sets = [readfds, writefds, exceptfds];
    // SAFETY: the caller's promise.
    let own = move || unsafe { system::pselect(nfds, sets, timeout, sigmask) };
    let wait = Wait { timeout: time, sigmask, unproven: true, calls: &Libc(own) };
    // SAFETY: the caller's promise.
    let (result, _) = unsafe { sets::select_here(nfds, sets.map(<*mut fd_set>::cast), &wait) };
    to_c(result)
}
