//! libkqcompat_kqueue: `kqueue`, `kqueue1`, `kqueuex`, `kevent`, `kevent_min` and `kevent_ring_open` and
//! its kin for C programs, declared in
//! `include/sys/event.h`.
//!
//! With `include/aio.h` there are aio_read and its kin ([`aio`]), whose completions are events.
//!
//! It also exports, with hooks around them, the functions of libc that set or take signals
//! ([`signal_hooks`]), and those that close descriptors (kq-hooks-c): a closed number's knotes go at
//! once, even while a duplicate lives on, and who sleeps in a closed queue wakes.
//!
//! A failed call returns -1 and sets errno; a successful one leaves errno alone. A panic in the
//! engine ends the process: it cannot cross into C.

pub mod aio;
pub mod entry;
mod next;
pub mod ring;
pub mod signal_hooks;

use std::os::fd::RawFd;

use kq_core::abi::{self, RawWait, Wait};
use kq_core::{Errno, KEvent, WaitFlags};
use libc::{c_int, c_uint, timespec};

use next::Next;

// The section keeps it in a static library too: whoever calls kqueue has it.
#[used]
#[unsafe(link_section = ".init_array")]
static INIT: extern "C" fn() = {
    extern "C" fn init() {
        EPOLL_WAIT.get();
        EPOLL_PWAIT2.get();
        PPOLL.get();
        signal_hooks::init();
        kq_hooks_c::init("libkqcompat_kqueue");
        abi::listen();
        abi::set_private(kq_hooks_c::private_from_environment());
    }
    init
};

/// `kqueue()` - a new queue's descriptor, or -1. It is close-on-exec.
///
/// errno: `EMFILE`, `ENFILE`, `ENOMEM` (kqueue(2)).
#[unsafe(no_mangle)]
pub extern "C" fn kqueue() -> c_int {
    answer(abi::kqueue(0))
}

/// `kqueue1(flags)` - as [`kqueue`], with `O_CLOEXEC` and `O_NONBLOCK` (NetBSD).
///
/// errno: that of [`kqueue`], and `EINVAL` for another flag.
#[unsafe(no_mangle)]
pub extern "C" fn kqueue1(flags: c_int) -> c_int {
    answer(abi::kqueue(flags))
}

/// `kqueuex(flags)` - as [`kqueue`], with `KQUEUE_CLOEXEC` (FreeBSD).
///
/// errno: that of [`kqueue`], and `EINVAL` for another flag.
#[unsafe(no_mangle)]
pub extern "C" fn kqueuex(flags: c_uint) -> c_int {
    const KQUEUE_CLOEXEC: c_uint = 1;
    answer(match flags {
        0 => abi::kqueue(0),
        KQUEUE_CLOEXEC => abi::kqueue(libc::O_CLOEXEC),
        _ => Err(Errno::EINVAL),
    })
}

/// `kevent(kq, changelist, nchanges, eventlist, nevents, timeout)` - applies the changes and waits;
/// returns the number of events written, or -1. A cancellation point.
///
/// errno: see [`kq_core::Kqueue::kevent`] and [`abi::kevent`].
///
/// # Safety
/// The arrays are as long as said. A pointer to nothing is EFAULT.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kevent(
    kq: c_int,
    changelist: *const KEvent,
    nchanges: c_int,
    eventlist: *mut KEvent,
    nevents: c_int,
    timeout: *const timespec,
) -> c_int {
    // SAFETY: the caller's promise.
    answer(
        unsafe { abi::kevent::<LibcWait>(kq, changelist, nchanges, eventlist, nevents, timeout) }
            .map(|n| n as c_int),
    )
}

/// `kevent_min(kq, changelist, nchanges, eventlist, nevents, min, timeout, flags)` - as [`kevent`], but
/// waits for at least `min` events. A cancellation point.
///
/// errno: see [`kq_core::Kqueue::wait_min`] and [`abi::kevent`].
///
/// # Safety
/// As for [`kevent`].
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn kevent_min(
    kq: c_int,
    changelist: *const KEvent,
    nchanges: c_int,
    eventlist: *mut KEvent,
    nevents: c_int,
    min: c_int,
    timeout: *const timespec,
    flags: c_uint,
) -> c_int {
    let flags = WaitFlags::from_bits_retain(flags);
    // SAFETY: the caller's promise.
    answer(
        unsafe {
            abi::kevent_min::<LibcWait>(
                kq, changelist, nchanges, eventlist, nevents, min, timeout, flags,
            )
        }
        .map(|n| n as c_int),
    )
}

fn answer(result: Result<c_int, Errno>) -> c_int {
    result.unwrap_or_else(|errno| {
        errno.set();
        -1
    })
}

type EpollWait = unsafe extern "C-unwind" fn(c_int, *mut libc::epoll_event, c_int, c_int) -> c_int;

/// libc's, and not ours of another library.
// SAFETY: epoll_wait(2).
static EPOLL_WAIT: Next<EpollWait> = unsafe { Next::new(c"epoll_wait") };

type EpollPwait2 = unsafe extern "C-unwind" fn(
    c_int,
    *mut libc::epoll_event,
    c_int,
    *const timespec,
    *const libc::sigset_t,
) -> c_int;

/// libc's, if it has it (glibc 2.35), and not ours of another library.
// SAFETY: epoll_wait(2).
static EPOLL_PWAIT2: Next<EpollPwait2> = unsafe { Next::new(c"epoll_pwait2") };

type Ppoll = unsafe extern "C-unwind" fn(
    *mut libc::pollfd,
    libc::nfds_t,
    *const timespec,
    *const libc::sigset_t,
) -> c_int;

/// libc's, or that of another preloaded library, which is the same for one descriptor.
// SAFETY: poll(2).
static PPOLL: Next<Ppoll> = unsafe { Next::new(c"ppoll") };

/// Sleeps until a queue has events, by libc's ppoll, a cancellation point too.
fn sleep(kq: RawFd, timeout: Option<&timespec>) -> Option<Result<usize, Errno>> {
    let ppoll = PPOLL.get()?;
    let saved = Errno::last_raw();
    let mut entry = libc::pollfd { fd: kq, events: libc::POLLIN, revents: 0 };
    let timeout = timeout.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: one entry; the symbol has this type.
    if unsafe { ppoll(&mut entry, 1, timeout, std::ptr::null()) } >= 0 {
        return Some(Ok(0));
    }
    Some(Err(take_errno(saved)))
}

/// Waits by libc's epoll_wait or epoll_pwait2, which are cancellation points as kevent is on the BSDs.
/// (Without a time epoll_wait: it is some 20 ns quicker.)
struct LibcWait;

impl Wait for LibcWait {
    #[inline(always)]
    unsafe fn wait(
        kq: RawFd,
        events: *mut libc::epoll_event,
        maxevents: c_int,
        timeout: Option<&timespec>,
    ) -> Result<usize, Errno> {
        if timeout.is_none()
            && maxevents > 0
            && let Some(epoll_wait) = EPOLL_WAIT.get()
        {
            let saved = Errno::last_raw();
            // SAFETY: the caller's promise; the symbol has this type (epoll_wait(2)).
            let n = unsafe { epoll_wait(kq, events, maxevents, -1) };
            return if n >= 0 { Ok(n as usize) } else { Err(take_errno(saved)) };
        }
        // SAFETY: the caller's promise.
        unsafe { wait_for(kq, events, maxevents, timeout) }
    }
}

/// # Safety
/// As for [`Wait::wait`].
#[inline(never)]
unsafe fn wait_for(
    kq: RawFd,
    events: *mut libc::epoll_event,
    maxevents: c_int,
    timeout: Option<&timespec>,
) -> Result<usize, Errno> {
    if maxevents == 0
        && let Some(slept) = sleep(kq, timeout)
    {
        return slept;
    }
    if let (Some(time), Some(epoll_pwait2)) = (timeout, EPOLL_PWAIT2.get()) {
        let saved = Errno::last_raw();
        // SAFETY: the caller's promise; the symbol has this type (epoll_wait(2)).
        let n = unsafe { epoll_pwait2(kq, events, maxevents, time, std::ptr::null()) };
        if n >= 0 {
            return Ok(n as usize);
        }
        match take_errno(saved) {
            Errno::ENOSYS => {} // before Linux 5.11
            errno => return Err(errno),
        }
    }
    // SAFETY: the caller's promise.
    unsafe { RawWait::wait(kq, events, maxevents, timeout) }
}

/// What a call of libc's has left in errno, which is what it was again.
#[cold]
fn take_errno(saved: c_int) -> Errno {
    let errno = Errno::last();
    Errno::set_raw(saved);
    errno
}
