//! libc's functions that close a descriptor inside libc, where no hook of close sees it.

use std::ffi::{c_char, c_int};
use std::ptr::null_mut;

use libc::{DIR, EOF, FILE};

use crate::close::closing;
use crate::next::Next;

type Stream = unsafe extern "C-unwind" fn(*mut FILE) -> c_int;
type Reopen = unsafe extern "C-unwind" fn(*const c_char, *const c_char, *mut FILE) -> *mut FILE;
type Directory = unsafe extern "C-unwind" fn(*mut DIR) -> c_int;

// SAFETY: here and below, the types are those of the C functions.
static FCLOSE: Next<Stream> = unsafe { Next::new(c"fclose") };
// SAFETY: see above.
static PCLOSE: Next<Stream> = unsafe { Next::new(c"pclose") };
// SAFETY: see above.
static FREOPEN: Next<Reopen> = unsafe { Next::new(c"freopen") };
// SAFETY: see above.
static FREOPEN64: Next<Reopen> = unsafe { Next::new(c"freopen64") };
// SAFETY: see above.
static CLOSEDIR: Next<Directory> = unsafe { Next::new(c"closedir") };

pub(crate) fn find() {
    FCLOSE.find();
    PCLOSE.find();
    FREOPEN.find();
    FREOPEN64.find();
    CLOSEDIR.find();
}

/// The stream's descriptor; -1 where it has none, and errno as it was.
unsafe fn number_of(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's stream; errno of this thread.
    unsafe {
        let errno = *libc::__errno_location();
        let fd = libc::fileno(stream);
        *libc::__errno_location() = errno;
        fd
    }
}

/// `fclose(stream)` - closes a stream and its descriptor.
///
/// # Safety
/// As for fclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn fclose(stream: *mut FILE) -> c_int {
    let Some(next) = FCLOSE.get() else { return EOF };
    // SAFETY: the caller's promise.
    unsafe { closing(number_of(stream), || next(stream)) }
}

/// `pclose(stream)` - closes a stream, and waits for its process.
///
/// # Safety
/// As for pclose(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn pclose(stream: *mut FILE) -> c_int {
    let Some(next) = PCLOSE.get() else { return EOF };
    // SAFETY: the caller's promise.
    unsafe { closing(number_of(stream), || next(stream)) }
}

/// `freopen(path, mode, stream)` - closes a stream's descriptor and opens another.
///
/// # Safety
/// As for freopen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn freopen(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    let Some(next) = FREOPEN.get() else { return null_mut() };
    // SAFETY: the caller's promise.
    unsafe { closing(number_of(stream), || next(path, mode, stream)) }
}

/// `freopen64(path, mode, stream)` - [`freopen`] for large files.
///
/// # Safety
/// As for freopen(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn freopen64(
    path: *const c_char,
    mode: *const c_char,
    stream: *mut FILE,
) -> *mut FILE {
    let Some(next) = FREOPEN64.get() else { return null_mut() };
    // SAFETY: the caller's promise.
    unsafe { closing(number_of(stream), || next(path, mode, stream)) }
}

/// `closedir(directory)` - closes a directory stream and its descriptor.
///
/// # Safety
/// As for closedir(3).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn closedir(directory: *mut DIR) -> c_int {
    let Some(next) = CLOSEDIR.get() else { return -1 };
    // SAFETY: the caller's promise.
    unsafe { closing(libc::dirfd(directory), || next(directory)) }
}
