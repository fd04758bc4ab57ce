//! Processes by descriptor, and the netlink socket that tells of them.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::gate::{syscall2, syscall3, syscall4, syscall5, syscall6};
use libc::{c_int, c_void, pid_t};
use syscalls::Sysno;

use super::{Result, check};

/// `pidfd_open(pid, 0)`, Linux 5.3. The descriptor is close-on-exec.
///
/// # Errors
/// Those of pidfd_open(2).
#[inline]
pub fn pidfd_open(pid: pid_t) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall2(Sysno::pidfd_open as usize, pid as usize, 0) }).map(|fd| fd as RawFd)
}

/// `pidfd_send_signal(pidfd, signal, NULL, 0)`, Linux 5.1; signal 0 only asks.
///
/// # Errors
/// Those of pidfd_send_signal(2).
#[inline]
pub fn pidfd_send_signal(pidfd: RawFd, signal: c_int) -> Result<()> {
    // SAFETY: the pointer is null: the kernel makes up the siginfo.
    check(unsafe {
        syscall4(Sysno::pidfd_send_signal as usize, pidfd as usize, signal as usize, 0, 0)
    })
    .map(drop)
}

/// `waitid(P_PIDFD, pidfd, info, options, NULL)`, Linux 5.4.
///
/// # Errors
/// Those of waitid(2).
#[inline]
pub fn waitid_pidfd(pidfd: RawFd, options: c_int) -> Result<libc::siginfo_t> {
    // SAFETY: all zeros are a siginfo.
    let mut info: libc::siginfo_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the kernel writes one siginfo, and does not ask for the resources used.
    check(unsafe {
        syscall5(
            Sysno::waitid as usize,
            libc::P_PIDFD as usize,
            pidfd as usize,
            &raw mut info as usize,
            options as usize,
            0,
        )
    })
    .map(|_| info)
}

/// `ioctl(fd, request, value)` for requests that read and write one `T`.
///
/// # Safety
/// The request takes a `T`, and no more than that.
///
/// # Errors
/// Those of ioctl(2).
#[inline]
pub unsafe fn ioctl_struct<T>(fd: RawFd, request: libc::c_ulong, value: &mut T) -> Result<()> {
    let at = std::ptr::from_mut(value) as usize;
    // SAFETY: the caller's promise.
    check(unsafe { syscall3(Sysno::ioctl as usize, fd as usize, request as usize, at) }).map(drop)
}

/// `bind(fd, address, sizeof address)` of a netlink socket.
///
/// # Errors
/// Those of bind(2).
#[inline]
pub fn bind_netlink(fd: RawFd, address: &libc::sockaddr_nl) -> Result<()> {
    let (at, len) = (std::ptr::from_ref(address) as usize, size_of_val(address));
    // SAFETY: the kernel reads one address.
    check(unsafe { syscall3(Sysno::bind as usize, fd as usize, at, len) }).map(drop)
}

/// `setsockopt(fd, level, name, &value, sizeof value)`.
///
/// # Safety
/// Pointers in `value`, if any, are good for what the option does with them.
///
/// # Errors
/// Those of setsockopt(2).
#[inline]
pub unsafe fn setsockopt<T>(fd: RawFd, level: c_int, name: c_int, value: &T) -> Result<()> {
    let (at, len) = (std::ptr::from_ref(value) as usize, size_of_val(value));
    // SAFETY: the kernel reads `value`; the caller's promise on what that points to.
    check(unsafe {
        let (level, name) = (level as usize, name as usize);
        syscall5(Sysno::setsockopt as usize, fd as usize, level, name, at, len)
    })
    .map(drop)
}

/// `recvfrom(fd, buf, MSG_DONTWAIT, from)` of a netlink socket: how many bytes, and whose (0: the
/// kernel's).
///
/// # Errors
/// Those of recvfrom(2).
#[inline]
pub fn recv_netlink(fd: RawFd, buf: &mut [u8]) -> Result<(usize, u32)> {
    // SAFETY: all zeros are an address.
    let mut from: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut len = size_of_val(&from) as libc::socklen_t;
    // SAFETY: the kernel writes at most `buf.len()` bytes to `buf` and one address to `from`.
    let n = check(unsafe {
        syscall6(
            Sysno::recvfrom as usize,
            fd as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
            libc::MSG_DONTWAIT as usize,
            (&raw mut from).cast::<c_void>() as usize,
            &raw mut len as usize,
        )
    })?;
    Ok((n, from.nl_pid))
}
