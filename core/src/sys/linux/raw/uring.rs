//! io_uring(7).

use std::os::fd::RawFd;

use super::gate::{syscall2, syscall4, syscall6};
use libc::{c_uint, c_void};
use linux_raw_sys::io_uring::io_uring_register_op::{
    IORING_REGISTER_FILES, IORING_REGISTER_FILES_UPDATE,
};
use linux_raw_sys::io_uring::{io_uring_files_update, io_uring_params};
use syscalls::Sysno;

use super::{Result, check};

/// `io_uring_setup(entries, params)`.
///
/// # Errors
/// Those of io_uring_setup(2).
#[inline]
pub fn io_uring_setup(entries: c_uint, params: &mut io_uring_params) -> Result<RawFd> {
    // SAFETY: the kernel reads and writes one struct, which is borrowed mutably.
    check(unsafe {
        let params = std::ptr::from_mut(params) as usize;
        syscall2(Sysno::io_uring_setup as usize, entries as usize, params)
    })
    .map(|fd| fd as RawFd)
}

/// `io_uring_enter(fd, to_submit, min_complete, flags, NULL)`: how many were submitted.
///
/// # Safety
/// What the submitted entries point to stays where it is until they are complete, and belongs to
/// nobody else where the kernel is to write.
///
/// # Errors
/// Those of io_uring_enter(2).
#[inline]
pub unsafe fn io_uring_enter(
    fd: RawFd,
    to_submit: c_uint,
    min_complete: c_uint,
    flags: c_uint,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    check(unsafe {
        syscall6(
            Sysno::io_uring_enter as usize,
            fd as usize,
            to_submit as usize,
            min_complete as usize,
            flags as usize,
            0,
            0,
        )
    })
}

/// `io_uring_register(fd, IORING_REGISTER_FILES)`: a table of so many places for files, all empty.
///
/// # Errors
/// Those of io_uring_register(2).
#[inline]
pub fn io_uring_register_files(fd: RawFd, places: usize) -> Result<()> {
    let empty = vec![-1_i32; places];
    let (op, at) = (IORING_REGISTER_FILES as usize, empty.as_ptr() as usize);
    // SAFETY: the kernel reads so many numbers.
    check(unsafe { syscall4(Sysno::io_uring_register as usize, fd as usize, op, at, empty.len()) })
        .map(drop)
}

/// `io_uring_register(fd, IORING_REGISTER_FILES_UPDATE)`: puts a file into one place, or, with -1,
/// empties it.
///
/// # Errors
/// Those of io_uring_register(2).
#[inline]
pub fn io_uring_update_file(fd: RawFd, place: u32, file: RawFd) -> Result<()> {
    let update = io_uring_files_update { offset: place, resv: 0, fds: &raw const file as u64 };
    let (op, at) = (IORING_REGISTER_FILES_UPDATE as usize, &raw const update as usize);
    // SAFETY: the kernel reads the struct, and the one number that it points to.
    check(unsafe { syscall4(Sysno::io_uring_register as usize, fd as usize, op, at, 1) }).map(drop)
}

/// `mmap` of a descriptor's memory, shared with the kernel.
///
/// # Errors
/// Those of mmap(2).
#[inline]
pub fn mmap_shared(len: usize, fd: RawFd, offset: u64) -> Result<*mut c_void> {
    // SAFETY: maps at an address of the kernel's choice; nothing that exists is touched.
    check(unsafe {
        syscall6(
            Sysno::mmap as usize,
            0,
            len,
            (libc::PROT_READ | libc::PROT_WRITE) as usize,
            (libc::MAP_SHARED | libc::MAP_POPULATE) as usize,
            fd as usize,
            offset as usize,
        )
    })
    .map(|address| address as *mut c_void)
}
