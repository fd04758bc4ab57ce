//! libkqcompat_poll: poll, ppoll, __poll, __poll_chk and __ppoll_chk for C programs, linked or
//! preloaded, and the functions that close descriptors, hooked (kq-hooks-c).
//!
//! The environment variable `KQCOMPAT_POLICY` is `default`, `register`, `strict` or `off`
//! (`kq_core::sets::Policy`); a set-user-id program ignores it.
//!
//! On a native kqueue poll and ppoll alone, and no hooks: closing a number drops its knotes there.

#[cfg(target_os = "linux")]
mod glibc;
#[cfg_attr(any(not(target_os = "linux"), kqcompat_native), path = "system_native.rs")]
mod system;

use std::ffi::c_int;

#[cfg(target_os = "linux")]
pub use glibc::{__poll, __poll_chk, __ppoll_chk};
use kq_core::sets::{self, Wait};
use kq_hooks_c::{fail, to_c};
use libc::{EINVAL, nfds_t, pollfd, sigset_t, timespec};

use system::Libc;

#[used]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
#[cfg_attr(not(target_os = "macos"), unsafe(link_section = ".init_array"))]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        kq_hooks_c::init("libkqcompat_poll");
        system::find();
        #[cfg(target_os = "linux")]
        glibc::find();
        sets::prepare();
        kq_hooks_c::policy_from_environment();
    }
    init
};

/// `poll(fds, nfds, timeout)` - waits until a descriptor is ready.
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn poll(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int {
    if let Some(own) = system::own_poll()
        && sets::hands_over_poll(nfds as usize)
    {
        // SAFETY: the caller's promise.
        return unsafe { own(fds, nfds, timeout) };
    }
    // SAFETY: the caller's promise.
    unsafe { poll_many(fds, nfds, timeout) }
}

/// # Safety
/// As for poll(2).
#[inline(never)]
unsafe fn poll_many(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let own = move || unsafe { system::poll(fds, nfds as usize, timeout) };
    let time = (timeout >= 0).then(|| timespec {
        tv_sec: (timeout / 1000).into(),
        tv_nsec: (timeout % 1000 * 1_000_000).into(),
    });
    let calls = &Libc(own);
    let wait = Wait { timeout: time, sigmask: std::ptr::null(), unproven: true, calls };
    // SAFETY: the caller's promise.
    to_c(unsafe { sets::poll_here(fds, nfds as usize, &wait) })
}

/// `ppoll(fds, nfds, timeout, sigmask)` - waits until a descriptor is ready, with another signal
/// mask meanwhile.
///
/// # Safety
/// As for ppoll(2).
#[cfg_attr(not(target_os = "macos"), unsafe(no_mangle))]
#[cfg_attr(target_os = "macos", allow(dead_code, reason = "macOS has none"))]
pub unsafe extern "C-unwind" fn ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    if let Some(own) = system::own_ppoll()
        && sets::hands_over_poll(nfds as usize)
    {
        // SAFETY: the caller's promise.
        return unsafe { own(fds, nfds, timeout, sigmask) };
    }
    // SAFETY: the caller's promise.
    unsafe { ppoll_many(fds, nfds, timeout, sigmask) }
}

/// # Safety
/// As for ppoll(2).
#[inline(never)]
unsafe fn ppoll_many(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    // SAFETY: null, or the caller's; libc reads it in the same way.
    let time = unsafe { timeout.as_ref() }.copied();
    if time.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
        return fail(EINVAL);
    }
    // SAFETY: the caller's promise.
    let own = move || unsafe { system::ppoll(fds, nfds, timeout.cast_mut(), sigmask) };
    let wait = Wait { timeout: time, sigmask, unproven: true, calls: &Libc(own) };
    // SAFETY: the caller's promise.
    to_c(unsafe { sets::poll_here(fds, nfds as usize, &wait) })
}
