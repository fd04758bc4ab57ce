//! A program closes every number that it finds, by raw system calls, ours among them, and has other
//! files there. Nothing is done to those, and the queue goes on, or says what it has lost.
//!
//! Each test is done once for each kind of file that comes to the numbers, in a process of its own; and
//! once more with a child that has all that is closed, so that nothing of it is over.

#[path = "../kq/mod.rs"]
mod kq;
mod reuse;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use kq::*;
use kq_core::EventFilter::*;
use kq_core::test_support::harness::Suite;
use kq_core::test_support::threads::wait_until_task_sleeps;
use kq_core::test_support::{isolate, leak, signals, sys};
use kq_core::{AioNotify, AioRequest, Errno, EvFlags, FilterFlag, KEvent, Kqueue, abi, readiness};

use reuse::{KINDS, Taken};

macro_rules! suite {
    ($($name:ident)*) => {
        fn main() -> ExitCode {
            let mut suite = Suite::new();
            $(suite.add(stringify!($name), || each(stringify!($name), $name));)*
            suite.run()
        }
    };
}

suite! {
    a_user_event
    a_bell_that_was_rung
    a_signal
    a_signal_that_is_blocked
    a_timer
    a_low_water_mark
    a_file
    a_file_while_disabled
    a_file_that_grows
    a_process
    a_process_that_is_disabled
    a_process_by_descriptor
    what_a_process_does
    mounts
    a_nested_lane
    the_park
    a_request
    requests_that_wait_for_another
    a_request_of_a_queue_that_is_gone
    kevent_on_an_epoll_instance
    a_wait_for_some
    a_wait_for_some_that_begins_later
}

const CLEAR: EvFlags = EvFlags::EV_CLEAR;
const NONE: FilterFlag = FilterFlag::empty();
const NOTHING: EvFlags = EvFlags::empty();

fn each(name: &str, body: fn(&mut Taken)) {
    for ((what, kind), kept) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
        let status = sys::in_child(|| {
            let mut taken = Taken::nothing(kind, kept);
            body(&mut taken);
            taken.check();
            0
        });
        assert_eq!(status, 0, "{name}, numbers: {what}, a child has them: {kept}");
    }
}

fn timer(ident: usize, flags: EvFlags, ms: isize) -> KEvent {
    KEvent::new(ident, EVFILT_TIMER, flags, FilterFlag::NOTE_MSECONDS, ms, 0)
}

fn trigger() -> KEvent {
    change(1, EVFILT_USER, NOTHING, FilterFlag::NOTE_TRIGGER)
}

#[track_caller]
fn quiet(kq: &Kqueue) {
    assert_eq!(now(kq), []);
    assert!(!is_readable(kq), "readable for nothing");
}

/// The next events are one, of this knote.
#[track_caller]
fn comes(kq: &Kqueue, ident: impl TryInto<usize>, filter: kq_core::EventFilter) -> KEvent {
    let events = next(kq);
    let ident = ident.try_into().ok().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((events[0].ident(), events[0].filter()), (ident, Ok(filter)));
    events[0]
}

fn a_user_event(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(1, EVFILT_USER, ADD | CLEAR, NONE)]).unwrap();
    for _ in 0..3 {
        taken.take(&kq, &[]);
        apply(&kq, &[trigger()]).unwrap();
        assert!(is_readable(&kq), "nobody is told");
        comes(&kq, 1, EVFILT_USER);
        quiet(&kq);
    }
    apply(&kq, &[trigger()]).unwrap();
    taken.take(&kq, &[]);
    apply(&kq, &[change(1, EVFILT_USER, EvFlags::EV_DELETE, NONE)]).unwrap();
    quiet(&kq);
    drop(kq);
}

fn a_bell_that_was_rung(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(1, EVFILT_USER, ADD, NONE), trigger()]).unwrap();
    taken.take(&kq, &[]);
    comes(&kq, 1, EVFILT_USER);
    assert!(is_readable(&kq), "a level knote goes on");
    taken.take(&kq, &[]);
}

fn a_signal(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    signals::ignore(libc::SIGUSR1);
    for signal in [libc::SIGUSR1, libc::SIGUSR2] {
        apply(&kq, &[change(signal, EVFILT_SIGNAL, ADD, NONE)]).unwrap();
    }
    for _ in 0..3 {
        taken.take(&kq, &[]);
        // SAFETY: takes a number.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        assert!(is_readable(&kq), "nobody is told");
        comes(&kq, libc::SIGUSR1, EVFILT_SIGNAL);
        quiet(&kq);
    }
    taken.take(&kq, &[]);
    apply(&kq, &[change(libc::SIGUSR2, EVFILT_SIGNAL, EvFlags::EV_DISABLE, NONE)]).unwrap();
    quiet(&kq);
}

fn a_signal_that_is_blocked(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    signals::block(&[libc::SIGUSR1]);
    apply(&kq, &[change(libc::SIGUSR1, EVFILT_SIGNAL, ADD, NONE)]).unwrap();
    taken.take(&kq, &[]);
    // SAFETY: takes numbers.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
    comes(&kq, libc::SIGUSR1, EVFILT_SIGNAL);
    quiet(&kq);
}

fn a_timer(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let absolute = FilterFlag::NOTE_ABSTIME | FilterFlag::NOTE_SECONDS;
    let never = KEvent::new(9, EVFILT_TIMER, ADD, absolute, isize::MAX, 0);
    apply(&kq, &[timer(1, ADD, 1), timer(2, ADD, 3_600_000), never]).unwrap();
    for _ in 0..3 {
        taken.take(&kq, &[]);
        comes(&kq, 1, EVFILT_TIMER); // though nothing was set since
    }
    apply(&kq, &[timer(1, EvFlags::EV_DELETE, 0)]).unwrap();
    taken.take(&kq, &[]);
    apply(&kq, &[timer(3, ADD | EvFlags::EV_ONESHOT, 1)]).unwrap();
    comes(&kq, 3, EVFILT_TIMER);
    taken.take(&kq, &[]);
    for ident in [2, 9] {
        apply(&kq, &[timer(ident, EvFlags::EV_DELETE, 0)]).unwrap();
    }
    quiet(&kq);
}

fn a_low_water_mark(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    sys::write(writer.as_raw_fd(), &[0; 20_000]).unwrap();
    let mark = FilterFlag::NOTE_LOWAT;
    let add = KEvent::new(same(&writer), EVFILT_WRITE, ADD, mark, 60_000, 0);
    apply(&kq, &[add]).unwrap();
    assert_eq!(now(&kq), []);
    taken.take(&kq, &[&reader, &writer]);
    sys::drain(reader.as_raw_fd());
    comes(&kq, same(&writer), EVFILT_WRITE);
}

fn same(fd: &impl AsRawFd) -> usize {
    fd.as_raw_fd() as usize
}

fn nameless() -> File {
    let path = std::env::temp_dir().join(format!("kqcompat-raw-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn vnode(file: &File, flags: EvFlags) -> KEvent {
    change(file.as_raw_fd(), EVFILT_VNODE, flags, FilterFlag::NOTE_WRITE)
}

fn a_file(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (mut one, mut other) = (nameless(), nameless());
    apply(&kq, &[vnode(&one, ADD | CLEAR), vnode(&other, ADD | CLEAR)]).unwrap();
    for _ in 0..2 {
        taken.take(&kq, &[&one, &other]);
        one.write_all(b"x").unwrap();
        // What has happened meanwhile nobody knows: both are told that something may have.
        let events = next(&kq);
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events.iter().all(|e| e.fflags() == FilterFlag::NOTE_WRITE), "{events:?}");
        quiet(&kq);
        other.write_all(b"x").unwrap();
        comes(&kq, same(&other), EVFILT_VNODE);
        quiet(&kq);
    }
    taken.take(&kq, &[&one, &other]);
    apply(&kq, &[vnode(&one, EvFlags::EV_DELETE)]).unwrap();
    comes(&kq, same(&other), EVFILT_VNODE);
    taken.take(&kq, &[&one, &other]);
}

fn a_file_while_disabled(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let mut file = nameless();
    apply(&kq, &[vnode(&file, ADD | CLEAR)]).unwrap();
    apply(&kq, &[vnode(&file, EvFlags::EV_DISABLE)]).unwrap();
    taken.take(&kq, &[&file]);
    file.write_all(b"x").unwrap();
    quiet(&kq);
    apply(&kq, &[vnode(&file, EvFlags::EV_ENABLE)]).unwrap();
    comes(&kq, same(&file), EVFILT_VNODE);
    quiet(&kq);
    file.write_all(b"x").unwrap();
    comes(&kq, same(&file), EVFILT_VNODE);
}

fn a_file_that_grows(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (mut file, again) = (nameless(), nameless());
    apply(&kq, &[change(file.as_raw_fd(), EVFILT_READ, ADD | CLEAR, NONE)]).unwrap();
    quiet(&kq);
    taken.take(&kq, &[&file, &again]);
    file.write_all(b"x").unwrap();
    kq_core::raw::rewind(file.as_raw_fd()).unwrap();
    assert_eq!(comes(&kq, same(&file), EVFILT_READ).data(), 1);
}

/// A child that ends, with 3, when the other end of the pipe is closed.
fn child() -> (sys::Fork, OwnedFd) {
    let (reader, writer) = sys::pipe().unwrap();
    let child = sys::fork(|| {
        sys::close(writer.as_raw_fd()).unwrap();
        sys::poll_for(reader.as_raw_fd(), libc::POLLIN, 60_000);
        3
    });
    (child, writer)
}

fn a_process(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (child, writer) = child();
    apply(&kq, &[change(child.pid(), EVFILT_PROC, ADD, FilterFlag::NOTE_EXIT)]).unwrap();
    taken.take(&kq, &[&writer]);
    drop(writer);
    assert_eq!(comes(&kq, child.pid(), EVFILT_PROC).data(), 3 << 8);
    assert_eq!(child.wait(), 3);
    quiet(&kq);
}

fn a_process_that_is_disabled(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let ((one, _writer), (other, its)) = (child(), child());
    let proc =
        |child: &sys::Fork, flags| change(child.pid(), EVFILT_PROC, flags, FilterFlag::NOTE_EXIT);
    for child in [&one, &other] {
        apply(&kq, &[proc(child, ADD | EvFlags::EV_DISABLE)]).unwrap();
    }
    taken.take(&kq, &[&_writer, &its]);
    apply(&kq, &[proc(&one, EvFlags::EV_DELETE)]).unwrap();
    drop(its);
    apply(&kq, &[proc(&other, EvFlags::EV_ENABLE)]).unwrap();
    assert_eq!(comes(&kq, other.pid(), EVFILT_PROC).data(), 3 << 8);
    drop(_writer);
    assert_eq!((one.wait(), other.wait()), (3, 3));
}

fn a_process_by_descriptor(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (child, writer) = child();
    let pidfd = kq_core::raw::pidfd_open(child.pid()).unwrap();
    apply(&kq, &[change(pidfd, EVFILT_PROCDESC, ADD, FilterFlag::NOTE_EXIT)]).unwrap();
    taken.take(&kq, &[&writer, &pidfd]);
    drop(writer);
    assert_eq!(comes(&kq, pidfd, EVFILT_PROCDESC).data(), 3 << 8);
    assert_eq!(child.wait(), 3);
}

fn what_a_process_does(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    let child = sys::fork(|| {
        sys::close(writer.as_raw_fd()).unwrap();
        sys::poll_for(reader.as_raw_fd(), libc::POLLIN, 60_000);
        sys::in_child(|| 0)
    });
    let asked = FilterFlag::NOTE_FORK | FilterFlag::NOTE_EXIT;
    if apply(&kq, &[change(child.pid(), EVFILT_PROC, ADD, asked)]) == Err(Errno::EPERM) {
        drop(writer);
        child.wait();
        isolate::tell("no process connector for this user in this container: nothing was tried");
        return;
    }
    taken.take(&kq, &[&reader, &writer]);
    assert_eq!(comes(&kq, child.pid(), EVFILT_PROC).fflags(), FilterFlag::NOTE_TRACKERR);
    drop(writer);
    let mut told = NONE;
    while !told.contains(FilterFlag::NOTE_EXIT) {
        told |= comes(&kq, child.pid(), EVFILT_PROC).fflags();
    }
    assert_eq!(told, asked);
    child.wait();
    quiet(&kq);
}

fn mounts(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let mount = |flags| change(0, EVFILT_FS, flags, FilterFlag::VQ_MOUNT | FilterFlag::VQ_UNMOUNT);
    apply(&kq, &[mount(ADD)]).unwrap();
    taken.take(&kq, &[]);
    quiet(&kq);
    apply(&kq, &[mount(EvFlags::EV_DISABLE)]).unwrap();
    apply(&kq, &[mount(EvFlags::EV_ENABLE)]).unwrap();
    taken.take(&kq, &[]);
    apply(&kq, &[timer(1, ADD | EvFlags::EV_ONESHOT, 1)]).unwrap();
    comes(&kq, 1, EVFILT_TIMER); // before it sleeps it looks
    taken.take(&kq, &[]);
    apply(&kq, &[mount(EvFlags::EV_DELETE)]).unwrap();
    quiet(&kq);
}

fn a_nested_lane(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    let (c, d) = UnixStream::pair().unwrap();
    let fd = |socket: &UnixStream| socket.as_raw_fd();
    // The second goes to a lane of its own.
    for socket in [&a, &c] {
        let edge = change(fd(socket), EVFILT_WRITE, ADD | CLEAR, NONE);
        apply(&kq, &[edge, change(fd(socket), EVFILT_READ, ADD, NONE)]).unwrap();
        comes(&kq, fd(socket), EVFILT_WRITE);
    }
    let spared: [&dyn AsRawFd; 4] = [&a, &b, &c, &d];
    taken.take(&kq, &spared);
    (&b).write_all(b"x").unwrap();
    assert!(next(&kq).iter().any(|e| e.ident() == same(&a) && e.filter() == Ok(EVFILT_READ)));
    taken.take(&kq, &spared);
    apply(&kq, &[change(fd(&a), EVFILT_READ, EvFlags::EV_DELETE, NONE)]).unwrap();
    (&d).write_all(b"x").unwrap();
    assert!(next(&kq).iter().any(|e| e.ident() == same(&c) && e.filter() == Ok(EVFILT_READ)));
    taken.take(&kq, &spared);
}

fn the_park(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let read = |flags| change(a.as_raw_fd(), EVFILT_READ, flags, NONE);
    apply(&kq, &[read(ADD | EvFlags::EV_DISABLE)]).unwrap();
    taken.take(&kq, &[&a, &b]);
    b.write_all(b"x").unwrap();
    // That it was lost is said.
    assert_eq!(apply(&kq, &[read(EvFlags::EV_ENABLE)]), Err(Errno::ENOENT));
    apply(&kq, &[read(ADD)]).unwrap();
    comes(&kq, same(&a), EVFILT_READ);
    apply(&kq, &[read(EvFlags::EV_DISABLE)]).unwrap();
    quiet(&kq);
    apply(&kq, &[read(EvFlags::EV_ENABLE)]).unwrap();
    comes(&kq, same(&a), EVFILT_READ);
    apply(&kq, &[read(EvFlags::EV_DISABLE)]).unwrap();
    taken.take(&kq, &[&a, &b]);
    apply(&kq, &[read(ADD)]).unwrap();
    comes(&kq, same(&a), EVFILT_READ); // a new one, which nobody has disabled
}

fn told_of(kq: &Kqueue, fd: &OwnedFd) -> Result<usize, Errno> {
    let request = AioRequest::read(fd.as_fd(), vec![0; 4], 0);
    kq.aio_submit(request, AioNotify { flags: NOTHING, udata: 1 }).map_err(|refused| refused.errno)
}

fn a_request(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    let ident = match told_of(&kq, &reader) {
        Err(Errno::ENOSYS) => return isolate::tell("there is no io_uring: nothing was tried"),
        ident => ident.unwrap(),
    };
    taken.take(&kq, &[&reader, &writer]);
    // It goes on; until it is over there are no others.
    assert_eq!(told_of(&kq, &reader), Err(Errno::EAGAIN));
    sys::write(writer.as_raw_fd(), b"1234").unwrap();
    comes(&kq, ident, EVFILT_AIO);
    assert_eq!(kq.aio_return(ident).unwrap().buffer, b"1234");
    let ident = told_of(&kq, &reader).unwrap();
    sys::write(writer.as_raw_fd(), b"5678").unwrap();
    comes(&kq, ident, EVFILT_AIO);
    assert_eq!(kq.aio_return(ident).unwrap().buffer, b"5678");
    taken.take(&kq, &[&reader, &writer]);
}

fn requests_that_wait_for_another(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (master, slave) = sys::pty().unwrap();
    let ident = match told_of(&kq, &master) {
        Err(Errno::ENOSYS) => return isolate::tell("there is no io_uring: nothing was tried"),
        ident => ident.unwrap(),
    };
    let sync = || {
        let request = AioRequest::fsync(master.as_fd(), false);
        kq.aio_submit(request, AioNotify { flags: NOTHING, udata: 2 }).unwrap()
    };
    let mut all = [ident, sync(), sync(), sync()];
    taken.take(&kq, &[&master, &slave]);
    sys::write(slave.as_raw_fd(), b"1234").unwrap();
    // What waited cannot be begun, which is said of each.
    let mut told = Vec::new();
    while told.len() < all.len() {
        told.extend(
            next(&kq).iter().map(|event| event.ident()).filter(|ident| all.contains(ident)),
        );
        told.sort_unstable();
        told.dedup();
    }
    all.sort_unstable();
    assert_eq!(told, all);
    for waited in all.into_iter().filter(|&other| other != ident) {
        assert_eq!(kq.aio_return(waited).unwrap().error, Some(Errno::EAGAIN));
    }
    assert_eq!(kq.aio_return(ident).unwrap().buffer, b"1234");
    told_of(&kq, &master).unwrap();
    taken.take(&kq, &[&master, &slave]);
}

fn a_request_of_a_queue_that_is_gone(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    if told_of(&kq, &reader) == Err(Errno::ENOSYS) {
        return isolate::tell("there is no io_uring: nothing was tried");
    }
    taken.take(&kq, &[&reader, &writer]);
    drop(kq); // it cannot be cancelled any more
    sys::write(writer.as_raw_fd(), b"1234").unwrap();
}

fn kevent_on_an_epoll_instance(taken: &mut Taken) {
    let ep = readiness::epoll_create1(0).unwrap();
    let go = |changes: &[KEvent], room: usize| {
        let mut events = [trigger(); 4];
        let wait = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: two arrays of ours.
        unsafe {
            let (changes, n) = (changes.as_ptr(), changes.len() as i32);
            abi::kevent::<abi::RawWait>(ep, changes, n, events.as_mut_ptr(), room as i32, &wait)
        }
    };
    let add = change(1, EVFILT_USER, ADD | CLEAR, NONE);
    assert_eq!(go(&[add], 0), Ok(0));
    for _ in 0..2 {
        taken.take_but(&[ep]);
        // The knotes were lost with the queue that they were in.
        assert_eq!(go(&[trigger()], 0), Err(Errno::ENOENT));
        assert_eq!((go(&[add, trigger()], 0), go(&[], 4)), (Ok(0), Ok(1)));
    }
    taken.take_but(&[ep]);
    readiness::closed(ep);
    sys::close(ep).unwrap();
}

fn a_wait_for_some(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    sys::write(writer.as_raw_fd(), b"x").unwrap();
    apply(&kq, &[change(reader.as_raw_fd(), EVFILT_READ, ADD, NONE)]).unwrap();
    apply(&kq, &[change(1, EVFILT_USER, ADD | CLEAR, NONE)]).unwrap();
    let waiter = AtomicI32::new(0);
    std::thread::scope(|threads| {
        let waits = threads.spawn(|| {
            // SAFETY: takes nothing.
            waiter.store(unsafe { libc::gettid() }, SeqCst);
            let mut events = [trigger(); 4];
            kq.wait_min(&[], &mut events, 2, None, kq_core::WaitFlags::empty())
        });
        // Since there is one event already it sleeps behind a gate, and in no other place.
        while waiter.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        wait_until_task_sleeps(waiter.load(SeqCst));
        // The queue, the gate, the duplicate of the queue in it, and the roll.
        let sets = leak::open_descriptors();
        assert_eq!(sets.values().filter(|kind| kind.contains("eventpoll")).count(), 4);
        taken.take(&kq, &[&reader, &writer]);
        apply(&kq, &[trigger()]).unwrap();
        assert_eq!(waits.join().unwrap(), Ok(2));
    });
}

/// It sleeps behind a gate at once, since there is one event already.
fn a_wait_for_some_that_begins_later(taken: &mut Taken) {
    let kq = Kqueue::new().unwrap();
    let (reader, writer) = sys::pipe().unwrap();
    sys::write(writer.as_raw_fd(), b"x").unwrap();
    apply(&kq, &[change(reader.as_raw_fd(), EVFILT_READ, ADD, NONE)]).unwrap();
    apply(&kq, &[timer(1, ADD | EvFlags::EV_ONESHOT, 50)]).unwrap();
    taken.take(&kq, &[&reader, &writer]);
    let long = libc::timespec { tv_sec: 20, tv_nsec: 0 };
    let mut events = [trigger(); 4];
    let told = kq.wait_min(&[], &mut events, 2, Some(long), kq_core::WaitFlags::empty());
    assert_eq!(told, Ok(2));
}
