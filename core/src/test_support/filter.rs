//! Filters of system calls (seccomp(2)): a kernel that lacks a call, and a program that forbids
//! itself some.
//!
//! They are put in place by raw calls, which the compat libraries do not see: to them it is a call
//! that fails, not a program that tells of its filter.

use libc::{c_long, sock_filter, sock_fprog};
use nix::errno::Errno;
use syscalls::Sysno;
use syscalls::raw::syscall3;

/// Has system calls fail in this thread, and whatever it starts, from now on.
///
/// # Panics
/// Where seccomp(2) is not to be had.
pub fn refuse(calls: &[c_long], errno: Errno) {
    install(calls, libc::SECCOMP_RET_ERRNO | errno as u32);
}

/// Has these system calls end the process.
///
/// # Panics
/// Where seccomp(2) is not to be had.
pub fn forbid(calls: &[c_long]) {
    install(calls, libc::SECCOMP_RET_KILL_PROCESS);
}

fn install(calls: &[c_long], action: u32) {
    let mut program = program(calls, action);
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel reads the program, which lives until the calls are over.
    let done = unsafe {
        syscall3(Sysno::prctl as usize, libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0);
        syscall3(
            Sysno::prctl as usize,
            libc::PR_SET_SECCOMP as usize,
            libc::SECCOMP_MODE_FILTER as usize,
            &raw const program as usize,
        )
    };
    assert_eq!(done, 0, "a seccomp filter");
}

/// The filter: this for those calls, and let all others pass.
pub fn program(calls: &[c_long], action: u32) -> Vec<sock_filter> {
    let step =
        |code: u32, yes: u8, no: u8, k: u32| sock_filter { code: code as u16, jt: yes, jf: no, k };
    // The number is the first field of struct seccomp_data.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for call in calls {
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, *call as u32));
        program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, action));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}
