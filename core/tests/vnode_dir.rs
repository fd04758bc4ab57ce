//! EVFILT_VNODE of directories.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use common::*;
use kq_core::EventFilter::EVFILT_VNODE;

#[test]
fn a_directory_tells_of_its_entries() {
    let dir = Dir::new();
    let other = Dir::new();
    let fd = File::open(&dir).unwrap();
    let kq = watch(&fd, WRITE | EXTEND | LINK | ATTRIB | DELETE | RENAME);
    drop(dir.file("f"));
    assert_eq!(told(&kq), WRITE);
    fs::create_dir(dir.path("sub")).unwrap();
    assert_eq!(told(&kq), WRITE | LINK);
    fs::rename(dir.path("sub"), dir.path("moved")).unwrap();
    assert_eq!(told(&kq), WRITE, "as many links as before");
    fs::rename(dir.path("moved"), other.path("sub")).unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND | LINK);
    fs::rename(other.path("sub"), dir.path("sub")).unwrap();
    assert_eq!(told(&kq), WRITE | EXTEND | LINK);
    fs::remove_dir(dir.path("sub")).unwrap();
    assert_eq!(told(&kq), WRITE | LINK);
    fs::rename(dir.path("f"), dir.path("g")).unwrap();
    assert_eq!(told(&kq), WRITE);
    fs::remove_file(dir.path("g")).unwrap();
    assert_eq!(told(&kq), WRITE);
    fd.set_permissions(fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(told(&kq), ATTRIB);
}

#[test]
fn what_happens_in_the_files_of_a_directory_is_not_told() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let fd = File::open(&dir).unwrap();
    let kq = watch(&fd, ALL);
    file.write_all(b"1").unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    drop(File::open(dir.path("f")).unwrap());
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(&kq));
}

#[test]
fn a_directory_is_removed_wherever_it_is() {
    let dir = Dir::new();
    let other = Dir::new();
    fs::create_dir(dir.path("one")).unwrap();
    fs::create_dir(dir.path("two")).unwrap();
    let one = File::open(dir.path("one")).unwrap();
    let kq = watch(&one, DELETE);
    fs::remove_dir(dir.path("two")).unwrap();
    assert!(readable(&kq), "that something was removed there");
    assert_eq!(take(&kq, NOW), [], "that was another");
    assert!(!readable(&kq));
    // Removed from where it was moved to.
    fs::rename(dir.path("one"), other.path("one")).unwrap();
    assert_eq!(take(&kq, NOW), []);
    fs::remove_dir(other.path("one")).unwrap();
    assert_eq!(told(&kq), DELETE);
}

/// Nobody looked between the two.
#[test]
fn a_directory_is_moved_and_then_removed() {
    let dir = Dir::new();
    let other = Dir::new();
    for asked in [DELETE, DELETE | RENAME] {
        fs::create_dir(dir.path("one")).unwrap();
        let one = File::open(dir.path("one")).unwrap();
        let kq = watch(&one, asked);
        fs::rename(dir.path("one"), other.path("one")).unwrap();
        fs::remove_dir(other.path("one")).unwrap();
        assert_eq!(told(&kq), asked);
    }
}

/// That it was moved is among what inotify lost.
#[test]
fn a_directory_is_moved_unseen_and_then_removed() {
    let dir = Dir::new();
    let other = Dir::new();
    let (mut a, mut b) = (dir.file("a"), dir.file("b"));
    fs::create_dir(dir.path("one")).unwrap();
    let one = File::open(dir.path("one")).unwrap();
    let kq = watch(&one, DELETE);
    for file in [&a, &b] {
        apply(&kq, &[change(file, EVFILT_VNODE, ADD | CLEAR, WRITE, 0)]).unwrap();
    }
    // By turns, since like events in a row are one.
    for _ in 0..max_queued_events() / 2 + 10 {
        a.write_all(b"1").unwrap();
        b.write_all(b"1").unwrap();
    }
    fs::rename(dir.path("one"), other.path("one")).unwrap();
    assert_eq!(take(&kq, NOW).len(), 2);
    fs::remove_dir(other.path("one")).unwrap();
    assert_eq!(told(&kq), DELETE);
}

#[test]
fn a_directory_is_replaced_by_another() {
    let dir = Dir::new();
    fs::create_dir(dir.path("one")).unwrap();
    fs::create_dir(dir.path("two")).unwrap();
    let two = File::open(dir.path("two")).unwrap();
    let kq = watch(&two, DELETE | RENAME);
    fs::rename(dir.path("one"), dir.path("two")).unwrap();
    assert_eq!(told(&kq), DELETE);
}
