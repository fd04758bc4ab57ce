//! The symbols of the same names that come after ours: the C library's, or those of another library
//! that was preloaded too.
//!
//! Where there is none (a statically linked program, a C library older than the call) a system call
//! stands in, which is no cancellation point.

use std::ffi::CStr;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use kq_core::raw;
use libc::{c_int, c_void, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

type Wait = unsafe extern "C-unwind" fn(c_int, *mut epoll_event, c_int, c_int) -> c_int;
type Pwait =
    unsafe extern "C-unwind" fn(c_int, *mut epoll_event, c_int, c_int, *const sigset_t) -> c_int;
type Pwait2 = unsafe extern "C-unwind" fn(
    c_int,
    *mut epoll_event,
    c_int,
    *const timespec,
    *const sigset_t,
) -> c_int;

/// One symbol, looked up when first used.
struct Symbol {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Symbol {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(null_mut()) }
    }

    /// Its address, or that of what stands in for it. errno stays as it is.
    #[inline]
    fn address(&self, stand_in: *mut c_void) -> *mut c_void {
        let address = self.address.load(Ordering::Relaxed);
        if address.is_null() { self.look_up(stand_in) } else { address }
    }

    #[cold]
    fn look_up(&self, stand_in: *mut c_void) -> *mut c_void {
        let errno = Errno::last_raw();
        // SAFETY: the name ends with a zero byte.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        Errno::set_raw(errno);
        let address = if found.is_null() { stand_in } else { found };
        self.address.store(address, Ordering::Relaxed);
        address
    }
}

/// The next epoll_wait.
#[inline]
pub(crate) fn epoll_wait() -> Wait {
    static SYMBOL: Symbol = Symbol::new(c"epoll_wait");
    let address = SYMBOL.address(raw_wait as *const () as *mut c_void);
    // SAFETY: whatever bears this name has this signature; not null.
    unsafe { transmute::<*mut c_void, Wait>(address) }
}

/// The next epoll_pwait.
#[inline]
pub(crate) fn epoll_pwait() -> Pwait {
    static SYMBOL: Symbol = Symbol::new(c"epoll_pwait");
    let address = SYMBOL.address(raw_pwait as *const () as *mut c_void);
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Pwait>(address) }
}

/// The next epoll_pwait2.
#[inline]
pub(crate) fn epoll_pwait2() -> Pwait2 {
    static SYMBOL: Symbol = Symbol::new(c"epoll_pwait2");
    let address = SYMBOL.address(raw_pwait2 as *const () as *mut c_void);
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Pwait2>(address) }
}

fn returned(result: raw::Result<usize>) -> c_int {
    result.map_or_else(
        |errno| {
            errno.set();
            -1
        },
        |n| n as c_int,
    )
}

unsafe extern "C-unwind" fn raw_wait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: our caller has the C caller's promise.
    returned(unsafe { raw::epoll_pwait(epfd, events, maxevents, timeout, std::ptr::null()) })
}

unsafe extern "C-unwind" fn raw_pwait(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> c_int {
    // SAFETY: our caller has the C caller's promise.
    returned(unsafe { raw::epoll_pwait(epfd, events, maxevents, timeout, sigmask) })
}

unsafe extern "C-unwind" fn raw_pwait2(
    epfd: c_int,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> c_int {
    // SAFETY: our caller has the C caller's promise.
    returned(unsafe { raw::epoll_pwait2(epfd, events, maxevents, timeout, sigmask) })
}
