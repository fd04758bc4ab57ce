//! A second thread that is to be asleep in a system call before the test goes on.

use std::fs;
use std::os::fd::RawFd;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use libc::{c_int, pid_t};

/// A thread that a test watches from outside.
#[derive(Debug)]
pub struct Background<T> {
    handle: JoinHandle<T>,
    tid: pid_t,
}

/// Starts a thread.
pub fn start<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> Background<T> {
    let (tell, told) = mpsc::channel();
    let handle = thread::spawn(move || {
        // SAFETY: takes no pointer.
        tell.send(unsafe { libc::gettid() }).expect("the starter waits for it");
        // Gone before the body runs: while it lives, its drop could be what the thread sleeps in.
        drop(tell);
        body()
    });
    let tid = told.recv().expect("the thread says its number first");
    Background { handle, tid }
}

/// The system calls in which a thread waits for readiness, or for something to read or room to write.
const WAITS: [libc::c_long; 9] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_poll,
    libc::SYS_pselect6,
    // A poll that was stopped and continued.
    libc::SYS_restart_syscall,
];

/// What a task (a folder of `/proc`) does: its state, and the system call that it is in.
fn state_of(task: &str) -> (Option<char>, Option<libc::c_long>) {
    let stat = fs::read_to_string(format!("{task}/stat")).unwrap_or_default();
    // The name is in parentheses and may hold anything; the state follows the last of them.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    let syscall = fs::read_to_string(format!("{task}/syscall")).unwrap_or_default();
    (state, syscall.split(' ').next().and_then(|n| n.parse().ok()))
}

/// Waits until a task sleeps in a wait (true), or `over` says that it has ended (false).
#[track_caller]
fn wait_for_sleep(task: &str, over: impl Fn() -> bool) -> bool {
    let sleeps = || matches!(state_of(task), (Some('S'), Some(call)) if WAITS.contains(&call));
    for round in 0..600_000 {
        if over() {
            return false;
        }
        // A task on its way into or out of a wait may be seen asleep for a moment; looking twice
        // with a pause for others to run makes sure that it stays there.
        if sleeps() {
            thread::yield_now();
            if sleeps() && !over() {
                return true;
            }
        }
        if round < 100 {
            thread::yield_now();
        } else {
            thread::sleep(Duration::from_micros(100));
        }
    }
    panic!("{task} neither sleeps in a wait nor ends: {:?}", state_of(task));
}

/// Waits until another process sleeps in epoll_wait, poll, select or kin.
///
/// # Panics
/// After a minute.
#[track_caller]
pub fn wait_until_process_sleeps(pid: pid_t) {
    wait_for_sleep(&format!("/proc/{pid}"), || false);
}

/// Waits until a thread of this process sleeps in epoll_wait, poll, select or kin.
///
/// # Panics
/// After a minute.
#[track_caller]
pub fn wait_until_task_sleeps(tid: pid_t) {
    wait_for_sleep(&format!("/proc/self/task/{tid}"), || false);
}

impl<T> Background<T> {
    /// Waits until the thread sleeps in epoll_wait, poll, select or kin (true), or has ended (false).
    ///
    /// # Panics
    /// After a minute of neither.
    #[track_caller]
    pub fn wait_until_asleep(&self) -> bool {
        wait_for_sleep(&format!("/proc/self/task/{}", self.tid), || self.handle.is_finished())
    }

    /// Has the thread ended?
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: c_int) {
        // SAFETY: takes no pointer. A thread that has ended gives ESRCH, which is no harm.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), self.tid, signal) };
    }

    /// Waits for its end and takes its result.
    ///
    /// # Panics
    /// When the thread panicked, with its message.
    #[track_caller]
    pub fn join(self) -> T {
        self.handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Waits until the kernel's poll says `events` of the descriptor.
///
/// # Panics
/// After a minute.
#[track_caller]
pub fn wait_until_ready(fd: RawFd, events: i16) {
    let revents = super::sys::poll_for(fd, events, 60_000);
    assert!(revents & events != 0, "descriptor {fd} never had {events:#x}: {revents:#x}");
}
