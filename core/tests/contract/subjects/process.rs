//! PROC and PROCDESC: a child that ends.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::pid_t;

use super::descriptor::owned;
use crate::subject::Subject;

struct Child {
    pid: pid_t,
    /// PROCDESC: its descriptor.
    descriptor: Option<OwnedFd>,
}

impl Child {
    fn new() -> Self {
        // SAFETY: the child waits for its end, by system calls.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            loop {
                // SAFETY: takes no pointer.
                unsafe { libc::pause() };
            }
        }
        assert!(pid > 0);
        Self { pid, descriptor: None }
    }

    fn kill(&self) {
        // SAFETY: takes no pointer; the child is not reaped yet.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGKILL) }, 0);
        // SAFETY: all zero is a valid siginfo_t; WNOWAIT leaves the child to be reaped.
        let waited = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.pid as libc::id_t, &mut info, how)
        };
        assert_eq!(waited, 0);
    }
}

pub(crate) fn proc() -> Result<Box<dyn Subject>, String> {
    Ok(Box::new(Child::new()))
}

pub(crate) fn procdesc() -> Result<Box<dyn Subject>, String> {
    let mut child = Child::new();
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.pid, 0) };
    child.descriptor = Some(owned(fd as i32));
    Ok(Box::new(child))
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        // SAFETY: the status is not asked for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

impl Subject for Child {
    fn filter(&self) -> EventFilter {
        match self.descriptor {
            None => EventFilter::EVFILT_PROC,
            Some(_) => EventFilter::EVFILT_PROCDESC,
        }
    }

    fn ident(&self) -> usize {
        self.descriptor.as_ref().map_or(self.pid as usize, |fd| fd.as_raw_fd() as usize)
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::NOTE_EXIT, 0)
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        self.kill();
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.fflags(), FilterFlag::NOTE_EXIT);
        assert_eq!(event.data(), libc::SIGKILL as isize);
        assert!(event.flags().contains(EvFlags::EV_EOF | EvFlags::EV_ONESHOT));
    }
}
