//! EVFILT_SIGNAL, in a Rust program: nobody tells the engine of sigaction(2).

mod kq;

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};

use kq::*;
use kq_core::EventFilter::{EVFILT_SIGNAL, EVFILT_USER};
use kq_core::test_support::epoll::KERNEL;
use kq_core::test_support::signals::{
    block, catch, caught, ignore, is_blocked, send_to_process, send_to_self, set_of, unblock,
};
use kq_core::test_support::{leak, sys, threads};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};
use libc::{SIGCHLD, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2, c_int, c_void};

kq_core::suite! {
    each_delivery_is_counted_once
    the_programs_handler_runs_as_before
    a_handler_with_siginfo_gets_the_senders_value
    a_handler_that_resets_runs_once
    an_ignored_signal_is_counted_and_ignored
    a_signal_that_ends_the_process_is_counted_and_ends_it
    a_fault_ends_the_process_also_when_ignored
    a_signal_that_stops_the_process_is_counted_and_stops_it
    children_are_counted_and_still_there_to_be_waited_for
    with_children_ignored_none_is_left_to_wait_for
    a_blocked_signal_is_counted_when_it_becomes_pending
    a_waiting_thread_is_woken_by_a_blocked_signal
    a_blocked_signal_wakes_a_poll_on_the_queue
    what_was_pending_before_is_not_counted
    watching_keeps_what_is_pending
    pending_signals_that_were_taken_do_not_hide_the_next
    realtime_signals_are_counted_exactly
    what_linux_merges_is_counted_once
    every_queue_is_told
    a_queue_of_a_thread_that_does_not_see_it_pending_is_told
    signals_while_disabled_are_counted
    what_is_deleted_or_disabled_leaves_the_queue_quiet
    an_edge_is_told_after_one_that_was_taken_back
    a_dispatched_knote_is_quiet_until_enabled
    what_stays_pending_may_wake_for_nothing
    a_handler_installed_later_is_found_at_the_next_call
    an_action_that_was_saved_and_set_again_is_the_one_that_was_saved
    more_actions_than_are_remembered
    the_last_knote_gives_the_action_back
    a_closed_queue_gives_the_action_back
    a_thread_that_takes_a_signal_is_not_counted_twice
    directed_signals_are_counted_whoever_takes_them
    a_childs_signals_are_the_childs
    idents_that_are_no_signal
    a_wait_is_not_interrupted_by_what_is_watched
    a_read_is_not_interrupted_by_an_ignored_signal
    neither_mask_nor_others_are_touched
    a_terminals_ignored_signals_stay_ignored
    an_executed_program_does_not_inherit_that_a_watched_signal_is_ignored
    sigtimedwait_in_another_thread_hides_a_signal
    no_descriptor_is_left
    a_storm_of_signals_is_counted_exactly
}

fn watch(kq: &Kqueue, signal: c_int) {
    apply(kq, &[change(signal, EVFILT_SIGNAL, ADD, FilterFlag::empty())]).unwrap();
}

fn delete(kq: &Kqueue, signal: c_int) -> Result<(), Errno> {
    apply(kq, &[change(signal, EVFILT_SIGNAL, EvFlags::EV_DELETE, FilterFlag::empty())])
}

/// The events there are now, as (signal, count).
fn counts(kq: &Kqueue) -> Vec<(c_int, isize)> {
    now(kq).iter().map(brief).collect()
}

fn brief(event: &KEvent) -> (c_int, isize) {
    assert_eq!(event.filter(), Ok(EVFILT_SIGNAL));
    assert!(event.flags().contains(EvFlags::EV_CLEAR));
    assert_eq!(event.udata(), 0x55);
    (event.ident() as c_int, event.data())
}

/// A queue that watches one signal.
fn queue_of(signal: c_int) -> Kqueue {
    let kq = Kqueue::new().unwrap();
    watch(&kq, signal);
    kq
}

/// The kernel's or, in a library that disguises ours, the program's handler.
fn action_of(signal: c_int) -> libc::sigaction {
    // SAFETY: all zeros are an action, which the kernel fills.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action
    }
}

fn set_action(signal: c_int, action: &libc::sigaction) {
    // SAFETY: the tests' handlers are async-signal-safe.
    assert_eq!(unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) }, 0);
}

fn act(signal: c_int, handler: usize, flags: c_int) {
    // SAFETY: all zeros are an action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    set_action(signal, &action);
}

fn queue_value(signal: c_int, value: usize) {
    let value = libc::sigval { sival_ptr: value as *mut c_void };
    // SAFETY: takes a number, and a value that is not looked at.
    assert_eq!(unsafe { libc::sigqueue(libc::getpid(), signal, value) }, 0);
}

fn each_delivery_is_counted_once() {
    catch(SIGUSR1, 0);
    let kq = queue_of(SIGUSR1);
    assert_eq!(counts(&kq), []);
    assert!(!is_readable(&kq));
    for _ in 0..3 {
        send_to_process(SIGUSR1);
    }
    assert!(is_readable(&kq));
    assert_eq!(counts(&kq), [(SIGUSR1, 3)]);
    assert!(!is_readable(&kq));
    assert_eq!(counts(&kq), []);
    send_to_self(SIGUSR1);
    // SAFETY: takes a number.
    assert_eq!(unsafe { libc::raise(SIGUSR1) }, 0);
    assert_eq!(counts(&kq), [(SIGUSR1, 2)]);
    assert_eq!(caught(SIGUSR1), 5);
}

fn the_programs_handler_runs_as_before() {
    static DEPTH: AtomicUsize = AtomicUsize::new(0);
    static MASKED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: c_int) {
        DEPTH.fetch_add(1, SeqCst);
        MASKED.store(is_blocked(SIGUSR2) && is_blocked(SIGUSR1), SeqCst);
    }
    // SAFETY: all zeros are an action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_mask = set_of(&[SIGUSR2]);
    set_action(SIGUSR1, &action);
    let kq = queue_of(SIGUSR1);
    send_to_process(SIGUSR1);
    assert_eq!((DEPTH.load(SeqCst), MASKED.load(SeqCst)), (1, true));
    assert!(!is_blocked(SIGUSR1) && !is_blocked(SIGUSR2));
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);

    // SA_NODEFER: it comes again while it is handled.
    extern "C" fn nested(signal: c_int) {
        if DEPTH.fetch_add(1, SeqCst) < 4 {
            send_to_process(signal);
        }
    }
    act(SIGUSR1, nested as *const () as usize, libc::SA_NODEFER);
    assert_eq!(counts(&kq), []);
    send_to_process(SIGUSR1);
    assert_eq!(DEPTH.load(SeqCst), 5);
    assert_eq!(counts(&kq), [(SIGUSR1, 4)]);
}

fn a_handler_with_siginfo_gets_the_senders_value() {
    static VALUE: AtomicUsize = AtomicUsize::new(0);
    static SENDER: AtomicI32 = AtomicI32::new(0);
    extern "C" fn handler(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
        assert!(!context.is_null());
        // SAFETY: the kernel's siginfo, of sigqueue(3).
        unsafe {
            VALUE.store((*info).si_value().sival_ptr as usize, SeqCst);
            SENDER.store((*info).si_pid(), SeqCst);
        }
    }
    act(SIGUSR1, handler as *const () as usize, libc::SA_SIGINFO);
    let kq = queue_of(SIGUSR1);
    queue_value(SIGUSR1, 4711);
    assert_eq!(VALUE.load(SeqCst), 4711);
    // SAFETY: takes no pointer.
    assert_eq!(SENDER.load(SeqCst), unsafe { libc::getpid() });
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
}

fn a_handler_that_resets_runs_once() {
    catch(SIGCHLD, libc::SA_RESETHAND);
    let kq = queue_of(SIGCHLD);
    for _ in 0..3 {
        send_to_process(SIGCHLD);
    }
    // After the first the default action holds, which is to ignore it.
    assert_eq!(caught(SIGCHLD), 1);
    assert_eq!(counts(&kq), [(SIGCHLD, 3)]);
    delete(&kq, SIGCHLD).unwrap();
    assert_eq!(action_of(SIGCHLD).sa_sigaction, libc::SIG_DFL);

    catch(SIGUSR1, libc::SA_RESETHAND);
    let code = sys::in_child(|| {
        let _kq = queue_of(SIGUSR1);
        send_to_process(SIGUSR1);
        assert_eq!(caught(SIGUSR1), 1);
        send_to_process(SIGUSR1);
        0
    });
    assert_eq!(code, 128 + SIGUSR1);
}

fn an_ignored_signal_is_counted_and_ignored() {
    for signal in [SIGUSR1, SIGHUP, libc::SIGPIPE, SIGTERM] {
        ignore(signal);
        let kq = queue_of(signal);
        send_to_process(signal);
        send_to_self(signal);
        assert_eq!(counts(&kq), [(signal, 2)]);
        delete(&kq, signal).unwrap();
        assert_eq!(action_of(signal).sa_sigaction, libc::SIG_IGN);
        send_to_process(signal);
    }
    // By default too.
    for signal in [libc::SIGURG, libc::SIGWINCH, libc::SIGCONT] {
        let kq = queue_of(signal);
        send_to_process(signal);
        assert_eq!(counts(&kq), [(signal, 1)]);
    }
}

fn a_signal_that_ends_the_process_is_counted_and_ends_it() {
    for signal in [SIGTERM, SIGUSR1, libc::SIGALRM, libc::SIGABRT, libc::SIGRTMIN() + 1] {
        let code = sys::in_child(|| {
            let _kq = queue_of(signal);
            send_to_process(signal);
            0
        });
        assert_eq!(code, 128 + signal);
        let code = sys::in_child(|| {
            block(&[signal]);
            let kq = queue_of(signal);
            send_to_process(signal);
            assert_eq!(counts(&kq), [(signal, 1)]);
            unblock(&[signal]);
            0
        });
        assert_eq!(code, 128 + signal);
    }
    let code = sys::in_child(|| {
        let _kq = queue_of(libc::SIGABRT);
        // SAFETY: ends this process.
        unsafe { libc::abort() }
    });
    assert_eq!(code, 128 + libc::SIGABRT);
}

fn a_fault_ends_the_process_also_when_ignored() {
    for action in [libc::SIG_DFL, libc::SIG_IGN] {
        let code = sys::in_child(|| {
            act(libc::SIGSEGV, action, 0);
            let kq = queue_of(libc::SIGSEGV);
            if action == libc::SIG_IGN {
                send_to_process(libc::SIGSEGV);
                assert_eq!(counts(&kq), [(libc::SIGSEGV, 1)]);
            }
            let nowhere = sys::guarded_page(libc::PROT_NONE).cast::<u8>();
            // SAFETY: a fault is what we want.
            unsafe { nowhere.read_volatile() }.into()
        });
        assert_eq!(code, 128 + libc::SIGSEGV);
        #[cfg(target_arch = "x86_64")]
        {
            let code = sys::in_child(|| {
                act(libc::SIGTRAP, action, 0);
                let _kq = queue_of(libc::SIGTRAP);
                // SAFETY: raises SIGTRAP, which is what we want.
                unsafe { std::arch::asm!("int3") };
                0
            });
            assert_eq!(code, 128 + libc::SIGTRAP);
        }
    }
}

fn a_signal_that_stops_the_process_is_counted_and_stops_it() {
    let child = sys::fork(|| {
        // In an orphaned process group it would not stop, and whoever started the tests may have
        // left theirs one. A group of its own is none: its parent is in another of the session.
        // SAFETY: integers only.
        unsafe { assert_eq!(libc::setpgid(0, 0), 0) };
        let kq = queue_of(libc::SIGTSTP);
        for _ in 0..2 {
            send_to_process(libc::SIGTSTP);
            assert_eq!(counts(&kq), [(libc::SIGTSTP, 1)]);
        }
        delete(&kq, libc::SIGTSTP).unwrap();
        i32::from(action_of(libc::SIGTSTP).sa_sigaction != libc::SIG_DFL)
    });
    for _ in 0..2 {
        let mut status = 0;
        // SAFETY: the kernel writes one int; the child is ours.
        unsafe {
            assert_eq!(libc::waitpid(child.pid(), &mut status, libc::WUNTRACED), child.pid());
            assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTSTP);
            assert_eq!(libc::kill(child.pid(), libc::SIGCONT), 0);
        }
    }
    assert_eq!(child.wait(), 0);
}

fn children_are_counted_and_still_there_to_be_waited_for() {
    let kq = queue_of(SIGCHLD);
    for code in 0..3 {
        let child = sys::fork(|| code);
        assert_eq!(brief(&next(&kq)[0]), (SIGCHLD, 1));
        assert_eq!(child.wait(), code);
    }
    catch(SIGCHLD, 0);
    let child = sys::fork(|| 4);
    assert_eq!(child.wait(), 4);
    assert_eq!(caught(SIGCHLD), 1);
    // The handler stood in the place of ours.
    assert_eq!(counts(&kq), []);
    let child = sys::fork(|| 5);
    assert_eq!(brief(&next(&kq)[0]), (SIGCHLD, 1));
    assert_eq!((child.wait(), caught(SIGCHLD)), (5, 2));
}

fn with_children_ignored_none_is_left_to_wait_for() {
    ignore(SIGCHLD);
    let kq = queue_of(SIGCHLD);
    let child = sys::fork(|| 0);
    assert_eq!(brief(&next(&kq)[0]), (SIGCHLD, 1));
    let mut status = 0;
    // SAFETY: the kernel writes one int, if it has one.
    let waited = unsafe { libc::waitpid(child.pid(), &mut status, 0) };
    assert_eq!((waited, Errno::last()), (-1, Errno::ECHILD));
}

fn a_blocked_signal_is_counted_when_it_becomes_pending() {
    for (signal, send) in
        [(SIGUSR1, send_to_process as fn(c_int)), (SIGUSR2, send_to_self), (SIGHUP, send_to_self)]
    {
        if signal == SIGHUP {
            ignore(signal);
        } else {
            catch(signal, 0);
        }
        block(&[signal]);
        let kq = queue_of(signal);
        assert_eq!(counts(&kq), []);
        send(signal);
        assert_eq!(caught(signal), 0);
        assert_eq!(counts(&kq), [(signal, 1)]);
        for _ in 0..3 {
            assert_eq!(counts(&kq), []);
            assert!(!is_readable(&kq));
        }
        // Delivered, and not counted again.
        unblock(&[signal]);
        assert_eq!(caught(signal), usize::from(signal != SIGHUP));
        assert_eq!(counts(&kq), []);
        send(signal);
        assert_eq!(counts(&kq), [(signal, 1)]);
        // Seen by the handler only, before anybody looked.
        block(&[signal]);
        send(signal);
        unblock(&[signal]);
        assert_eq!(counts(&kq), [(signal, 1)]);
        assert_eq!(counts(&kq), []);
    }
}

fn a_waiting_thread_is_woken_by_a_blocked_signal() {
    block(&[SIGUSR1]); // and the thread inherits that
    let waiter = threads::start(|| {
        let kq = queue_of(SIGUSR1);
        let first = brief(&next(&kq)[0]);
        assert_eq!(counts(&kq), []);
        first
    });
    assert!(waiter.wait_until_asleep());
    send_to_process(SIGUSR1);
    assert_eq!(waiter.join(), (SIGUSR1, 1));
    // To the thread itself.
    block(&[SIGUSR2]);
    let waiter = threads::start(|| brief(&next(&queue_of(SIGUSR2))[0]));
    assert!(waiter.wait_until_asleep());
    waiter.signal(SIGUSR2);
    assert_eq!(waiter.join(), (SIGUSR2, 1));
}

fn a_blocked_signal_wakes_a_poll_on_the_queue() {
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    assert!(!is_readable(&kq));
    send_to_process(SIGUSR1);
    assert!(is_readable(&kq));
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
    assert!(!is_readable(&kq));
}

fn what_was_pending_before_is_not_counted() {
    catch(SIGUSR1, 0);
    block(&[SIGUSR1]);
    send_to_process(SIGUSR1);
    let kq = queue_of(SIGUSR1);
    assert_eq!(counts(&kq), []);
    unblock(&[SIGUSR1]);
    assert_eq!((caught(SIGUSR1), counts(&kq)), (1, vec![]));
    send_to_process(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
}

/// The kernel throws a pending signal away when its action becomes one that ignores it.
fn watching_keeps_what_is_pending() {
    for signal in [SIGCHLD, libc::SIGURG, SIGUSR1] {
        block(&[signal]);
        let kq = queue_of(signal);
        delete(&kq, signal).unwrap();
        send_to_process(signal);
        watch(&kq, signal);
        assert_eq!(counts(&kq), []);
        delete(&kq, signal).unwrap();
        take_pending(signal);
        watch(&kq, signal);
        send_to_process(signal);
        drop(kq);
        take_pending(signal);
    }
}

fn take_pending(signal: c_int) {
    // SAFETY: a valid set; the siginfo is not asked for.
    let taken = unsafe { libc::sigwaitinfo(&set_of(&[signal]), std::ptr::null_mut()) };
    assert_eq!(taken, signal);
}

fn pending_signals_that_were_taken_do_not_hide_the_next() {
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    for _ in 0..3 {
        send_to_process(SIGUSR1);
        assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
        take_pending(SIGUSR1);
        assert_eq!(counts(&kq), []);
    }
    // By signalfd, as well.
    let fd = sys::signalfd(&[SIGUSR1]).unwrap();
    for _ in 0..3 {
        send_to_process(SIGUSR1);
        assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
        sys::read(fd.as_raw_fd(), 128).unwrap();
        assert_eq!(counts(&kq), []);
    }
}

fn realtime_signals_are_counted_exactly() {
    let signal = libc::SIGRTMIN() + 2;
    catch(signal, 0);
    let kq = queue_of(signal);
    (0..100).for_each(|value| queue_value(signal, value));
    assert_eq!(counts(&kq), [(signal, 100)]);
    // Blocked: at least one is seen at once, and each when it is delivered.
    block(&[signal]);
    (0..100).for_each(|value| queue_value(signal, value));
    let pending = counts(&kq)[0].1;
    assert!((1..=100).contains(&pending));
    unblock(&[signal]);
    assert_eq!(counts(&kq), [(signal, 100 - pending)]);
    assert_eq!(caught(signal), 200);
}

fn what_linux_merges_is_counted_once() {
    catch(SIGUSR1, 0);
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    (0..3).for_each(|_| send_to_process(SIGUSR1));
    unblock(&[SIGUSR1]);
    assert_eq!((caught(SIGUSR1), counts(&kq)), (1, vec![(SIGUSR1, 1)]));
}

fn every_queue_is_told() {
    catch(SIGUSR1, 0);
    let queues = [(); 3].map(|()| queue_of(SIGUSR1));
    send_to_process(SIGUSR1);
    assert_eq!(counts(&queues[0]), [(SIGUSR1, 1)]);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&queues[0]), [(SIGUSR1, 1)]);
    assert_eq!(counts(&queues[1]), [(SIGUSR1, 2)]);
    block(&[SIGUSR1]);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&queues[1]), [(SIGUSR1, 1)]);
    assert_eq!(counts(&queues[2]), [(SIGUSR1, 3)]);
    assert_eq!(counts(&queues[0]), [(SIGUSR1, 1)]);
    unblock(&[SIGUSR1]);
    queues.iter().for_each(|kq| assert_eq!(counts(kq), []));
}

/// It is pending at one thread only, whose queue is not the other one's.
fn a_queue_of_a_thread_that_does_not_see_it_pending_is_told() {
    catch(SIGUSR1, 0);
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    let waiter = threads::start(|| brief(&next(&queue_of(SIGUSR1))[0]));
    assert!(waiter.wait_until_asleep());
    send_to_self(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
    assert_eq!(waiter.join(), (SIGUSR1, 1));
    unblock(&[SIGUSR1]);
    assert_eq!((caught(SIGUSR1), counts(&kq)), (1, vec![]));
}

fn signals_while_disabled_are_counted() {
    catch(SIGUSR1, 0);
    let kq = queue_of(SIGUSR1);
    let order = |flag| change(SIGUSR1, EVFILT_SIGNAL, flag, FilterFlag::empty());
    apply(&kq, &[order(EvFlags::EV_DISABLE)]).unwrap();
    send_to_process(SIGUSR1);
    send_to_process(SIGUSR1);
    assert!(!is_readable(&kq));
    assert_eq!(counts(&kq), []);
    apply(&kq, &[order(EvFlags::EV_ENABLE)]).unwrap();
    assert!(is_readable(&kq));
    assert_eq!(counts(&kq), [(SIGUSR1, 2)]);
    // Blocked, too.
    apply(&kq, &[order(EvFlags::EV_DISABLE)]).unwrap();
    block(&[SIGUSR1]);
    send_to_process(SIGUSR1);
    assert!(!is_readable(&kq));
    assert_eq!(counts(&kq), []);
    apply(&kq, &[order(EvFlags::EV_ENABLE)]).unwrap();
    assert!(is_readable(&kq));
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
    unblock(&[SIGUSR1]);
    assert_eq!(counts(&kq), []);
    let oneshot = EvFlags::EV_ADD | EvFlags::EV_ONESHOT;
    delete(&kq, SIGUSR1).unwrap();
    apply(&kq, &[order(oneshot)]).unwrap();
    send_to_process(SIGUSR1);
    assert_eq!(now(&kq).len(), 1);
    assert_eq!(delete(&kq, SIGUSR1), Err(Errno::ENOENT));
}

/// After its signal came, and whatever came for the others.
fn what_is_deleted_or_disabled_leaves_the_queue_quiet() {
    catch(SIGUSR1, 0);
    catch(SIGUSR2, 0);
    let order = |flag| [change(SIGUSR1, EVFILT_SIGNAL, flag, FilterFlag::empty())];
    for blocked in [false, true] {
        for flag in [EvFlags::EV_DELETE, EvFlags::EV_DISABLE] {
            let kq = queue_of(SIGUSR1);
            watch(&kq, SIGUSR2);
            if blocked {
                block(&[SIGUSR1, SIGUSR2]);
            }
            send_to_process(SIGUSR1);
            assert!(is_readable(&kq));
            apply(&kq, &order(flag)).unwrap();
            assert!(!is_readable(&kq), "{flag:?}, {blocked}");
            assert_eq!(counts(&kq), []);
            if flag == EvFlags::EV_DISABLE {
                apply(&kq, &order(EvFlags::EV_ENABLE)).unwrap();
                assert!(is_readable(&kq));
                assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
                assert!(!is_readable(&kq));
            } else {
                watch(&kq, SIGUSR1);
                assert!(blocked || !is_readable(&kq));
                assert_eq!(counts(&kq), [], "it came before");
                assert!(!is_readable(&kq));
            }
            unblock(&[SIGUSR1, SIGUSR2]);
            assert_eq!(counts(&kq), []);
            // The other one's signal is not lost.
            if blocked {
                block(&[SIGUSR1, SIGUSR2]);
            }
            send_to_process(SIGUSR1);
            send_to_process(SIGUSR2);
            apply(&kq, &order(flag)).unwrap();
            assert!(is_readable(&kq));
            assert_eq!(counts(&kq), [(SIGUSR2, 1)]);
            assert!(!is_readable(&kq), "{flag:?}, {blocked}");
            unblock(&[SIGUSR1, SIGUSR2]);
        }
    }
}

/// To who watches the queue by edges.
fn an_edge_is_told_after_one_that_was_taken_back() {
    catch(SIGUSR1, 0);
    catch(SIGUSR2, 0);
    let kq = queue_of(SIGUSR1);
    watch(&kq, SIGUSR2);
    let edges = KERNEL.create();
    KERNEL.add(&edges, &kq, (libc::EPOLLIN | libc::EPOLLET) as u32, 0).unwrap();
    for round in 0..3 {
        send_to_self(SIGUSR1);
        assert_eq!(KERNEL.wait(&edges, 2, 0).unwrap().len(), 1, "round {round}");
        delete(&kq, SIGUSR1).unwrap();
        watch(&kq, SIGUSR1);
    }
}

fn a_dispatched_knote_is_quiet_until_enabled() {
    catch(SIGUSR1, 0);
    let kq = Kqueue::new().unwrap();
    let order = |flag| [change(SIGUSR1, EVFILT_SIGNAL, flag, FilterFlag::empty())];
    apply(&kq, &order(ADD | EvFlags::EV_DISPATCH)).unwrap();
    for _ in 0..3 {
        send_to_process(SIGUSR1);
        assert_eq!(now(&kq)[0].data(), 1);
        send_to_process(SIGUSR1);
        send_to_process(SIGUSR1);
        assert!(!is_readable(&kq));
        assert_eq!(counts(&kq), []);
        apply(&kq, &order(EvFlags::EV_ENABLE)).unwrap();
        assert!(is_readable(&kq));
        assert_eq!(now(&kq)[0].data(), 2);
        assert!(!is_readable(&kq));
        apply(&kq, &order(EvFlags::EV_ENABLE)).unwrap();
        assert!(!is_readable(&kq));
    }
}

/// See docs/deviations.md: a signalfd wakes for every signal, whatever is new of it.
fn what_stays_pending_may_wake_for_nothing() {
    catch(SIGUSR2, 0);
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
    assert!(!is_readable(&kq));
    let changed = || watch(&kq, SIGHUP);
    let sent = || send_to_process(SIGUSR2);
    for happens in [&sent as &dyn Fn(), &changed] {
        happens();
        assert!(is_readable(&kq), "if not, docs/deviations.md need not say so");
        assert_eq!(counts(&kq), []);
        assert!(!is_readable(&kq));
    }
}

/// See docs/deviations.md: what comes between goes to the program's handler only.
fn a_handler_installed_later_is_found_at_the_next_call() {
    let kq = queue_of(SIGUSR1);
    catch(SIGUSR1, 0);
    send_to_process(SIGUSR1);
    assert_eq!((caught(SIGUSR1), counts(&kq)), (1, vec![]));
    send_to_process(SIGUSR1);
    assert_eq!((caught(SIGUSR1), counts(&kq)), (2, vec![(SIGUSR1, 1)]));
    ignore(SIGUSR1);
    assert_eq!(counts(&kq), []);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
}

fn an_action_that_was_saved_and_set_again_is_the_one_that_was_saved() {
    ignore(SIGUSR1);
    let kq = queue_of(SIGUSR1);
    let saved = action_of(SIGUSR1);
    for round in 1..40 {
        catch(SIGUSR1, 0);
        assert_eq!(counts(&kq), []);
        send_to_process(SIGUSR1);
        assert_eq!(caught(SIGUSR1), round);
        set_action(SIGUSR1, &saved);
        send_to_process(SIGUSR1);
        assert_eq!(caught(SIGUSR1), round, "it is ignored again");
        assert_eq!(counts(&kq), [(SIGUSR1, 2)]);
    }
    drop(kq);
    assert_eq!(action_of(SIGUSR1).sa_sigaction, libc::SIG_IGN);
}

fn more_actions_than_are_remembered() {
    let kq = queue_of(SIGUSR1);
    for round in 1..100 {
        // Each mask makes another action.
        // SAFETY: all zeros are an action.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        catch(SIGUSR1, 0);
        action.sa_sigaction = action_of(SIGUSR1).sa_sigaction;
        action.sa_mask = set_of(&[1 + round % 30, 34 + round % 29]);
        set_action(SIGUSR1, &action);
        assert_eq!(counts(&kq), []);
        send_to_process(SIGUSR1);
        assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
        assert_eq!(caught(SIGUSR1), round as usize);
    }
}

fn the_last_knote_gives_the_action_back() {
    catch(SIGUSR1, libc::SA_RESTART);
    let before = action_of(SIGUSR1);
    let [first, second] = [(); 2].map(|()| queue_of(SIGUSR1));
    assert_ne!(action_of(SIGUSR1).sa_sigaction, before.sa_sigaction);
    delete(&first, SIGUSR1).unwrap();
    send_to_process(SIGUSR1);
    assert_eq!((counts(&first), counts(&second)), (vec![], vec![(SIGUSR1, 1)]));
    delete(&second, SIGUSR1).unwrap();
    let after = action_of(SIGUSR1);
    assert_eq!(after.sa_sigaction, before.sa_sigaction);
    assert_eq!(after.sa_flags & libc::SA_RESTART, libc::SA_RESTART);
    assert_eq!(after.sa_flags & libc::SA_SIGINFO, 0);
    send_to_process(SIGUSR1);
    assert_eq!(caught(SIGUSR1), 2);
}

fn a_closed_queue_gives_the_action_back() {
    ignore(SIGHUP);
    drop(queue_of(SIGHUP));
    assert_eq!(action_of(SIGHUP).sa_sigaction, libc::SIG_IGN);
    assert_eq!(action_of(SIGTERM).sa_sigaction, libc::SIG_DFL);
}

/// Two threads: one waits and blocks the signal, one takes it. What the first sees pending for a
/// moment is the second's to count.
fn a_thread_that_takes_a_signal_is_not_counted_twice() {
    const ROUNDS: usize = 3000;
    catch(SIGUSR1, 0);
    block(&[SIGUSR1]);
    static TOTAL: AtomicUsize = AtomicUsize::new(0);
    let waiter = threads::start(|| {
        let kq = queue_of(SIGUSR1);
        apply(&kq, &[change(SIGUSR2, EVFILT_SIGNAL, ADD, FilterFlag::empty())]).unwrap();
        let mut total = 0;
        loop {
            for event in next(&kq) {
                match brief(&event) {
                    (SIGUSR1, count) => total += count as usize,
                    _ => return total + counts(&kq).iter().map(|c| c.1 as usize).sum::<usize>(),
                }
                TOTAL.store(total, SeqCst);
            }
        }
    });
    assert!(waiter.wait_until_asleep());
    catch(SIGUSR2, 0);
    unblock(&[SIGUSR1]);
    for round in 1..=ROUNDS {
        send_to_process(SIGUSR1);
        while caught(SIGUSR1) < round {
            std::hint::spin_loop();
        }
    }
    while TOTAL.load(SeqCst) < ROUNDS {
        std::thread::yield_now();
    }
    // Its own handler stood in the place of ours for SIGUSR2: the waiter blocks it, and sees it.
    block(&[SIGUSR2]);
    waiter.signal(SIGUSR2);
    assert_eq!(waiter.join(), ROUNDS);
}

fn directed_signals_are_counted_whoever_takes_them() {
    catch(SIGUSR1, 0);
    let kq = queue_of(SIGUSR1);
    static GO: AtomicBool = AtomicBool::new(false);
    let other = threads::start(|| {
        while !GO.load(SeqCst) {
            std::thread::yield_now();
        }
    });
    for round in 1..=100 {
        other.signal(SIGUSR1);
        while caught(SIGUSR1) < round {
            std::thread::yield_now();
        }
    }
    assert_eq!(counts(&kq), [(SIGUSR1, 100)]);
    GO.store(true, SeqCst);
    other.join();
}

fn a_childs_signals_are_the_childs() {
    catch(SIGUSR1, 0);
    let kq = queue_of(SIGUSR1);
    let code = sys::in_child(|| {
        send_to_process(SIGUSR1);
        assert_eq!(caught(SIGUSR1), 1);
        let own = queue_of(SIGUSR1);
        assert_eq!(counts(&own), []);
        send_to_process(SIGUSR1);
        assert_eq!((caught(SIGUSR1), counts(&own)), (2, vec![(SIGUSR1, 1)]));
        drop(own);
        send_to_process(SIGUSR1);
        assert_eq!(caught(SIGUSR1), 3);
        0
    });
    assert_eq!(code, 0);
    assert!(!is_readable(&kq));
    assert_eq!(counts(&kq), []);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);

    // A child that shares our memory.
    extern "C" fn child(_: *mut c_void) -> c_int {
        send_to_process(SIGUSR1);
        0
    }
    let mut stack = vec![0_u128; 4096];
    let mut status = 0;
    // SAFETY: the child has a stack of its own, and we wait while it runs.
    unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | SIGCHLD;
        let pid = libc::clone(child, top, flags, std::ptr::null_mut());
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
    }
    assert_eq!(
        (status, caught(SIGUSR1)),
        (0, 2),
        "the child has counted for itself, in our memory"
    );
    assert_eq!(counts(&kq), []);
}

fn idents_that_are_no_signal() {
    let kq = Kqueue::new().unwrap();
    let bad = [0, 9, 19, 32, 33, 65, 128, usize::MAX];
    for ident in bad {
        let add = change(ident, EVFILT_SIGNAL, ADD, FilterFlag::empty());
        assert_eq!(apply(&kq, &[add]), Err(Errno::EINVAL), "{ident}");
        let delete = change(ident, EVFILT_SIGNAL, EvFlags::EV_DELETE, FilterFlag::empty());
        assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT), "{ident}");
    }
    for signal in (1..=64).filter(|&signal| !bad.contains(&(signal as usize))) {
        watch(&kq, signal);
    }
    assert_eq!(kq.counters().knotes, 60);
}

fn a_wait_is_not_interrupted_by_what_is_watched() {
    catch(SIGUSR1, 0);
    catch(SIGUSR2, 0);
    block(&[SIGUSR1, SIGUSR2]);
    let waiter = threads::start(|| {
        let kq = queue_of(SIGUSR1);
        unblock(&[SIGUSR1, SIGUSR2]);
        assert_eq!(brief(&next(&kq)[0]), (SIGUSR1, 1));
        let mut event = [KEvent::default()];
        kq.kevent(&[], &mut event, None)
    });
    assert!(waiter.wait_until_asleep());
    waiter.signal(SIGUSR1);
    while caught(SIGUSR1) == 0 {
        std::thread::yield_now();
    }
    assert!(waiter.wait_until_asleep());
    waiter.signal(SIGUSR2);
    assert_eq!(waiter.join(), Err(Errno::EINTR), "as ever, by another one");
}

fn a_read_is_not_interrupted_by_an_ignored_signal() {
    ignore(SIGUSR1);
    let kq = queue_of(SIGUSR1);
    block(&[SIGUSR1]);
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let reader = threads::start(move || {
        unblock(&[SIGUSR1]);
        // A plain read(2), once.
        std::io::Read::read(&mut theirs, &mut [0; 1]).map_err(|e| e.raw_os_error())
    });
    unblock(&[SIGUSR1]);
    for _ in 0..100 {
        reader.signal(SIGUSR1);
        std::thread::yield_now();
    }
    assert!(!reader.is_finished());
    std::io::Write::write_all(&mut ours, b"x").unwrap();
    assert_eq!(reader.join(), Ok(1));
    assert!(counts(&kq)[0].1 >= 1);
}

fn neither_mask_nor_others_are_touched() {
    let before: Vec<_> = (1..=64).map(is_blocked).collect();
    let kq = queue_of(SIGUSR1);
    watch(&kq, SIGCHLD);
    assert_eq!((1..=64).map(is_blocked).collect::<Vec<_>>(), before);
    assert_eq!(action_of(SIGUSR2).sa_sigaction, libc::SIG_DFL);
    counts(&kq);
    assert_eq!((1..=64).map(is_blocked).collect::<Vec<_>>(), before);
    drop(kq);
    assert_eq!((1..=64).map(is_blocked).collect::<Vec<_>>(), before);
    for signal in [SIGUSR1, SIGCHLD] {
        assert_eq!(action_of(signal).sa_sigaction, libc::SIG_DFL);
    }
}

/// See docs/deviations.md.
fn a_terminals_ignored_signals_stay_ignored() {
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        ignore(signal);
        let kq = queue_of(signal);
        assert_eq!(action_of(signal).sa_sigaction, libc::SIG_IGN);
        send_to_process(signal);
        assert_eq!(counts(&kq), []);
        // With a handler they are counted.
        catch(signal, 0);
        assert_eq!(counts(&kq), []);
        send_to_process(signal);
        assert_eq!((caught(signal), counts(&kq)), (1, vec![(signal, 1)]));
    }
}

/// See docs/deviations.md: the kernel hands on what is ignored, but a handler it does not.
fn an_executed_program_does_not_inherit_that_a_watched_signal_is_ignored() {
    for watched in [false, true] {
        ignore(SIGHUP);
        let kq = watched.then(|| queue_of(SIGHUP));
        let shell = "kill -HUP $$; exit 7";
        let status = std::process::Command::new("sh").args(["-c", shell]).status().unwrap();
        assert_eq!(status.code(), (!watched).then_some(7));
        drop(kq);
    }
}

/// See docs/deviations.md: the signal goes to the thread that waits for it, and nobody tells.
fn sigtimedwait_in_another_thread_hides_a_signal() {
    block(&[SIGUSR1]);
    let kq = queue_of(SIGUSR1);
    let taker = threads::start(|| {
        // SAFETY: takes no pointer.
        let tid = unsafe { libc::gettid() };
        TID.store(tid, SeqCst);
        take_pending(SIGUSR1);
    });
    static TID: AtomicI32 = AtomicI32::new(0);
    // Until it sleeps in rt_sigtimedwait.
    let asleep = || {
        let tid = TID.load(SeqCst);
        let call = std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall"));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_rt_sigtimedwait)))
    };
    while !asleep() {
        std::thread::yield_now();
    }
    send_to_process(SIGUSR1);
    taker.join();
    assert_eq!(counts(&kq), []);
    send_to_process(SIGUSR1);
    assert_eq!(counts(&kq), [(SIGUSR1, 1)]);
    take_pending(SIGUSR1);
}

fn no_descriptor_is_left() {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(1, EVFILT_USER, ADD, FilterFlag::empty())]).unwrap();
    let before = leak::open_descriptors().len();
    for signal in 34..=64 {
        watch(&kq, signal);
    }
    assert_eq!(leak::open_descriptors().len(), before + 2);
    (0..100).for_each(|_| drop(queue_of(SIGUSR1)));
    assert_eq!(leak::open_descriptors().len(), before + 2);
}

/// Several threads send and take, several queues count.
fn a_storm_of_signals_is_counted_exactly() {
    let signal = libc::SIGRTMIN() + 3;
    catch(signal, libc::SA_RESTART);
    let queues = [(); 3].map(|()| queue_of(signal));
    let senders: Vec<_> = (0..3)
        .map(|_| {
            threads::start(move || {
                for round in 0..2000 {
                    if round % 5 == 0 {
                        block(&[signal]);
                    }
                    queue_value(signal, round);
                    if round % 5 == 4 {
                        unblock(&[signal]);
                    }
                }
            })
        })
        .collect();
    let mut totals = [0; 3];
    let mut look = || {
        for (kq, total) in queues.iter().zip(&mut totals) {
            *total += counts(kq).iter().map(|c| c.1).sum::<isize>();
        }
    };
    while !senders.iter().all(threads::Background::is_finished) {
        look();
    }
    senders.into_iter().for_each(threads::Background::join);
    while caught(signal) < 6000 {
        std::thread::yield_now();
    }
    look();
    assert_eq!(totals, [6000; 3]);
}
