//! Threads that are cancelled (pthreads(7)) in a call, or before it.

use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{nfds_t, pollfd, pthread_t, sigset_t, timespec, timeval};

use crate::raw;
use crate::test_support::harness::Rule;
use crate::test_support::sets::readable;
use crate::test_support::threads::wait_until_task_sleeps;
use crate::test_support::watched::{Ask, close_all, eventfds, queues, ring};

/// See the module.
pub const RULES: &[Rule<Ask>] = crate::rules![
    cancel asleep_or_before_the_call_and_nothing_is_left,
    cancel not_where_it_is_disabled,
];

// A cancellation unwinds: through these declarations it may, through the libc crate's not.
unsafe extern "C-unwind" {
    fn poll(fds: *mut pollfd, nfds: nfds_t, timeout: c_int) -> c_int;
    fn ppoll(fds: *mut pollfd, n: nfds_t, time: *const timespec, mask: *const sigset_t) -> c_int;
    fn select(n: c_int, r: *mut u64, w: *mut u64, e: *mut u64, time: *mut timeval) -> c_int;
    fn pselect(
        n: c_int,
        r: *mut u64,
        w: *mut u64,
        e: *mut u64,
        time: *const timespec,
        mask: *const sigset_t,
    ) -> c_int;
    fn pthread_create(
        thread: *mut pthread_t,
        attributes: *const c_void,
        body: extern "C-unwind" fn(*mut c_void) -> *mut c_void,
        argument: *mut c_void,
    ) -> c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_self() -> pthread_t;
}

const CANCEL_DISABLE: c_int = 1;
const COUNT: usize = 24;
/// What a cancelled thread returns.
const CANCELED: usize = usize::MAX;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum When {
    Asleep,
    Before,
    Never,
}

/// What a thread waits for. Nothing in it needs a drop: its frames are unwound.
struct Waiter {
    fds: [pollfd; COUNT],
    map: [u64; 16],
    which: usize,
    when: When,
    task: AtomicI32,
}

impl Waiter {
    fn new(fds: &[RawFd], which: usize, when: When) -> Self {
        let fds = std::array::from_fn(|at| readable(fds[at]));
        Self { fds, map: [0; 16], which, when, task: AtomicI32::new(0) }
    }

    fn wait(&mut self, for_ever: bool) -> c_int {
        let (zero, mut none) =
            (timespec { tv_sec: 0, tv_nsec: 0 }, timeval { tv_sec: 0, tv_usec: 0 });
        let time = if for_ever { null() } else { &raw const zero };
        let (fds, count) = (self.fds.as_mut_ptr(), COUNT as nfds_t);
        self.map = [0; 16];
        let mut highest = 0;
        for entry in &self.fds {
            self.map[entry.fd as usize / 64] |= 1 << (entry.fd % 64);
            highest = highest.max(entry.fd);
        }
        let (map, nfds) = (self.map.as_mut_ptr(), highest + 1);
        // SAFETY: everything pointed to is ours; nothing here needs a drop.
        unsafe {
            match self.which {
                0 => poll(fds, count, if for_ever { -1 } else { 0 }),
                1 => ppoll(fds, count, time, null()),
                2 => {
                    let time = if for_ever { null_mut() } else { &raw mut none };
                    select(nfds, map, null_mut(), null_mut(), time)
                }
                _ => pselect(nfds, map, null_mut(), null_mut(), time, null()),
            }
        }
    }
}

extern "C-unwind" fn body(waiter: *mut c_void) -> *mut c_void {
    // SAFETY: `run`'s waiter, which outlives the thread.
    let waiter = unsafe { &mut *waiter.cast::<Waiter>() };
    // SAFETY: of this thread.
    unsafe {
        match waiter.when {
            When::Asleep => {}
            When::Before => assert_eq!(libc::pthread_cancel(pthread_self()), 0),
            When::Never => assert_eq!(pthread_setcancelstate(CANCEL_DISABLE, null_mut()), 0),
        }
    }
    // Until the library serves from a queue. (A cancellation point, too.)
    for _ in 0..300 {
        waiter.wait(false);
    }
    waiter.task.store(raw::gettid(), Ordering::SeqCst);
    std::ptr::without_provenance_mut(waiter.wait(true) as usize)
}

/// Runs a thread, cancels it where it is to be once it sleeps, then rings; what it returned.
fn run(waiter: &mut Waiter, ring_at: Option<RawFd>) -> usize {
    let (mut thread, mut result) = (0, null_mut());
    let argument = std::ptr::from_mut(waiter);
    // SAFETY: the waiter lives until the thread is joined below, and only its atomic is read meanwhile.
    unsafe {
        assert_eq!(pthread_create(&mut thread, null(), body, argument.cast()), 0);
        if (*argument).when != When::Before {
            let task = &(*argument).task;
            while task.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            wait_until_task_sleeps(task.load(Ordering::SeqCst));
            assert_eq!(libc::pthread_cancel(thread), 0);
        }
        ring_at.into_iter().for_each(ring);
        assert_eq!(libc::pthread_join(thread, &mut result), 0);
    }
    result.addr()
}

fn asleep_or_before_the_call_and_nothing_is_left(_: Ask) {
    let fds = eventfds(COUNT);
    let before = queues();
    for which in 0..4 {
        // Several times: what an earlier thread left behind must not hurt a later one.
        for _ in 0..5 {
            assert_eq!(run(&mut Waiter::new(&fds, which, When::Asleep), None), CANCELED);
            assert_eq!(run(&mut Waiter::new(&fds, which, When::Before), None), CANCELED);
        }
        assert_eq!(queues(), before, "a cancelled thread leaves no queue");
    }
    close_all(&fds);
}

fn not_where_it_is_disabled(_: Ask) {
    for which in 0..4 {
        let fds = eventfds(COUNT);
        assert_eq!(run(&mut Waiter::new(&fds, which, When::Never), Some(fds[7])), 1);
        close_all(&fds);
    }
}
