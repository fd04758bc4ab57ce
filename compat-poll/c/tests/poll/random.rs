//! Random programs: each answer of the library beside the kernel's own.

use kq_core::rules;
use kq_core::test_support::harness::Rule;
use kq_core::test_support::sets::{
    Answer, Call, Pair, Promise, answers, compare_programs, entries, kernel_poll,
};
use kq_core::test_support::watched::Ask;
use libc::pollfd;
use nix::errno::Errno;

pub(crate) const RULES: &[Rule<Ask>] = rules![random equals_the_kernel,];

fn poll(fds: &mut [pollfd], timeout: i32) -> Answer {
    // SAFETY: the slice is borrowed mutably.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

fn ppoll(fds: &mut [pollfd], timeout: i32) -> Answer {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
    let time = if timeout < 0 { std::ptr::null() } else { &raw const time };
    // SAFETY: the slice is borrowed mutably; the time is null or ours.
    let ready =
        unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, time, std::ptr::null()) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

fn equals_the_kernel(_: Ask) {
    let kernel = kernel_poll;
    let pair =
        |ask: Call| Pair { kernel, ask, count: entries, promise: Promise::WHERE_CLOSES_ARE_TOLD };
    // What is late is waited for.
    let cases = if cfg!(kqcompat_native) { 20 } else { 150 };
    compare_programs(cases, &[pair(poll), pair(ppoll)]);
}
