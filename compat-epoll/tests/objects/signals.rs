//! signalfd(2).

use std::os::fd::AsRawFd;

use kq_core::rules;
use kq_core::test_support::epoll::{IN, event};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::signals::{block, send_to_process, send_to_self, set_of};
use kq_core::test_support::{sys, threads};
use libc::{POLLIN, SFD_CLOEXEC, SFD_NONBLOCK, SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, c_int};
use nix::errno::Errno;

use super::calls::Calls;

pub(crate) const RULES: &[Rule<Calls>] = rules![
    signalfd flags_and_numbers_are_checked,
    signalfd a_signal_is_read_once,
    signalfd what_was_pending_is_read,
    signalfd many_are_read_at_once,
    signalfd it_tells_who_sent_it_and_what,
    signalfd it_tells_how_a_child_ended,
    signalfd the_signals_may_be_others,
    signalfd who_reads_waits,
    signalfd epoll_tells_of_it,
    signalfd what_is_taken_otherwise_is_not_read,
];

/// Blocks these signals; returns them as a set. Tests run in a process of their own, whose threads
/// inherit what is blocked.
fn blocked(signals: &[c_int]) -> libc::sigset_t {
    block(signals);
    set_of(signals)
}

fn flags_and_numbers_are_checked(calls: Calls) {
    let mask = blocked(&[SIGUSR1, libc::SIGKILL, libc::SIGSTOP]);
    assert_eq!(calls.signalfd(&mask, 1).err(), Some(Errno::EINVAL));
    assert_eq!(calls.set_mask(-1, None, 1).err(), Some(Errno::EFAULT));
    assert_eq!(calls.set_mask(1000, Some(&mask), 0).err(), Some(Errno::EBADF));
    let event = calls.eventfd(0, 0).unwrap();
    let (reader, _writer) = sys::pipe().unwrap();
    for fd in [event.as_raw_fd(), reader.as_raw_fd()] {
        assert_eq!(calls.set_mask(fd, Some(&mask), 0).err(), Some(Errno::EINVAL));
    }
    let fd = calls.signalfd(&mask, SFD_CLOEXEC | SFD_NONBLOCK).unwrap();
    assert_eq!(sys::fcntl(fd.as_raw_fd(), libc::F_GETFD, 0), Ok(libc::FD_CLOEXEC));
    assert_eq!(calls.read(fd.as_raw_fd(), &mut [0; 127]), Err(Errno::EINVAL));
    assert_eq!(calls.read(fd.as_raw_fd(), &mut [0; 128]), Err(Errno::EAGAIN));
    assert_eq!(calls.write(fd.as_raw_fd(), &[0; 8]), Err(Errno::EINVAL));
}

fn a_signal_is_read_once(calls: Calls) {
    let mask = blocked(&[SIGUSR1, SIGCHLD]);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    for signal in [SIGUSR1, SIGCHLD, SIGUSR1] {
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        send_to_self(signal);
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), POLLIN);
        assert_eq!(calls.signal(&fd).unwrap().ssi_signo, signal as u32);
        assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
        assert_eq!(calls.signal(&fd).err(), Some(Errno::EAGAIN));
    }
}

fn what_was_pending_is_read(calls: Calls) {
    let mask = blocked(&[SIGUSR1]);
    send_to_process(SIGUSR1);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), POLLIN);
    assert_eq!(calls.signal(&fd).unwrap().ssi_signo, SIGUSR1 as u32);
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
}

fn many_are_read_at_once(calls: Calls) {
    let realtime = libc::SIGRTMIN() + 3;
    let mask = blocked(&[SIGUSR1, SIGUSR2, SIGTERM, realtime]);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    for signal in [SIGUSR1, SIGUSR2, SIGTERM, realtime, realtime] {
        send_to_process(signal);
    }
    let mut room = [0; 128 * 3 + 100];
    assert_eq!(calls.read(fd.as_raw_fd(), &mut room), Ok(128 * 3));
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), POLLIN);
    assert_eq!(calls.read(fd.as_raw_fd(), &mut room), Ok(128 * 2));
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
    assert_eq!(calls.read(fd.as_raw_fd(), &mut room), Err(Errno::EAGAIN));
}

fn it_tells_who_sent_it_and_what(calls: Calls) {
    let mask = blocked(&[SIGUSR1, SIGUSR2]);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    send_to_process(SIGUSR1);
    let value = libc::sigval { sival_ptr: 0x1234_5678_9abc_usize as *mut libc::c_void };
    // SAFETY: takes no pointer that is followed.
    assert_eq!(unsafe { libc::sigqueue(libc::getpid(), SIGUSR2, value) }, 0);
    // SAFETY: takes nothing.
    let (pid, uid) = unsafe { (libc::getpid() as u32, libc::getuid()) };
    let info = calls.signal(&fd).unwrap();
    assert_eq!((info.ssi_signo, info.ssi_code), (SIGUSR1 as u32, libc::SI_USER));
    assert_eq!((info.ssi_pid, info.ssi_uid, info.ssi_ptr), (pid, uid, 0));
    let info = calls.signal(&fd).unwrap();
    assert_eq!((info.ssi_signo, info.ssi_code), (SIGUSR2 as u32, libc::SI_QUEUE));
    assert_eq!((info.ssi_pid, info.ssi_uid), (pid, uid));
    assert_eq!((info.ssi_ptr, info.ssi_int), (0x1234_5678_9abc, 0x5678_9abc));
}

fn it_tells_how_a_child_ended(calls: Calls) {
    let mask = blocked(&[SIGCHLD]);
    let fd = calls.signalfd(&mask, 0).unwrap();
    let child = sys::fork(|| 7);
    let pid = child.pid();
    let info = calls.signal(&fd).unwrap();
    assert_eq!((info.ssi_signo, info.ssi_code), (SIGCHLD as u32, libc::CLD_EXITED));
    assert_eq!((info.ssi_pid, info.ssi_status), (pid as u32, 7));
    child.wait();
}

fn the_signals_may_be_others(calls: Calls) {
    let first = blocked(&[SIGUSR1]);
    let second = blocked(&[SIGUSR2]);
    let fd = calls.signalfd(&first, SFD_NONBLOCK).unwrap();
    send_to_process(SIGUSR2);
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
    assert_eq!(calls.signal(&fd).err(), Some(Errno::EAGAIN));
    assert_eq!(calls.set_mask(fd.as_raw_fd(), Some(&second), 0), Ok(fd.as_raw_fd()));
    send_to_process(SIGUSR1);
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), POLLIN);
    assert_eq!(calls.signal(&fd).unwrap().ssi_signo, SIGUSR2 as u32);
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
    assert_eq!(calls.set_mask(fd.as_raw_fd(), Some(&first), 0), Ok(fd.as_raw_fd()));
    assert_eq!(calls.signal(&fd).unwrap().ssi_signo, SIGUSR1 as u32);
}

fn who_reads_waits(calls: Calls) {
    let mask = blocked(&[SIGUSR1]);
    let fd = calls.signalfd(&mask, 0).unwrap();
    let number = fd.as_raw_fd();
    let reader = threads::start(move || calls.signal(&number).map(|info| info.ssi_signo));
    reader.wait_until_asleep();
    send_to_process(SIGUSR1);
    assert_eq!(reader.join(), Ok(SIGUSR1 as u32));
}

fn epoll_tells_of_it(calls: Calls) {
    let mask = blocked(&[SIGUSR1]);
    let (ep, fd) = (calls.epoll.create(), calls.signalfd(&mask, SFD_NONBLOCK).unwrap());
    calls.epoll.add(&ep, &fd, IN, 7).unwrap();
    assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), []);
    send_to_process(SIGUSR1);
    assert_eq!(calls.epoll.wait(&ep, 4, -1).unwrap(), [event(IN, 7)]);
    assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), [event(IN, 7)]);
    calls.signal(&fd).unwrap();
    assert_eq!(calls.epoll.wait(&ep, 4, 0).unwrap(), []);
}

fn what_is_taken_otherwise_is_not_read(calls: Calls) {
    let mask = blocked(&[SIGUSR1]);
    let fd = calls.signalfd(&mask, SFD_NONBLOCK).unwrap();
    send_to_process(SIGUSR1);
    let mut signal = 0;
    // SAFETY: a set and room for a number, ours.
    assert_eq!(unsafe { libc::sigwait(&mask, &mut signal) }, 0);
    assert_eq!(calls.signal(&fd).err(), Some(Errno::EAGAIN));
    assert_eq!(sys::poll(fd.as_raw_fd(), POLLIN), 0);
}
