//! libkqcompat_select: select, __select and pselect for C programs, linked or preloaded, for any
//! nfds, and the functions that close descriptors, hooked (kq-hooks-c).
//!
//! The environment variable `KQCOMPAT_POLICY` is `default`, `register`, `strict` or `off`
//! (`kq_core::sets::Policy`); a set-user-id program ignores it.

use std::ffi::{c_int, c_void};
use std::ptr::{from_ref, null};

use kq_core::Errno;
use kq_core::raw::Result;
use kq_core::sets::{self, AnsweredBy, Calls, SelectTimeout, Wait};
use kq_hooks_c::{Next, fail, returned, test_cancel};
use libc::{EINVAL, fd_set, nfds_t, pollfd, sigset_t, timespec, timeval};

type Select = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *mut timeval,
) -> c_int;
type Pselect = unsafe extern "C-unwind" fn(
    c_int,
    *mut fd_set,
    *mut fd_set,
    *mut fd_set,
    *const timespec,
    *const sigset_t,
) -> c_int;
type Ppoll =
    unsafe extern "C-unwind" fn(*mut pollfd, nfds_t, *const timespec, *const sigset_t) -> c_int;

// SAFETY: select(2).
static SELECT: Next<Select> = unsafe { Next::new(c"select") };
// SAFETY: pselect(2).
static PSELECT: Next<Pselect> = unsafe { Next::new(c"pselect") };
// SAFETY: ppoll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };

#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        kq_hooks_c::init("libkqcompat_select");
        SELECT.find();
        PSELECT.find();
        PPOLL.find();
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
        let timeout = timeout.as_ref().map_or(null(), from_ref);
        let Some(next) = PPOLL.get() else { return Err(Errno::ENOSYS) };
        // SAFETY: the caller's promise; libc copies the timeout.
        returned(unsafe { next(fds, nfds as nfds_t, timeout, sigmask) }.into())
    }

    unsafe fn pselect(
        &self,
        nfds: c_int,
        sets: [*mut c_void; 3],
        timeout: Option<timespec>,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        let timeout = timeout.as_ref().map_or(null(), from_ref);
        // SAFETY: the caller's promise.
        unsafe { next_pselect(nfds, sets.map(<*mut c_void>::cast), timeout, sigmask) }
    }
}

unsafe fn next_pselect(
    nfds: c_int,
    [r, w, e]: [*mut fd_set; 3],
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    let Some(next) = PSELECT.get() else { return Err(Errno::ENOSYS) };
    // SAFETY: the caller's promise.
    returned(unsafe { next(nfds, r, w, e, timeout, sigmask) }.into())
}

fn to_c(result: Result<usize>) -> c_int {
    match result {
        Ok(ready) => ready as c_int,
        Err(errno) => fail(errno as c_int),
    }
}

/// `select(nfds, readfds, writefds, exceptfds, timeout)` - waits until a descriptor is ready. The
/// timeout is updated to the time left, as Linux does.
///
/// # Safety
/// As for select(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn select(
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
    let own = move || match SELECT.get() {
        // SAFETY: the caller's promise.
        Some(next) => returned(unsafe { next(nfds, readfds, writefds, exceptfds, timeout) }.into()),
        None => Err(Errno::ENOSYS),
    };
    let time = begun.map(|begun| begun.timeout());
    let wait = Wait { timeout: time, sigmask: null(), unproven: true, calls: &Libc(own) };
    let sets = [readfds, writefds, exceptfds].map(<*mut fd_set>::cast);
    // SAFETY: the caller's promise.
    let (result, by) = unsafe { sets::select(nfds, sets, &wait) };
    if let (AnsweredBy::Engine, Some(begun)) = (by, begun) {
        // SAFETY: not null, and the caller's to be written.
        unsafe { timeout.write(begun.left()) };
    }
    to_c(result)
}

/// `__select(nfds, readfds, writefds, exceptfds, timeout)` - libc's other name of [`select`].
///
/// # Safety
/// As for select(2).
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
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pselect(
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
    let own = move || unsafe { next_pselect(nfds, sets, timeout, sigmask) };
    let wait = Wait { timeout: time, sigmask, unproven: true, calls: &Libc(own) };
    // SAFETY: the caller's promise.
    let (result, _) = unsafe { sets::select(nfds, sets.map(<*mut fd_set>::cast), &wait) };
    to_c(result)
}
