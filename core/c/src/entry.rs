//! Names of a watched directory's entries for C: `kevent_entry`.

use std::os::unix::ffi::OsStrExt;

use kq_core::{EntryChange, Errno, FilterFlag, abi};
use libc::{c_char, c_int, c_uint};

use crate::answer;

/// `struct kevent_entry` of `sys/event.h`.
#[derive(Debug)]
#[repr(C)]
pub struct KeventEntry {
    /// NOTE_CREATE or NOTE_REMOVE, and NOTE_RENAME if it was renamed; 0: names were lost.
    fflags: c_uint,
    /// Ends with a NUL.
    name: [c_char; 256],
}

/// `kevent_entry(kq, fd, entry)` - takes the next name that the VNODE knote of a directory has
/// gathered: 1, 0 where there is none, or -1.
///
/// errno: `EBADF` no queue; `ENOENT` the descriptor has no VNODE knote in it; `EFAULT` no entry.
///
/// # Safety
/// `entry` is NULL, or can be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_entry(kq: c_int, fd: c_int, entry: *mut KeventEntry) -> c_int {
    if entry.is_null() {
        return answer(Err(Errno::EFAULT));
    }
    answer(abi::entry(kq, fd).map(|taken| {
        let Some(taken) = taken else { return 0 };
        let what = match taken.change {
            EntryChange::Created => FilterFlag::NOTE_CREATE,
            EntryChange::Removed => FilterFlag::NOTE_REMOVE,
            EntryChange::MovedIn => FilterFlag::NOTE_CREATE | FilterFlag::NOTE_RENAME,
            EntryChange::MovedOut => FilterFlag::NOTE_REMOVE | FilterFlag::NOTE_RENAME,
            _ => FilterFlag::empty(),
        };
        let mut name = [0; 256];
        // (Linux's names have 255 bytes at most.)
        for (place, &byte) in name[..255].iter_mut().zip(taken.name.as_bytes()) {
            *place = byte as c_char;
        }
        // SAFETY: the caller's promise.
        unsafe { entry.write(KeventEntry { fflags: what.bits(), name }) };
        1
    }))
}
