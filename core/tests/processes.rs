//! EVFILT_PROC and EVFILT_PROCDESC.

mod kq;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::Command;

use kq::*;
use kq_core::EventFilter::{EVFILT_PROC, EVFILT_PROCDESC, EVFILT_READ, EVFILT_USER};
use kq_core::test_support::{filter, isolate, leak, sys, threads};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};
use libc::{c_int, pid_t};

const EXIT: FilterFlag = FilterFlag::NOTE_EXIT;
const FORK: FilterFlag = FilterFlag::NOTE_FORK;
const EXEC: FilterFlag = FilterFlag::NOTE_EXEC;
const TRACK: FilterFlag = FilterFlag::NOTE_TRACK;
const CHILD: FilterFlag = FilterFlag::NOTE_CHILD;

kq_core::suite! {
    a_childs_exit_status_is_told_and_still_there_to_be_waited_for
    a_signals_death_is_told_as_wait_tells_it
    a_zombie_fires_at_once
    no_such_process_is_esrch
    an_exit_is_told_once_and_the_knote_is_gone
    without_fflags_an_exit_is_not_told_and_the_knote_goes
    an_exit_while_disabled_is_told_when_enabled
    a_process_that_is_not_our_child_is_told_with_its_status
    what_a_reaper_took_first_is_told_all_the_same
    a_stranger_that_is_not_reaped_has_no_status
    a_loss_is_told
    a_modified_knote_asks_for_what_it_was_last_asked
    every_queue_is_told
    a_thousand_exits_are_told_each_once
    a_waiting_thread_is_woken_by_an_exit
    an_exit_wakes_a_poll_on_the_queue_and_a_deleted_knote_does_not
    forks_and_execs_are_told
    what_was_not_asked_for_is_not_told
    a_thread_is_no_fork
    who_is_followed_has_his_children_told
    children_of_children_are_followed
    a_child_that_ends_at_once_is_told_in_two_events
    what_is_not_followed_is_not_told
    no_descriptor_is_left_and_none_is_kept_without_need
    a_forked_child_does_not_keep_registrations_alive
    without_the_connector_forks_are_eperm_but_exits_are_told
    without_pidfd_open_the_answer_is_enosys
    a_process_descriptor_tells_the_exit
    a_process_descriptor_beside_a_read_knote
    other_descriptors_are_no_process_descriptors
    a_process_descriptor_that_was_closed_has_no_knote
}

fn watch(kq: &Kqueue, pid: pid_t, fflags: FilterFlag) -> Result<(), Errno> {
    apply(kq, &[change(pid, EVFILT_PROC, ADD, fflags)])
}

fn status_of(event: &KEvent) -> isize {
    assert!(event.fflags().contains(EXIT) && event.flags().contains(EvFlags::EV_EOF), "{event:?}");
    event.data()
}

/// A pipe at which children wait until the test lets them pass, one for each byte.
struct Gate {
    ours: PipeWriter,
    theirs: PipeReader,
}

impl Gate {
    fn new() -> Self {
        let (theirs, ours) = std::io::pipe().unwrap();
        Self { ours, theirs }
    }

    /// Child: waits to be let through; leaves if the test is over.
    fn pass(&self) {
        // Else we would wait for ourselves. (The child leaves without closing it a second time.)
        sys::close(self.ours.as_raw_fd()).unwrap();
        if !matches!((&self.theirs).read(&mut [0]), Ok(1)) {
            // SAFETY: ends this process at once.
            unsafe { libc::_exit(99) };
        }
    }

    fn open(&self) {
        (&self.ours).write_all(b"x").unwrap();
    }
}

/// A pipe on which a child tells a number.
fn number_from(child: impl FnOnce(PipeWriter) -> sys::Fork) -> (sys::Fork, pid_t) {
    let (mut told, tell) = std::io::pipe().unwrap();
    let child = child(tell);
    let mut number = [0; 4];
    told.read_exact(&mut number).unwrap();
    (child, pid_t::from_ne_bytes(number))
}

fn exits(status: c_int) -> sys::Fork {
    sys::fork(|| status)
}

/// Waits until the child is a zombie, without taking it.
fn wait_for_zombie(child: &sys::Fork) {
    // SAFETY: all zeros are a siginfo, which the kernel fills.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOWAIT;
        assert_eq!(libc::waitid(libc::P_PID, child.pid() as u32, &mut info, flags), 0);
    }
}

fn a_childs_exit_status_is_told_and_still_there_to_be_waited_for() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        42
    });
    watch(&kq, child.pid(), EXIT).unwrap();
    assert_eq!(now(&kq), []);
    assert!(!is_readable(&kq));
    gate.open();
    let events = next(&kq);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].ident(), child.pid() as usize);
    assert_eq!(events[0].fflags(), EXIT);
    assert_eq!(events[0].udata(), 0x55);
    assert_eq!(status_of(&events[0]), 42 << 8);
    assert_eq!(child.wait(), 42);
}

fn a_signals_death_is_told_as_wait_tells_it() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        let kq = Kqueue::new().unwrap();
        let gate = Gate::new();
        let child = sys::fork(|| {
            gate.pass();
            1
        });
        watch(&kq, child.pid(), EXIT).unwrap();
        // SAFETY: our own child, not reaped.
        assert_eq!(unsafe { libc::kill(child.pid(), signal) }, 0);
        let status = status_of(&next(&kq)[0]) as c_int;
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal);
        assert_eq!(child.wait(), 128 + signal);
    }
}

fn a_zombie_fires_at_once() {
    let kq = Kqueue::new().unwrap();
    let child = exits(3);
    wait_for_zombie(&child);
    let mut events = [KEvent::default(); 2];
    let n = kq.kevent(&[change(child.pid(), EVFILT_PROC, ADD, EXIT)], &mut events, None);
    assert_eq!(n, Ok(1));
    assert_eq!(status_of(&events[0]), 3 << 8);
    child.wait();
}

fn no_such_process_is_esrch() {
    let kq = Kqueue::new().unwrap();
    let child = exits(0);
    let pid = child.pid();
    child.wait();
    let idents = [pid as usize, 0, i32::MAX as usize, u32::MAX as usize, usize::MAX];
    for ident in idents {
        let changes = [change(ident, EVFILT_PROC, ADD, EXIT)];
        assert_eq!(apply(&kq, &changes), Err(Errno::ESRCH), "{ident}");
        let delete = [change(ident, EVFILT_PROC, EvFlags::EV_DELETE, EXIT)];
        assert_eq!(apply(&kq, &delete), Err(Errno::ENOENT), "{ident}");
    }
    // A thread other than the first is no process.
    let thread = std::thread::spawn(|| {
        // SAFETY: takes no pointer.
        let tid = unsafe { libc::gettid() };
        watch(&Kqueue::new().unwrap(), tid, EXIT)
    });
    assert_eq!(thread.join().unwrap(), Err(Errno::ESRCH));
    assert_eq!(now(&kq), []);
}

fn an_exit_is_told_once_and_the_knote_is_gone() {
    let kq = Kqueue::new().unwrap();
    let child = exits(0);
    watch(&kq, child.pid(), EXIT).unwrap();
    assert_eq!(next(&kq).len(), 1);
    assert_eq!(now(&kq), []);
    let delete = change(child.pid(), EVFILT_PROC, EvFlags::EV_DELETE, EXIT);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    assert_eq!(kq.counters().knotes, 0);
    child.wait();
}

fn without_fflags_an_exit_is_not_told_and_the_knote_goes() {
    let kq = Kqueue::new().unwrap();
    let child = exits(0);
    watch(&kq, child.pid(), FilterFlag::empty()).unwrap();
    wait_for_zombie(&child);
    assert_eq!(now(&kq), []);
    assert!(!is_readable(&kq));
    assert_eq!(kq.counters().knotes, 0);
    child.wait();
}

fn an_exit_while_disabled_is_told_when_enabled() {
    let kq = Kqueue::new().unwrap();
    let child = exits(5);
    let add = change(child.pid(), EVFILT_PROC, ADD | EvFlags::EV_DISABLE, EXIT);
    apply(&kq, &[add]).unwrap();
    wait_for_zombie(&child);
    assert_eq!(now(&kq), []);
    assert!(!is_readable(&kq));
    let none = FilterFlag::empty();
    apply(&kq, &[change(child.pid(), EVFILT_PROC, EvFlags::EV_ENABLE, none)]).unwrap();
    assert!(is_readable(&kq));
    assert_eq!(status_of(&now(&kq)[0]), 5 << 8);
    child.wait();
}

/// Starts a grandchild that exits with 9 when the gate opens. Its parent, our child, reaps it if it
/// shall, and stays until the second gate opens.
fn grandchild(gate: &Gate, stay: &Gate, reap: bool) -> (sys::Fork, pid_t) {
    number_from(|mut tell| {
        sys::fork(|| {
            let grandchild = sys::fork(|| {
                gate.pass();
                9
            });
            tell.write_all(&grandchild.pid().to_ne_bytes()).unwrap();
            if reap {
                grandchild.wait();
            }
            stay.pass();
            0
        })
    })
}

fn a_process_that_is_not_our_child_is_told_with_its_status() {
    let kq = Kqueue::new().unwrap();
    let (gate, stay) = (Gate::new(), Gate::new());
    let (child, pid) = grandchild(&gate, &stay, false);
    watch(&kq, pid, EXIT).unwrap();
    assert_eq!(now(&kq), []);
    gate.open();
    // It stays a zombie, and we may look at it: it is of our user.
    assert_eq!(status_of(&next(&kq)[0]), 9 << 8);
    stay.open();
    child.wait();
}

fn what_a_reaper_took_first_is_told_all_the_same() {
    let kq = Kqueue::new().unwrap();
    let (gate, stay) = (Gate::new(), Gate::new());
    let (child, pid) = grandchild(&gate, &stay, true);
    watch(&kq, pid, EXIT).unwrap();
    gate.open();
    // SAFETY: takes no pointer, and changes nothing.
    while unsafe { libc::kill(pid, 0) } == 0 {
        std::thread::yield_now();
    }
    let status = status_of(&next(&kq)[0]);
    // The kernel keeps the status for the pidfd since Linux 6.15; before, nobody can tell.
    let expected = if kernel_version() >= (6, 15) { 9 << 8 } else { -1 };
    assert_eq!(status, expected);
    stay.open();
    child.wait();
}

/// A zombie of another user: we may neither wait for it nor look at it.
fn a_stranger_that_is_not_reaped_has_no_status() {
    // SAFETY: takes no pointer.
    if unsafe { libc::geteuid() } != 0 {
        isolate::skip("only root can become somebody else");
    }
    let (gate, stay) = (Gate::new(), Gate::new());
    let (child, pid) = grandchild(&gate, &stay, false);
    gate.open();
    let code = sys::in_child(|| {
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { libc::setuid(65_534) }, 0);
        let kq = Kqueue::new().unwrap();
        watch(&kq, pid, EXIT).unwrap();
        assert_eq!(status_of(&next(&kq)[0]), -1);
        0
    });
    assert_eq!(code, 0);
    stay.open();
    child.wait();
}

/// More than the connector's socket holds.
fn a_loss_is_told() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    watch_or_skip(&kq, child.pid(), TRACK | EXIT);
    // How many it holds is the system's affair.
    let mut unseen = 1000;
    while !has_lost(&kq, child.pid(), unseen) {
        unseen *= 2;
    }
    gate.open();
    assert_eq!(until_exit(&kq, &[child.pid()]), [(child.pid(), EXIT.bits(), 0)]);
    child.wait();
}

/// Makes so many processes, and looks only then; whether the queue says that it lost some.
fn has_lost(kq: &Kqueue, pid: pid_t, unseen: usize) -> bool {
    (0..unseen).for_each(|_| assert_eq!(exits(0).wait(), 0));
    let events = now(kq);
    assert!(events.len() <= 1);
    events.iter().any(|event| {
        assert_eq!(event.ident(), pid as usize);
        event.fflags() == FilterFlag::NOTE_TRACKERR
    })
}

fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.trim().parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

fn a_modified_knote_asks_for_what_it_was_last_asked() {
    let kq = Kqueue::new().unwrap();
    let child = exits(0);
    watch(&kq, child.pid(), EXIT).unwrap();
    watch(&kq, child.pid(), FilterFlag::empty()).unwrap();
    wait_for_zombie(&child);
    assert_eq!(now(&kq), []);
    child.wait();

    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    watch(&kq, child.pid(), FilterFlag::empty()).unwrap();
    let mut add = change(child.pid(), EVFILT_PROC, ADD, EXIT);
    add = KEvent::new(add.ident(), EVFILT_PROC, ADD, EXIT, 0, 77);
    apply(&kq, &[add]).unwrap();
    gate.open();
    let events = next(&kq);
    assert_eq!((events[0].fflags(), events[0].udata()), (EXIT, 77));
    child.wait();
}

fn every_queue_is_told() {
    let queues = [(); 3].map(|()| Kqueue::new().unwrap());
    let child = exits(1);
    queues.iter().for_each(|kq| watch(kq, child.pid(), EXIT).unwrap());
    for kq in &queues {
        assert_eq!(status_of(&next(kq)[0]), 1 << 8);
    }
    child.wait();
}

fn a_thousand_exits_are_told_each_once() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let children: Vec<_> = (0..1000)
        .map(|i| {
            let child = sys::fork(|| {
                gate.pass();
                i % 200
            });
            watch(&kq, child.pid(), EXIT).unwrap();
            child
        })
        .collect();
    children.iter().for_each(|_| gate.open());
    let mut statuses = BTreeMap::new();
    while statuses.len() < children.len() {
        for event in next(&kq) {
            let twice = statuses.insert(event.ident() as pid_t, status_of(&event));
            assert_eq!(twice, None);
        }
    }
    assert_eq!(now(&kq), []);
    for (i, child) in children.into_iter().enumerate() {
        assert_eq!(statuses[&child.pid()], (i as isize % 200) << 8);
        child.wait();
    }
}

fn a_waiting_thread_is_woken_by_an_exit() {
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        2
    });
    let pid = child.pid();
    let waiter = threads::start(move || {
        let kq = Kqueue::new().unwrap();
        watch(&kq, pid, EXIT).unwrap();
        status_of(&next(&kq)[0])
    });
    assert!(waiter.wait_until_asleep());
    gate.open();
    assert_eq!(waiter.join(), 2 << 8);
    child.wait();
}

fn an_exit_wakes_a_poll_on_the_queue_and_a_deleted_knote_does_not() {
    let (kq, other) = (Kqueue::new().unwrap(), Kqueue::new().unwrap());
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    for kq in [&kq, &other] {
        watch(kq, child.pid(), EXIT).unwrap();
    }
    apply(&other, &[change(child.pid(), EVFILT_PROC, EvFlags::EV_DELETE, EXIT)]).unwrap();
    gate.open();
    threads::wait_until_ready(kq.as_raw_fd(), libc::POLLIN);
    assert!(!is_readable(&other));
    assert_eq!(now(&other), []);
    child.wait();
}

/// Asks for what needs the process connector; ends the test where this system does not let us.
fn watch_or_skip(kq: &Kqueue, pid: pid_t, fflags: FilterFlag) {
    match watch(kq, pid, fflags) {
        Err(Errno::EPERM) => isolate::skip("no process connector for this user in this container"),
        done => done.unwrap(),
    }
}

/// All events until this process's has exited, as (process, fflags, data), in order.
fn until_exit(kq: &Kqueue, of: &[pid_t]) -> Vec<(pid_t, u32, isize)> {
    let mut left: BTreeSet<_> = of.iter().copied().collect();
    let mut all = Vec::new();
    while !left.is_empty() {
        for event in next(kq) {
            let pid = event.ident() as pid_t;
            assert!(!event.fflags().contains(EXIT | CHILD));
            if event.fflags().contains(EXIT) {
                left.remove(&pid);
            }
            all.push((pid, event.fflags().bits(), event.data()));
        }
    }
    all
}

fn forks_and_execs_are_told() {
    let kq = Kqueue::new().unwrap();
    let (first, second) = (Gate::new(), Gate::new());
    let child = sys::fork(|| {
        first.pass();
        let forked = sys::in_child(|| 0);
        second.pass();
        let error = exec_true();
        forked + error
    });
    watch_or_skip(&kq, child.pid(), FORK | EXEC | EXIT);
    assert_eq!(now(&kq), []);
    first.open();
    let events = next(&kq);
    assert_eq!((events.len(), events[0].fflags(), events[0].data()), (1, FORK, 0));
    assert_eq!(now(&kq), []);
    second.open();
    let rest = until_exit(&kq, &[child.pid()]);
    let fflags = rest.iter().fold(0, |all, (_, fflags, _)| all | fflags);
    assert_eq!(fflags, (EXEC | EXIT).bits());
    assert_eq!(child.wait(), 0);
}

fn what_was_not_asked_for_is_not_told() {
    use std::os::unix::process::CommandExt;
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let (mut told, tell) = std::io::pipe().unwrap();
    let child = sys::fork(|| {
        gate.pass();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo up; read line"]);
        let (input, output) = (gate.theirs.try_clone().unwrap(), tell.try_clone().unwrap());
        let _ = shell.stdin(input).stdout(output).exec();
        1
    });
    watch_or_skip(&kq, child.pid(), FORK);
    gate.open();
    told.read_exact(&mut [0; 3]).unwrap();
    assert_eq!(now(&kq), [], "it executed a program, and nobody asked for that");
    assert!(!is_readable(&kq));
    (&gate.ours).write_all(b"\n").unwrap();
    assert_eq!(child.wait(), 0);
}

fn exec_true() -> c_int {
    use std::os::unix::process::CommandExt;
    let _ = Command::new("true").exec();
    1
}

fn a_thread_is_no_fork() {
    let kq = Kqueue::new().unwrap();
    // SAFETY: takes no pointer.
    let us = unsafe { libc::getpid() };
    watch_or_skip(&kq, us, FORK);
    std::thread::spawn(|| {}).join().unwrap();
    assert_eq!(now(&kq), []);
    exits(0).wait();
    assert_eq!(now(&kq)[0].fflags(), FORK);
    assert_eq!(now(&kq), []);
}

fn who_is_followed_has_his_children_told() {
    let kq = Kqueue::new().unwrap();
    let (gate, stay) = (Gate::new(), Gate::new());
    let (child, grandchild) = number_from(|mut tell| {
        let child = sys::fork(|| {
            gate.pass();
            let grandchild = sys::fork(|| {
                stay.pass();
                8
            });
            tell.write_all(&grandchild.pid().to_ne_bytes()).unwrap();
            grandchild.wait()
        });
        watch_or_skip(&kq, child.pid(), TRACK | FORK | EXIT);
        gate.open();
        child
    });
    let parent = child.pid();
    let mut events = Vec::new();
    while events.len() < 2 {
        events.extend(next(&kq));
    }
    assert_eq!(events.len(), 2);
    for event in events {
        let told = (event.ident() as pid_t, event.fflags(), event.data() as pid_t);
        assert!(
            told == (parent, FORK, 0) || told == (grandchild, CHILD, parent),
            "{told:?} of {parent} and {grandchild}"
        );
        assert_eq!(event.udata(), 0x55);
    }
    assert_eq!(now(&kq), []);
    stay.open();
    let rest = until_exit(&kq, &[parent, grandchild]);
    assert_eq!(
        rest.into_iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([parent, grandchild].map(|pid| (pid, EXIT.bits(), 8 << 8)))
    );
    assert_eq!(kq.counters().knotes, 0);
    child.wait();
}

fn children_of_children_are_followed() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        sys::in_child(|| sys::in_child(|| sys::in_child(|| exec_true() + 3)))
    });
    watch_or_skip(&kq, child.pid(), EXEC | EXIT);
    watch(&kq, child.pid(), TRACK | EXEC | EXIT).unwrap();
    gate.open();
    let mut parents = BTreeMap::from([(child.pid(), 0)]);
    let (mut execs, mut exits) = (0, 0);
    while exits < 4 {
        for event in next(&kq) {
            let pid = event.ident() as pid_t;
            if event.fflags().contains(CHILD) {
                assert_eq!(event.fflags(), CHILD);
                parents.insert(pid, event.data() as pid_t);
            }
            execs += usize::from(event.fflags().contains(EXEC));
            if event.fflags().contains(EXIT) {
                assert_eq!(status_of(&event), 0);
                exits += 1;
            }
        }
    }
    assert_eq!((parents.len(), execs), (4, 1));
    let mut line = vec![child.pid()];
    while let Some((&next, _)) = parents.iter().find(|(_, p)| Some(*p) == line.last()) {
        line.push(next);
    }
    assert_eq!(line.len(), 4, "each is the next one's parent");
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
    assert_eq!(child.wait(), 0);
}

fn a_child_that_ends_at_once_is_told_in_two_events() {
    const CHILDREN: usize = 300;
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        (0..CHILDREN as c_int).for_each(|i| assert_eq!(exits(i % 100).wait(), i % 100));
        0
    });
    watch_or_skip(&kq, child.pid(), TRACK | EXIT);
    gate.open();
    // They are all gone before we look.
    wait_for_zombie(&child);
    let mut statuses = Vec::new();
    let (mut children, mut over) = (BTreeSet::new(), false);
    while !over || children.len() > statuses.len() {
        for event in next(&kq) {
            let pid = event.ident() as pid_t;
            match event.fflags() {
                CHILD => assert!(children.insert(pid)),
                EXIT if pid == child.pid() => over = true,
                EXIT => statuses.push(status_of(&event) >> 8),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(children.len(), CHILDREN);
    assert_eq!(statuses, (0..CHILDREN as isize).map(|i| i % 100).collect::<Vec<_>>());
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
    child.wait();
}

fn what_is_not_followed_is_not_told() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    watch_or_skip(&kq, child.pid(), FORK | EXEC);
    assert_eq!(sys::in_child(exec_true), 0);
    let other = Kqueue::new().unwrap();
    watch(&other, child.pid(), FORK).unwrap();
    // Not even a wake-up: the kernel leaves them out.
    assert!(!is_readable(&kq));
    assert_eq!(now(&kq), []);
    gate.open();
    wait_for_zombie(&child);
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
    child.wait();
}

fn no_descriptor_is_left_and_none_is_kept_without_need() {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(1, EVFILT_USER, ADD, FilterFlag::empty())]).unwrap();
    let before = leak::open_descriptors().len();
    let gate = Gate::new();
    let with_gate = leak::open_descriptors().len() - before;
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    watch(&kq, child.pid(), EXIT).unwrap();
    assert_eq!(leak::open_descriptors().len(), before + with_gate + 1);
    if watch(&kq, child.pid(), EXIT | FORK).is_ok() {
        assert_eq!(leak::open_descriptors().len(), before + with_gate + 2);
        watch(&kq, child.pid(), EXIT).unwrap();
        assert_eq!(leak::open_descriptors().len(), before + with_gate + 1);
    }
    gate.open();
    next(&kq);
    assert_eq!(leak::open_descriptors().len(), before + with_gate);
    child.wait();
}

/// In a process number space of its own, the kernel does not tell of forks: its numbers would be
/// others.
fn without_the_connector_forks_are_eperm_but_exits_are_told() {
    // SAFETY: takes no pointer.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) } != 0 {
        isolate::skip("no process number space of our own");
    }
    let code = sys::in_child(|| {
        let kq = Kqueue::new().unwrap();
        let child = exits(6);
        for asked in [FORK, EXEC, TRACK] {
            assert_eq!(watch(&kq, child.pid(), asked | EXIT), Err(Errno::EPERM));
        }
        assert_eq!(kq.counters().knotes, 0);
        watch(&kq, child.pid(), EXIT).unwrap();
        assert_eq!(watch(&kq, child.pid(), FORK | EXIT), Err(Errno::EPERM));
        assert_eq!(status_of(&next(&kq)[0]), 6 << 8);
        child.wait();
        0
    });
    assert_eq!(code, 0);
}

fn without_pidfd_open_the_answer_is_enosys() {
    let kq = Kqueue::new().unwrap();
    let child = exits(0);
    filter::refuse(&[libc::SYS_pidfd_open], Errno::ENOSYS);
    assert_eq!(watch(&kq, child.pid(), EXIT), Err(Errno::ENOSYS));
    child.wait();
}

fn pidfd_open(pid: pid_t) -> OwnedFd {
    // SAFETY: takes no pointer; the descriptor is new, and ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd as RawFd)
    }
}

fn watch_descriptor(kq: &Kqueue, fd: &impl AsRawFd, fflags: FilterFlag) -> Result<(), Errno> {
    apply(kq, &[change(fd.as_raw_fd(), EVFILT_PROCDESC, ADD, fflags)])
}

fn a_process_descriptor_tells_the_exit() {
    for reaped in [false, true] {
        let kq = Kqueue::new().unwrap();
        let gate = Gate::new();
        let child = sys::fork(|| {
            gate.pass();
            11
        });
        let pidfd = pidfd_open(child.pid());
        watch_descriptor(&kq, &pidfd, EXIT).unwrap();
        assert_eq!(now(&kq), []);
        gate.open();
        if reaped {
            wait_for_zombie(&child);
        }
        let event = next(&kq)[0];
        assert_eq!(event.ident(), pidfd.as_raw_fd() as usize);
        assert_eq!(event.filter(), Ok(EVFILT_PROCDESC));
        assert_eq!(status_of(&event), 11 << 8);
        assert_eq!(now(&kq), []);
        assert_eq!(child.wait(), 11);
        // Of one that was reaped, too.
        watch_descriptor(&kq, &pidfd, EXIT).unwrap();
        let expected = if kernel_version() >= (6, 15) { 11 << 8 } else { -1 };
        assert_eq!(status_of(&next(&kq)[0]), expected);
    }
}

fn a_process_descriptor_beside_a_read_knote() {
    let kq = Kqueue::new().unwrap();
    let child = exits(1);
    let pidfd = pidfd_open(child.pid());
    watch_descriptor(&kq, &pidfd, EXIT).unwrap();
    apply(&kq, &[change(pidfd.as_raw_fd(), EVFILT_READ, ADD, FilterFlag::empty())]).unwrap();
    wait_for_zombie(&child);
    let filters: Vec<_> = now(&kq).iter().map(|e| e.filter().unwrap()).collect();
    assert_eq!(filters.len(), 2);
    assert!(filters.contains(&EVFILT_READ) && filters.contains(&EVFILT_PROCDESC));
    assert_eq!(now(&kq).len(), 1, "READ is a condition, the exit an event");
    child.wait();
}

fn other_descriptors_are_no_process_descriptors() {
    let kq = Kqueue::new().unwrap();
    assert_eq!(watch_descriptor(&kq, &sys::eventfd(0).unwrap(), EXIT), Err(Errno::EINVAL));
    assert_eq!(watch_descriptor(&kq, &kq, EXIT), Err(Errno::EINVAL));
    for ident in [999_usize, usize::MAX] {
        let add = change(ident, EVFILT_PROCDESC, ADD, EXIT);
        assert_eq!(apply(&kq, &[add]), Err(Errno::EBADF));
    }
    assert_eq!(kq.counters().knotes, 0);
}

fn a_process_descriptor_that_was_closed_has_no_knote() {
    let kq = Kqueue::new().unwrap();
    let gate = Gate::new();
    let [first, second] = [21, 22].map(|status| {
        sys::fork(|| {
            gate.pass();
            status
        })
    });
    let pidfd = pidfd_open(first.pid());
    let number = pidfd.as_raw_fd();
    watch_descriptor(&kq, &pidfd, EXIT).unwrap();
    drop(pidfd);
    // The number has a new owner, which is noticed at the next touch.
    let pidfd = pidfd_open(second.pid());
    assert_eq!(pidfd.as_raw_fd(), number);
    let delete = change(number, EVFILT_PROCDESC, EvFlags::EV_DELETE, EXIT);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    watch_descriptor(&kq, &pidfd, EXIT).unwrap();
    gate.open();
    gate.open();
    wait_for_zombie(&first);
    wait_for_zombie(&second);
    let events = now(&kq);
    assert_eq!(events.len(), 1);
    assert_eq!(status_of(&events[0]), 22 << 8);
    drop(pidfd);
    let enable = change(number, EVFILT_PROCDESC, EvFlags::EV_ENABLE, EXIT);
    assert_eq!(apply(&kq, &[enable]), Err(Errno::EBADF));
    first.wait();
    second.wait();
}

/// A forked child holds the queue's hidden descriptors until it executes another program.
fn a_forked_child_does_not_keep_registrations_alive() {
    let kq = Kqueue::new().unwrap();
    let (gate, stay) = (Gate::new(), Gate::new());
    let child = sys::fork(|| {
        gate.pass();
        0
    });
    watch_or_skip(&kq, child.pid(), FORK | EXIT);
    let holder = sys::fork(|| {
        stay.pass();
        0
    });
    gate.open();
    assert_eq!(status_of(&next(&kq)[0]), 0);
    // Something for the connector, which nobody listens to any more.
    exits(0).wait();
    assert!(!is_readable(&kq));
    assert_eq!(now(&kq), []);
    child.wait();
    stay.open();
    holder.wait();
}
