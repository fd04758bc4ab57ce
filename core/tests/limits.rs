//! What is said when the user may not, or has no more of something. Each test runs in a process and
//! a user namespace of its own, since the limits are the user's.

mod common;

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::*;
use kq_core::EventFilter::{EVFILT_READ, EVFILT_VNODE};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};

const CHILD: &str = "KQCOMPAT_TEST_LIMITS";

/// Runs a test of this file in a process and a user namespace of its own; false in that process,
/// which goes on, and true in the one that has waited for it.
fn isolated(name: &str) -> bool {
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    // SAFETY: takes no pointer and cannot fail.
    let map = format!("0 {} 1", unsafe { libc::geteuid() });
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env(CHILD, "1");
    // SAFETY: between fork and exec only system calls are made; the strings are as long as said.
    unsafe {
        command.pre_exec(move || {
            let done = libc::unshare(libc::CLONE_NEWUSER) == 0 && {
                let file = libc::open(c"/proc/self/uid_map".as_ptr(), libc::O_WRONLY);
                let written = libc::write(file, map.as_ptr().cast(), map.len());
                libc::close(file) == 0 && written == map.len() as isize
            };
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    match command.output() {
        Err(error) => println!("skipped: a user namespace: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
    true
}

/// Sets the limit on inotify's watches or instances to 3.
fn limit(what: &str) {
    std::fs::write(format!("/proc/sys/user/max_inotify_{what}"), "3").expect(what);
}

#[test]
fn no_more_watches_is_enospc() {
    if isolated("no_more_watches_is_enospc") {
        return;
    }
    limit("watches");
    let dir = Dir::new();
    let kq = Kqueue::new().unwrap();
    let files: Vec<_> = (0..5).map(|i| dir.file(&i.to_string())).collect();
    let add = |at: usize, filter| {
        apply(&kq, &[change(&files[at], filter, ADD | CLEAR, FilterFlag::NOTE_WRITE, 0)])
    };
    for at in 0..3 {
        assert_eq!(add(at, EVFILT_VNODE), Ok(()));
    }
    assert_eq!(add(3, EVFILT_VNODE), Err(Errno::ENOSPC));
    assert_eq!(add(3, EVFILT_READ), Err(Errno::ENOSPC));
    assert_eq!(kq.counters().knotes, 3);
    // The others go on, and what is given back can be had again.
    for mut file in &files[..3] {
        file.write_all(b"1").unwrap();
        assert_eq!(one(&kq, NOW).ident(), file.as_raw_fd() as usize);
    }
    let delete = change(&files[0], EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0);
    apply(&kq, &[delete]).unwrap();
    assert_eq!(add(3, EVFILT_VNODE), Ok(()));
}

#[test]
fn no_more_instances_is_emfile() {
    if isolated("no_more_instances_is_emfile") {
        return;
    }
    limit("instances");
    let dir = Dir::new();
    let mut file = dir.file("f");
    let asked = FilterFlag::NOTE_WRITE;
    let add: KEvent = change(&file, EVFILT_VNODE, ADD | CLEAR, asked, 0);
    let queues: Vec<_> = (0..4).map(|_| Kqueue::new().unwrap()).collect();
    for kq in &queues[..3] {
        assert_eq!(apply(kq, &[add]), Ok(()));
    }
    assert_eq!(apply(&queues[3], &[add]), Err(Errno::EMFILE));
    // Without a second instance a disabled knote keeps its events all the same.
    let kq = &queues[0];
    apply(kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_DISABLE, asked, 0)]).unwrap();
    file.write_all(b"1").unwrap();
    assert_eq!(take(kq, NOW), []);
    apply(kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_ENABLE, asked, 0)]).unwrap();
    assert_eq!(one(kq, NOW).fflags(), asked);
}

/// The highest number there could be is no reason for a table of two thousand million.
#[test]
fn a_number_far_beyond_is_ebadf_and_costs_nothing() {
    if isolated("a_number_far_beyond_is_ebadf_and_costs_nothing") {
        return;
    }
    let kq = Kqueue::new().unwrap();
    let most = libc::rlimit { rlim_cur: 1 << 30, rlim_max: 1 << 30 };
    // SAFETY: the structure is ours.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &most) }, 0);
    for flags in [ADD, EvFlags::EV_DELETE, EvFlags::EV_ENABLE] {
        let far = KEvent::new(i32::MAX as usize, EVFILT_READ, flags, NONE, 0, 0);
        assert_eq!(apply(&kq, &[far]), Err(Errno::EBADF));
    }
}

#[test]
fn a_file_that_may_not_be_read_is_eacces() {
    if isolated("a_file_that_may_not_be_read_is_eacces") {
        return;
    }
    let dir = Dir::new();
    let file = dir.file("f");
    file.set_permissions(Permissions::from_mode(0o200)).unwrap();
    let file = OpenOptions::new().write(true).open(dir.path("f")).unwrap();
    // From here on its owner is nobody special.
    // SAFETY: the kernel reads a header and two sets of capabilities.
    let done = unsafe {
        let header: [u32; 2] = [0x2008_0522, 0]; // version 3, this thread
        libc::syscall(libc::SYS_capset, header.as_ptr(), [0_u32; 6].as_ptr())
    };
    assert_eq!(done, 0);
    let kq = Kqueue::new().unwrap();
    let add = change(&file, EVFILT_VNODE, ADD, FilterFlag::NOTE_WRITE, 0);
    assert_eq!(apply(&kq, &[add]), Err(Errno::EACCES));
    assert_eq!(kq.counters().knotes, 0);
}
