//! What can be seen of a thread that polls: [`kq_core::stats`].

use std::fs::File;
use std::io::{Write, pipe};
use std::os::fd::AsFd;

use compat_poll::{Policy, PollFd, PollFlags, poll, set_policy};
use kq_core::stats::{self, SetKind, ThreadStats};

fn this_thread() -> Option<ThreadStats> {
    let (tid, mut found) = (kq_core::raw::gettid(), None);
    stats::threads(|thread| {
        if thread.tid == tid {
            found = Some(*thread);
        }
    });
    found
}

fn polls(fds: &mut [PollFd], times: usize) {
    for _ in 0..times {
        assert_eq!(poll(fds, 0_u8), Ok(2));
    }
}

#[test]
fn a_thread_tells_its_sets_until_it_ends() {
    set_policy(Policy::RegisterAtFirstSight);
    let mut pipes: Vec<_> = (0..20).map(|_| pipe().unwrap()).collect();
    pipes[3].1.write_all(b"x").unwrap();
    // A regular file is asked by number.
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let (pipes, file) = (&pipes, &file);
    let told = std::thread::scope(|scope| {
        let polling = scope.spawn(move || {
            let readers = pipes.iter().map(|(reader, _)| reader.as_fd());
            let all = readers.chain([file.as_fd()]);
            let mut fds: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            polls(&mut fds, 3);
            this_thread().expect("it polls")
        });
        polling.join().unwrap()
    });
    assert_eq!((told.served, told.results, told.handed), (3, 6, 0), "{told}");
    let [set] = told.sets().copied().collect::<Vec<_>>()[..] else { panic!("{told}") };
    assert_eq!(set.kind, SetKind::Poll);
    // Also by number: the pipe that was reported, since nobody would tell of its close.
    assert_eq!((set.entries, set.registered, set.by_number, set.calls), (21, 19, 2, 3), "{set}");
    assert!(set.queue.is_some());
    let (line, queue) = (set.to_string(), set.queue.unwrap());
    let expected = "poll of 21 descriptors: 19 registered with queue";
    assert_eq!(line, format!("{expected} {queue}, 2 asked by number, 3 calls"));

    let mut still_there = false;
    stats::threads(|thread| still_there |= thread.tid == told.tid);
    assert!(!still_there, "it has ended");
    let mut text = String::new();
    stats::write_summary(&mut text).unwrap();
    assert!(
        text.contains("poll and select (policy register): 3 calls by the engine, 0 by"),
        "{text}"
    );
}
