//! libkqcompat_select and libkqcompat_poll preloaded together, on the same descriptors: each has its
//! own queues and its own hooks, and the one's calls go through the other.

use std::process::ExitCode;

use kq_core::rules;
use kq_core::test_support::harness::Rule;
use kq_core::test_support::preload::{add_rules, policy, run};
use kq_core::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, queues, reopen, ring, while_asleep,
};

const RULES: &[Rule<Ask>] = rules![
    both see_the_same,
    both sleep_on_the_same,
    both know_what_is_closed,
    both leave_each_other_s_queue_alone,
];

fn main() -> ExitCode {
    run("libkqcompat_select.so libkqcompat_poll.so", |suite| {
        add_rules(suite, Watched::poll as Ask, &[RULES]);
    })
}

const COUNT: usize = 40;

/// Two sets of the same, known to both libraries: only the first one's counters can be read.
fn known(poll: Ask) -> (Vec<i32>, Watched, Watched) {
    let fds = eventfds(COUNT);
    let (mut polled, mut selected) = (Watched::new(&fds), Watched::new(&fds));
    selected.warm_up(Watched::select);
    for _ in 0..300 {
        assert_eq!(poll(&mut polled, 0), []);
    }
    (fds, polled, selected)
}

fn see_the_same(poll: Ask) {
    let (fds, mut polled, mut selected) = known(poll);
    // Two queues at most: nothing of the one's is asked of the other's.
    assert_eq!(queues().len(), if policy() == "off" { 0 } else { 2 });
    for round in 0..200 {
        let fd = fds[round % COUNT];
        ring(fd);
        assert_eq!(poll(&mut polled, -1), [fd]);
        assert_eq!(selected.select(-1), [fd]);
        hush(fd);
        assert_eq!(selected.select(0), []);
        assert_eq!(poll(&mut polled, 0), []);
    }
    close_all(&fds);
}

fn sleep_on_the_same(poll: Ask) {
    let (fds, mut polled, mut selected) = known(poll);
    for (round, &fd) in fds[..20].iter().enumerate() {
        let pause = if round % 5 == 0 { 30 } else { 0 };
        assert_eq!(while_asleep(pause, || ring(fd), || poll(&mut polled, -1)), [fd]);
        hush(fd);
        assert_eq!(while_asleep(pause, || ring(fd), || selected.select(-1)), [fd]);
        hush(fd);
    }
    close_all(&fds);
}

fn know_what_is_closed(poll: Ask) {
    let (fds, mut polled, mut selected) = known(poll);
    for round in 0..100 {
        let fd = fds[round % COUNT];
        // SAFETY: the test's own.
        assert_eq!(unsafe { libc::close(fd) }, 0);
        reopen(fd);
        assert_eq!((poll(&mut polled, 0), selected.select(0)), (vec![], vec![]));
        ring(fd);
        assert_eq!((poll(&mut polled, -1), selected.select(-1)), (vec![fd], vec![fd]));
        hush(fd);
        assert_eq!(while_asleep(0, || ring(fd), || poll(&mut polled, -1)), [fd]);
        assert_eq!(selected.select(-1), [fd]);
        hush(fd);
    }
    close_all(&fds);
}

/// A program that closes every number closes neither's.
fn leave_each_other_s_queue_alone(poll: Ask) {
    let (fds, mut polled, mut selected) = known(poll);
    let before = queues();
    for fd in fds[COUNT - 1] + 1..3000 {
        // SAFETY: nothing here needs those.
        unsafe { libc::close(fd) };
    }
    assert_eq!(queues(), before);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::close_range(fds[COUNT - 1] as u32 + 1, u32::MAX, 0) }, 0);
    assert_eq!(queues(), before);
    for &fd in &fds {
        ring(fd);
        assert_eq!((poll(&mut polled, -1), selected.select(-1)), (vec![fd], vec![fd]));
        hush(fd);
    }
    close_all(&fds);
}
