//! EVFILT_VNODE of directories: NOTE_CREATE, NOTE_REMOVE, and the names.

mod common;

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use common::*;
use kq_core::EntryChange::*;
use kq_core::EventFilter::*;
use kq_core::{EntryChange, Errno, EvFlags, FilterFlag, Kqueue};

const CREATE: FilterFlag = FilterFlag::NOTE_CREATE;
const REMOVE: FilterFlag = FilterFlag::NOTE_REMOVE;
const BOTH: FilterFlag = CREATE.union(REMOVE);

fn names(kq: &Kqueue, fd: &File) -> Vec<(String, EntryChange, bool)> {
    let entries = kq.take_entries(fd.as_raw_fd()).unwrap();
    entries.into_iter().map(|e| (e.name.into_string().unwrap(), e.change, e.is_dir)).collect()
}

fn owned(expected: &[(&str, EntryChange, bool)]) -> Vec<(String, EntryChange, bool)> {
    expected.iter().map(|&(name, change, is_dir)| (name.to_owned(), change, is_dir)).collect()
}

#[test]
fn what_comes_and_goes_is_named() {
    let (dir, other) = (Dir::new(), Dir::new());
    let fd = File::open(&dir).unwrap();
    let kq = watch(&fd, BOTH);
    #[track_caller]
    fn tells(kq: &Kqueue, fd: &File, what: FilterFlag, expected: &[(&str, EntryChange, bool)]) {
        assert_eq!(told(kq), what);
        assert_eq!(names(kq, fd), owned(expected));
    }
    drop(dir.file("f"));
    tells(&kq, &fd, CREATE, &[("f", Created, false)]);
    fs::create_dir(dir.path("sub")).unwrap();
    tells(&kq, &fd, CREATE, &[("sub", Created, true)]);
    fs::rename(dir.path("f"), dir.path("g")).unwrap();
    tells(&kq, &fd, BOTH, &[("f", MovedOut, false), ("g", MovedIn, false)]);
    fs::rename(dir.path("g"), other.path("g")).unwrap();
    tells(&kq, &fd, REMOVE, &[("g", MovedOut, false)]);
    fs::rename(other.path("g"), dir.path("a name \u{e9}")).unwrap();
    tells(&kq, &fd, CREATE, &[("a name \u{e9}", MovedIn, false)]);
    fs::hard_link(dir.path("a name \u{e9}"), dir.path("link")).unwrap();
    fs::remove_dir(dir.path("sub")).unwrap();
    tells(&kq, &fd, BOTH, &[("link", Created, false), ("sub", Removed, true)]);
    fs::write(dir.path("link"), "not an entry's change").unwrap();
    assert_eq!(take(&kq, NOW), []);
    assert_eq!(names(&kq, &fd), []);
}

#[test]
fn names_wait_for_whoever_takes_them() {
    let dir = Dir::new();
    let fd = File::open(&dir).unwrap();
    let kq = watch(&fd, CREATE);
    for name in ["one", "two"] {
        drop(dir.file(name));
        assert_eq!(told(&kq), CREATE);
    }
    // Nobody is told of what was not asked for, but its name is told.
    fs::remove_file(dir.path("one")).unwrap();
    assert_eq!(take(&kq, NOW), []);
    let all = owned(&[("one", Created, false), ("two", Created, false), ("one", Removed, false)]);
    assert_eq!(names(&kq, &fd), all);
}

#[test]
fn while_disabled_names_are_kept() {
    let dir = Dir::new();
    let fd = File::open(&dir).unwrap();
    let kq = watch(&fd, BOTH);
    apply(&kq, &[change(&fd, EVFILT_VNODE, EvFlags::EV_DISABLE, NONE, 0)]).unwrap();
    drop(dir.file("f"));
    assert!(!readable(&kq));
    apply(&kq, &[change(&fd, EVFILT_VNODE, EvFlags::EV_ENABLE, NONE, 0)]).unwrap();
    assert_eq!(told(&kq), CREATE);
    assert_eq!(names(&kq, &fd), owned(&[("f", Created, false)]));
}

#[test]
fn two_queues_and_two_descriptors_have_their_own_names() {
    let dir = Dir::new();
    let (one, other) = (File::open(&dir).unwrap(), File::open(&dir).unwrap());
    let (kq, second) = (watch(&one, BOTH), watch(&one, BOTH));
    apply(&kq, &[change(&other, EVFILT_VNODE, ADD, FilterFlag::NOTE_WRITE, 0)]).unwrap();
    drop(dir.file("f"));
    assert_eq!(take(&kq, SOON).len(), 2);
    assert_eq!(names(&kq, &other), [], "it asked for none");
    assert_eq!(names(&kq, &one), owned(&[("f", Created, false)]));
    assert_eq!(told(&second), CREATE);
    assert_eq!(names(&second, &one), owned(&[("f", Created, false)]));
}

#[test]
fn errors() {
    let dir = Dir::new();
    let (fd, file) = (File::open(&dir).unwrap(), dir.file("f"));
    let kq = Kqueue::new().unwrap();
    let add = change(&file, EVFILT_VNODE, ADD, CREATE, 0);
    assert_eq!(apply(&kq, &[add]), Err(Errno::EINVAL), "a file has no entries");
    assert_eq!(kq.take_entries(fd.as_raw_fd()), Err(Errno::ENOENT));
    assert_eq!(kq.take_entries(-1), Err(Errno::ENOENT));
}
