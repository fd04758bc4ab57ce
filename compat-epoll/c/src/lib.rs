//! **libkqcompat_epoll**: epoll_create, epoll_create1, epoll_ctl, epoll_wait, epoll_pwait and
//! epoll_pwait2 over the kqcompat engine, to be preloaded or linked.
//!
//! These are thin: the work is done by [`compat_epoll::c`], and what is here turns a result into -1
//! and errno. errno is left alone on success. The calls that block are the C library's own (the next
//! symbol of that name), since only those are cancellation points; see [`wait`].
//!
//! On a native kqueue the C library has no epoll, and kevent(2) blocks. eventfd, timerfd and signalfd
//! are there besides, under names of their own: sys/eventfd.h and its kin say.

mod border;
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
mod next;
#[cfg(any(not(target_os = "linux"), kqcompat_native))]
mod objects;
#[cfg_attr(any(not(target_os = "linux"), kqcompat_native), path = "wait_native.rs")]
mod wait;

use compat_epoll::c;
use kq_core::epoll_abi::epoll_event;
use libc::c_int;

use border::told;
#[cfg(any(not(target_os = "linux"), kqcompat_native))]
pub use objects::*;
pub use wait::{epoll_pwait, epoll_pwait2, epoll_wait};

#[cfg(all(target_os = "linux", not(kqcompat_native)))]
// The section keeps it in a static library too: whoever calls epoll_create has it.
#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        kq_stats_c::init("libkqcompat_epoll");
    }
    init
};

/// `epoll_create(size)` - makes an instance (epoll_create(2)).
#[unsafe(no_mangle)]
pub extern "C" fn epoll_create(size: c_int) -> c_int {
    told(c::epoll_create(size))
}

/// `epoll_create1(flags)` - makes an instance (epoll_create1(2)).
#[unsafe(no_mangle)]
pub extern "C" fn epoll_create1(flags: c_int) -> c_int {
    told(c::epoll_create1(flags))
}

/// `epoll_ctl(epfd, op, fd, event)` - changes what is registered (epoll_ctl(2)).
///
/// # Safety
/// As for [`c::epoll_ctl`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn epoll_ctl(
    epfd: c_int,
    op: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    // SAFETY: the caller's promise.
    told(unsafe { c::epoll_ctl(epfd, op, fd, event) }.map(|()| 0))
}
