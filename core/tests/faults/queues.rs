//! Knotes that are no descriptor's, and the queue itself.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;

use kq_core::EventFilter::*;
use kq_core::test_support::{isolate, signals, sys};
use kq_core::{Errno, EvFlags, FilterFlag};

use crate::descriptors::{ADD, DELETE, NONE, apply, change, delete, queue, quiet, told};
use crate::run::{Body, Steps};

/// See the module.
pub(crate) const ALL: &[(&str, Body)] = &[
    ("queues::user", user),
    ("queues::timer", timer),
    ("queues::vnode", vnode),
    ("queues::process", process),
    ("queues::forks", forks),
    ("queues::signal", signal),
    ("queues::mounts", mounts),
    ("queues::nested", nested),
    ("queues::a_duplicate", a_duplicate),
];

fn user(steps: &mut Steps) {
    let kq = queue(steps);
    let trigger = change(1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER, 0);
    apply(steps, &kq, change(1, EVFILT_USER, ADD | EvFlags::EV_CLEAR, NONE, 0));
    for _ in 0..2 {
        quiet(steps, &kq);
        apply(steps, &kq, trigger);
        assert_ne!(sys::poll(kq.as_raw_fd(), libc::POLLIN), 0, "the queue shows it");
        told(steps, &kq, &[(1, EVFILT_USER)]);
    }
    quiet(steps, &kq);
    assert_eq!(sys::poll(kq.as_raw_fd(), libc::POLLIN), 0, "nothing is there");
    delete(steps, &kq, change(1, EVFILT_USER, DELETE, NONE, 0));
}

fn timer(steps: &mut Steps) {
    let kq = queue(steps);
    apply(steps, &kq, change(1, EVFILT_TIMER, ADD | EvFlags::EV_ONESHOT, NONE, 1));
    told(steps, &kq, &[(1, EVFILT_TIMER)]);
    quiet(steps, &kq);
    apply(steps, &kq, change(2, EVFILT_TIMER, ADD, FilterFlag::NOTE_USECONDS, 500));
    told(steps, &kq, &[(2, EVFILT_TIMER)]);
    told(steps, &kq, &[(2, EVFILT_TIMER)]);
    apply(steps, &kq, change(2, EVFILT_TIMER, ADD, NONE, 3_600_000));
    quiet(steps, &kq);
    let past = FilterFlag::NOTE_ABSTIME | FilterFlag::NOTE_SECONDS;
    apply(steps, &kq, change(3, EVFILT_TIMER, ADD | EvFlags::EV_ONESHOT, past, 1));
    told(steps, &kq, &[(3, EVFILT_TIMER)]);
    delete(steps, &kq, change(2, EVFILT_TIMER, DELETE, NONE, 0));
    quiet(steps, &kq);
}

fn vnode(steps: &mut Steps) {
    let kq = queue(steps);
    let path = std::env::temp_dir().join(format!("kq-faults-{}", std::process::id()));
    let open = || OpenOptions::new().append(true).create(true).open(&path).expect("a file");
    let mut file = open();
    let asked = FilterFlag::NOTE_WRITE | FilterFlag::NOTE_DELETE | FilterFlag::NOTE_ATTRIB;
    let knote = |flags| change(file.as_raw_fd(), EVFILT_VNODE, flags, asked, 0);
    let (add, gone) = (knote(ADD | EvFlags::EV_CLEAR), knote(DELETE));
    let fd = file.as_raw_fd() as usize;
    apply(steps, &kq, add);
    quiet(steps, &kq);
    for _ in 0..2 {
        file.write_all(b"x").expect("room");
        told(steps, &kq, &[(fd, EVFILT_VNODE)]);
        quiet(steps, &kq);
    }
    apply(steps, &kq, knote_disabled(fd));
    file.write_all(b"x").expect("room");
    quiet(steps, &kq);
    apply(steps, &kq, change(fd, EVFILT_VNODE, EvFlags::EV_ENABLE, asked, 0));
    told(steps, &kq, &[(fd, EVFILT_VNODE)]);
    std::fs::remove_file(&path).expect("it is there");
    told(steps, &kq, &[(fd, EVFILT_VNODE)]);
    delete(steps, &kq, gone);
    quiet(steps, &kq);
}

fn knote_disabled(fd: usize) -> kq_core::KEvent {
    let asked = FilterFlag::NOTE_WRITE | FilterFlag::NOTE_DELETE | FilterFlag::NOTE_ATTRIB;
    change(fd, EVFILT_VNODE, EvFlags::EV_DISABLE, asked, 0)
}

fn process(steps: &mut Steps) {
    let kq = queue(steps);
    let (reader, writer) = sys::pipe().expect("a pipe");
    let child = sys::fork(|| {
        sys::close(writer.as_raw_fd()).expect("ours");
        sys::poll_for(reader.as_raw_fd(), libc::POLLIN, 60_000);
        3
    });
    let pid = child.pid() as usize;
    apply(steps, &kq, change(pid, EVFILT_PROC, ADD, FilterFlag::NOTE_EXIT, 0));
    quiet(steps, &kq);
    drop(writer);
    told(steps, &kq, &[(pid, EVFILT_PROC)]);
    quiet(steps, &kq);
    assert_eq!(child.wait(), 3);
}

fn forks(steps: &mut Steps) {
    let kq = queue(steps);
    let (reader, writer) = sys::pipe().expect("a pipe");
    let child = sys::fork(|| {
        sys::close(writer.as_raw_fd()).expect("ours");
        sys::poll_for(reader.as_raw_fd(), libc::POLLIN, 60_000);
        sys::in_child(|| 0)
    });
    let pid = child.pid() as usize;
    let mut refused = false;
    steps.step(|| {
        let asked = FilterFlag::NOTE_FORK | FilterFlag::NOTE_EXIT;
        match kq.kevent(&[change(pid, EVFILT_PROC, ADD, asked, 0)], &mut [], None) {
            // Twice: no process connector for this user in this container.
            Err(Errno::EPERM) if std::mem::replace(&mut refused, true) => {
                sys::close(writer.as_raw_fd()).expect("ours");
                isolate::skip("no process connector for this user in this container")
            }
            done => done,
        }
    });
    drop(writer);
    told(steps, &kq, &[(pid, EVFILT_PROC)]);
    assert_eq!(child.wait(), 0);
}

fn signal(steps: &mut Steps) {
    let kq = queue(steps);
    let signal = libc::SIGUSR1 as usize;
    signals::ignore(libc::SIGUSR1);
    apply(steps, &kq, change(signal, EVFILT_SIGNAL, ADD, NONE, 0));
    for _ in 0..2 {
        quiet(steps, &kq);
        // SAFETY: takes a number.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        told(steps, &kq, &[(signal, EVFILT_SIGNAL)]);
    }
    quiet(steps, &kq);
    delete(steps, &kq, change(signal, EVFILT_SIGNAL, DELETE, NONE, 0));
}

fn mounts(steps: &mut Steps) {
    let kq = queue(steps);
    apply(steps, &kq, change(0, EVFILT_FS, ADD, NONE, 0));
    quiet(steps, &kq);
    delete(steps, &kq, change(0, EVFILT_FS, DELETE, NONE, 0));
}

fn nested(steps: &mut Steps) {
    let (outer, inner) = (queue(steps), queue(steps));
    let fd = inner.as_raw_fd() as usize;
    apply(steps, &outer, change(fd, EVFILT_READ, ADD, NONE, 0));
    apply(steps, &inner, change(1, EVFILT_USER, ADD | EvFlags::EV_CLEAR, NONE, 0));
    quiet(steps, &outer);
    let trigger = change(1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER, 0);
    apply(steps, &inner, trigger);
    told(steps, &outer, &[(fd, EVFILT_READ)]);
    told(steps, &inner, &[(1, EVFILT_USER)]);
    quiet(steps, &outer);
}

fn a_duplicate(steps: &mut Steps) {
    let kq = queue(steps);
    let (reader, writer) = sys::pipe().expect("a pipe");
    let fd = reader.as_raw_fd() as usize;
    apply(steps, &kq, change(fd, EVFILT_READ, ADD, NONE, 0));
    apply(steps, &kq, change(1, EVFILT_USER, ADD, NONE, 0));
    sys::write(writer.as_raw_fd(), b"x").expect("room");
    let other = sys::dup(kq.as_raw_fd()).expect("dup");
    let mut events = [change(0, EVFILT_READ, ADD, NONE, 0); 4];
    // SAFETY: room for four events; the engine's own wait.
    let n = steps.step(|| unsafe {
        kq_core::abi::kevent::<kq_core::abi::RawWait>(
            other.as_raw_fd(),
            std::ptr::null(),
            0,
            events.as_mut_ptr(),
            4,
            std::ptr::null(),
        )
    });
    assert_eq!((n, events[0].ident()), (1, fd));
    kq_core::abi::closing(other.as_raw_fd());
    drop(other);
    told(steps, &kq, &[(fd, EVFILT_READ)]);
}
