//! compat_poll as the tests call it.

use std::os::fd::RawFd;

use compat_poll::{PollFd, PollTimeout};
use kq_core::test_support::poll_rules::PollApi;
use kq_core::test_support::sets::{Answer, answers};
use kq_core::test_support::watched::Watched;
use libc::pollfd;
use nix::sys::signal::SigSet;
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

fn slice<'a>(fds: *mut pollfd, nfds: libc::nfds_t) -> &'a mut [PollFd<'a>] {
    if fds.is_null() {
        return &mut [];
    }
    // SAFETY: the tests pass arrays of theirs, which nobody else touches meanwhile.
    entries(unsafe { std::slice::from_raw_parts_mut(fds, nfds as usize) })
}

/// As the rules call it.
pub(crate) const API: PollApi = PollApi {
    poll: |fds, nfds, timeout| {
        let timeout = PollTimeout::try_from(timeout).expect("no test waits that long");
        compat_poll::poll(slice(fds, nfds), timeout).map(|n| n as usize)
    },
    ppoll: |fds, nfds, time, mask| {
        // SAFETY: null, or the test's; a sigset_t of the test's is one that libc made.
        let (time, mask) = unsafe { (time.as_ref(), mask.as_ref()) };
        let time = time.map(|time| TimeSpec::from_timespec(*time));
        // SAFETY: as above.
        let mask = mask.map(|mask| unsafe { SigSet::from_sigset_t_unchecked(*mask) });
        compat_poll::ppoll(slice(fds, nfds), time, mask).map(|n| n as usize)
    },
    takes_pointers: false,
};
