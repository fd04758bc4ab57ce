//! Group B: what a registration belongs to. The key is the number and the open file together.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

use kq_core::test_support::{harness::Rule, sys};
use nix::errno::Errno;

use kq_core::test_support::epoll::{ADD, DEL, Epoll, IN, MOD, OUT, event};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    B19 one_descriptor_in_two_instances_reports_in_both,
    B20 a_dup_is_a_registration_of_its_own,
    B21 closing_the_last_descriptor_ends_the_registration,
    B22 a_closed_and_reused_number_is_a_new_one,
    B23 a_dup_keeps_the_registration_of_a_closed_number,
    B24 a_closed_number_kept_by_a_dup_does_not_bar_its_successor,
    B25 dup2_back_onto_the_number_makes_it_addressable_again,
    B26 a_dup_of_an_instance_shares_its_list,
    B26 an_instance_that_moved_by_dup2_is_the_same_instance,
    B27 a_childs_close_and_add_act_on_the_shared_instance,
    B28 a_child_keeps_a_registration_alive,
];

fn one_descriptor_in_two_instances_reports_in_both(epoll: Epoll) {
    let (one, two, fd) = (epoll.create(), epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&one, &fd, IN, 1).unwrap();
    epoll.add(&two, &fd, OUT, 2).unwrap();
    assert_eq!(epoll.ready(&one), [event(IN, 1)]);
    assert_eq!(epoll.ready(&two), [event(OUT, 2)]);
}

fn a_dup_is_a_registration_of_its_own(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    let copy = sys::dup(fd.as_raw_fd()).unwrap();
    epoll.add(&ep, &fd, IN, 1).unwrap();
    epoll.add(&ep, &copy, OUT, 2).unwrap();
    assert_eq!(epoll.ready(&ep), [event(IN, 1), event(OUT, 2)]);
    epoll.delete(&ep, &fd).unwrap();
    assert_eq!(epoll.ready(&ep), [event(OUT, 2)]);
}

fn closing_the_last_descriptor_ends_the_registration(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    let number = fd.as_raw_fd();
    epoll.add(&ep, &fd, IN, 1).unwrap();
    drop(fd);
    assert_eq!(epoll.ready(&ep), []);
    assert_eq!(epoll.ctl(ep.as_raw_fd(), DEL, number, None), Err(Errno::EBADF));
}

/// Closes a descriptor and opens another, a counter at 1, at its number.
fn reuse(fd: OwnedFd) -> OwnedFd {
    let number = fd.as_raw_fd();
    drop(fd);
    let new = sys::eventfd(1).unwrap();
    assert_eq!(new.as_raw_fd(), number, "the lowest free number");
    new
}

fn a_closed_and_reused_number_is_a_new_one(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let fd = reuse(fd);
    assert_eq!(epoll.modify(&ep, &fd, IN, 2), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(&ep, &fd), Err(Errno::ENOENT));
    assert_eq!(epoll.add(&ep, &fd, IN, 3), Ok(()));
    assert_eq!(epoll.ready(&ep), [event(IN, 3)]);
    let fd = reuse(fd);
    assert_eq!(epoll.add(&ep, &fd, OUT, 4), Ok(()));
    assert_eq!(epoll.ready(&ep), [event(OUT, 4)]);
}

fn a_dup_keeps_the_registration_of_a_closed_number(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    let number = fd.as_raw_fd();
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let copy = sys::dup(number).unwrap();
    drop(fd);
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    assert_eq!(epoll.ctl(ep.as_raw_fd(), DEL, number, None), Err(Errno::EBADF));
    assert_eq!(epoll.delete(&ep, &copy), Err(Errno::ENOENT));
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    drop(copy);
    assert_eq!(epoll.ready(&ep), []);
}

fn a_closed_number_kept_by_a_dup_does_not_bar_its_successor(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let _copy = sys::dup(fd.as_raw_fd()).unwrap();
    let fd = reuse(fd);
    assert_eq!(epoll.modify(&ep, &fd, IN, 2), Err(Errno::ENOENT));
    assert_eq!(epoll.add(&ep, &fd, OUT, 2), Ok(()));
    assert_eq!(epoll.ready(&ep), [event(IN, 1), event(OUT, 2)]);
    assert_eq!(epoll.delete(&ep, &fd), Ok(()));
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
}

fn dup2_back_onto_the_number_makes_it_addressable_again(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let copy = sys::dup(fd.as_raw_fd()).unwrap();
    let fd = reuse(fd);
    assert_eq!(epoll.delete(&ep, &fd), Err(Errno::ENOENT));
    sys::dup2(copy.as_raw_fd(), fd.as_raw_fd()).unwrap();
    assert_eq!(epoll.modify(&ep, &fd, OUT, 5), Ok(()));
    assert_eq!(epoll.ready(&ep), [event(OUT, 5)]);
    assert_eq!(epoll.delete(&ep, &fd), Ok(()));
    assert_eq!(epoll.ready(&ep), []);
}

fn a_dup_of_an_instance_shares_its_list(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    let copy = sys::dup(ep.as_raw_fd()).unwrap();
    epoll.add(&ep, &fd, IN, 1).unwrap();
    assert_eq!(epoll.add(&copy, &fd, IN, 2), Err(Errno::EEXIST));
    assert_eq!(epoll.ready(&copy), [event(IN, 1)]);
    drop(ep);
    assert_eq!(epoll.ready(&copy), [event(IN, 1)]);
    assert_eq!(epoll.delete(&copy, &fd), Ok(()));
    assert_eq!(epoll.ready(&copy), []);
}

fn an_instance_that_moved_by_dup2_is_the_same_instance(epoll: Epoll) {
    let (ep, other, fd) = (epoll.create(), epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    epoll.add(&other, &fd, OUT, 2).unwrap();
    sys::dup2(ep.as_raw_fd(), other.as_raw_fd()).unwrap();
    drop(ep);
    assert_eq!(epoll.ready(&other), [event(IN, 1)]);
    assert_eq!(epoll.add(&other, &fd, OUT, 3), Err(Errno::EEXIST));
    assert_eq!(epoll.modify(&other, &fd, OUT, 4), Ok(()));
    assert_eq!(epoll.ready(&other), [event(OUT, 4)]);
}

fn a_childs_close_and_add_act_on_the_shared_instance(epoll: Epoll) {
    let (ep, fd, second) = (epoll.create(), sys::eventfd(1).unwrap(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let numbers = (ep.as_raw_fd(), fd.as_raw_fd(), second.as_raw_fd());
    let child = move || {
        let (ep, fd, second): (RawFd, RawFd, RawFd) = numbers;
        let seen = epoll.wait_on(ep, 8, 0) == Ok(vec![event(IN, 1)]);
        sys::close(fd).unwrap();
        let still = epoll.wait_on(ep, 8, 0) == Ok(vec![event(IN, 1)]);
        let added = epoll.ctl(ep, ADD, second, Some(event(OUT, 2))) == Ok(());
        i32::from(!(seen && still && added))
    };
    assert_eq!(sys::in_child(child), 0);
    assert_eq!(epoll.ready(&ep), [event(IN, 1), event(OUT, 2)]);
    // The child's registration is under the number and file that both have: ours to change.
    assert_eq!(epoll.add(&ep, &second, IN, 3), Err(Errno::EEXIST));
    assert_eq!(epoll.modify(&ep, &second, IN, 3), Ok(()));
    assert_eq!(epoll.delete(&ep, &second), Ok(()));
    // And what a child ends is ended here.
    let numbers = (ep.as_raw_fd(), fd.as_raw_fd());
    assert_eq!(sys::in_child(|| i32::from(epoll.ctl(numbers.0, DEL, numbers.1, None).is_err())), 0);
    assert_eq!(epoll.ready(&ep), []);
    assert_eq!(epoll.ctl(numbers.0, MOD, numbers.1, Some(event(IN, 4))), Err(Errno::ENOENT));
}

fn a_child_keeps_a_registration_alive(epoll: Epoll) {
    let (ep, fd) = (epoll.create(), sys::eventfd(1).unwrap());
    epoll.add(&ep, &fd, IN, 1).unwrap();
    let (wait, go) = sys::pipe().unwrap();
    let (wait, go) = (wait.into_raw_fd(), go.into_raw_fd());
    let child = sys::fork(|| {
        sys::close(go).unwrap();
        // Until the parent closes its end.
        sys::poll_for(wait, libc::POLLIN, 60_000);
        0
    });
    sys::close(wait).unwrap();
    let number = fd.as_raw_fd();
    drop(fd);
    assert_eq!(epoll.ready(&ep), [event(IN, 1)]);
    assert_eq!(epoll.ctl(ep.as_raw_fd(), DEL, number, None), Err(Errno::EBADF));
    sys::close(go).unwrap();
    assert_eq!(child.wait(), 0);
    assert_eq!(epoll.ready(&ep), []);
}
