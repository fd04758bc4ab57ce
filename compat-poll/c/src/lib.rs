//! libkqcompat_poll: poll, ppoll, __poll, __poll_chk and __ppoll_chk for C programs, linked or
//! preloaded, and the functions that close descriptors, hooked (kq-hooks-c).
//!
//! The environment variable `KQCOMPAT_POLICY` is `default`, `register`, `strict` or `off`
//! (`kq_core::sets::Policy`); a set-user-id program ignores it.

use std::ffi::c_int;

use kq_core::raw::Result;
use kq_core::sets::{self, Calls, Wait};
use kq_hooks_c::{Next, fail, returned, test_cancel};
use libc::{EINVAL, c_void, nfds_t, pollfd, sigset_t, timespec};

type Poll = unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, c_int) -> c_int;
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;

// SAFETY: poll(2).
static POLL: Next<Poll> = unsafe { Next::new(c"poll") };
// SAFETY: ppoll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };
// SAFETY: libc's end of a program whose buffer was too small.
static CHK_FAIL: Next<unsafe extern "C" fn() -> !> = unsafe { Next::new(c"__chk_fail") };

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        kq_hooks_c::init("libkqcompat_poll");
        POLL.find();
        PPOLL.find();
        CHK_FAIL.find();
        sets::prepare();
        kq_hooks_c::policy_from_environment();
    }
    init
};

/// Blocks through libc, whose functions are cancellation points.
struct Libc<F>(F);

// SAFETY: each method is libc's function of its name.
unsafe impl<F: Fn() -> Result<usize>> Calls for Libc<F> {
    fn own(&self) -> Result<usize> {
        (self.0)()
    }

    #[inline]
    fn test_cancel(&self) {
        test_cancel();
    }

    unsafe fn ppoll(
        &self,
        fds: *mut pollfd,
        nfds: usize,
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the caller's promise; libc copies the timeout.
        unsafe { next_ppoll(fds, nfds as nfds_t, timeout, sigmask) }
    }

    unsafe fn pselect(
        &self,
        _: c_int,
        _: [*mut c_void; 3],
        _: Option<timespec>,
        _: *const sigset_t,
    ) -> Result<usize> {
        unreachable!("poll asks with ppoll")
    }
}

unsafe fn next_ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    match PPOLL.get() {
        // SAFETY: the caller's promise.
        Some(next) => returned(unsafe { next(fds, nfds, timeout, sigmask) }.into()),
        None => Err(kq_core::Errno::ENOSYS),
    }
}

fn to_c(result: Result<usize>) -> c_int {
    match result {
        Ok(ready) => ready as c_int,
        Err(errno) => fail(errno as c_int),
    }
}

/// `poll(fds, nfds, timeout)` - waits until a descriptor is ready.
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn poll(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int {
    let own = move || match POLL.get() {
        // SAFETY: the caller's promise.
        Some(next) => returned(unsafe { next(fds, nfds, timeout) }.into()),
        None => Err(kq_core::Errno::ENOSYS),
    };
    let time = (timeout >= 0).then(|| timespec {
        tv_sec: (timeout / 1000).into(),
        tv_nsec: (timeout % 1000 * 1_000_000).into(),
    });
    let calls = &Libc(own);
    let wait = Wait { timeout: time, sigmask: std::ptr::null(), unproven: true, calls };
    // SAFETY: the caller's promise.
    to_c(unsafe { sets::poll(fds, nfds as usize, &wait) })
}

/// `ppoll(fds, nfds, timeout, sigmask)` - waits until a descriptor is ready, with another signal
/// mask meanwhile.
///
/// # Safety
/// As for ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ppoll(
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
    let own = move || unsafe { next_ppoll(fds, nfds, timeout, sigmask) };
    let wait = Wait { timeout: time, sigmask, unproven: true, calls: &Libc(own) };
    // SAFETY: the caller's promise.
    to_c(unsafe { sets::poll(fds, nfds as usize, &wait) })
}

/// `__poll(fds, nfds, timeout)` - libc's other name of [`poll`].
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __poll(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { poll(fds, nfds, timeout) }
}

/// `__poll_chk(fds, nfds, timeout, size)` - [`poll`] as called with _FORTIFY_SOURCE, which knows the
/// size of the array in bytes.
///
/// # Safety
/// As for poll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __poll_chk(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: c_int,
    size: usize,
) -> c_int {
    check_size(nfds, size);
    // SAFETY: the caller's promise.
    unsafe { poll(fds, nfds, timeout) }
}

/// `__ppoll_chk(fds, nfds, timeout, sigmask, size)` - [`ppoll`] as called with _FORTIFY_SOURCE.
///
/// # Safety
/// As for ppoll(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn __ppoll_chk(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *const timespec,
    sigmask: *const sigset_t,
    size: usize,
) -> c_int {
    check_size(nfds, size);
    // SAFETY: the caller's promise.
    unsafe { ppoll(fds, nfds, timeout, sigmask) }
}

fn check_size(nfds: nfds_t, size: usize) {
    if size / size_of::<pollfd>() < nfds as usize {
        match CHK_FAIL.get() {
            // SAFETY: takes nothing and does not return.
            Some(fail) => unsafe { fail() },
            None => std::process::abort(),
        }
    }
}
