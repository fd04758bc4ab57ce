//! compat_poll as the tests call it.

use std::os::fd::RawFd;

use compat_poll::{PollFd, PollTimeout};
use kq_core::test_support::sets::{Answer, answers};
use kq_core::test_support::watched::Watched;
use libc::pollfd;
use nix::sys::time::{TimeSpec, TimeValLike};

/// PollFd borrows its descriptor; the tests have numbers, also of what is closed.
fn entries(fds: &mut [pollfd]) -> &mut [PollFd<'_>] {
    // SAFETY: PollFd is a transparent pollfd. Nothing is done with the numbers but to poll them.
    unsafe { std::slice::from_raw_parts_mut(fds.as_mut_ptr().cast(), fds.len()) }
}

pub(crate) fn poll(fds: &mut [pollfd], timeout: i32) -> Answer {
    let timeout = PollTimeout::try_from(timeout).expect("no test waits that long");
    let ready = compat_poll::poll(entries(fds), timeout);
    (ready.map(|n| n as usize), answers(fds))
}

pub(crate) fn ppoll(fds: &mut [pollfd], timeout: i32) -> Answer {
    let timeout = (timeout >= 0).then(|| TimeSpec::milliseconds(timeout.into()));
    let ready = compat_poll::ppoll(entries(fds), timeout, None);
    (ready.map(|n| n as usize), answers(fds))
}

pub(crate) fn ask(watched: &mut Watched, timeout: i32) -> Vec<RawFd> {
    let (ready, _) = poll(&mut watched.array, timeout);
    watched.found_by_poll(ready)
}
