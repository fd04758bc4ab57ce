//! EVFILT_VNODE.

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use common::*;
use kq_core::EventFilter::EVFILT_VNODE;
use kq_core::{Errno, EvFlags, FilterFlag, Kqueue};

const OPEN: FilterFlag = FilterFlag::NOTE_OPEN;
const CLOSE: FilterFlag = FilterFlag::NOTE_CLOSE;
const CLOSE_WRITE: FilterFlag = FilterFlag::NOTE_CLOSE_WRITE;
const READ: FilterFlag = FilterFlag::NOTE_READ;

#[test]
fn writes_extend_or_do_not() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = watch(&file, ALL);
    file.write_all(b"12345").unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"abc").unwrap();
    assert_eq!(told(&kq), WRITE);
    file.set_len(1).unwrap();
    assert_eq!(told(&kq), WRITE);
    file.set_len(100).unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
}

#[test]
fn only_what_was_asked_for_is_told() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = watch(&file, EXTEND);
    file.write_all(b"12345").unwrap();
    assert_eq!(told(&kq), EXTEND);
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"abc").unwrap();
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(&kq));
    let quiet = watch(&file, NONE);
    file.write_all(b"more and more").unwrap();
    assert_eq!(take(&quiet, NOW), []);
}

#[test]
fn attributes_and_names() {
    let dir = Dir::new();
    let file = dir.file("f");
    let kq = watch(&file, ALL);
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(told(&kq), ATTRIB);
    let epoch = std::time::UNIX_EPOCH;
    file.set_times(fs::FileTimes::new().set_modified(epoch).set_accessed(epoch)).unwrap();
    assert_eq!(told(&kq), ATTRIB);
    file.set_times(fs::FileTimes::new().set_modified(epoch)).unwrap();
    assert_eq!(told(&kq), WRITE, "inotify tells it so");
    fs::hard_link(dir.path("f"), dir.path("g")).unwrap();
    assert_eq!(told(&kq), LINK);
    fs::rename(dir.path("f"), dir.path("h")).unwrap();
    assert_eq!(told(&kq), RENAME);
    fs::remove_file(dir.path("h")).unwrap();
    assert_eq!(told(&kq), LINK, "another name is left");
    fs::remove_file(dir.path("g")).unwrap();
    assert_eq!(told(&kq), LINK | DELETE);
}

#[test]
fn an_unlinked_file_goes_on_being_watched() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    fs::remove_file(dir.path("f")).unwrap();
    let kq = watch(&file, ALL);
    file.write_all(b"1").unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(told(&kq), ATTRIB, "it was unlinked before");
}

#[test]
fn a_file_that_never_had_a_name() {
    let dir = Dir::new();
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).custom_flags(libc::O_TMPFILE).open(&dir).expect("an unnamed file");
    let kq = watch(&file, WRITE | EXTEND);
    file.write_all(b"1").unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
}

#[test]
fn renaming_over_a_file_deletes_it() {
    let dir = Dir::new();
    let (file, _) = (dir.file("f"), dir.file("g"));
    let kq = watch(&file, DELETE);
    fs::rename(dir.path("g"), dir.path("f")).unwrap();
    assert_eq!(told(&kq), DELETE);
}

#[test]
fn opened_read_and_closed() {
    let dir = Dir::new();
    let file = dir.file("f");
    (&file).write_all(b"text").unwrap();
    let kq = watch(&file, ALL);
    let mut reader = File::open(dir.path("f")).unwrap();
    assert_eq!(told(&kq), OPEN);
    reader.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(told(&kq), READ);
    drop(reader);
    assert_eq!(told(&kq), CLOSE);
    let writer = dir.file("f");
    assert_eq!(told(&kq), OPEN);
    drop(writer);
    assert_eq!(told(&kq), CLOSE_WRITE);
}

/// A level knote tells what happened so far until it is deleted (FreeBSD's filt_vfsvnode).
#[test]
fn level_repeats_and_clear_does_not() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&file, EVFILT_VNODE, ADD, ALL, 0)]).unwrap();
    file.write_all(b"1").unwrap();
    for _ in 0..3 {
        assert_eq!(one(&kq, NOW).fflags(), WRITE | EXTEND);
        assert!(readable(&kq));
    }
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(one(&kq, NOW).fflags(), WRITE | EXTEND | ATTRIB);
    apply(&kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0)]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, NOW), []);
}

#[test]
fn oneshot_and_dispatch() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&file, EVFILT_VNODE, ADD | EvFlags::EV_ONESHOT, WRITE, 0)]).unwrap();
    file.write_all(b"1").unwrap();
    assert_eq!(one(&kq, NOW).fflags(), WRITE);
    file.write_all(b"1").unwrap();
    assert!(!readable(&kq));
    let delete = change(&file, EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));

    let flags = ADD | CLEAR | EvFlags::EV_DISPATCH;
    apply(&kq, &[change(&file, EVFILT_VNODE, flags, WRITE, 0)]).unwrap();
    for _ in 0..3 {
        file.write_all(b"1").unwrap();
        assert_eq!(one(&kq, NOW).fflags(), WRITE);
        file.write_all(b"1").unwrap();
        assert!(!readable(&kq), "disabled by the report");
        assert_eq!(take(&kq, NOW), []);
        apply(&kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_ENABLE, WRITE, 0)]).unwrap();
        assert_eq!(told_once(&kq), WRITE, "written while it was disabled");
        apply(&kq, &[change(&file, EVFILT_VNODE, EvFlags::EV_ENABLE, WRITE, 0)]).unwrap();
        assert_eq!(take(&kq, NOW), []);
    }
}

fn told_once(kq: &Kqueue) -> FilterFlag {
    assert!(readable(kq));
    one(kq, NOW).fflags()
}

/// What leaves no trace in the file's stat is kept too, and wakes nobody.
#[test]
fn what_happens_while_disabled_is_kept() {
    let dir = Dir::new();
    let file = dir.file("f");
    let kq = watch(&file, ALL);
    let disable = change(&file, EVFILT_VNODE, EvFlags::EV_DISABLE, ALL, 0);
    let enable = change(&file, EVFILT_VNODE, EvFlags::EV_ENABLE, ALL, 0);
    for _ in 0..3 {
        apply(&kq, &[disable]).unwrap();
        drop(File::open(dir.path("f")).unwrap());
        fs::rename(dir.path("f"), dir.path("g")).unwrap();
        fs::rename(dir.path("g"), dir.path("f")).unwrap();
        assert!(!readable(&kq));
        assert_eq!(take(&kq, NOW), []);
        apply(&kq, &[enable]).unwrap();
        assert_eq!(told(&kq), OPEN | CLOSE | RENAME);
    }
    // What happened before is kept as well.
    drop(File::open(dir.path("f")).unwrap());
    apply(&kq, &[disable]).unwrap();
    assert!(!readable(&kq));
    assert_eq!(take(&kq, NOW), []);
    apply(&kq, &[enable]).unwrap();
    assert_eq!(told(&kq), OPEN | CLOSE);
}

/// Two descriptors of one file share the kernel's watch; each has its own knote, and what one of
/// them asks for is not told to the other.
#[test]
fn descriptors_of_one_file_are_told_apart() {
    let dir = Dir::new();
    let (mut one, two) = (dir.file("f"), dir.file("f"));
    let three = one.try_clone().unwrap();
    let kq = Kqueue::new().unwrap();
    apply(
        &kq,
        &[
            change(&one, EVFILT_VNODE, ADD | CLEAR, WRITE, 0),
            change(&two, EVFILT_VNODE, ADD | CLEAR, ATTRIB, 0),
            change(&three, EVFILT_VNODE, ADD | CLEAR, WRITE | ATTRIB, 0),
        ],
    )
    .unwrap();
    let seen = || {
        let mut seen: Vec<_> =
            take(&kq, NOW).iter().map(|e| (e.ident() as i32, e.fflags())).collect();
        seen.sort_unstable_by_key(|&(fd, _)| fd);
        seen
    };
    let numbers = [one.as_raw_fd(), two.as_raw_fd(), three.as_raw_fd()];
    one.write_all(b"1").unwrap();
    assert_eq!(seen(), [(numbers[0], WRITE), (numbers[2], WRITE)]);
    one.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(seen(), [(numbers[1], ATTRIB), (numbers[2], ATTRIB)]);
    // One goes, one is changed, one is disabled: the others stay as they are.
    apply(
        &kq,
        &[
            change(&one, EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0),
            change(&two, EVFILT_VNODE, ADD, RENAME, 0),
            change(&three, EVFILT_VNODE, EvFlags::EV_DISABLE, WRITE, 0),
        ],
    )
    .unwrap();
    one.write_all(b"1").unwrap();
    one.set_permissions(fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!readable(&kq), "nobody enabled asks for it");
    fs::rename(dir.path("f"), dir.path("g")).unwrap();
    assert_eq!(seen(), [(numbers[1], RENAME)]);
    apply(&kq, &[change(&three, EVFILT_VNODE, EvFlags::EV_ENABLE, WRITE, 0)]).unwrap();
    assert_eq!(seen(), [(numbers[2], WRITE)]);
}

/// Newer kernels do not tell inotify of writes to a memfd: each wait looks before it sleeps.
#[test]
fn a_memfd_is_looked_at_before_each_wait() {
    let mut file = memfd();
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&file, EVFILT_VNODE, ADD | CLEAR, ALL, 0)]).unwrap();
    assert_eq!(take(&kq, NOW), []);
    file.write_all(b"12345").unwrap();
    assert_eq!(one(&kq, None).fflags(), WRITE | EXTEND);
    assert_eq!(take(&kq, NOW), []);
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"123").unwrap();
    assert_eq!(one(&kq, None).fflags(), WRITE);
    assert_eq!(take(&kq, NOW), []);
    file.set_len(100).unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND);
}

#[test]
fn what_is_no_file_is_refused() {
    let kq = Kqueue::new().unwrap();
    let add = |fd: &dyn AsRawFd| apply(&kq, &[change(&fd.as_raw_fd(), EVFILT_VNODE, ADD, ALL, 0)]);
    let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(add(&a), Err(Errno::EINVAL));
    let (reader, _writer) = std::io::pipe().unwrap();
    assert_eq!(add(&reader), Err(Errno::EINVAL));
    assert_eq!(add(&kq), Err(Errno::EINVAL));
    // SAFETY: takes no pointer.
    let eventfd = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) });
    assert_eq!(add(&eventfd), Err(Errno::EINVAL));
    assert_eq!(add(&99_999), Err(Errno::EBADF));
    assert_eq!(add(&-1), Err(Errno::EBADF));
    let change = |flags| change(&99_999, EVFILT_VNODE, flags, ALL, 0);
    assert_eq!(apply(&kq, &[change(EvFlags::EV_DELETE)]), Err(Errno::EBADF));
    assert_eq!(kq.counters().knotes, 0);
}

#[test]
fn a_fifo_is_a_file() {
    let dir = Dir::new();
    let path = dir.path("fifo");
    mkfifo(&path);
    let mut options = fs::OpenOptions::new();
    let fifo = options.read(true).write(true).open(&path).unwrap();
    let kq = watch(&fifo, ATTRIB | DELETE);
    fs::remove_file(&path).unwrap();
    assert_eq!(told(&kq), DELETE);
}

fn mkfifo(path: &std::path::Path) {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the path ends in a NUL.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn what_is_undone_is_told_otherwise() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = watch(&file, ALL);
    fs::hard_link(dir.path("f"), dir.path("g")).unwrap();
    fs::remove_file(dir.path("g")).unwrap();
    assert_eq!(told(&kq), ATTRIB);
    file.write_all(b"12345").unwrap();
    file.set_len(0).unwrap();
    assert_eq!(told(&kq), WRITE);
}

#[test]
fn enabling_does_not_forget_what_was_asked_for() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let kq = watch(&file, WRITE);
    for flags in [EvFlags::EV_DISABLE, EvFlags::EV_ENABLE] {
        apply(&kq, &[change(&file, EVFILT_VNODE, flags, NONE, 0)]).unwrap();
    }
    file.write_all(b"1").unwrap();
    assert_eq!(told(&kq), WRITE);
    apply(&kq, &[change(&file, EVFILT_VNODE, ADD, NONE, 0)]).unwrap();
    file.write_all(b"1").unwrap();
    assert!(!readable(&kq), "added again for nothing");
}
