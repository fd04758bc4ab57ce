//! The table of system calls in docs/performance.md is true.
//!
//! The test runs itself once more for each row, beneath strace, and compares the calls between two
//! marks with the row. Where there is no strace it says so and looks at nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::process::Command;

use kq_core::EventFilter::{self, EVFILT_READ, EVFILT_TIMER, EVFILT_USER, EVFILT_VNODE};
use kq_core::{EvFlags, FilterFlag, KEvent, Kqueue, readiness};
use libc::timespec;

/// Names the row that the child is to do.
const ROW: &str = "KQCOMPAT_SYSCALLS_ROW";
const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const NONE: FilterFlag = FilterFlag::empty();
const NODATA: FilterFlag = FilterFlag::NOTE_NODATA;

/// What a child works on.
struct Child {
    kq: Kqueue,
    fds: Vec<RawFd>,
    room: Vec<KEvent>,
}

fn event(ident: usize, filter: EventFilter, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    let data = if filter == EVFILT_TIMER { 3_600_000 } else { 0 };
    KEvent::new(ident, filter, flags, fflags, data, 0)
}

impl Child {
    /// A queue and so many readable pipes.
    fn new(private: bool, pipes: usize) -> Self {
        let kq = if private { Kqueue::private() } else { Kqueue::new() }.unwrap();
        let fds = (0..pipes).map(|_| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(b"x").unwrap();
            std::mem::forget(writer);
            std::os::fd::IntoRawFd::into_raw_fd(reader)
        });
        let fds = fds.collect();
        Self { kq, fds, room: vec![event(0, EVFILT_READ, EvFlags::empty(), NONE); 64] }
    }

    fn reads(&self, flags: EvFlags, fflags: FilterFlag) -> Vec<KEvent> {
        self.fds.iter().map(|&fd| event(fd as usize, EVFILT_READ, flags, fflags)).collect()
    }

    fn change(&self, changes: &[KEvent]) {
        self.kq.kevent(changes, &mut [], NOW).unwrap();
    }

    fn wait(&mut self) -> usize {
        self.kq.kevent(&[], &mut self.room, NOW).unwrap()
    }
}

/// What lies between the marks is what is counted.
fn marked(work: impl FnOnce()) {
    // SAFETY: take no pointers. Nothing else in the child makes this call.
    let mark = || unsafe { libc::getppid() };
    mark();
    work();
    mark();
}

fn add_read(private: bool, flags: EvFlags, fflags: FilterFlag) -> Child {
    let child = Child::new(private, 1);
    child.change(&child.reads(EvFlags::EV_ADD | flags, fflags));
    child
}

/// A DISPATCH knote that has reported, and the change that arms it again.
fn dispatched(private: bool) -> (Child, Vec<KEvent>) {
    let mut child = add_read(private, EvFlags::EV_DISPATCH, NODATA);
    assert_eq!(child.wait(), 1);
    let enable = child.reads(EvFlags::EV_ENABLE | EvFlags::EV_DISPATCH, NODATA);
    (child, enable)
}

fn user(private: bool) -> (Child, [KEvent; 1]) {
    let child = Child::new(private, 0);
    child.change(&[event(1, EVFILT_USER, EvFlags::EV_ADD | EvFlags::EV_CLEAR, NONE)]);
    (child, [event(1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER)])
}

fn nameless() -> File {
    let path = std::env::temp_dir().join(format!("kqcompat-nameless-{}", std::process::id()));
    let file = File::create_new(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// Does what a row says.
fn row(name: &str) {
    let (name, private) = match name.strip_suffix(", private") {
        Some(name) => (name, true),
        None => (name, false),
    };
    match name {
        "EV_ADD READ" => {
            let child = Child::new(private, 1);
            let add = child.reads(EvFlags::EV_ADD, NONE);
            marked(|| child.change(&add));
        }
        "EV_ADD READ of a knote that is there" => {
            let child = add_read(private, EvFlags::empty(), NONE);
            let add = child.reads(EvFlags::EV_ADD, NONE);
            marked(|| child.change(&add));
        }
        "64 EV_ADD in one changelist" => {
            let child = Child::new(private, 64);
            let add = child.reads(EvFlags::EV_ADD, NONE);
            marked(|| child.change(&add));
        }
        "EV_DELETE READ" => {
            let child = add_read(private, EvFlags::empty(), NONE);
            let delete = child.reads(EvFlags::EV_DELETE, NONE);
            marked(|| child.change(&delete));
        }
        "wait, nothing ready" => {
            let mut child = Child::new(private, 0);
            marked(|| assert_eq!(child.wait(), 0));
        }
        "wait, 1 ready, with data" => {
            let mut child = add_read(private, EvFlags::empty(), NONE);
            assert_eq!(child.wait(), 1); // finds out what kind of descriptor it is
            marked(|| assert_eq!(child.wait(), 1));
        }
        "wait, 1 ready, without data" => {
            let mut child = add_read(private, EvFlags::empty(), NODATA);
            marked(|| assert_eq!(child.wait(), 1));
        }
        "wait, 64 ready, without data" => {
            let mut child = Child::new(private, 64);
            child.change(&child.reads(EvFlags::EV_ADD, NODATA));
            marked(|| assert_eq!(child.wait(), 64));
        }
        "EV_DISPATCH knote enabled" => {
            let (child, enable) = dispatched(private);
            marked(|| child.change(&enable));
        }
        "EV_DISPATCH knote enabled and fetched" => {
            let (mut child, enable) = dispatched(private);
            marked(|| {
                child.change(&enable);
                assert_eq!(child.wait(), 1);
            });
        }
        "EV_ONESHOT knote added again and fetched" => {
            let mut child = add_read(private, EvFlags::EV_ONESHOT, NODATA);
            assert_eq!(child.wait(), 1);
            let add = child.reads(EvFlags::EV_ADD | EvFlags::EV_ONESHOT, NODATA);
            marked(|| {
                child.change(&add);
                assert_eq!(child.wait(), 1);
            });
        }
        "EV_DISABLE and EV_ENABLE of a level knote" => {
            let child = add_read(private, EvFlags::empty(), NONE);
            child.change(&child.reads(EvFlags::EV_DISABLE, NONE));
            child.change(&child.reads(EvFlags::EV_ENABLE, NONE));
            let [off, on] =
                [EvFlags::EV_DISABLE, EvFlags::EV_ENABLE].map(|flags| child.reads(flags, NONE));
            marked(|| {
                child.change(&off);
                child.change(&on);
            });
        }
        "NOTE_TRIGGER" => {
            let (child, trigger) = user(private);
            marked(|| child.change(&trigger));
        }
        "NOTE_TRIGGER and its event" => {
            let (mut child, trigger) = user(private);
            marked(|| {
                child.change(&trigger);
                assert_eq!(child.wait(), 1);
            });
        }
        "TIMER of an hour added and deleted, beside an earlier one" => {
            let child = Child::new(private, 0);
            child.change(&[event(1, EVFILT_TIMER, EvFlags::EV_ADD, NONE)]);
            let later = [EvFlags::EV_ADD, EvFlags::EV_DELETE]
                .map(|flags| [event(2, EVFILT_TIMER, flags, NONE)]);
            marked(|| later.iter().for_each(|change| child.change(change)));
        }
        "a VNODE event" => {
            let mut child = Child::new(private, 0);
            let mut file = nameless();
            let ident = file.as_raw_fd() as usize;
            let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
            child.change(&[event(ident, EVFILT_VNODE, flags, FilterFlag::NOTE_WRITE)]);
            file.write_all(b"x").unwrap();
            marked(|| assert_eq!(child.wait(), 1));
        }
        "compat epoll_ctl MOD and epoll_wait" => {
            let child = Child::new(private, 1);
            let (ep, fd) = (readiness::epoll_create1(0).unwrap(), child.fds[0]);
            let mut one = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
            let at = &raw mut one;
            // SAFETY: one event that lives as long as the calls.
            unsafe {
                readiness::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, at).unwrap();
                marked(|| {
                    readiness::epoll_ctl(ep, libc::EPOLL_CTL_MOD, fd, at).unwrap();
                    let wait = || kq_core::raw::epoll_wait(ep, at, 1, 0);
                    assert_eq!(readiness::epoll_wait(ep, at, 1, wait), Ok(1));
                });
            }
        }
        other => panic!("no row {other}"),
    }
}

/// The rows of the table: what is done, and the calls it makes with their numbers.
fn table() -> Vec<(String, BTreeMap<String, usize>)> {
    let text = include_str!("../../docs/performance.md");
    let (_, table) = text.split_once("| operation | system calls |").expect("the table's head");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (name, calls) = (cells.next().unwrap(), cells.next().unwrap());
        let calls = calls.split(", ").filter(|call| *call != "none").map(|call| {
            let (times, name) = call.split_once(' ').unwrap_or(("1", call));
            (name.trim_matches('`').to_owned(), times.parse().unwrap())
        });
        (name.to_owned(), calls.collect())
    })
    .collect()
}

/// The calls between the marks.
fn traced(row: &str) -> BTreeMap<String, usize> {
    let out = std::env::temp_dir().join(format!("kqcompat-syscalls-{}", std::process::id()));
    let done = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&out)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_table_of_system_calls_is_true", "--test-threads=1"])
        .env(ROW, row)
        .output()
        .unwrap();
    assert!(done.status.success(), "{row}: {}", String::from_utf8_lossy(&done.stderr));
    let text = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(out).unwrap();
    // "<thread> <call>(..."; where the architecture has no epoll_wait, epoll_pwait takes its place.
    let calls = text.lines().filter_map(|line| {
        let (thread, call) = line.trim_start().split_once(' ')?;
        let (name, _) = call.trim_start().split_once('(')?;
        Some((thread, if name == "epoll_pwait" { "epoll_wait" } else { name }))
    });
    let calls: Vec<(&str, &str)> = calls.collect();
    let marks: Vec<usize> = (0..calls.len()).filter(|&at| calls[at].1 == "getppid").collect();
    let [begin, end] = marks[..] else { panic!("{row}: the marks are at {marks:?}") };
    let mut counts = BTreeMap::new();
    for (thread, name) in &calls[begin + 1..end] {
        if *thread == calls[begin].0 {
            *counts.entry((*name).to_owned()).or_insert(0) += 1;
        }
    }
    counts
}

#[test]
fn the_table_of_system_calls_is_true() {
    if let Ok(name) = std::env::var(ROW) {
        return row(&name);
    }
    if Command::new("strace").arg("--version").output().is_err() {
        return println!("skipped: there is no strace");
    }
    let rows = table();
    assert!(rows.len() >= 20, "{rows:?}");
    for (name, expected) in rows {
        assert_eq!(traced(&name), expected, "{name}");
    }
}
