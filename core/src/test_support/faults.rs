//! System calls of the engine that fail because a test wants it.
//!
//! A plan is this thread's alone: what other threads do goes on undisturbed.

use std::cell::{Cell, RefCell};

use nix::errno::Errno;
use syscalls::Sysno;

thread_local! {
    static PLAN: Cell<Plan> = const { Cell::new(Plan::None) };
    static SEEN: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy, Debug, Default)]
enum Plan {
    #[default]
    None,
    /// Notes what is called.
    Watch,
    /// So many calls are let pass; the next one of this kind fails.
    After(u32, Call, Errno),
    /// It has failed.
    Over,
}

/// What the engine calls while `body` runs, in order.
pub fn calls_of<R>(body: impl FnOnce() -> R) -> (R, Vec<Call>) {
    SEEN.with_borrow_mut(Vec::clear);
    PLAN.set(Plan::Watch);
    let result = body();
    PLAN.set(Plan::None);
    (result, SEEN.take())
}

/// From now on the `nth` call, counted from 0, fails. If that is another call this time (what is read
/// from /proc varies), the next one of its kind.
pub fn fail(nth: u32, call: Call, errno: Errno) {
    PLAN.set(Plan::After(nth, call, errno));
}

/// No call fails any more.
pub fn stop() {
    PLAN.set(Plan::None);
}

/// Whether the call has failed.
pub fn is_over() -> bool {
    matches!(PLAN.get(), Plan::Over)
}

/// Makes the call, unless it is to fail.
pub(crate) fn pass(number: usize, arguments: &[usize], call: impl FnOnce() -> usize) -> usize {
    match PLAN.get() {
        Plan::None | Plan::Over => {}
        Plan::Watch => {
            let result = call();
            SEEN.with_borrow_mut(|seen| seen.push(Call::new(number, arguments, result)));
            return result;
        }
        Plan::After(0, which, errno) if which.is_like(number, arguments) => {
            PLAN.set(Plan::Over);
            // close(2) has closed when it complains.
            if number == Sysno::close as usize {
                call();
            }
            return (errno as isize).wrapping_neg() as usize;
        }
        Plan::After(n, which, errno) => {
            PLAN.set(Plan::After(n.saturating_sub(1), which, errno));
        }
    }
    call()
}

/// A system call that the engine made.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    number: usize,
    /// The second and the fourth argument, where there are such.
    second: usize,
    fourth: usize,
    /// What it returned.
    result: usize,
}

/// The size of [`Call::to_bytes`].
pub const CALL_BYTES: usize = 4 * size_of::<usize>();

impl Call {
    fn new(number: usize, arguments: &[usize], result: usize) -> Self {
        let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
        Self { number, second: argument(1), fourth: argument(3), result }
    }

    /// Whether another is of its kind: for those that do several things, by what they do.
    fn is_like(self, number: usize, arguments: &[usize]) -> bool {
        let does_several = [Sysno::epoll_ctl, Sysno::fcntl].iter().any(|&n| n as usize == number);
        number == self.number && (!does_several || arguments.get(1) == Some(&self.second))
    }

    /// For a pipe between processes.
    pub fn to_bytes(self) -> Vec<u8> {
        let words = [self.number, self.second, self.fourth, self.result];
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// What [`to_bytes`](Self::to_bytes) made.
    ///
    /// # Panics
    /// When there are not [`CALL_BYTES`].
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = &bytes[at * size_of::<usize>()..][..size_of::<usize>()];
            usize::from_ne_bytes(bytes.try_into().expect("a word"))
        };
        Self { number: word(0), second: word(1), fourth: word(2), result: word(3) }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Sysno::new(self.number).map_or("?", |number| number.name())
    }

    /// What it may fail with though its arguments are right: its manual page's list, less what only
    /// wrong arguments bring about.
    pub fn errors(self) -> &'static [Errno] {
        use Errno::*;
        const DESCRIPTORS: &[Errno] = &[EMFILE, ENFILE, ENOMEM];
        let Some(number) = Sysno::new(self.number) else { return &[] };
        match number {
            Sysno::epoll_create1 | Sysno::eventfd2 | Sysno::timerfd_create => DESCRIPTORS,
            Sysno::inotify_init1 | Sysno::signalfd4 => DESCRIPTORS,
            Sysno::fcntl if self.second == libc::F_DUPFD_CLOEXEC as usize => &[EMFILE],
            // What is registered already can be changed and deleted.
            Sysno::epoll_ctl if self.result == (EEXIST as isize).wrapping_neg() as usize => &[],
            Sysno::epoll_ctl if self.second == libc::EPOLL_CTL_ADD as usize => &[ENOMEM, ENOSPC],
            // Without waiting there is no EINTR.
            Sysno::epoll_pwait if self.fourth as u32 != 0 => &[EINTR],
            Sysno::epoll_pwait2 => &[EINTR, ENOSYS],
            Sysno::ppoll | Sysno::pselect6 => &[EINTR, ENOMEM],
            Sysno::inotify_add_watch => &[ENOMEM, ENOSPC, EACCES],
            Sysno::pidfd_open => &[EMFILE, ENFILE, ENOMEM, ENOSYS],
            Sysno::socket => &[EMFILE, ENFILE, ENOMEM, EPERM, EAFNOSUPPORT],
            Sysno::bind | Sysno::setsockopt => &[EPERM, ENOMEM],
            Sysno::openat => &[EMFILE, ENFILE, ENOMEM, EACCES, ENOENT],
            Sysno::readlinkat => &[ENOMEM, EACCES, ENOENT],
            Sysno::mmap => &[ENOMEM],
            Sysno::madvise => &[EINVAL, ENOMEM],
            Sysno::close => &[EINTR, EIO],
            _ => &[],
        }
    }
}

/// A plan on its way to a thread, and back.
#[derive(Debug)]
pub struct Inherited {
    plan: Plan,
    back: std::sync::Mutex<(Plan, Vec<Call>)>,
}

impl Inherited {
    /// Runs `body` under the plan, in the thread that it is for.
    pub fn run<R>(&self, body: impl FnOnce() -> R) -> R {
        PLAN.set(self.plan);
        let result = body();
        // (The thread's end may still make calls: they pass.)
        let seen = (PLAN.replace(Plan::None), SEEN.take());
        *self.back.lock().expect("nobody panics with it") = seen;
        result
    }
}

/// Lends this thread's plan to another one, which `body` starts and waits for.
pub fn inherit(body: impl FnOnce(&Inherited)) {
    let inherited = Inherited { plan: PLAN.get(), back: Default::default() };
    body(&inherited);
    let (plan, seen) = inherited.back.into_inner().expect("nobody panics with it");
    PLAN.set(plan);
    SEEN.with_borrow_mut(|all| all.extend(seen));
}

/// Does something of the test's own by calls of the engine's, which pass and are not counted.
pub(crate) fn aside<R>(body: impl FnOnce() -> R) -> R {
    let plan = PLAN.replace(Plan::None);
    let result = body();
    PLAN.set(plan);
    result
}
