//! Programs that tell nobody of their closes: what was reported is asked by number from then on.

use std::os::fd::AsRawFd;

use crate::hooks::all_closes_are_told;
use crate::test_support::harness::Rule;
use crate::test_support::preload::{counter, policy};
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, keep, registrations, reopen, ring, while_asleep,
};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    reported closed_and_reopened_is_another_at_once,
    reported a_dup_that_lives_on_is_not_reported,
    reported again_as_long_as_it_is_ready,
    reported what_is_quiet_is_armed_again,
    told one_that_tells_from_now_on,
];

const COUNT: usize = 24;

/// Before and while the thread sleeps.
fn closed_and_reopened_is_another_at_once(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    for &fd in &fds[..12] {
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        close_all(&[fd]);
        reopen(fd);
        assert_eq!(ask(&mut watched, 0), []);
        ring(fd);
        assert_eq!(ask(&mut watched, 0), [fd]);
        close_all(&[fd]);
        reopen(fd);
        assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        hush(fd);
    }
    watched.warm_up(ask);
    close_all(&fds);
}

fn a_dup_that_lives_on_is_not_reported(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let fd = fds[7];
    ring(fd);
    assert_eq!(ask(&mut watched, -1), [fd]);
    let old = keep(fd);
    close_all(&[fd]);
    reopen(fd);
    ring(old.as_raw_fd());
    for _ in 0..100 {
        assert_eq!(ask(&mut watched, 0), []);
    }
    assert_eq!(ask(&mut watched, 5), []);
    // The old registration is not armed, or fires once more.
    assert!(counter("stale") <= 1 && counter("rebuilt") == 0);
    assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
    close_all(&fds);
}

fn again_as_long_as_it_is_ready(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    for round in 0..200 {
        let (one, other) = (fds[round % COUNT], fds[(round + 5) % COUNT]);
        ring(one);
        for _ in 0..round % 13 {
            assert_eq!(ask(&mut watched, -1), [one]);
        }
        ring(other);
        let mut both = [one, other];
        both.sort_unstable();
        assert_eq!(ask(&mut watched, -1), both);
        hush(one);
        assert_eq!(ask(&mut watched, -1), [other]);
        hush(other);
        assert_eq!(ask(&mut watched, 0), []);
    }
    close_all(&fds);
}

/// By the kernel's own list of registrations: one that is not armed has no events.
fn what_is_quiet_is_armed_again(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    if !["default", "register"].contains(&policy().as_str()) {
        return close_all(&fds);
    }
    assert_eq!(armed(), COUNT);
    ring(fds[3]);
    assert_eq!(ask(&mut watched, -1), [fds[3]]);
    assert_eq!(armed(), COUNT - 1, "what was reported is asked by number");
    hush(fds[3]);
    // Ends, or the test hangs.
    while armed() < COUNT {
        assert_eq!(ask(&mut watched, 0), []);
    }
    assert_eq!(registrations(), COUNT);
    assert_eq!(while_asleep(0, || ring(fds[3]), || ask(&mut watched, -1)), [fds[3]]);
    close_all(&fds);
}

/// How many registrations wait for input.
fn armed() -> usize {
    let waits = |fd| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).expect("/proc");
        let events = |line: &str| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace().skip(2);
            u32::from_str_radix(words.next()?, 16).ok()
        };
        let input = |events: &u32| events & libc::EPOLLIN as u32 != 0;
        info.lines().filter_map(events).filter(input).count()
    };
    crate::test_support::watched::queues().into_iter().map(waits).sum()
}

/// What was armed once would not fire again under the rules of a program that tells.
fn one_that_tells_from_now_on(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    ring(fds[5]);
    assert_eq!(ask(&mut watched, -1), [fds[5]]);
    all_closes_are_told();
    for _ in 0..50 {
        assert_eq!(ask(&mut watched, -1), [fds[5]]);
    }
    hush(fds[5]);
    watched.warm_up(ask);
    for &fd in &fds {
        assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        assert_eq!(ask(&mut watched, -1), [fd]);
        hush(fd);
    }
    close_all(&fds);
}
