//! EVFILT_SIGNAL under the preloaded library: a program's own calls are hooked.

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

use kq_core::EventFilter::EVFILT_SIGNAL;
use kq_core::raw::{self, KernelAction};
use kq_core::test_support::harness::Suite;
use kq_core::test_support::signals::{
    block, catch, caught, ignore, send_to_process, set_of, unblock,
};
use kq_core::test_support::{preload, sys, threads};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent};
use libc::{SA_NODEFER, SA_RESETHAND, SA_RESTART, SIG_DFL, SIG_IGN};
use libc::{SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, sighandler_t, timespec};

macro_rules! suite {
    ($($name:ident)*) => {
        fn main() -> ExitCode {
            preload::restart_with("libkqcompat_kqueue.so");
            let mut suite = Suite::new();
            $(suite.add(stringify!($name), || {
                $name();
                find_out();
            });)*
            suite.run()
        }
    };
}

suite! {
    the_library_is_in_front
    a_program_sees_its_own_action
    a_handler_installed_later_counts_at_once
    what_a_raw_call_sets_stands
    libevents_way_of_adding_and_deleting
    each_function_that_sets_an_action
    signals_that_were_never_watched_are_libcs
    siginterrupt_holds_for_what_is_watched
    what_is_taken_by_sigwait_counts
    a_forked_child_sees_the_programs_action
    a_thread_may_end_in_a_handler
    two_queues_and_a_storm_of_changes
}

/// A function of the library's, or of libc's where the library has none of that name.
fn symbol<F: Copy>(name: &CStr) -> F {
    assert_eq!(size_of::<F>(), size_of::<usize>());
    // SAFETY: a name that ends in a NUL; the tests ask for functions with their C types.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
        assert!(!found.is_null(), "{name:?}");
        std::mem::transmute_copy(&found)
    }
}

type Signal = unsafe extern "C" fn(c_int, sighandler_t) -> sighandler_t;
type Kevent =
    unsafe extern "C" fn(c_int, *const KEvent, c_int, *mut KEvent, c_int, *const timespec) -> c_int;

struct Queue(c_int);

impl Queue {
    fn new() -> Self {
        let kqueue: extern "C" fn() -> c_int = symbol(c"kqueue");
        let kq = kqueue();
        assert!(kq >= 0);
        Self(kq)
    }

    fn of(signal: c_int) -> Self {
        let kq = Self::new();
        kq.change(signal, EvFlags::EV_ADD);
        kq
    }

    fn change(&self, signal: c_int, flags: EvFlags) {
        let none = FilterFlag::empty();
        let change = KEvent::new(signal as usize, EVFILT_SIGNAL, flags, none, 0, 0);
        let kevent: Kevent = symbol(c"kevent");
        // SAFETY: one change, no room.
        assert_eq!(unsafe { kevent(self.0, &change, 1, null_mut(), 0, null()) }, 0);
    }

    /// How many of each signal came.
    fn counts(&self) -> Vec<(c_int, isize)> {
        let kevent: Kevent = symbol(c"kevent");
        let mut events = [KEvent::default(); 8];
        let now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: room for eight events.
        let n = unsafe { kevent(self.0, null(), 0, events.as_mut_ptr(), 8, &now) };
        events[..n as usize].iter().map(|event| (event.ident() as c_int, event.data())).collect()
    }
}

impl Drop for Queue {
    /// Takes the knotes away, which gives the actions back, and closes.
    fn drop(&mut self) {
        let kevent: Kevent = symbol(c"kevent");
        for signal in 1..=64 {
            let (delete, none) = (EvFlags::EV_DELETE, FilterFlag::empty());
            let delete = KEvent::new(signal, EVFILT_SIGNAL, delete, none, 0, 0);
            // SAFETY: one change, no room. Most are not there.
            unsafe { kevent(self.0, &delete, 1, null_mut(), 0, null()) };
        }
        sys::close(self.0).unwrap();
    }
}

/// The library finds out that queues were closed as others are made, and closes what it has of them.
fn find_out() {
    for _ in 0..8 {
        let kqueue: extern "C" fn() -> c_int = symbol(c"kqueue");
        sys::close(kqueue()).unwrap();
    }
}

fn action_of(signal: c_int) -> libc::sigaction {
    let mut action = MaybeUninit::uninit();
    // SAFETY: sigaction fills it.
    unsafe {
        assert_eq!(libc::sigaction(signal, null(), action.as_mut_ptr()), 0);
        action.assume_init()
    }
}

fn action(handler: usize, flags: c_int, mask: &[c_int]) -> libc::sigaction {
    // SAFETY: all zeros are an action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    (action.sa_sigaction, action.sa_flags, action.sa_mask) = (handler, flags, set_of(mask));
    action
}

/// Sets an action, and returns the old one.
fn set(signal: c_int, new: &libc::sigaction) -> libc::sigaction {
    let mut old = MaybeUninit::uninit();
    // SAFETY: the tests' handlers are async-signal-safe; sigaction fills the old action.
    unsafe {
        assert_eq!(libc::sigaction(signal, new, old.as_mut_ptr()), 0);
        old.assume_init()
    }
}

static RUN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn run(_: c_int) {
    RUN.fetch_add(1, SeqCst);
}

fn handler() -> usize {
    run as *const () as usize
}

fn the_library_is_in_front() {
    for name in [c"kevent", c"sigaction", c"signal", c"sigwait"] {
        let path = preload::library_of(name).unwrap();
        assert!(path.ends_with("libkqcompat_kqueue.so"), "{name:?} is of {path:?}");
    }
}

fn a_program_sees_its_own_action() {
    let ours = action(handler(), SA_RESTART | SA_NODEFER, &[SIGUSR2, SIGTERM]);
    set(SIGUSR1, &ours);
    let kq = Queue::of(SIGUSR1);
    for _ in 0..2 {
        let seen = action_of(SIGUSR1);
        assert_eq!(seen.sa_sigaction, handler());
        assert_eq!(seen.sa_flags & !0x0400_0000, SA_RESTART | SA_NODEFER);
        // SAFETY: a valid set.
        let masked = |signal| unsafe { libc::sigismember(&seen.sa_mask, signal) == 1 };
        assert!(masked(SIGUSR2) && masked(SIGTERM) && !masked(SIGUSR1));
        send_to_process(SIGUSR1);
    }
    assert_eq!((RUN.load(SeqCst), kq.counts()), (2, vec![(SIGUSR1, 2)]));
    kq.change(SIGUSR1, EvFlags::EV_DELETE);
    assert_eq!(action_of(SIGUSR1).sa_sigaction, handler());
    assert_eq!(action_of(SIGTERM).sa_sigaction, SIG_DFL);
}

fn a_handler_installed_later_counts_at_once() {
    let kq = Queue::of(SIGUSR1);
    assert_eq!(set(SIGUSR1, &action(handler(), 0, &[])).sa_sigaction, SIG_DFL);
    send_to_process(SIGUSR1);
    assert_eq!((RUN.load(SeqCst), kq.counts()), (1, vec![(SIGUSR1, 1)]));
    assert_eq!(set(SIGUSR1, &action(SIG_IGN, 0, &[])).sa_sigaction, handler());
    send_to_process(SIGUSR1);
    assert_eq!((RUN.load(SeqCst), kq.counts()), (1, vec![(SIGUSR1, 1)]));
    // To ignore it throws away what is pending, also where it is watched.
    block(&[SIGUSR1]);
    send_to_process(SIGUSR1);
    set(SIGUSR1, &action(SIG_IGN, 0, &[]));
    set(SIGUSR1, &action(handler(), 0, &[]));
    unblock(&[SIGUSR1]);
    assert_eq!(RUN.load(SeqCst), 1);
    // For one time.
    set(SIGUSR1, &action(handler(), SA_RESETHAND, &[]));
    assert_ne!(action_of(SIGUSR1).sa_flags & SA_RESETHAND, 0);
    send_to_process(SIGUSR1);
    assert_eq!(RUN.load(SeqCst), 2);
    assert_eq!(action_of(SIGUSR1).sa_sigaction, SIG_DFL);
}

/// See docs/deviations.md.
fn what_a_raw_call_sets_stands() {
    let kq = Queue::of(SIGUSR1);
    let ignored = KernelAction { handler: SIG_IGN, ..KernelAction::default() };
    // SAFETY: SIG_IGN.
    unsafe { raw::rt_sigaction(SIGUSR1, Some(&ignored)) }.unwrap();
    send_to_process(SIGUSR1);
    assert_eq!(kq.counts(), []);
    assert_eq!(action_of(SIGUSR1).sa_sigaction, SIG_IGN);
    let other = Queue::of(SIGUSR1);
    send_to_process(SIGUSR1);
    assert_eq!((kq.counts(), other.counts()), (vec![(SIGUSR1, 1)], vec![(SIGUSR1, 1)]));
    assert_eq!(action_of(SIGUSR1).sa_sigaction, SIG_IGN);
}

/// kq_sig_add and kq_sig_del of libevent's kqueue.c.
fn libevents_way_of_adding_and_deleting() {
    for signal in [SIGUSR1, SIGTERM, SIGCHLD] {
        for round in 0..20 {
            let kq = Queue::of(signal);
            let ignore = if signal == SIGCHLD { SIG_DFL } else { SIG_IGN };
            let all: Vec<_> = (1..=64).filter(|s| ![32, 33].contains(s)).collect();
            let old = set(signal, &action(ignore, SA_RESTART, &all));
            assert_eq!(old.sa_sigaction, SIG_DFL, "{round}");
            (0..3).for_each(|_| send_to_process(signal));
            assert_eq!(kq.counts(), [(signal, 3)]);
            if signal == SIGCHLD {
                let child = sys::fork(|| 3);
                assert_eq!(child.wait(), 3);
                assert_eq!(kq.counts(), [(signal, 1)]);
            }
            kq.change(signal, EvFlags::EV_DELETE);
            assert_eq!(action_of(signal).sa_sigaction, ignore);
            set(signal, &old);
            assert_eq!(action_of(signal).sa_sigaction, SIG_DFL);
        }
    }
}

fn each_function_that_sets_an_action() {
    type Set = fn(c_int, sighandler_t) -> sighandler_t;
    fn call(name: &CStr, signal: c_int, handler: sighandler_t) -> sighandler_t {
        let set: Signal = symbol(name);
        // SAFETY: the tests' handlers are async-signal-safe.
        unsafe { set(signal, handler) }
    }
    let functions: [(&str, Set, c_int); 6] = [
        ("signal", |s, h| call(c"signal", s, h), SA_RESTART),
        ("bsd_signal", |s, h| call(c"bsd_signal", s, h), SA_RESTART),
        ("ssignal", |s, h| call(c"ssignal", s, h), SA_RESTART),
        ("sysv_signal", |s, h| call(c"sysv_signal", s, h), SA_RESETHAND | SA_NODEFER),
        ("__sysv_signal", |s, h| call(c"__sysv_signal", s, h), SA_RESETHAND | SA_NODEFER),
        ("sigset", |s, h| call(c"sigset", s, h), 0),
    ];
    for watched in [false, true] {
        for (name, set_handler, flags) in functions {
            let kq = Queue::new();
            if watched {
                kq.change(SIGUSR1, EvFlags::EV_ADD);
            }
            let ran = RUN.load(SeqCst);
            set(SIGUSR1, &action(SIG_IGN, 0, &[]));
            assert_eq!(set_handler(SIGUSR1, handler()), SIG_IGN, "{name}");
            let seen = action_of(SIGUSR1);
            assert_eq!(seen.sa_sigaction, handler(), "{name}");
            let known = SA_RESTART | SA_RESETHAND | SA_NODEFER;
            assert_eq!(seen.sa_flags & known, flags, "{name}");
            send_to_process(SIGUSR1);
            assert_eq!(RUN.load(SeqCst), ran + 1);
            if watched {
                assert_eq!(kq.counts(), [(SIGUSR1, 1)], "{name}");
            }
            let left = if flags & SA_RESETHAND != 0 { SIG_DFL } else { handler() };
            assert_eq!(set_handler(SIGUSR1, SIG_IGN), left, "{name}");
            assert_eq!(set_handler(SIGUSR1, libc::SIG_ERR), libc::SIG_ERR);
            assert_eq!(Errno::last(), Errno::EINVAL);
            send_to_process(SIGUSR1);
            if watched {
                assert_eq!(kq.counts(), [(SIGUSR1, 1)], "{name}");
            }
        }
        // SIG_HOLD, and sigignore.
        const SIG_HOLD: sighandler_t = 2;
        let kq = Queue::new();
        if watched {
            kq.change(SIGUSR2, EvFlags::EV_ADD);
        }
        let sigset: Signal = symbol(c"sigset");
        let sigignore: unsafe extern "C" fn(c_int) -> c_int = symbol(c"sigignore");
        // SAFETY: no handlers but one that adds to an atomic.
        unsafe {
            assert_eq!(sigset(SIGUSR2, SIG_HOLD), SIG_DFL);
            assert_eq!(sigset(SIGUSR2, SIG_HOLD), SIG_HOLD);
            send_to_process(SIGUSR2);
            assert_eq!(kq.counts().len(), usize::from(watched));
            let ran = RUN.load(SeqCst);
            assert_eq!(sigset(SIGUSR2, handler()), SIG_HOLD);
            assert_eq!(RUN.load(SeqCst), ran + 1);
            assert_eq!(sigignore(SIGUSR2), 0);
        }
        assert_eq!(action_of(SIGUSR2).sa_sigaction, SIG_IGN);
        send_to_process(SIGUSR2);
        assert_eq!(kq.counts().len(), usize::from(watched));
        drop(kq);
        set(SIGUSR2, &action(SIG_DFL, 0, &[]));
    }
}

fn signals_that_were_never_watched_are_libcs() {
    let _kq = Queue::of(SIGUSR2);
    catch(SIGUSR1, SA_RESTART);
    send_to_process(SIGUSR1);
    assert_eq!(caught(SIGUSR1), 1);
    for signal in [0, 65, -1, libc::SIGKILL, libc::SIGSTOP, 32] {
        let new = action(SIG_IGN, 0, &[]);
        // SAFETY: SIG_IGN.
        let done = unsafe { libc::sigaction(signal, &new, null_mut()) };
        assert_eq!((done, Errno::last()), (-1, Errno::EINVAL), "{signal}");
    }
}

fn siginterrupt_holds_for_what_is_watched() {
    let siginterrupt: unsafe extern "C" fn(c_int, c_int) -> c_int = symbol(c"siginterrupt");
    let signal: Signal = symbol(c"signal");
    let restarts = |signal| action_of(signal).sa_flags & SA_RESTART != 0;
    let kq = Queue::of(SIGUSR1);
    // SAFETY: the handler is async-signal-safe.
    unsafe {
        signal(SIGUSR1, handler());
        assert!(restarts(SIGUSR1));
        assert_eq!(siginterrupt(SIGUSR1, 1), 0);
        assert!(!restarts(SIGUSR1));
        assert_eq!(action_of(SIGUSR1).sa_sigaction, handler());
        send_to_process(SIGUSR1);
        assert_eq!((RUN.load(SeqCst), kq.counts()), (1, vec![(SIGUSR1, 1)]));
        signal(SIGUSR1, handler());
        assert!(!restarts(SIGUSR1));
        drop(kq);
        signal(SIGUSR1, handler());
        assert!(!restarts(SIGUSR1), "libc's own signal() knows of it");
        assert_eq!(siginterrupt(SIGUSR1, 0), 0);
        assert!(restarts(SIGUSR1));
    }
}

fn what_is_taken_by_sigwait_counts() {
    static TID: AtomicI32 = AtomicI32::new(0);
    const EACH: usize = 200;
    block(&[SIGUSR1]);
    let kq = Queue::of(SIGUSR1);
    let taker = threads::start(|| {
        // SAFETY: takes no pointer.
        TID.store(unsafe { libc::gettid() }, SeqCst);
        let set = set_of(&[SIGUSR1]);
        let mut taken = 0;
        let soon = timespec { tv_sec: 60, tv_nsec: 0 };
        for round in 0..3 * EACH {
            // SAFETY: valid sets and times; the siginfo is not asked for.
            let signal = unsafe {
                match round % 3 {
                    0 => {
                        assert_eq!(libc::sigwait(&set, &mut taken), 0);
                        taken
                    }
                    1 => libc::sigwaitinfo(&set, null_mut()),
                    _ => libc::sigtimedwait(&set, null_mut(), &soon),
                }
            };
            assert_eq!(signal, SIGUSR1);
            RUN.fetch_add(1, SeqCst);
        }
    });
    let mut total = 0;
    let mut look = || total += kq.counts().iter().map(|count| count.1).sum::<isize>();
    for round in 1..=3 * EACH {
        send_to_process(SIGUSR1);
        if round % 2 == 0 {
            look();
        }
        while RUN.load(SeqCst) < round {
            std::thread::yield_now();
        }
    }
    taker.join();
    look();
    assert_eq!(total, 3 * EACH as isize);
}

fn a_forked_child_sees_the_programs_action() {
    ignore(SIGTERM);
    let kq = Queue::of(SIGTERM);
    let code = sys::in_child(|| {
        assert_eq!(action_of(SIGTERM).sa_sigaction, SIG_IGN);
        assert_eq!(set(SIGTERM, &action(SIG_IGN, 0, &[])).sa_sigaction, SIG_IGN);
        // Set by the child itself, it is the kernel's: an executed program inherits it.
        use std::os::unix::process::CommandExt;
        let _ = std::process::Command::new("sh").args(["-c", "kill -TERM $$; exit 7"]).exec();
        1
    });
    assert_eq!(code, 7);
    send_to_process(SIGTERM);
    assert_eq!(kq.counts(), [(SIGTERM, 1)]);
}

/// pthread_exit unwinds through the engine's handler, and through the kernel's frame.
fn a_thread_may_end_in_a_handler() {
    extern "C-unwind" fn end(_: c_int) {
        // SAFETY: a thread of pthread_create's; the frames between have nothing to drop.
        unsafe {
            let pthread_exit: unsafe extern "C-unwind" fn(*mut c_void) -> ! =
                symbol(c"pthread_exit");
            pthread_exit(77 as *mut c_void)
        }
    }
    extern "C" fn body(_: *mut c_void) -> *mut c_void {
        let raise: unsafe extern "C-unwind" fn(c_int) -> c_int = symbol(c"raise");
        // SAFETY: takes a number.
        unsafe { raise(SIGUSR1) };
        null_mut()
    }
    type Start = extern "C" fn(*mut c_void) -> *mut c_void;
    let kq = Queue::of(SIGUSR1);
    set(SIGUSR1, &action(end as *const () as usize, 0, &[]));
    // SAFETY: the thread is joined, and has the types that it should.
    unsafe {
        let mut thread = MaybeUninit::uninit();
        let created = libc::pthread_create(thread.as_mut_ptr(), null(), body as Start, null_mut());
        assert_eq!(created, 0);
        let mut result = null_mut();
        assert_eq!(libc::pthread_join(thread.assume_init(), &mut result), 0);
        assert_eq!(result as usize, 77);
    }
    assert_eq!(kq.counts(), [(SIGUSR1, 1)]);
}

/// The action changes all the time, and not one signal is lost to a moment between.
fn two_queues_and_a_storm_of_changes() {
    const SENT: usize = 5000;
    let signal = libc::SIGRTMIN() + 4;
    set(signal, &action(handler(), SA_RESTART, &[]));
    let queues = [Queue::of(signal), Queue::of(signal)];
    let changer = threads::start(move || {
        while RUN.load(SeqCst) < SENT {
            set(signal, &action(handler(), SA_RESTART, &[SIGUSR1]));
            set(signal, &action(handler(), SA_RESTART | SA_NODEFER, &[]));
        }
    });
    for _ in 0..SENT {
        send_to_process(signal);
    }
    changer.join();
    assert_eq!(RUN.load(SeqCst), SENT);
    for kq in &queues {
        assert_eq!(kq.counts(), [(signal, SENT as isize)]);
    }
}
