//! compat crates as Rust programs have them, behind the same table of functions as the C libraries:
//! the difference between the two is then the C library's border alone.

use compat_poll::{PollFd, PollTimeout};
use kq_core::epoll_abi::epoll_event;
use libc::{c_int, nfds_t, pollfd};
use nix::errno::Errno;

use super::capi::{EpollApi, PollApi};

/// A result as C has it: a count, or -1 and errno.
#[inline]
fn as_c(result: nix::Result<usize>) -> c_int {
    match result {
        Ok(value) => value as c_int,
        Err(e) => {
            Errno::set_raw(e as c_int);
            -1
        }
    }
}

extern "C" fn epoll_create1(flags: c_int) -> c_int {
    as_c(compat_epoll::c::epoll_create1(flags).map(|fd| fd as usize))
}

unsafe extern "C" fn epoll_ctl(ep: c_int, op: c_int, fd: c_int, event: *mut epoll_event) -> c_int {
    // SAFETY: the caller's event is readable, as epoll_ctl asks for.
    as_c(unsafe { compat_epoll::c::epoll_ctl(ep, op, fd, event) }.map(|()| 0))
}

unsafe extern "C" fn epoll_wait(
    ep: c_int,
    events: *mut epoll_event,
    max: c_int,
    timeout: c_int,
) -> c_int {
    // SAFETY: the caller's `max` events may be overwritten, as epoll_wait asks for.
    as_c(unsafe { compat_epoll::c::epoll_wait(ep, events, max, timeout) })
}

unsafe extern "C" fn c_poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int {
    // SAFETY: the caller's `n` entries are borrowed for the call; PollFd is a transparent pollfd,
    // and its descriptors stay open, since the benchmarks close none during a call.
    let fds = unsafe { std::slice::from_raw_parts_mut(fds.cast::<PollFd<'_>>(), n as usize) };
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::NONE);
    as_c(compat_poll::poll(fds, timeout).map(|ready| ready as usize))
}

/// compat-poll, linked into this program: without hooks, since Rust's close calls libc's.
pub(crate) fn poll() -> PollApi {
    PollApi { poll: c_poll }
}

/// compat-epoll, linked into this program.
pub(crate) fn epoll() -> EpollApi {
    EpollApi { create1: epoll_create1, ctl: epoll_ctl, wait: epoll_wait }
}
