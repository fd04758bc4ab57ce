//! Descriptors that may not be registered, since their poll does not behave (see `sets::fit`): what
//! the engine says of them is the kernel's answer all the same.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::test_support::harness::Rule;
use crate::test_support::preload::policy;
use crate::test_support::watched::{
    Ask, Watched, close_all, eventfds, hush, registrations, ring, while_asleep,
};
use crate::test_support::{sockets, sys, threads};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    kinds every_other_kind_is_asked_by_number,
    kinds readiness_that_wakes_nobody,
    kinds the_table_of_mounts,
    kinds a_pressure_file,
    kinds a_tun_device,
    kinds a_pty,
];

const COUNT: usize = 24;

/// Asks about this one among [`COUNT`] others, which are registered, as it is not.
fn among_others(fd: RawFd, ask: Ask) -> (Vec<RawFd>, Watched) {
    let mut fds = eventfds(COUNT);
    fds.push(fd);
    let mut watched = Watched::new(&fds);
    for _ in 0..300 {
        let truth = watched.truth();
        assert_eq!(ask(&mut watched, 0), truth);
    }
    if policy() != "off" {
        assert_eq!(registrations(), COUNT);
    }
    fds.truncate(COUNT);
    (fds, watched)
}

fn opened(path: &str, flags: libc::c_int) -> Option<OwnedFd> {
    sys::open(path, flags).inspect_err(|errno| println!("{path} cannot be opened: {errno}")).ok()
}

fn every_other_kind_is_asked_by_number(ask: Ask) {
    let mut fds = eventfds(24);
    let epoll = sys::own_epoll();
    let file = sys::open("/proc/self/status", libc::O_RDONLY).expect("/proc is mounted");
    let null = sys::open("/dev/null", libc::O_RDWR).expect("/dev/null");
    let others = [epoll.as_raw_fd(), file.as_raw_fd(), null.as_raw_fd()];
    fds.extend(others);
    let mut watched = Watched::new(&fds);
    let expected = [file.as_raw_fd(), null.as_raw_fd()];
    for _ in 0..200 {
        assert_eq!(ask(&mut watched, 0), expected);
        assert_eq!(ask(&mut watched, -1), expected);
    }
    if policy() != "off" {
        // The epoll descriptor is not one level deeper than its program thinks.
        assert_eq!(registrations(), 24);
    }
    close_all(&fds[..24]);
}

/// The byte out of band becomes one of the stream, by a socket option: the queue is not told.
fn readiness_that_wakes_nobody(ask: Ask) {
    let mut fds = eventfds(24);
    let (one, other) = sockets::tcp_pair().expect("loopback works");
    fds.push(one.as_raw_fd());
    let mut watched = Watched::new(&fds);
    watched.warm_up(ask);
    sockets::send(other.as_raw_fd(), b"!", libc::MSG_OOB).expect("it is connected");
    threads::wait_until_ready(one.as_raw_fd(), libc::POLLPRI);
    watched.warm_up(ask);
    let copy = sys::dup(one.as_raw_fd()).expect("dup");
    sockets::set_option(copy.as_raw_fd(), libc::SOL_SOCKET, libc::SO_OOBINLINE, 1).expect("it may");
    assert_eq!(ask(&mut watched, 0), [one.as_raw_fd()]);
    assert_eq!(ask(&mut watched, -1), [one.as_raw_fd()]);
    close_all(&fds[..24]);
}

/// Its poll tells of each change of the table once: whoever asks takes that away from all who share
/// the descriptor.
fn the_table_of_mounts(ask: Ask) {
    let status = sys::in_child(|| {
        let Some(mounts) = opened("/proc/self/mounts", libc::O_RDONLY) else { return 0 };
        let fd = mounts.as_raw_fd();
        let (_, mut watched) = among_others(fd, ask);
        drop(mounts);
        // SAFETY: takes no pointer.
        if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) } != 0 {
            println!("no mount of our own: {}; changes are not tried", Errno::last());
            return 0;
        }
        // That of the new name space.
        let mounts = opened("/proc/self/mounts", libc::O_RDONLY).expect("it could be before");
        assert_eq!(mounts.as_raw_fd(), fd, "the lowest free number");
        for _ in 0..3 {
            for _ in 0..50 {
                assert_eq!(ask(&mut watched, -1), [fd]);
            }
            let (none, tmpfs) = (std::ptr::null(), c"tmpfs".as_ptr());
            // SAFETY: strings of the test's own; the mount is in a name space of the child's.
            let mounted = unsafe { libc::mount(tmpfs, c"/tmp".as_ptr(), tmpfs, 0, none) };
            if mounted != 0 {
                println!("no mount of our own: {}; changes are not tried", Errno::last());
                return 0;
            }
            let mut told = 0;
            for _ in 0..200 {
                assert_eq!(ask(&mut watched, -1), [fd]);
                let revents = watched.array.last().expect("it is there").revents;
                // select has not told what is ready; poll has.
                told += i32::from(revents == 0 || revents & libc::POLLERR != 0);
            }
            let by_select = watched.array.iter().all(|entry| entry.revents == 0);
            assert!(by_select || told == 1, "told {told} times");
        }
        0
    });
    assert_eq!(status, 0);
}

fn a_pressure_file(ask: Ask) {
    // Without a trigger its poll says that there is none, always.
    let Some(pressure) = opened("/proc/pressure/cpu", libc::O_RDONLY) else { return };
    let fd = pressure.as_raw_fd();
    let (fds, mut watched) = among_others(fd, ask);
    ring(fds[5]);
    assert_eq!(ask(&mut watched, -1), watched.truth());
    close_all(&fds);
}

/// One that is not attached: its wait queue will be another one later.
fn a_tun_device(ask: Ask) {
    let Some(tun) = opened("/dev/net/tun", libc::O_RDWR) else { return };
    let (fds, mut watched) = among_others(tun.as_raw_fd(), ask);
    ring(fds[5]);
    assert_eq!(ask(&mut watched, -1), watched.truth());
    close_all(&fds);
}

/// A terminal that passes bytes on as they come: its two ends.
fn pty() -> (OwnedFd, OwnedFd) {
    let (master, slave) = sys::pty().expect("a pseudo-terminal");
    let fd = slave.as_raw_fd();
    // SAFETY: writes the settings that are read before.
    unsafe {
        let mut settings = std::mem::zeroed();
        assert_eq!(libc::tcgetattr(fd, &mut settings), 0);
        libc::cfmakeraw(&mut settings);
        assert_eq!(libc::tcsetattr(fd, libc::TCSANOW, &settings), 0);
    }
    (master, slave)
}

/// What is flushed is not ready any more, and nobody is woken for it; what is written is.
fn a_pty(ask: Ask) {
    let (master, slave) = pty();
    let fd = master.as_raw_fd();
    let (fds, mut watched) = among_others(fd, ask);
    for _ in 0..20 {
        let write = || assert_eq!(sys::write(slave.as_raw_fd(), b"x"), Ok(1));
        assert_eq!(while_asleep(0, write, || ask(&mut watched, -1)), [fd]);
        assert_eq!(ask(&mut watched, 0), [fd]);
        sys::read(fd, 1).expect("the byte");
        assert_eq!(ask(&mut watched, 0), []);
        write();
        threads::wait_until_ready(fd, libc::POLLIN);
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { libc::tcflush(slave.as_raw_fd(), libc::TCOFLUSH) }, 0);
        let truth = watched.truth();
        assert_eq!(ask(&mut watched, 0), truth);
        if truth == [fd] {
            sys::read(fd, 1).expect("the byte");
        }
        ring(fds[7]);
        assert_eq!(ask(&mut watched, -1), [fds[7]]);
        hush(fds[7]);
    }
    assert_eq!(while_asleep(0, || drop(slave), || ask(&mut watched, -1)), [fd], "it hung up");
    close_all(&fds);
}
