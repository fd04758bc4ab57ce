//! Numbers that are closed and opened again.

use std::ffi::CString;
use std::os::fd::{AsRawFd, RawFd};

use crate::raw;
use crate::test_support::harness::Rule;
use crate::test_support::preload::{counter, policy};
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, keep, queues, registrations, reopen, ring,
    while_asleep,
};
use crate::test_support::{sys, threads};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    close a_number_closed_and_opened_again_is_another,
    close a_dup_that_lives_on_is_not_reported,
    close a_child_that_keeps_the_file_does_not_matter,
    close stdio_closes_inside_libc,
    close pclose_closes_inside_libc,
    close ranges_are_closed,
    close a_hook_deletes_the_registration_at_once,
    close many_closes_at_once_are_all_seen,
    close a_vfork_child_changes_nothing,
    close a_forked_child_changes_nothing,
    unseen data_before_the_sleep,
    unseen data_while_asleep,
    unseen data_after_t,
    unseen in_a_loop_that_is_never_idle,
    unseen a_dup_that_lives_on_is_found_out,
    unseen a_range_is_closed,
    unseen everything_is_closed,
    unseen a_queue_of_the_programs_takes_the_number,
    threads closed_by_another_before_the_sleep,
    threads closed_by_another_during_the_sleep,
];

const COUNT: usize = 24;

/// A way to close a number, or to close and reopen it, and its name.
type Way = (&'static str, fn(RawFd));
/// A way to close and reopen a number.
type Both = (&'static str, Box<dyn Fn(RawFd)>);

/// Ways to close one number that a hook sees.
fn ways() -> Vec<Way> {
    fn close(fd: RawFd) {
        // SAFETY: the test's own.
        assert_eq!(unsafe { libc::close(fd) }, 0);
    }
    fn close_range(fd: RawFd) {
        // SAFETY: the test's own.
        assert_eq!(unsafe { libc::close_range(fd as u32, fd as u32, 0) }, 0);
    }
    fn by_syscall(fd: RawFd) {
        // SAFETY: the test's own.
        assert_eq!(unsafe { libc::syscall(libc::SYS_close, fd) }, 0);
    }
    fn fclose(fd: RawFd) {
        // SAFETY: the test's own; the stream is not used after.
        unsafe { assert_eq!(libc::fclose(libc::fdopen(fd, c"r".as_ptr())), 0) };
    }
    vec![
        ("close", close),
        ("close_range", close_range),
        ("syscall", by_syscall),
        ("fclose", fclose),
    ]
}

/// Ways to replace one number that a hook sees.
fn replacements() -> Vec<Way> {
    fn with(fd: RawFd, dup: impl Fn(RawFd, RawFd) -> i64) {
        let new = sys::eventfd(0).expect("eventfd");
        assert_eq!(dup(new.as_raw_fd(), fd), fd.into());
    }
    // SAFETY (of all): descriptors of the test's own.
    fn dup2(fd: RawFd) {
        // SAFETY: see above.
        with(fd, |new, fd| unsafe { libc::dup2(new, fd).into() });
    }
    fn dup3(fd: RawFd) {
        // SAFETY: see above.
        with(fd, |new, fd| unsafe { libc::dup3(new, fd, libc::O_CLOEXEC).into() });
    }
    fn by_syscall(fd: RawFd) {
        // SAFETY: see above.
        with(fd, |new, fd| unsafe { libc::syscall(libc::SYS_dup3, new, fd, 0) });
    }
    vec![("dup2", dup2), ("dup3", dup3), ("syscall(dup3)", by_syscall)]
}

fn all_ways() -> Vec<Both> {
    let closes = ways().into_iter().map(|(name, close)| {
        let both = move |fd| {
            close(fd);
            reopen(fd);
        };
        (name, Box::new(both) as Box<dyn Fn(RawFd)>)
    });
    let replaced =
        replacements().into_iter().map(|(name, f)| (name, Box::new(f) as Box<dyn Fn(RawFd)>));
    closes.chain(replaced).collect()
}

fn a_number_closed_and_opened_again_is_another(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    for (at, (name, way)) in all_ways().into_iter().enumerate() {
        watched.warm_up(ask);
        let fd = fds[at];
        way(fd);
        assert_eq!(ask(&mut watched, 0), [], "{name}");
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd], "{name}");
        hush(fd);
        way(fd);
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd], "{name}: at once");
        hush(fd);
        way(fd);
        let woken = while_asleep(0, || ring(fd), || ask(&mut watched, -1));
        assert_eq!(woken, [fd], "{name}: while asleep");
        hush(fd);
    }
    close_all(&fds);
}

fn a_dup_that_lives_on_is_not_reported(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    for (at, (name, way)) in all_ways().into_iter().enumerate() {
        watched.warm_up(ask);
        let fd = fds[at];
        let old = keep(fd);
        way(fd);
        ring(old.as_raw_fd());
        assert_eq!(ask(&mut watched, 0), [], "{name}");
        assert_eq!(ask(&mut watched, 30), [], "{name}");
        ring(fd);
        assert_eq!(ask(&mut watched, -1), [fd], "{name}");
        hush(fd);
    }
    watched.warm_up(ask);
    assert_eq!(counter("stale") + counter("rebuilt"), 0, "a hook deletes what it can address");
    close_all(&fds);
}

fn a_child_that_keeps_the_file_does_not_matter(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let (stop, tell) = (sys::eventfd(0).expect("eventfd"), sys::eventfd(0).expect("eventfd"));
    let fd = fds[3];
    let child = sys::fork(|| {
        ring(fd);
        ring(tell.as_raw_fd());
        threads::wait_until_ready(stop.as_raw_fd(), libc::POLLIN);
        0
    });
    threads::wait_until_ready(tell.as_raw_fd(), libc::POLLIN);
    assert_eq!(ask(&mut watched, -1), [fd]);
    (ways()[0].1)(fd);
    reopen(fd);
    assert_eq!(ask(&mut watched, 0), []);
    assert_eq!(ask(&mut watched, 30), []);
    assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
    hush(fd);
    ring(stop.as_raw_fd());
    assert_eq!(child.wait(), 0);
    watched.warm_up(ask);
    close_all(&fds);
}

fn stdio_closes_inside_libc(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let fd = fds[5];
    let before = registrations();
    // SAFETY: the test's own descriptor and stream.
    unsafe {
        let stream = libc::fdopen(fd, c"r".as_ptr());
        assert!(!stream.is_null());
        let old = keep(fd);
        assert!(!libc::freopen(c"/dev/null".as_ptr(), c"r".as_ptr(), stream).is_null());
        assert_eq!(libc::fileno(stream), fd);
        if before > 0 {
            assert_eq!(registrations(), before - 1, "freopen deletes the registration");
        }
        ring(old.as_raw_fd());
        // /dev/null is always readable.
        assert_eq!(ask(&mut watched, -1), [fd]);
        assert_eq!(libc::fclose(stream), 0);
    }
    reopen(fd);
    assert_eq!(ask(&mut watched, 0), []);
    // closedir: a directory is asked by number, and what comes after it may be registered.
    // SAFETY: the test's own.
    unsafe {
        let directory = libc::opendir(c"/".as_ptr());
        let fd = libc::dirfd(directory);
        let mut with = Watched::new(&[&fds[..], &[fd]].concat());
        for _ in 0..50 {
            assert_eq!(ask(&mut with, 0), [fd]);
        }
        assert_eq!(libc::closedir(directory), 0);
        reopen(fd);
        assert_eq!(ask(&mut with, 0), []);
        with.warm_up(ask);
        ring(fd);
        assert_eq!(ask(&mut with, -1), [fd]);
        close_all(&[fd]);
    }
    close_all(&fds);
}

fn pclose_closes_inside_libc(ask: Ask) {
    let mut fds = eventfds(COUNT);
    let command = CString::new("sleep 0.2").expect("no zero byte");
    // SAFETY: the command is a C string.
    let stream = unsafe { libc::popen(command.as_ptr(), c"r".as_ptr()) };
    assert!(!stream.is_null());
    // SAFETY: an open stream.
    let fd = unsafe { libc::fileno(stream) };
    fds.push(fd);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let old = keep(fd);
    let before = registrations();
    // SAFETY: an open stream, not used after.
    assert_eq!(unsafe { libc::pclose(stream) }, 0);
    if before > 0 {
        assert_eq!(registrations(), before - 1);
    }
    drop(old);
    reopen(fd);
    assert_eq!(ask(&mut watched, 0), []);
    assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
    close_all(&fds);
}

fn ranges_are_closed(ask: Ask) {
    type Range = fn(RawFd, RawFd);
    // SAFETY (of all): closes what the test opened, and what nobody has.
    let ways: [(&str, Range); 2] = [
        // SAFETY: see above.
        ("close_range", |first, last| unsafe {
            assert_eq!(libc::close_range(first as u32, last as u32, 0), 0);
        }),
        ("closefrom", |first, _| {
            unsafe extern "C" {
                fn closefrom(low: libc::c_int);
            }
            // SAFETY: see above.
            unsafe { closefrom(first) };
        }),
    ];
    for (name, way) in ways {
        let fds = eventfds(COUNT);
        let mut watched = Watched::new(&fds);
        watched.warm_up(ask);
        let (queues, last) = (crate::test_support::watched::queues(), fds[COUNT - 1]);
        let kept: Vec<_> = fds[16..].iter().map(|&fd| (fd, keep(fd))).collect();
        let before = registrations();
        way(fds[16], last);
        if before > 0 && name == "close_range" {
            assert_eq!(registrations(), before - 8, "{name}");
        }
        // closefrom has closed those too.
        let lost = name == "closefrom";
        fds[16..].iter().for_each(|&fd| reopen(fd));
        assert_eq!(ask(&mut watched, 0), [], "{name}");
        if !lost {
            kept.iter().for_each(|(_, old)| ring(old.as_raw_fd()));
        }
        assert_eq!(ask(&mut watched, 30), [], "{name}");
        ring(fds[20]);
        assert_eq!(ask(&mut watched, -1), [fds[20]], "{name}");
        hush(fds[20]);
        watched.warm_up(ask);
        assert_eq!(crate::test_support::watched::queues(), queues, "{name}: queues are hidden");
        for (_, old) in kept {
            if lost {
                // Its number is closed, as far as this process goes.
                std::mem::forget(old);
            }
        }
        close_all(&fds);
    }
}

fn a_hook_deletes_the_registration_at_once(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    for (at, (name, way)) in all_ways().into_iter().enumerate() {
        watched.warm_up(ask);
        let before = registrations();
        assert_eq!(before > 0, policy() != "off", "{name}");
        let old = keep(fds[at]);
        way(fds[at]);
        assert_eq!(registrations(), before.saturating_sub(1), "{name}");
        drop(old);
    }
    close_all(&fds);
}

fn many_closes_at_once_are_all_seen(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    // More than there are places for notes.
    for &fd in &fds[..20] {
        (ways()[0].1)(fd);
    }
    fds[..20].iter().for_each(|&fd| reopen(fd));
    fds[..20].iter().for_each(|&fd| ring(fd));
    assert_eq!(ask(&mut watched, -1), fds[..20]);
    close_all(&fds);
}

/// A child that shares our memory but not our descriptors closes them all.
fn in_vfork_child(fds: &[RawFd]) {
    extern "C" fn child(fds: *mut libc::c_void) -> libc::c_int {
        // SAFETY: the parent, which waits, passes its vector.
        let fds = unsafe { &*fds.cast::<Vec<RawFd>>() };
        for &fd in fds {
            // SAFETY: the child's own table.
            if unsafe { libc::close(fd) } != 0 {
                return 1;
            }
        }
        0
    }
    let mut list = fds.to_vec();
    let mut stack = vec![0_u8; 1 << 18];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut status = 0;
    // SAFETY: the child has a stack of its own and touches only the list; we wait for it.
    unsafe {
        let top = stack.as_mut_ptr().add(stack.len() & !15);
        let pid = libc::clone(child, top.cast(), flags, (&raw mut list).cast());
        assert!(pid > 0);
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
    }
    assert_eq!(status, 0);
}

fn a_vfork_child_changes_nothing(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let before = registrations();
    in_vfork_child(&fds);
    assert_eq!(registrations(), before, "its closes are not ours");
    assert_eq!(ask(&mut watched, 0), []);
    assert_eq!(while_asleep(0, || ring(fds[9]), || ask(&mut watched, -1)), [fds[9]]);
    hush(fds[9]);
    watched.warm_up(ask);
    assert_eq!(registrations(), before);
    close_all(&fds);
}

fn a_forked_child_changes_nothing(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let before = registrations();
    let reused = counter("reused");
    let mut copy = Watched::new(&fds);
    let status = sys::in_child(|| {
        // First with what it has from its parent, then with others.
        if !ask(&mut copy, 0).is_empty() {
            return 1;
        }
        fds[..12].iter().for_each(|&fd| (ways()[0].1)(fd));
        fds[..12].iter().for_each(|&fd| reopen(fd));
        for _ in 0..300 {
            if !ask(&mut copy, 0).is_empty() {
                return 2;
            }
        }
        ring(fds[0]);
        if ask(&mut copy, -1) != fds[..1] {
            return 3;
        }
        0
    });
    assert_eq!(status, 0);
    assert_eq!((registrations(), counter("reused")), (before, reused));
    assert_eq!(while_asleep(0, || ring(fds[9]), || ask(&mut watched, -1)), [fds[9]]);
    close_all(&fds);
}

/// A close that no hook sees.
fn close_unseen(fd: RawFd) {
    raw::close(fd).expect("it is open");
}

fn data_before_the_sleep(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    close_unseen(fds[7]);
    reopen(fds[7]);
    ring(fds[7]);
    assert_eq!(ask(&mut watched, -1), [fds[7]]);
    hush(fds[7]);
    // It is known again: the next one does not have to wait for T.
    watched.warm_up(ask);
    close_all(&fds);
}

fn data_while_asleep(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    close_unseen(fds[7]);
    reopen(fds[7]);
    assert_eq!(while_asleep(0, || ring(fds[7]), || ask(&mut watched, -1)), [fds[7]]);
    close_all(&fds);
}

fn data_after_t(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    close_unseen(fds[7]);
    reopen(fds[7]);
    let changed = counter("changed_over");
    assert_eq!(while_asleep(100, || ring(fds[7]), || ask(&mut watched, -1)), [fds[7]]);
    assert_eq!(counter("changed_over") - changed, u64::from(policy() != "off"));
    close_all(&fds);
}

fn in_a_loop_that_is_never_idle(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    ring(fds[0]);
    for &fd in &fds[1..4] {
        close_unseen(fd);
        reopen(fd);
        ring(fd);
        // Ends, or the test hangs.
        while ask(&mut watched, -1) != [fds[0], fd] {}
        hush(fd);
    }
    close_all(&fds);
}

fn a_dup_that_lives_on_is_found_out(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let old = keep(fds[7]);
    close_unseen(fds[7]);
    reopen(fds[7]);
    ring(old.as_raw_fd());
    // What nobody told of may be reported for a while, and no longer.
    while !ask(&mut watched, 50).is_empty() {}
    for _ in 0..200 {
        assert_eq!(ask(&mut watched, 0), []);
    }
    watched.warm_up(ask);
    let rebuilt = counter("rebuilt");
    assert!(rebuilt <= 3, "{rebuilt} queues for one descriptor");
    assert_eq!(while_asleep(0, || ring(fds[7]), || ask(&mut watched, -1)), [fds[7]]);
    close_all(&fds);
}

fn a_range_is_closed(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    let (first, last) = (fds[5], fds[9]);
    assert_eq!(last - first, 4, "numbers in a row");
    // SAFETY: the test's own descriptors; no pointer. In assembly, past the hook on syscall().
    let done = unsafe {
        syscalls::raw::syscall3(
            syscalls::Sysno::close_range as usize,
            first as usize,
            last as usize,
            0,
        )
    };
    if done as isize == -(libc::ENOSYS as isize) {
        println!("before Linux 5.9 there is no close_range: one by one");
        fds[5..10].iter().for_each(|&fd| close_unseen(fd));
    }
    fds[5..10].iter().for_each(|&fd| reopen(fd));
    for &fd in &fds[5..10] {
        assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        hush(fd);
    }
    watched.warm_up(ask);
    close_all(&fds);
}

fn everything_is_closed(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    // Our queues among the rest.
    close_all(&(3..2000).collect::<Vec<_>>());
    fds.iter().for_each(|&fd| reopen(fd));
    ring(fds[4]);
    assert_eq!(ask(&mut watched, -1), [fds[4]]);
    hush(fds[4]);
    assert_eq!(ask(&mut watched, 0), []);
    watched.warm_up(ask);
    // And by libc, which does not show them.
    let queues = crate::test_support::watched::queues();
    for fd in 3..2000 {
        // SAFETY: nothing here needs a descriptor.
        let closed = unsafe { libc::close(fd) } == 0;
        assert_eq!(closed, fds.contains(&fd), "{fd}");
    }
    assert_eq!(crate::test_support::watched::queues(), queues);
    fds.iter().for_each(|&fd| reopen(fd));
    ring(fds[4]);
    assert_eq!(ask(&mut watched, -1), [fds[4]]);
    close_all(&fds);
}

/// It is the program's from then on: neither closed nor changed.
fn a_queue_of_the_programs_takes_the_number(ask: Ask) {
    for ready in [false, true] {
        let fds = eventfds(COUNT);
        let mut watched = Watched::new(&fds);
        watched.warm_up(ask);
        let inside = sys::eventfd(u32::from(ready)).expect("eventfd");
        let numbers = queues();
        for &number in &numbers {
            let theirs = sys::own_epoll();
            let event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0x7777 };
            let add = libc::EPOLL_CTL_ADD;
            raw::epoll_ctl(theirs.as_raw_fd(), add, inside.as_raw_fd(), &event).expect("its own");
            raw::dup3(theirs.as_raw_fd(), number, libc::O_CLOEXEC).expect("a number that is open");
        }
        let see = |fd| {
            let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
            (fd, info.expect("it is open"))
        };
        let before: Vec<_> = numbers.iter().copied().map(see).collect();
        // Until it is found out the program's set may be asked; then there is another queue.
        while policy() != "off" && !queues().iter().any(|queue| !numbers.contains(queue)) {
            for &fd in &fds {
                ring(fd);
                assert_eq!(ask(&mut watched, -1), [fd]);
                hush(fd);
            }
        }
        assert_eq!(while_asleep(0, || ring(fds[3]), || ask(&mut watched, -1)), [fds[3]]);
        let after: Vec<_> = numbers.iter().copied().map(see).collect();
        assert_eq!(before, after);
        close_all(&fds);
        close_all(&numbers);
    }
}

fn closed_by_another_before_the_sleep(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    for &fd in &fds[..8] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (ways()[0].1)(fd);
                reopen(fd);
            });
        });
        assert_eq!(while_asleep(0, || ring(fd), || ask(&mut watched, -1)), [fd]);
        hush(fd);
    }
    close_all(&fds);
}

/// What may come of it: the kernel holds on to the old file, and looks at the number again when
/// anything wakes it. So the new file may be reported or not; what is reported is true, and what
/// happens to others is not missed.
fn closed_by_another_during_the_sleep(ask: Ask) {
    let fds = eventfds(COUNT);
    let mut watched = Watched::new(&fds);
    for round in 0..20 {
        watched.warm_up(ask);
        let (closed, other) = (fds[round], fds[23]);
        let body = || {
            (ways()[0].1)(closed);
            reopen(closed);
            ring(closed);
            ring(other);
        };
        let woken = while_asleep(0, body, || ask(&mut watched, -1));
        let allowed = [vec![other], vec![closed, other], vec![closed]];
        assert!(allowed.contains(&woken), "{woken:?}");
        threads::wait_until_ready(other, libc::POLLIN);
        assert_eq!(ask(&mut watched, -1), [closed, other], "at the next call nothing is missed");
        hush(closed);
        hush(other);
    }
    close_all(&fds);
}
