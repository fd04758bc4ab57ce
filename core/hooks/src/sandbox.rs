//! prctl(2), and syscall(2) of seccomp(2): a program that puts itself under a filter of system calls
//! may have forbidden what the engine needs, at the price of its life. (OpenSSH's child does, before
//! it knows whom it talks to.) So from then on poll and select are the kernel's own.

use std::ffi::{c_int, c_long, c_ulong};

use libc::ENOSYS;

use crate::next::{Next, fail};

type Prctl = unsafe extern "C-unwind" fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int;

// SAFETY: prctl(2); libc's takes what variable arguments there are as longs.
static PRCTL: Next<Prctl> = unsafe { Next::new(c"prctl") };

pub(crate) fn find() {
    PRCTL.find();
}

/// `prctl(option, ...)` - does something with the process; seccomp is what we want to know of.
///
/// # Safety
/// As for prctl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn prctl(
    option: c_int,
    a: c_ulong,
    b: c_ulong,
    c: c_ulong,
    d: c_ulong,
) -> c_int {
    let Some(next) = PRCTL.get() else { return fail(ENOSYS) };
    // SAFETY: the caller's promise.
    let done = unsafe { next(option, a, b, c, d) };
    if option == libc::PR_SET_SECCOMP && done == 0 {
        kq_core::hooks::calls_are_filtered();
    }
    done
}

/// Does a successful system call of this number put a filter in place?
#[inline]
pub(crate) fn confines(number: c_long, first: c_long) -> bool {
    match number {
        libc::SYS_seccomp => {
            let set = [libc::SECCOMP_SET_MODE_STRICT, libc::SECCOMP_SET_MODE_FILTER];
            set.iter().any(|&operation| c_long::from(operation) == first)
        }
        libc::SYS_prctl => first as c_int == libc::PR_SET_SECCOMP,
        _ => false,
    }
}
