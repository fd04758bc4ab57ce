//! `struct kevent` of the system at hand, and kqueue(2) and kevent(2) themselves.
//!
//! `kqcompat_layout` names the system; the build script sets it. On Linux, where the native side is
//! forced, it is FreeBSD's or NetBSD's.

use std::os::fd::RawFd;

use libc::{c_int, timespec};
use nix::errno::Errno;

use super::system::System;
use super::translate::Plain;

/// The table of the system at hand.
pub(crate) const HERE: System = {
    use super::system;
    if cfg!(kqcompat_layout = "netbsd") {
        system::NETBSD
    } else if cfg!(kqcompat_layout = "openbsd") {
        system::OPENBSD
    } else if cfg!(kqcompat_layout = "dragonfly") {
        system::DRAGONFLY
    } else if cfg!(kqcompat_layout = "macos") {
        system::MACOS
    } else {
        system::FREEBSD
    }
};

#[cfg(not(kqcompat_layout = "netbsd"))]
type Filter = i16;
#[cfg(not(kqcompat_layout = "netbsd"))]
type Flags = u16;
#[cfg(not(kqcompat_layout = "netbsd"))]
type Count = c_int;
#[cfg(kqcompat_layout = "netbsd")]
type Filter = u32;
#[cfg(kqcompat_layout = "netbsd")]
type Flags = u32;
#[cfg(kqcompat_layout = "netbsd")]
type Count = usize;

#[cfg(any(kqcompat_layout = "dragonfly", kqcompat_layout = "macos"))]
type Data = isize;
#[cfg(not(any(kqcompat_layout = "dragonfly", kqcompat_layout = "macos")))]
type Data = i64;

/// `struct kevent`. NetBSD's is the one without `ext`, which its libc still takes under the name
/// `__kevent50`, which the libc crate links too.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(kqcompat_layout = "macos", repr(C, packed(4)))]
#[cfg_attr(not(kqcompat_layout = "macos"), repr(C))]
pub(crate) struct Raw {
    ident: usize,
    filter: Filter,
    flags: Flags,
    fflags: u32,
    data: Data,
    udata: usize,
    #[cfg(kqcompat_layout = "freebsd")]
    ext: [u64; 4],
}

impl Raw {
    /// Nothing: room for an event.
    // SAFETY: integers, of which zero is a value.
    pub(crate) const NONE: Self = unsafe { std::mem::zeroed() };
}

impl From<Plain> for Raw {
    #[allow(clippy::unnecessary_cast, reason = "the types are another system's elsewhere")]
    fn from(plain: Plain) -> Self {
        Self {
            ident: plain.ident,
            filter: plain.filter as Filter,
            flags: plain.flags as Flags,
            fflags: plain.fflags,
            data: plain.data as Data,
            udata: plain.udata,
            #[cfg(kqcompat_layout = "freebsd")]
            ext: plain.ext,
        }
    }
}

impl From<Raw> for Plain {
    #[allow(clippy::unnecessary_cast, reason = "the types are another system's elsewhere")]
    fn from(raw: Raw) -> Self {
        Self {
            ident: raw.ident,
            filter: raw.filter as i32,
            flags: raw.flags as u32,
            fflags: raw.fflags,
            data: raw.data as i64,
            udata: raw.udata,
            #[cfg(kqcompat_layout = "freebsd")]
            ext: raw.ext,
            #[cfg(not(kqcompat_layout = "freebsd"))]
            ext: [0; 4],
        }
    }
}

#[cfg(not(target_os = "linux"))]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Raw>() == size_of::<libc::kevent>());
    assert!(align_of::<Raw>() == align_of::<libc::kevent>());
    assert!(offset_of!(Raw, filter) == offset_of!(libc::kevent, filter));
    assert!(offset_of!(Raw, flags) == offset_of!(libc::kevent, flags));
    assert!(offset_of!(Raw, fflags) == offset_of!(libc::kevent, fflags));
    assert!(offset_of!(Raw, data) == offset_of!(libc::kevent, data));
    assert!(offset_of!(Raw, udata) == offset_of!(libc::kevent, udata));
};

/// The system's own, or on Linux those of the library beneath, of which nothing else is known. A thread
/// that is cancelled in kevent(2) unwinds through it, which the libc crate's declaration does not allow.
mod beneath {
    use super::{Count, Raw, c_int, timespec};

    unsafe extern "C-unwind" {
        pub(super) safe fn kqueue() -> c_int;
        #[cfg_attr(target_os = "netbsd", link_name = "__kevent50")]
        pub(super) fn kevent(
            kq: c_int,
            changelist: *const Raw,
            nchanges: Count,
            eventlist: *mut Raw,
            nevents: Count,
            timeout: *const timespec,
        ) -> c_int;
    }
}

/// `kqueue()` - a new queue's descriptor.
pub(crate) fn kqueue() -> Result<RawFd, Errno> {
    Errno::result(beneath::kqueue())
}

/// `kevent(kq, changelist, ..., eventlist, ..., timeout)`; without a timeout it waits for ever.
pub(crate) fn kevent(
    kq: RawFd,
    changes: &[Raw],
    events: &mut [Raw],
    timeout: Option<&timespec>,
) -> Result<usize, Errno> {
    let timeout = timeout.map_or(std::ptr::null(), std::ptr::from_ref);
    // More than an int says are never asked for.
    let most = c_int::MAX as usize;
    let (nchanges, nevents) = (changes.len().min(most), events.len().min(most));
    // SAFETY: two slices with their lengths, and a timeout that is null or a reference.
    let n = unsafe {
        beneath::kevent(
            kq,
            changes.as_ptr(),
            nchanges as Count,
            events.as_mut_ptr(),
            nevents as Count,
            timeout,
        )
    };
    Errno::result(n).map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_struct_holds_what_it_is_given() {
        let plain = Plain {
            ident: usize::MAX,
            filter: HERE.filters[0].1,
            flags: 0x80f0,
            fflags: 0x8000_0001,
            data: -3,
            udata: usize::MAX - 1,
            ext: if cfg!(kqcompat_layout = "freebsd") { [1, 2, 3, u64::MAX] } else { [0; 4] },
        };
        assert_eq!(Plain::from(Raw::from(plain)), plain);
    }
}
