//! Selective wake-up: of the threads that wait, that at an event's place is told.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::scope;

use common::*;
use kq_core::EventFilter::*;
use kq_core::test_support::signals;
use kq_core::test_support::threads::{Background, start};
use kq_core::{
    Errno, EvFlags, FilterFlag, KEvent, Kqueue, Places, Selective, SelectiveCounts, abi,
};
use libc::timespec;

thread_local! {
    static HERE: Cell<u32> = const { Cell::new(0) };
}

/// More CPUs than the machine has: a thread is where it says, an event where its udata says.
struct Simulated;

impl Places for Simulated {
    fn here(&self) -> u32 {
        HERE.get()
    }

    fn of(&self, event: &KEvent) -> Option<u32> {
        u32::try_from(event.udata()).ok()
    }
}

type Many = Selective<Kqueue, Simulated>;

fn many() -> Arc<Many> {
    Arc::new(Selective::with(Kqueue::new().unwrap(), Simulated))
}

/// Adds user events that come at once, and once, by their places.
fn post(queue: &Kqueue, places: &[isize]) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut changes = Vec::new();
    for &place in places {
        let ident = NEXT.fetch_add(1, Ordering::Relaxed);
        let user = |flags, fflags| KEvent::new(ident, EVFILT_USER, flags, fflags, 0, place);
        changes.push(user(ADD | EvFlags::EV_ONESHOT, NONE));
        changes.push(user(EvFlags::EV_KEEPUDATA, FilterFlag::NOTE_TRIGGER));
    }
    apply(queue, &changes).unwrap();
}

/// Starts a thread that waits at a place; the places of the events that it takes, at most `room`.
fn wait_at(queue: &Arc<Many>, place: u32, room: usize) -> Background<Result<Vec<isize>, Errno>> {
    let before = queue.waiting();
    let waiter = start({
        let queue = Arc::clone(queue);
        move || {
            HERE.set(place);
            let mut events = vec![KEvent::default(); room];
            let n = queue.wait(&mut events, None)?;
            Ok(events[..n].iter().map(KEvent::udata).collect())
        }
    });
    while queue.waiting() == before {
        std::thread::yield_now();
    }
    waiter
}

fn counts(queue: &Many) -> [u64; 4] {
    let SelectiveCounts { near, handed_on, far, anywhere, .. } = queue.counts();
    [near, handed_on, far, anywhere]
}

#[test]
fn each_event_wakes_the_thread_at_its_place() {
    const PLACES: u32 = 32;
    for step in [1, 7, 31] {
        let queue = many();
        let waiters: Vec<_> = (0..PLACES).map(|place| wait_at(&queue, place, 4)).collect();
        let order = (0..PLACES).map(|n| (n * step % PLACES) as isize);
        order.for_each(|place| post(queue.queue(), &[place]));
        for (place, waiter) in waiters.into_iter().enumerate() {
            assert_eq!(waiter.join(), Ok(vec![place as isize]));
        }
        let [near, handed_on, far, anywhere] = counts(&queue);
        // (The last one has nobody beside it, and does not ask.)
        assert_eq!((near + handed_on + anywhere, far), (u64::from(PLACES), 0));
        assert!(anywhere <= 1);
    }
}

#[test]
fn all_of_them_at_once() {
    let queue = many();
    let waiters: Vec<_> = (0..8).map(|place| wait_at(&queue, place, 64)).collect();
    post(queue.queue(), &[5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
    for (place, waiter) in waiters.into_iter().enumerate() {
        let n = if place == 5 { 3 } else { 1 };
        assert_eq!(waiter.join(), Ok(vec![place as isize; n]));
    }
}

#[test]
fn nobody_sleeps_beside_an_event_because_it_is_far() {
    let queue = many();
    // Alone, and then with another that is not near either.
    let alone = wait_at(&queue, 1, 4);
    post(queue.queue(), &[2]);
    assert_eq!(alone.join(), Ok(vec![2]));
    assert_eq!(counts(&queue), [0, 0, 0, 1]);
    let waiters = [wait_at(&queue, 1, 4), wait_at(&queue, 3, 4)];
    post(queue.queue(), &[2]);
    post(queue.queue(), &[3]);
    assert_eq!(waiters.map(Background::join), [Ok(vec![2]), Ok(vec![3])]);
    let [near, handed_on, far, anywhere] = counts(&queue);
    // (The second is handed on, or its thread leads and is alone by then.)
    assert_eq!((near, handed_on + anywhere, far), (0, 2, 1));
}

#[test]
fn what_has_no_place_is_for_anyone() {
    let queue = many();
    let waiters = [wait_at(&queue, 1, 1), wait_at(&queue, 2, 1)];
    post(queue.queue(), &[-1, -1]);
    assert_eq!(waiters.map(Background::join), [Ok(vec![-1]), Ok(vec![-1])]);
}

#[test]
fn no_more_is_handed_on_than_there_is_room_for() {
    let queue = many();
    let leader = wait_at(&queue, 1, 8);
    let follower = wait_at(&queue, 2, 1);
    post(queue.queue(), &[2, 2, 2]);
    assert_eq!((follower.join(), leader.join()), (Ok(vec![2]), Ok(vec![2, 2])));
    assert_eq!(counts(&queue), [0, 1, 2, 0]);
}

#[test]
fn time_and_signals() {
    let queue = many();
    let mut room = [KEvent::default()];
    let never = Some(timespec { tv_sec: -1, tv_nsec: 0 });
    assert_eq!(queue.wait(&mut room, never), Err(Errno::EINVAL));
    assert_eq!(queue.wait(&mut [], None), Ok(0));
    assert_eq!(queue.wait(&mut room, NOW), Ok(0));
    signals::catch(libc::SIGUSR2, 0);
    let leader = wait_at(&queue, 1, 1);
    assert!(leader.wait_until_asleep());
    // Who follows gives up in its own time.
    assert_eq!(queue.wait(&mut room, NOW), Ok(0));
    assert_eq!(queue.wait(&mut room, Some(timespec { tv_sec: 0, tv_nsec: 3_000_000 })), Ok(0));
    let follower = wait_at(&queue, 2, 1);
    leader.signal(libc::SIGUSR2);
    assert_eq!(leader.join(), Err(Errno::EINTR));
    post(queue.queue(), &[1]);
    assert_eq!(follower.join(), Ok(vec![1]));
    assert_eq!(queue.waiting(), 0);
}

#[test]
fn closing_the_queue_ends_every_wait() {
    let queue = many();
    let waiters: Vec<_> = (0..3).map(|place| wait_at(&queue, place, 1)).collect();
    assert!(waiters[0].wait_until_asleep());
    abi::closing(queue.queue().as_raw_fd());
    for waiter in waiters {
        assert_eq!(waiter.join(), Err(Errno::EBADF));
    }
}

/// Threads that come and go, with no time, little or much, at places that change: each event is taken
/// once, by whomever.
#[test]
fn every_event_is_taken_once_whoever_gives_up() {
    const EVENTS: usize = 6000;
    let queue = many();
    let taken = AtomicUsize::new(0);
    let consume = |seed: u64| {
        let mut random = seed;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize
        };
        let mut room = vec![KEvent::default(); 8];
        let mut seen = Vec::new();
        while taken.load(Ordering::Relaxed) < EVENTS {
            HERE.set((next() % 4) as u32);
            // At the end everybody gives up, some a little later.
            let nanos = [0, 1000, 50_000, 20_000_000][next() % 4];
            let time = Some(timespec { tv_sec: 0, tv_nsec: nanos });
            let most = 1 + next() % 8;
            let n = queue.wait(&mut room[..most], time).unwrap();
            taken.fetch_add(n, Ordering::Relaxed);
            seen.extend(room[..n].iter().map(KEvent::ident));
        }
        seen
    };
    let mut seen = scope(|scope| {
        let threads: Vec<_> = (1..=4).map(|seed| scope.spawn(move || consume(seed))).collect();
        (0..EVENTS).for_each(|n| post(queue.queue(), &[(n % 5) as isize]));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), taken.into_inner()), (EVENTS, EVENTS));
    assert_eq!(counts(&queue).iter().sum::<u64>(), EVENTS as u64);
}

fn pin(cpu: usize) {
    // SAFETY: a set of zeros is an empty one, and the calls stay within it.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set)
    };
    assert_eq!(done, 0);
}

/// The CPUs that this process may run on.
fn cpus() -> Vec<usize> {
    // SAFETY: as above.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        assert_eq!(libc::sched_getaffinity(0, size_of_val(&set), &mut set), 0);
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &set)).collect()
    }
}

fn incoming_cpu(socket: &impl AsRawFd) -> usize {
    let cpu = kq_core::raw::getsockopt::<i32>(socket.as_raw_fd(), libc::SOL_SOCKET, 49).unwrap();
    usize::try_from(cpu).expect("a packet came")
}

#[test]
fn a_socket_wakes_the_thread_on_the_cpu_that_its_data_came_to() {
    let &[first, second, ..] = &cpus()[..] else {
        return println!("skipped: there is one CPU");
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut server = listener.accept().unwrap().0;
    let queue = Arc::new(Selective::new(Kqueue::new().unwrap()));
    apply(queue.queue(), &[change(&server, EVFILT_READ, ADD | CLEAR, NONE, 0)]).unwrap();
    for cpu in [first, second, second, first] {
        let waiters = [first, second].map(|cpu| {
            let waiter = start({
                let queue = Arc::clone(&queue);
                move || {
                    pin(cpu);
                    queue.wait(&mut [KEvent::default()], None)
                }
            });
            (cpu, waiter)
        });
        while queue.waiting() < 2 {
            std::thread::yield_now();
        }
        scope(|scope| {
            scope.spawn(|| {
                pin(cpu);
                client.write_all(b"x").unwrap();
            });
        });
        while waiters.iter().all(|(_, waiter)| !waiter.is_finished()) {
            std::thread::yield_now();
        }
        let told: Vec<_> = waiters.iter().map(|(_, waiter)| waiter.is_finished()).collect();
        let came_to = incoming_cpu(&server);
        // (Where packets are steered to a third CPU, either will do.)
        if [first, second].contains(&came_to) {
            assert_eq!(told, [came_to == first, came_to == second]);
        } else {
            println!("the data came to CPU {came_to}");
        }
        server.read_exact(&mut [0]).unwrap();
        // The other one is told of the next.
        client.write_all(b"y").unwrap();
        waiters.into_iter().for_each(|(_, waiter)| assert_eq!(waiter.join(), Ok(1)));
        server.read_exact(&mut [0]).unwrap();
    }
}
