//! Files: what they are, where, and what happens to them.

use std::ffi::CStr;
use std::os::fd::RawFd;

use super::gate::{syscall1, syscall2, syscall3, syscall4, syscall5};
use libc::{c_int, c_uint};
use syscalls::Sysno;

use super::{Result, check};

/// `fstat(fd)`.
///
/// # Errors
/// Those of fstat(2).
#[inline]
pub fn fstat(fd: RawFd) -> Result<libc::stat> {
    let mut st = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills one struct stat, whose layout libc's type has.
    check(unsafe { syscall2(Sysno::fstat as usize, fd as usize, st.as_mut_ptr() as usize) })?;
    // SAFETY: the call succeeded, so the struct is filled.
    Ok(unsafe { st.assume_init() })
}

/// `statx(fd, "", AT_EMPTY_PATH, mask)`: fstat, of what is asked for only.
///
/// # Errors
/// Those of statx(2).
#[inline]
pub fn fstatx(fd: RawFd, mask: c_uint) -> Result<libc::statx> {
    let mut st = std::mem::MaybeUninit::<libc::statx>::uninit();
    // SAFETY: the kernel reads an empty string and fills one struct statx, whose layout libc's type
    // has.
    check(unsafe {
        syscall5(
            Sysno::statx as usize,
            fd as usize,
            c"".as_ptr() as usize,
            libc::AT_EMPTY_PATH as usize,
            mask as usize,
            st.as_mut_ptr() as usize,
        )
    })?;
    // SAFETY: the call succeeded, so the struct is filled.
    Ok(unsafe { st.assume_init() })
}

/// `fstatfs(fd)`.
///
/// # Errors
/// Those of fstatfs(2).
#[inline]
pub fn fstatfs(fd: RawFd) -> Result<libc::statfs> {
    let mut fs = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the kernel fills one struct statfs, whose layout libc's type has.
    check(unsafe { syscall2(Sysno::fstatfs as usize, fd as usize, fs.as_mut_ptr() as usize) })?;
    // SAFETY: the call succeeded, so the struct is filled.
    Ok(unsafe { fs.assume_init() })
}

/// `lseek(fd, 0, SEEK_CUR)`: the file offset, unmoved.
///
/// # Errors
/// Those of lseek(2).
#[inline]
pub fn file_offset(fd: RawFd) -> Result<i64> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall3(Sysno::lseek as usize, fd as usize, 0, libc::SEEK_CUR as usize) })
        .map(|v| v as i64)
}

/// `lseek(fd, 0, SEEK_SET)`: to the beginning.
///
/// # Errors
/// Those of lseek(2).
#[inline]
pub fn rewind(fd: RawFd) -> Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall3(Sysno::lseek as usize, fd as usize, 0, libc::SEEK_SET as usize) })
        .map(drop)
}

/// `inotify_init1(flags)`.
///
/// # Errors
/// Those of inotify_init1(2).
#[inline]
pub fn inotify_init1(flags: c_int) -> Result<RawFd> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall1(Sysno::inotify_init1 as usize, flags as usize) }).map(|fd| fd as RawFd)
}

/// `inotify_add_watch(fd, path, mask)`: the watch descriptor.
///
/// # Errors
/// Those of inotify_add_watch(2).
#[inline]
pub fn inotify_add_watch(fd: RawFd, path: &CStr, mask: u32) -> Result<c_int> {
    // SAFETY: the kernel reads `path`, which ends in a NUL.
    check(unsafe {
        syscall3(
            Sysno::inotify_add_watch as usize,
            fd as usize,
            path.as_ptr() as usize,
            mask as usize,
        )
    })
    .map(|wd| wd as c_int)
}

/// `inotify_rm_watch(fd, wd)`.
///
/// # Errors
/// Those of inotify_rm_watch(2).
#[inline]
pub fn inotify_rm_watch(fd: RawFd, wd: c_int) -> Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { syscall2(Sysno::inotify_rm_watch as usize, fd as usize, wd as usize) }).map(drop)
}

/// `readlink("/proc/self/fd/N")`: what the kernel calls an open file; cut off where `buf` ends.
///
/// # Errors
/// Those of readlink(2).
#[inline]
pub fn readlink_fd(fd: RawFd, buf: &mut [u8]) -> Result<&[u8]> {
    let path = format!("/proc/self/fd/{fd}\0");
    // SAFETY: `path` ends in a NUL; the kernel writes at most `buf.len()` bytes to `buf`.
    let len = check(unsafe {
        syscall4(
            Sysno::readlinkat as usize,
            libc::AT_FDCWD as usize,
            path.as_ptr() as usize,
            buf.as_mut_ptr() as usize,
            buf.len(),
        )
    })?;
    Ok(&buf[..len])
}

/// `open(path, O_RDONLY | O_CLOEXEC)`.
///
/// # Errors
/// Those of open(2).
#[inline]
pub fn open_read(path: &CStr) -> Result<RawFd> {
    open(path, libc::O_RDONLY | libc::O_CLOEXEC)
}

/// `open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)`.
///
/// # Errors
/// Those of open(2).
pub fn open_append(path: &CStr) -> Result<RawFd> {
    open(path, libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC)
}

/// Reads the beginning of a file, as much as `buf` has room for.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_file<'a>(path: &CStr, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    let fd = open_read(path)?;
    let len = super::read(fd, buf);
    super::close(fd)?;
    Ok(&buf[..len?])
}

fn open(path: &CStr, flags: c_int) -> Result<RawFd> {
    // SAFETY: the kernel reads `path`, which ends in a NUL.
    check(unsafe {
        syscall4(
            Sysno::openat as usize,
            libc::AT_FDCWD as usize,
            path.as_ptr() as usize,
            flags as usize,
            0o666,
        )
    })
    .map(|fd| fd as RawFd)
}
