//! Entries that leave a set and come back: their registrations linger meanwhile.

use std::os::fd::AsRawFd;

use crate::raw;
use crate::test_support::harness::Rule;
use crate::test_support::preload::{counter, is_preloaded, policy};
use crate::test_support::sets::readable;
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, keep, registrations, reopen, ring, while_asleep,
};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    leaving is_not_reported_while_it_is_out,
    leaving comes_back_without_being_registered_anew,
    leaving closed_unseen_while_it_was_out,
    leaving few_stay_registered,
];

const COUNT: usize = 40;

fn take_out(watched: &mut Watched, at: usize) {
    watched.array.swap_remove(at);
}

/// It wakes nobody, however often it becomes ready.
fn is_not_reported_while_it_is_out(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    take_out(&mut watched, 7);
    assert_eq!(ask(&mut watched, 0), []);
    ring(fds[7]);
    assert_eq!(ask(&mut watched, 0), []);
    assert_eq!(ask(&mut watched, 3), []);
    let wake = || {
        ring(fds[7]);
        ring(fds[9]);
    };
    assert_eq!(while_asleep(0, wake, || ask(&mut watched, -1)), [fds[9]]);
    hush(fds[9]);
    watched.array.push(readable(fds[7]));
    assert_eq!(ask(&mut watched, -1), [fds[7]]);
    hush(fds[7]);
    watched.warm_up(ask);
    close_all(&fds);
}

fn comes_back_without_being_registered_anew(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let before = counter("registered");
    for round in 0..50 {
        let fd = watched.array[round % 30].fd;
        take_out(&mut watched, round % 30);
        assert_eq!(ask(&mut watched, 0), []);
        // Also when it is ready as it comes.
        let ready = round % 2 == 0;
        if ready {
            ring(fd);
        }
        watched.array.push(readable(fd));
        assert_eq!(ask(&mut watched, 0), if ready { vec![fd] } else { vec![] });
        if ready {
            hush(fd);
        }
        assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        hush(fd);
    }
    // Where registrations are armed once, what was reported is not registered any more.
    let told = is_preloaded() || crate::hooks::are_complete();
    let told = told && !crate::sys::poll_queue::ALWAYS_ONCE;
    if policy() == "default" && told {
        assert_eq!(counter("registered"), before);
    }
    close_all(&fds);
}

/// It is compared with its number's file when it comes back: no wait for T.
fn closed_unseen_while_it_was_out(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    for &fd in &fds[..12] {
        watched.warm_up(ask);
        let at = watched.array.iter().position(|entry| entry.fd == fd).expect("it is in");
        take_out(&mut watched, at);
        assert_eq!(ask(&mut watched, 0), []);
        let old = keep(fd);
        raw::close(fd).expect("it is open");
        reopen(fd);
        ring(old.as_raw_fd());
        watched.array.push(readable(fd));
        assert_eq!(ask(&mut watched, 0), []);
        ring(fd);
        assert_eq!(ask(&mut watched, 0), [fd]);
        hush(fd);
    }
    close_all(&fds);
}

fn few_stay_registered(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    while watched.array.len() > 12 {
        take_out(&mut watched, 0);
        assert_eq!(ask(&mut watched, 0), []);
    }
    assert!(registrations() <= 12 + crate::sets::LINGER, "{}", registrations());
    close_all(&fds);
}
