//! poll and select on remembered sets: whatever fails beneath, the answer is the kernel's.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use kq_core::sets::{self, Policy, RawCalls, Wait};
use kq_core::test_support::{faults, sys};
use kq_core::{Errno, hooks, raw};
use libc::{pollfd, timespec};

use crate::run::{Body, Steps};

/// See the module.
pub(crate) const ALL: &[(&str, Body)] = &[
    ("sets::poll_registers_at_once", |steps| poll(steps, Policy::RegisterAtFirstSight, false)),
    ("sets::poll_by_default", |steps| poll(steps, Policy::Default, false)),
    ("sets::poll_strict", |steps| poll(steps, Policy::Strict, false)),
    ("sets::poll_hooked", |steps| poll(steps, Policy::RegisterAtFirstSight, true)),
    ("sets::select_registers_at_once", |steps| select(steps, Policy::RegisterAtFirstSight, false)),
    ("sets::select_by_default", |steps| select(steps, Policy::Default, false)),
    ("sets::select_hooked", |steps| select(steps, Policy::RegisterAtFirstSight, true)),
];

const COUNT: usize = 20;
const ROUNDS: usize = 10;
const LONG: timespec = timespec { tv_sec: 20, tv_nsec: 0 };

/// Asks which of them are readable, waiting if need be.
type Ask = fn(&[OwnedFd]) -> Result<Vec<RawFd>, Errno>;

fn ask_poll(fds: &[OwnedFd]) -> Result<Vec<RawFd>, Errno> {
    let entry = |fd: &OwnedFd| pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut array: Vec<pollfd> = fds.iter().map(entry).collect();
    let (start, len) = (array.as_mut_ptr(), array.len());
    let own = || {
        let mut time = LONG;
        // SAFETY: the array, which is ours.
        unsafe { raw::ppoll(start, len as libc::nfds_t, &mut time, std::ptr::null()) }
    };
    let wait = Wait {
        timeout: Some(LONG),
        sigmask: std::ptr::null(),
        unproven: false,
        calls: &RawCalls(own),
    };
    // SAFETY: as above; no mask.
    let ready = unsafe { sets::poll(start, len, &wait) }?;
    let found: Vec<RawFd> = array.iter().filter(|e| e.revents != 0).map(|e| e.fd).collect();
    assert_eq!(ready, found.len());
    Ok(found)
}

fn ask_select(fds: &[OwnedFd]) -> Result<Vec<RawFd>, Errno> {
    let mut map = [0_u64; 32];
    fds.iter().for_each(|fd| map[fd.as_raw_fd() as usize / 64] |= 1 << (fd.as_raw_fd() % 64));
    let nfds = fds.iter().map(|fd| fd.as_raw_fd() + 1).max().unwrap_or(0);
    let bits = map.as_mut_ptr();
    let none = std::ptr::null_mut();
    let own = || {
        let mut time = LONG;
        // SAFETY: the bitmap, which is ours.
        unsafe { raw::pselect(nfds, [bits.cast(), none, none], &mut time, std::ptr::null()) }
    };
    let wait = Wait {
        timeout: Some(LONG),
        sigmask: std::ptr::null(),
        unproven: false,
        calls: &RawCalls(own),
    };
    let none = std::ptr::null_mut();
    // SAFETY: as above; no mask.
    let ready = unsafe { sets::select(nfds, [bits, none, none], &wait).0 }?;
    let is_set = |fd: &RawFd| map[*fd as usize / 64] >> (*fd % 64) & 1 == 1;
    let found: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).filter(is_set).collect();
    assert_eq!(ready, found.len());
    Ok(found)
}

fn poll(steps: &mut Steps, policy: Policy, hooked: bool) {
    asked(steps, policy, hooked, ask_poll);
}

fn select(steps: &mut Steps, policy: Policy, hooked: bool) {
    asked(steps, policy, hooked, ask_select);
}

fn asked(steps: &mut Steps, policy: Policy, hooked: bool, ask: Ask) {
    sets::set_policy(policy);
    if hooked {
        hooks::all_closes_are_told();
    }
    // In a thread of its own: at its end, its queues go.
    faults::inherit(|inherited| {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| inherited.run(|| rounds(steps, hooked, ask)));
            thread.join().expect("the scenario");
        });
    });
}

fn rounds(steps: &mut Steps, hooked: bool, ask: Ask) {
    let mut fds: Vec<OwnedFd> = (0..COUNT).map(|_| sys::eventfd(0).expect("eventfd")).collect();
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let at = round * 7 % COUNT;
        let fd = fds[at].as_raw_fd();
        sys::write(fd, &1_u64.to_ne_bytes()).expect("room");
        assert_eq!(steps.step(|| ask(&fds)), [fd], "round {round}");
        sys::read(fd, 8).expect("it is there");
        // The number becomes another file; the old one may live on, ready for ever.
        if round % 3 == 1 {
            let old = sys::dup(fd).expect("dup");
            sys::write(old.as_raw_fd(), &1_u64.to_ne_bytes()).expect("room");
            kept.push(old);
        }
        if round % 3 != 2 {
            if hooked {
                hooks::before_close(fd);
            }
            let new = sys::eventfd(0).expect("eventfd");
            sys::dup2(new.as_raw_fd(), fd).expect("two open descriptors");
            if hooked {
                hooks::after_close(fd);
            }
        }
        // The set changes, too.
        if round % 4 == 3 {
            fds.push(sys::eventfd(0).expect("eventfd"));
        }
    }
}
