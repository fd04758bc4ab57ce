//! Waiting until the network is quiet.
//!
//! A packet over loopback is put on a queue of the CPU that sent it, and is mostly handled before
//! the send returns; under load it is handled a little later. A test that compares results must not
//! look before. The queue is first in, first out: when a datagram that was sent after a packet has
//! arrived, that packet was handled.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::threads::wait_until_ready;
use super::{sockets, sys};

/// A packet may bring forth another (SYN, SYN|ACK, ACK; data, reset): so many datagrams after each
/// other let chains of that length end.
const ROUNDS: usize = 3;

/// A pair of UDP sockets at high numbers, and this thread (and those that it starts) kept on one
/// CPU, so that there is one queue.
#[derive(Debug)]
pub struct Barrier {
    from: OwnedFd,
    to: OwnedFd,
}

impl Barrier {
    /// # Panics
    /// When sockets or CPUs cannot be had.
    pub fn new() -> Self {
        stay_on_one_cpu();
        let (from, to) = sockets::udp_pair().expect("loopback works");
        let high = |fd: OwnedFd| {
            sys::own(sys::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH).expect("F_DUPFD"))
        };
        Self { from: high(from).expect("fresh"), to: high(to).expect("fresh") }
    }

    /// Returns when every packet that was sent before was handled.
    pub fn wait(&self) {
        for _ in 0..ROUNDS {
            sockets::send(self.from.as_raw_fd(), b"?", 0).expect("loopback works");
            loop {
                match sockets::recv(self.to.as_raw_fd(), 1, 0) {
                    Ok(_) => break,
                    Err(nix::errno::Errno::EAGAIN) => {
                        wait_until_ready(self.to.as_raw_fd(), libc::POLLIN);
                    }
                    Err(other) => panic!("loopback: {other}"),
                }
            }
        }
    }
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}

/// Over the numbers that programs of a test play with.
pub(super) const HIGH: RawFd = 200;

fn stay_on_one_cpu() {
    // SAFETY: an all-zero cpu_set_t is a valid, empty one; the kernel reads and writes just it.
    unsafe {
        let cpu = libc::sched_getcpu();
        assert!(cpu >= 0, "sched_getcpu: {}", std::io::Error::last_os_error());
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
}

/// Has this thread run on any CPU again.
pub fn run_anywhere() {
    // SAFETY: a cpu_set_t of all ones is valid; the kernel takes of it what there is.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in 0..8 * size_of_val(&set) {
            libc::CPU_SET(cpu, &mut set);
        }
        assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
    }
}

/// Has this thread not take the CPU from the one that wakes it, in the middle of what that one does
/// (sched(7): SCHED_BATCH).
pub fn run_patiently() {
    let none = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads the parameter.
    assert_eq!(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &none) }, 0);
}
