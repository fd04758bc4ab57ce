//! What both sides of the seam offer, by signature: a side that drifts does not compile.

use std::os::fd::RawFd;

use libc::{c_int, c_void, pollfd, sigset_t, timespec};

use super::poll_queue::{self, Event, Wanted};
use super::{fork, raw};
use crate::epoll_abi::epoll_event;
use crate::{Counters, Errno, KEvent, Kqueue, readiness};

type Result<T> = std::result::Result<T, Errno>;

/// The queue.
const _: () = {
    let _: fn() -> Result<Kqueue> = Kqueue::new;
    let _: fn() -> Result<Kqueue> = Kqueue::private;
    type Call = fn(&Kqueue, &[KEvent], &mut [KEvent], Option<timespec>) -> Result<usize>;
    let _: Call = Kqueue::kevent;
    let _: fn(&Kqueue) -> Counters = Kqueue::counters;
};

/// The readiness view.
const _: () = {
    type Wait<T> = unsafe fn(RawFd, *mut epoll_event, c_int, T, *const sigset_t) -> Result<usize>;
    let _: fn(c_int) -> Result<RawFd> = readiness::epoll_create1;
    let _: unsafe fn(RawFd, c_int, RawFd, *const epoll_event) -> Result<()> = readiness::epoll_ctl;
    let _: Wait<c_int> = readiness::epoll_pwait;
    let _: Wait<*const timespec> = readiness::epoll_pwait2;
    let _: fn(RawFd) = readiness::closed;
    let _: fn() -> Counters = readiness::counters;
    let _: fn(RawFd) -> Option<Counters> = readiness::counters_of;
};

/// What poll and select stand on.
const _: () = {
    let _: u32 = poll_queue::POLL_BITS as u32;
    let _: bool = poll_queue::ALWAYS_ONCE;
    let _: Event = poll_queue::NO_EVENT;
    let _: fn() -> Result<(RawFd, u32)> = poll_queue::open;
    let _: fn(RawFd, u32) -> bool = poll_queue::is_ours;
    let _: fn(RawFd, u16) -> bool = poll_queue::is_fit;
    let _: fn(RawFd, &Wanted) -> Result<()> = poll_queue::add;
    let _: fn(RawFd, &Wanted) -> Result<()> = poll_queue::arm;
    let _: fn(RawFd, &Wanted, u16) -> Result<()> = poll_queue::modify;
    let _: fn(RawFd, RawFd) = poll_queue::delete;
    let _: fn(RawFd, &mut [Event]) -> Result<&[Event]> = poll_queue::ready;
    let _: fn(&Event) -> u64 = poll_queue::token;
    let _: fn(&Event) -> u16 = poll_queue::bits;
    let _: fn() -> u32 = fork::generation;
};

/// The system's calls.
const _: () = {
    let _: usize = raw::SIGSET_BYTES + raw::FD_MASK_BITS;
    let _: libc::clockid_t = raw::COARSE_CLOCK;
    let _: fn() = raw::prepare;
    let _: fn(RawFd) -> Result<()> = raw::close;
    let _: fn(RawFd, c_int, c_int) -> Result<c_int> = raw::fcntl;
    let _: fn() -> libc::pid_t = raw::getpid;
    let _: fn() -> libc::pid_t = raw::gettid;
    let _: fn() -> Result<u64> = raw::descriptor_limit;
    let _: fn(usize) -> Result<*mut c_void> = raw::mmap_anonymous;
    let _: unsafe fn(*mut c_void, usize) -> Result<()> = raw::munmap;
    let _: unsafe fn(*mut c_void, usize) -> Result<()> = raw::populate;
    let _: unsafe fn(*mut pollfd, usize, c_int) -> Result<usize> = raw::poll;
    type Timed<A, B> = unsafe fn(A, B, *mut timespec, *const sigset_t) -> Result<usize>;
    let _: Timed<*mut pollfd, libc::nfds_t> = raw::ppoll;
    let _: Timed<c_int, [*mut c_void; 3]> = raw::pselect;
};
