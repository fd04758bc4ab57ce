//! Who calls, and in which state: threads, signal handlers, processes out of descriptors.

use std::cell::UnsafeCell;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use crate::raw;
use crate::test_support::harness::Rule;
use crate::test_support::preload::{counter, counters, policy};
use crate::test_support::sets::readable;
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, queues, registrations, ring, while_asleep,
};
use crate::test_support::{filter, signals, sys, threads};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    sets two_that_take_turns_stay,
    sets one_that_moves_and_shrinks,
    sets one_in_another_order_each_time,
    sets one_in_another_order_now_and_then,
    sets queues_are_few_and_hidden,
    sets small_ones_have_no_queue,
    sets first_sight_is_the_first_call,
    threads each_has_its_own,
    threads many_at_once,
    signals a_handler_that_asks_too,
    signals stopped_and_continued,
    limits out_of_descriptors,
    limits out_of_system_calls,
    limits out_of_registrations,
    exec leaves_no_queue,
    limits under_a_filter_of_its_own,
];

/// A thousand each, of which some are in both and asked for more in one of them.
fn two_that_take_turns_stay(ask: Ask) {
    let fds = eventfds(1700);
    let (mut one, mut two) = (Watched::new(&fds[..1000]), Watched::new(&fds[700..]));
    two.array.iter_mut().for_each(|entry| entry.events |= libc::POLLPRI);
    one.warm_up(ask);
    two.warm_up(ask);
    one.warm_up(ask);
    let before = counter("registered");
    for round in 0..100 {
        let fd = fds[17 * round];
        ring(fd);
        let expected = |part: &[RawFd]| if part.contains(&fd) { vec![fd] } else { vec![] };
        assert_eq!(ask(&mut one, 0), expected(&fds[..1000]));
        assert_eq!(ask(&mut two, 0), expected(&fds[700..]));
        hush(fd);
    }
    // Now and then a full check has a look at those that could not be registered: there are none.
    assert_eq!(counter("registered"), before, "nothing is registered anew");
    close_all(&fds);
}

fn one_that_moves_and_shrinks(ask: Ask) {
    let fds = eventfds(200);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let before = counter("registered");
    // Each time one goes from the front: every entry is at another place.
    while watched.array.len() > 100 {
        let gone = watched.array.remove(0).fd;
        ring(gone);
        let fd = watched.array[50].fd;
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        hush(fd);
        assert_eq!(ask(&mut watched, 0), []);
    }
    if policy() == "default" {
        assert!(counter("registered") - before < 20, "moved, not registered anew");
    }
    for &fd in &fds[..100] {
        hush(fd);
    }
    // And comes back at the end.
    for &fd in &fds[..100] {
        watched.array.push(readable(fd));
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        hush(fd);
    }
    close_all(&fds);
}

/// As of a program that removes and adds all of its descriptors before each call.
fn one_in_another_order_each_time(ask: Ask) {
    let fds = eventfds(200);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let registered = counter("registered");
    for round in 0..300 {
        watched.array.rotate_left(1);
        let fd = fds[round * 7 % 200];
        ring(fd);
        assert_eq!(ask(&mut watched, 0), [fd]);
        hush(fd);
    }
    if policy() == "default" {
        assert_eq!(counter("registered"), registered, "moved, not registered anew");
    }
    watched.warm_up(ask);
    assert_eq!(while_asleep(0, || ring(fds[9]), || ask(&mut watched, -1)), [fds[9]]);
    close_all(&fds);
}

/// As of libevent's bench on its poll method: one that was never in one order for long is registered all
/// the same, and once.
fn one_in_another_order_now_and_then(ask: Ask) {
    let fds = eventfds(200);
    let mut watched = Watched::new(&fds);
    let before = (counter("served"), counter("registered"));
    for round in 0..600 {
        if round % 12 == 0 {
            watched.array.rotate_left(round % 199);
            watched.array[..100].reverse();
        }
        let fd = fds[round * 7 % 200];
        ring(fd);
        assert_eq!(ask(&mut watched, 0), [fd]);
        hush(fd);
    }
    if policy() == "default" {
        assert!(counter("served") - before.0 > 300, "{}", counters());
        assert!(counter("registered") - before.1 < 220, "each is registered once");
    }
    close_all(&fds);
}

fn queues_are_few_and_hidden(ask: Ask) {
    let fds = eventfds(64);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let ours = queues();
    assert_eq!(ours.len(), usize::from(policy() != "off"));
    for fd in ours {
        assert!(fd >= 1000, "{fd} is where the program's own come");
        let flags = raw::fcntl(fd, libc::F_GETFD, 0).expect("it is open");
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
    assert_eq!(registrations(), if policy() == "off" { 0 } else { 64 });
    close_all(&fds);
}

fn small_ones_have_no_queue(ask: Ask) {
    let fds = eventfds(7);
    let mut watched = Watched::new(&fds);
    for round in 0..500 {
        let fd = fds[round % 7];
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        hush(fd);
    }
    assert_eq!(queues().len(), usize::from(policy() == "register"));
    close_all(&fds);
}

/// A program that asks about one descriptor once is served by the engine, under the policy that
/// proves it; under the others the kernel answers.
fn first_sight_is_the_first_call(ask: Ask) {
    let fds = eventfds(1);
    ring(fds[0]);
    let mut watched = Watched::new(&fds);
    let page = raw::mmap_anonymous(1).expect("memory");
    // SAFETY: the test's own page.
    let shows = unsafe { raw::madvise(page, 1, libc::MADV_POPULATE_WRITE) };
    // SAFETY: as above, and nobody uses it.
    unsafe { raw::munmap(page, 1) }.expect("it is mapped");
    if shows.is_err() {
        println!("before Linux 5.14 memory is not known at the first call: {shows:?}");
        assert_eq!(ask(&mut watched, -1), fds);
    }
    let served = counter("served");
    assert_eq!(ask(&mut watched, -1), fds);
    assert_eq!(counter("served") - served, u64::from(policy() == "register"));
    assert_eq!(queues().len(), usize::from(policy() == "register"));
    close_all(&fds);
}

fn each_has_its_own(ask: Ask) {
    let fds = eventfds(64);
    let before = queues().len();
    std::thread::scope(|scope| {
        for part in [&fds[..32], &fds[32..], &fds[16..48]] {
            scope.spawn(move || {
                let mut watched = Watched::new(part);
                for round in 0..200 {
                    let fd = part[round % part.len()];
                    // Nobody hushes: each is rung by each, so that no answer depends on others.
                    if round >= 150 {
                        ring(fd);
                        assert!(ask(&mut watched, -1).contains(&fd));
                    } else {
                        ask(&mut watched, 0);
                    }
                }
            });
        }
    });
    // A thread's end is told to join before its keys are destroyed, by some systems.
    crate::test_support::leak::assert_threads_end(1);
    assert_eq!(queues().len(), before, "a thread that ends leaves no queue");
    close_all(&fds);
}

/// Threads that close, open and ring, beside threads that ask. When all have come to rest, each
/// asker must see what the kernel sees.
fn many_at_once(ask: Ask) {
    let fds = eventfds(48);
    for round in 0..10 {
        std::thread::scope(|scope| {
            for asker in 0..2 {
                let fds = &fds;
                scope.spawn(move || {
                    let mut watched = Watched::new(&fds[asker * 8..asker * 8 + 40]);
                    for _ in 0..300 {
                        let mut copy = Watched::new(&[]);
                        std::mem::swap(&mut copy.array, &mut watched.array);
                        // The answer of this moment is of no moment; EBADF is one of select's.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                            ask(&mut copy, 1)
                        }));
                        std::mem::swap(&mut copy.array, &mut watched.array);
                    }
                    QUIET.wait();
                    for _ in 0..20 {
                        assert_eq!(ask(&mut watched, 0), watched.truth(), "round {round}");
                    }
                    QUIET.wait();
                });
            }
            let fds = &fds;
            scope.spawn(move || {
                for step in 0..2000_usize {
                    let fd = fds[step * 7 % 48];
                    // In one step: between two, a queue may be made at that number.
                    let new = sys::eventfd(0).expect("eventfd");
                    // SAFETY: the test's own.
                    assert_eq!(unsafe { libc::dup2(new.as_raw_fd(), fd) }, fd);
                    if step % 3 == 0 {
                        ring(fd);
                    }
                }
                QUIET.wait();
                QUIET.wait();
            });
        });
    }
    crate::test_support::leak::assert_threads_end(1);
    close_all(&fds);
}

static QUIET: std::sync::LazyLock<std::sync::Barrier> =
    std::sync::LazyLock::new(|| std::sync::Barrier::new(3));

/// What the handler asks about.
struct Handlers(UnsafeCell<Option<(Watched, Ask)>>);
// SAFETY: only the thread under test touches it, before the signal and in the handler.
unsafe impl Sync for Handlers {}
static HANDLERS: Handlers = Handlers(UnsafeCell::new(None));
static SAW: AtomicI32 = AtomicI32::new(0);

extern "C" fn ask_in_handler(_: libc::c_int) {
    // SAFETY: see `Handlers`.
    if let Some((watched, ask)) = unsafe { &mut *HANDLERS.0.get() } {
        SAW.store(ask(watched, 0).len() as i32, Ordering::SeqCst);
    }
}

fn a_handler_that_asks_too(ask: Ask) {
    let fds = eventfds(48);
    let mut watched = Watched::new(&fds[..32]);
    watched.warm_up(ask);
    let mut other = Watched::new(&fds[16..]);
    other.warm_up(ask);
    // SAFETY: see `Handlers`; the handler is installed below.
    unsafe { *HANDLERS.0.get() = Some((other, ask)) };
    signals::handle(libc::SIGUSR1, ask_in_handler);
    // The last is in the handler's set only; nothing wakes us but the signal.
    ring(fds[47]);
    // SAFETY: takes no pointer.
    let task = unsafe { libc::gettid() };
    for pause in [0, 30] {
        SAW.store(0, Ordering::SeqCst);
        let body = move || {
            // SAFETY: takes no pointer; the thread lives.
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), task, libc::SIGUSR1) };
        };
        let mut array: Vec<_> = fds[..32].iter().copied().map(readable).collect();
        let interrupted = while_asleep(pause, body, || {
            // SAFETY: the array is ours.
            let ready = unsafe { libc::poll(array.as_mut_ptr(), 32, -1) };
            (ready, nix::errno::Errno::last())
        });
        assert_eq!(interrupted, (-1, nix::errno::Errno::EINTR));
        assert_eq!(SAW.load(Ordering::SeqCst), 1, "the handler's call is right");
    }
    assert_eq!(while_asleep(0, || ring(fds[3]), || ask(&mut watched, -1)), [fds[3]]);
    close_all(&fds);
}

fn stopped_and_continued(ask: Ask) {
    let fds = eventfds(24);
    let mut watched = Watched::new(&fds);
    let child = sys::fork(|| {
        watched.warm_up(ask);
        i32::from(ask(&mut watched, -1) != fds[..1])
    });
    threads::wait_until_process_sleeps(child.pid());
    for signal in [libc::SIGSTOP, libc::SIGCONT] {
        // SAFETY: takes no pointer; the child is ours.
        assert_eq!(unsafe { libc::kill(child.pid(), signal) }, 0);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    threads::wait_until_process_sleeps(child.pid());
    ring(fds[0]);
    assert_eq!(child.wait(), 0, "the call went on");
    close_all(&fds);
}

fn out_of_descriptors(ask: Ask) {
    let fds = eventfds(24);
    let mut watched = Watched::new(&fds);
    let before = sys::set_descriptor_limit(fds[23] as u64 + 1);
    for round in 0..600 {
        let fd = fds[round % 24];
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd]);
        hush(fd);
        assert_eq!(ask(&mut watched, 0), []);
    }
    sys::set_descriptor_limit(before);
    assert_eq!(queues(), []);
    watched.warm_up(ask);
    close_all(&fds);
}

/// Under a filter that forbids epoll altogether.
fn out_of_system_calls(ask: Ask) {
    let fds = eventfds(24);
    let status = sys::in_child(|| {
        filter::refuse(&[libc::SYS_epoll_create1], nix::errno::Errno::EPERM);
        let mut watched = Watched::new(&fds);
        for round in 0..600 {
            let fd = fds[round % 24];
            ring(fd);
            if ask(&mut watched, -1) != [fd] {
                return 1;
            }
            hush(fd);
        }
        0
    });
    assert_eq!(status, 0);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let status = sys::in_child(|| {
        let mut watched = Watched::new(&fds);
        watched.warm_up(ask);
        filter::refuse(&[libc::SYS_epoll_wait, libc::SYS_epoll_pwait], nix::errno::Errno::EPERM);
        for round in 0..600 {
            let fd = fds[round % 24];
            ring(fd);
            if ask(&mut watched, -1) != [fd] {
                return 1;
            }
            hush(fd);
        }
        0
    });
    assert_eq!(status, 0);
    close_all(&fds);
}

/// No memory, or more registrations than /proc/sys/fs/epoll/max_user_watches.
fn out_of_registrations(ask: Ask) {
    for errno in [nix::errno::Errno::ENOSPC, nix::errno::Errno::ENOMEM] {
        for known in [false, true] {
            let fds = eventfds(24);
            let status = sys::in_child(|| {
                let mut watched = Watched::new(&fds);
                if known {
                    watched.warm_up(ask);
                }
                filter::refuse(&[libc::SYS_epoll_ctl], errno);
                for round in 0..600 {
                    // Those that are there go and come back, so that there is something to register.
                    let entry = watched.array.remove(round % 23);
                    watched.array.push(entry);
                    let fd = fds[round % 24];
                    ring(fd);
                    if ask(&mut watched, -1) != [fd] {
                        return 1;
                    }
                    hush(fd);
                    if !ask(&mut watched, 0).is_empty() {
                        return 2;
                    }
                }
                0
            });
            assert_eq!(status, 0, "{errno}, known: {known}");
            close_all(&fds);
        }
    }
}

fn leaves_no_queue(ask: Ask) {
    let fds = eventfds(24);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    assert_eq!(queues().len(), usize::from(policy() != "off"));
    let shell = std::process::Command::new("sh").args(["-c", "ls -l /proc/self/fd"]).output();
    let listing = String::from_utf8(shell.expect("sh runs").stdout).expect("text");
    assert!(listing.contains("->") && !listing.contains("anon_inode"), "{listing}");
    assert_eq!(while_asleep(0, || ring(fds[3]), || ask(&mut watched, -1)), [fds[3]]);
    close_all(&fds);
}

/// A program that forbids itself system calls, as OpenSSH's child does, has not forbidden poll and
/// select: whatever the engine would do beside them would end it.
fn under_a_filter_of_its_own(ask: Ask) {
    let deadly = [
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_getpid,
        libc::SYS_madvise,
        libc::SYS_clock_gettime,
    ];
    let program = filter::program(&deadly, libc::SECCOMP_RET_KILL_PROCESS);
    let program =
        libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    type Way = fn(*const libc::sock_fprog) -> i64;
    let by_prctl: Way = |program| {
        // SAFETY: the kernel reads the program, which lives until the call is over.
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, program).into() }
    };
    let by_syscall: Way = |program| {
        // SAFETY: see above.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, program) }
    };
    for confine in [by_prctl, by_syscall] {
        let fds = eventfds(24);
        let status = sys::in_child(|| {
            let mut watched = Watched::new(&fds);
            watched.warm_up(ask);
            // SAFETY: takes no pointer.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
            assert_eq!(confine(&raw const program), 0);
            for round in 0..100 {
                let fd = fds[round % 20];
                ring(fd);
                assert_eq!(ask(&mut watched, -1), [fd]);
                hush(fd);
            }
            watched.array.truncate(20);
            close_all(&fds[20..]);
            assert_eq!(ask(&mut watched, 0), []);
            0
        });
        assert_eq!(status, 0);
        close_all(&fds);
    }
}
