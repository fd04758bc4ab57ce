//! A queue among other things: as a descriptor, in other crates' event loops, and as a server's.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};

use kq_core::test_support::echo::{EchoServer, printed};
use kq_core::test_support::epoll::KERNEL;
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

fn user(fflags: FilterFlag) -> KEvent {
    KEvent::new(1, EventFilter::EVFILT_USER, EvFlags::EV_ADD, fflags, 0, 0)
}

#[test]
fn a_queue_and_what_is_told_of_it_are_every_threads() {
    fn every_threads<T: Send + Sync>() {}
    every_threads::<Kqueue>();
    every_threads::<KEvent>();
    every_threads::<kq_core::Counters>();
    every_threads::<kq_core::stats::KnoteInfo>();
    every_threads::<kq_core::stats::QueueStats>();
}

#[test]
fn one_thread_waits_in_a_queue_that_another_one_changes() {
    let queue = std::sync::Arc::new(Kqueue::new().unwrap());
    queue.kevent(&[user(FilterFlag::empty())], &mut [], None).unwrap();
    let waiting = std::thread::spawn({
        let queue = queue.clone();
        move || queue.kevent(&[], &mut [KEvent::default()], None)
    });
    queue.kevent(&[user(FilterFlag::NOTE_TRIGGER)], &mut [], None).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(1));
}

/// Who watches a queue by edges is told of what comes after something that came and was taken back.
#[test]
fn an_edge_is_told_after_one_that_was_taken_back() {
    let queue = Kqueue::new().unwrap();
    let change = |flags, fflags| {
        let change = KEvent::new(1, EventFilter::EVFILT_USER, flags, fflags, 0, 0);
        queue.kevent(&[change], &mut [], None).unwrap();
    };
    let edges = KERNEL.create();
    KERNEL.add(&edges, &queue, (libc::EPOLLIN | libc::EPOLLET) as u32, 0).unwrap();
    for taken_back in [EvFlags::EV_DELETE, EvFlags::EV_DISABLE] {
        for round in 0..3 {
            change(EvFlags::EV_ADD | EvFlags::EV_ENABLE | EvFlags::EV_CLEAR, FilterFlag::empty());
            change(EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
            let told = KERNEL.wait(&edges, 2, 0).unwrap();
            assert_eq!(told.len(), 1, "{taken_back:?}, round {round}");
            change(taken_back, FilterFlag::empty());
        }
        change(EvFlags::EV_ADD | EvFlags::EV_DELETE, FilterFlag::empty());
    }
}

#[test]
fn the_bare_descriptor_is_the_callers() {
    let queue = Kqueue::new().unwrap();
    let number = queue.as_raw_fd();
    assert_eq!(queue.as_fd().as_raw_fd(), number);
    assert_eq!(queue.into_raw_fd(), number);
    // SAFETY: the number was given to us.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

#[test]
fn tokio_waits_for_a_queue() {
    let said = printed("kq-core", "kqueue_tokio");
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["the child exited with 0", "the file was removed"]);
}

#[test]
fn mio_waits_for_a_queue() {
    let said = printed("kq-core", "kqueue_mio");
    let ticks = said.strip_prefix("woken after ").and_then(|rest| rest.split(' ').next());
    assert!(ticks.is_some_and(|n| n.parse::<u64>().unwrap() >= 3), "{said}");
}

#[test]
fn calloop_waits_for_a_queue() {
    assert_eq!(printed("kq-core", "kqueue_calloop"), "both were told\n");
}

#[test]
fn requests_complete_as_events() {
    let said = printed("kq-core", "kqueue_aio");
    if said == "there is no io_uring here\n" {
        return println!("skipped: {said}");
    }
    let mut lines: Vec<_> = said.lines().collect();
    lines.sort_unstable();
    let moved = "1000000 of 1000000 bytes, None";
    assert_eq!(lines, [format!("received {moved}"), format!("sent {moved}")]);
}

#[test]
fn a_server_echoes_what_many_clients_send() {
    let server = EchoServer::start("kq-core", "kqueue_echo");
    server.serves_many();
    server.serves_a_crowd(1500);
}
