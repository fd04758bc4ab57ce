//! Signals, as the kernel has them: sets are 64 bits, signal 1 the lowest.

use std::os::fd::RawFd;

use super::gate::{syscall0, syscall2, syscall3, syscall4};
use libc::{c_int, c_ulong};
use syscalls::Sysno;

use super::{Result, SIGSET_BYTES, check, rt_sigprocmask};

/// The kernel's `struct sigaction`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(C)]
pub struct KernelAction {
    /// SIG_DFL, SIG_IGN, or a function.
    pub handler: usize,
    /// SA_...
    pub flags: c_ulong,
    /// Where a handler returns to: a call of rt_sigreturn.
    #[cfg(not(any(target_arch = "riscv64", target_arch = "loongarch64")))]
    pub restorer: usize,
    /// What is blocked while the handler runs.
    pub mask: u64,
}

/// `rt_sigaction(signal, new, old)`; returns the old action.
///
/// # Safety
/// The new handler, if it is a function, is one that the kernel may call with these flags.
///
/// # Errors
/// Those of sigaction(2).
#[inline]
pub unsafe fn rt_sigaction(signal: c_int, new: Option<&KernelAction>) -> Result<KernelAction> {
    let mut old = KernelAction::default();
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads one action and writes one; the caller's promise on the handler.
    check(unsafe {
        let (new, old) = (new as usize, &raw mut old as usize);
        syscall4(Sysno::rt_sigaction as usize, signal as usize, new, old, SIGSET_BYTES)
    })
    .map(|_| old)
}

/// `rt_sigpending()`: what waits to be delivered to this thread, to it alone or to the process.
#[inline]
pub fn rt_sigpending() -> u64 {
    let mut set = 0_u64;
    // SAFETY: eight bytes of ours. That cannot fail.
    let _ = unsafe { rt_sigpending_to(&mut set) };
    set
}

/// `rt_sigpending(set)`.
///
/// # Safety
/// The kernel writes eight bytes to `set`: they must belong to whoever asked.
///
/// # Errors
/// - `EFAULT`: there is nothing to be written to.
#[inline]
pub unsafe fn rt_sigpending_to(set: *mut u64) -> Result<()> {
    // SAFETY: the caller's promise; the kernel writes with copy_to_user.
    check(unsafe { syscall2(Sysno::rt_sigpending as usize, set as usize, SIGSET_BYTES) }).map(drop)
}

/// `rt_sigprocmask(how, set)`; returns the old mask of this thread.
#[inline]
pub fn change_mask(how: c_int, set: u64) -> u64 {
    let mut old = 0_u64;
    // SAFETY: both are eight bytes of ours. With a known `how` it cannot fail.
    let _ = unsafe { rt_sigprocmask(how, (&raw const set).cast(), (&raw mut old).cast()) };
    old
}

/// `rt_sigtimedwait(set, info, timeout)`: takes a pending signal of the set, and waits for one.
///
/// # Safety
/// The kernel reads eight bytes of `set`, and the timeout, and writes a siginfo: each is null or the
/// caller's. Pointers to nothing are EFAULT.
///
/// # Errors
/// Those of sigtimedwait(2).
#[inline]
pub unsafe fn rt_sigtimedwait(
    set: *const libc::sigset_t,
    info: *mut libc::siginfo_t,
    timeout: *const libc::timespec,
) -> Result<c_int> {
    // SAFETY: the caller's promise.
    check(unsafe {
        let (set, info, timeout) = (set as usize, info as usize, timeout as usize);
        syscall4(Sysno::rt_sigtimedwait as usize, set, info, timeout, SIGSET_BYTES)
    })
    .map(|signal| signal as c_int)
}

/// `signalfd4(fd, set, SFD_CLOEXEC | SFD_NONBLOCK)`: a new descriptor (-1), or another set for one.
///
/// # Errors
/// Those of signalfd(2).
#[inline]
pub fn signalfd(fd: RawFd, set: u64) -> Result<RawFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads eight bytes of `set`.
    check(unsafe {
        let set = &raw const set as usize;
        syscall4(Sysno::signalfd4 as usize, fd as usize, set, SIGSET_BYTES, flags as usize)
    })
    .map(|fd| fd as RawFd)
}

/// `tgkill(getpid(), gettid(), signal)`: to this thread.
///
/// # Errors
/// Those of tgkill(2).
#[inline]
pub fn raise(signal: c_int) -> Result<()> {
    // SAFETY: take no pointer.
    check(unsafe {
        let tid = syscall0(Sysno::gettid as usize);
        syscall3(Sysno::tgkill as usize, super::getpid() as usize, tid, signal as usize)
    })
    .map(drop)
}

/// `sched_yield()`.
#[inline]
pub fn sched_yield() {
    // SAFETY: takes no pointer and cannot fail.
    unsafe { syscall0(Sysno::sched_yield as usize) };
}

/// `getdents64(fd, buf)`: directory entries, as many as fit; 0 at the end.
///
/// # Errors
/// Those of getdents64(2).
#[inline]
pub fn getdents(fd: RawFd, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf`.
    check(unsafe {
        let at = buf.as_mut_ptr() as usize;
        syscall3(Sysno::getdents64 as usize, fd as usize, at, buf.len())
    })
}
