//! Descriptors in flight between sockets, and pending signals.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::ptr::null_mut;

use libc::{c_int, c_void, iovec, msghdr};
use nix::errno::Errno;

use super::sys::Result;

const ROOM: usize = 64;

/// Memory for one control message, aligned for its header.
#[repr(align(16))]
struct Control([u8; ROOM]);

/// Sends a descriptor with one byte (`SCM_RIGHTS`). False where it is a socket: one that is in flight
/// to itself is collected by the kernel some time later.
///
/// # Errors
/// What fstat and sendmsg say.
pub fn send(over: RawFd, fd: RawFd) -> Result<bool> {
    if crate::raw::fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFSOCK {
        return Ok(false);
    }
    let mut byte = *b"d";
    let mut part = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; ROOM]);
    // SAFETY: all-zero is a valid msghdr; the control memory is aligned and has room for a header
    // and one int; the kernel only reads.
    unsafe {
        let mut message = header(&mut part, &mut control);
        message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as _;
        let entry = libc::CMSG_FIRSTHDR(&message);
        (*entry).cmsg_level = libc::SOL_SOCKET;
        (*entry).cmsg_type = libc::SCM_RIGHTS;
        (*entry).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
        libc::CMSG_DATA(entry).cast::<c_int>().write_unaligned(fd);
        Errno::result(libc::sendmsg(over, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT))?;
    }
    Ok(true)
}

/// Receives one byte, and the descriptor that came with it, if one did.
///
/// # Errors
/// What recvmsg says.
pub fn receive(over: RawFd) -> Result<Vec<RawFd>> {
    let mut byte = [0_u8];
    let mut part = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; ROOM]);
    // SAFETY: as in `send`; the kernel writes at most the lengths given, and well-formed entries.
    unsafe {
        let mut message = header(&mut part, &mut control);
        message.msg_controllen = libc::CMSG_SPACE(size_of::<c_int>() as u32) as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        Errno::result(libc::recvmsg(over, &mut message, flags))?;
        let entry = libc::CMSG_FIRSTHDR(&message);
        if entry.is_null() || (*entry).cmsg_type != libc::SCM_RIGHTS {
            return Ok(Vec::new());
        }
        Ok(vec![libc::CMSG_DATA(entry).cast::<c_int>().read_unaligned()])
    }
}

fn header(part: &mut iovec, control: &mut Control) -> msghdr {
    // SAFETY: all-zero is a valid msghdr.
    let mut message: msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control.0).cast::<c_void>();
    message.msg_controllen = ROOM as _;
    message
}

/// Takes a pending, blocked signal away, if there is one.
pub fn take_signal(signal: c_int) {
    let set = super::signals::set_of(&[signal]);
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel reads the set and the time.
    while unsafe { libc::sigtimedwait(&set, null_mut(), &now) } == signal {}
}
