//! Group B: what epoll_ctl refuses, and in which order it looks.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::null_mut;

use kq_core::test_support::harness::Rule;
use kq_core::test_support::{sockets, sys, zoo::Kind};
use libc::{c_int, epoll_event};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ADD, DEL, Epoll, IN, MOD, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    B01 an_event_is_needed_but_for_del,
    B02 an_unknown_operation_is_refused_last,
    B03 numbers_that_are_not_open_are_refused,
    B04 what_is_no_instance_is_refused,
    B05 an_instance_cannot_watch_itself,
    B06 files_that_are_always_ready_are_refused,
    B07 that_a_file_is_refused_comes_before_that_there_is_no_instance,
    B08 adding_twice_is_refused_and_changes_nothing,
    B09 what_is_not_registered_cannot_be_changed_or_deleted,
    B10 del_ignores_the_event_and_add_works_again,
    B11 unknown_bits_and_no_bits_are_accepted,
    B15 wakeup_is_accepted_and_never_reported,
];

const NOT_OPEN: [RawFd; 4] = [-1, c_int::MIN, 19_999, c_int::MAX];

fn an_event_is_needed_but_for_del(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    let unreadable = sys::guarded_page(libc::PROT_NONE).cast::<epoll_event>();
    for bad in [null_mut(), std::ptr::without_provenance_mut(8), unreadable] {
        for op in [ADD, MOD] {
            let result = epoll.0.epoll_ctl(ep.as_raw_fd(), op, fd.as_raw_fd(), bad);
            assert_eq!(result, Err(Errno::EFAULT), "op {op}, event {bad:p}");
        }
        epoll.add(&ep, &fd, IN, 0).unwrap();
        assert_eq!(epoll.0.epoll_ctl(ep.as_raw_fd(), DEL, fd.as_raw_fd(), bad), Ok(()));
    }
}

fn an_unknown_operation_is_refused_last(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    let file = Kind::DevNull.open(std::path::Path::new("/")).unwrap();
    let (ep, fd, file) = (ep.as_raw_fd(), fd.as_raw_fd(), file[0].as_raw_fd());
    let some = Some(event(IN, 0));
    for op in [0, 4, 99, -1, c_int::MIN] {
        assert_eq!(epoll.ctl(ep, op, fd, None), Err(Errno::EFAULT), "{op}");
        assert_eq!(epoll.ctl(ep, op, fd, some), Err(Errno::EINVAL), "{op}");
        assert_eq!(epoll.ctl(ep, op, -1, some), Err(Errno::EBADF), "{op}");
        assert_eq!(epoll.ctl(-1, op, fd, some), Err(Errno::EBADF), "{op}");
        assert_eq!(epoll.ctl(ep, op, file, some), Err(Errno::EPERM), "{op}");
    }
}

fn numbers_that_are_not_open_are_refused(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    let some = Some(event(IN, 0));
    for bad in NOT_OPEN {
        for op in [ADD, MOD, DEL] {
            assert_eq!(epoll.ctl(ep.as_raw_fd(), op, bad, some), Err(Errno::EBADF), "{op} {bad}");
            assert_eq!(epoll.ctl(bad, op, fd.as_raw_fd(), some), Err(Errno::EBADF), "{op} {bad}");
        }
        assert_eq!(epoll.ctl(bad, ADD, fd.as_raw_fd(), None), Err(Errno::EFAULT));
        assert_eq!(epoll.ctl(ep.as_raw_fd(), MOD, bad, None), Err(Errno::EFAULT));
        assert_eq!(epoll.ctl(bad, DEL, bad, None), Err(Errno::EBADF));
    }
    // A descriptor that is only a name for a path has no file operations: it counts as not open.
    let path = sys::open("/", libc::O_PATH).unwrap();
    assert_eq!(epoll.add(&ep, &path, IN, 0), Err(Errno::EBADF));
    assert_eq!(epoll.add(&path, &fd, IN, 0), Err(Errno::EBADF));
}

fn what_is_no_instance_is_refused(epoll: Epoll) {
    let (ep, fd) = (sys::eventfd(0).unwrap(), sys::eventfd(0).unwrap());
    let some = Some(event(IN, 0));
    for op in [ADD, MOD, DEL, 99] {
        assert_eq!(epoll.ctl(ep.as_raw_fd(), op, fd.as_raw_fd(), some), Err(Errno::EINVAL));
    }
}

fn an_instance_cannot_watch_itself(epoll: Epoll) {
    let ep = epoll.create();
    let copy = sys::dup(ep.as_raw_fd()).unwrap();
    for fd in [&ep, &copy] {
        for op in [ADD, MOD, DEL] {
            let result = epoll.ctl(ep.as_raw_fd(), op, fd.as_raw_fd(), Some(event(IN, 0)));
            assert_eq!(result, Err(Errno::EINVAL), "op {op}");
        }
    }
}

/// Files that have no poll operation, or are always ready.
fn files() -> Vec<OwnedFd> {
    let open = |path| sys::open(path, libc::O_RDONLY).unwrap();
    vec![open("/proc/self/exe"), open("/"), open("/dev/null"), open("/dev/zero"), sys::memfd()]
}

fn files_that_are_always_ready_are_refused(epoll: Epoll) {
    let ep = epoll.create();
    for file in files() {
        assert_eq!(epoll.add(&ep, &file, IN, 0), Err(Errno::EPERM));
    }
}

fn that_a_file_is_refused_comes_before_that_there_is_no_instance(epoll: Epoll) {
    let (ep, no_instance) = (epoll.create(), sys::eventfd(0).unwrap());
    for file in files() {
        for op in [ADD, MOD, DEL] {
            for epfd in [&ep, &no_instance, &file] {
                let some = Some(event(IN, 0));
                let result = epoll.ctl(epfd.as_raw_fd(), op, file.as_raw_fd(), some);
                assert_eq!(result, Err(Errno::EPERM), "op {op}");
            }
        }
    }
}

fn adding_twice_is_refused_and_changes_nothing(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(epoll.add(&ep, &fd, OUT, 2), Err(Errno::EEXIST));
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
}

fn what_is_not_registered_cannot_be_changed_or_deleted(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(0).unwrap());
    assert_eq!(epoll.modify(&ep, &fd, IN, 0), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(&ep, &fd), Err(Errno::ENOENT));
    epoll.add(&ep, &fd, IN, 0).unwrap();
    epoll.delete(&ep, &fd).unwrap();
    assert_eq!(epoll.delete(&ep, &fd), Err(Errno::ENOENT));
}

fn del_ignores_the_event_and_add_works_again(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    epoll.ctl(ep.as_raw_fd(), DEL, fd.as_raw_fd(), Some(event(u32::MAX, 9))).unwrap();
    assert_eq!(epoll.ready(&ep), []);
    epoll.add(&ep, &fd, OUT, 2).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 2)]);
}

fn unknown_bits_and_no_bits_are_accepted(epoll: Epoll) {
    let ep = epoll.create();
    // Neither the bits of EPOLLEXCLUSIVE and its like, nor any that has a meaning.
    let unknown = 0x0fff_d800;
    let (one, two) = (sys::eventfd(1).unwrap(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &one, unknown, 1).unwrap();
    epoll.add(&ep, &two, 0, 2).unwrap();
    assert_eq!(epoll.ready(&ep), []);
    epoll.modify(&ep, &one, unknown | IN, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
}

fn wakeup_is_accepted_and_never_reported(epoll: Epoll) {
    let ep = epoll.create();
    let (one, _other) = sockets::unix_pair(libc::SOCK_STREAM).unwrap();
    epoll.add(&ep, &one, OUT | kq_core::test_support::epoll::WAKEUP, 1).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 1)]);
}
