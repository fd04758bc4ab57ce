//! The counters of poll and select, for C programs and for whoever looks into a preloaded library.

use std::ffi::c_char;
use std::io::Write;

/// `kqcompat_counters(buffer, size)` - writes what poll and select did so far, as
/// `served=N handed=N ...`, with a NUL at the end; returns the length. 0 where it does not fit.
///
/// # Safety
/// `buffer` has `size` bytes that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kqcompat_counters(buffer: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's promise.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
    let mut rest = &mut buffer[..];
    match write!(rest, "{}\0", kq_core::sets::set_counters()) {
        Ok(()) => size - rest.len() - 1,
        Err(_) => 0,
    }
}
