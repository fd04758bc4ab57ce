//! READ and WRITE of what epoll does not take: files, directories, devices that never block.

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;

use common::*;
use kq_core::EventFilter::{EVFILT_EXCEPT, EVFILT_READ, EVFILT_VNODE, EVFILT_WRITE};
use kq_core::{Errno, EvFlags, FilterFlag, Kqueue};

const POLL: FilterFlag = FilterFlag::NOTE_FILE_POLL;

fn queue(fd: &impl AsRawFd, flags: EvFlags, fflags: FilterFlag) -> Kqueue {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(fd, EVFILT_READ, ADD | flags, fflags, 0)]).unwrap();
    kq
}

#[test]
fn data_is_the_end_minus_the_offset() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    let kq = queue(&file, EvFlags::empty(), NONE);
    for _ in 0..3 {
        assert!(readable(&kq));
        assert_eq!(one(&kq, NOW).data(), 6);
    }
    file.seek(SeekFrom::Start(15)).unwrap();
    let event = one(&kq, NOW);
    assert_eq!((event.data(), event.flags()), (-5, EvFlags::empty()), "beyond the end");
}

#[test]
fn it_is_dead_at_the_end_and_alive_again_when_it_grows() {
    let dir = Dir::new();
    let (mut reader, mut writer) = (dir.file("f"), dir.file("f"));
    let kq = queue(&reader, EvFlags::empty(), NONE);
    for round in 1..=3 {
        assert_eq!(take(&kq, NOW), []);
        assert!(!readable(&kq));
        writer.write_all(&vec![b'x'; round]).unwrap();
        assert!(readable(&kq));
        for _ in 0..2 {
            assert_eq!(one(&kq, NOW).data(), round as isize);
        }
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), round);
    }
    // Cut off, the offset is beyond the end: not 0.
    assert_eq!(take(&kq, NOW), []);
    writer.set_len(2).unwrap();
    assert_eq!(one(&kq, NOW).data(), -4);
}

#[test]
fn reading_to_the_end_is_found_at_the_next_scan() {
    let dir = Dir::new();
    let (mut reader, mut writer) = (dir.file("f"), dir.file("f"));
    writer.write_all(b"123").unwrap();
    let kq = queue(&reader, EvFlags::empty(), NONE);
    assert_eq!(one(&kq, NOW).data(), 3);
    reader.read_exact(&mut [0; 3]).unwrap();
    assert!(readable(&kq), "nobody was told");
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(&kq));
    let at_the_end = queue(&reader, EvFlags::empty(), NONE);
    assert!(!readable(&at_the_end));
}

#[test]
fn a_waiting_thread_is_woken_by_growth() {
    let dir = Dir::new();
    let (reader, mut writer) = (dir.file("f"), dir.file("f"));
    let kq = queue(&reader, EvFlags::empty(), NONE);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| one(&kq, None).data());
        std::thread::sleep(std::time::Duration::from_millis(20));
        writer.write_all(b"123").unwrap();
        assert_eq!(waiter.join().unwrap(), 3);
    });
}

#[test]
fn clear_reports_each_growth_once() {
    let dir = Dir::new();
    let (reader, mut writer) = (dir.file("f"), dir.file("f"));
    for (fflags, first) in [(NONE, 0), (POLL, 1)] {
        writer.set_len(0).unwrap();
        writer.seek(SeekFrom::Start(0)).unwrap();
        let kq = queue(&reader, CLEAR, fflags);
        assert_eq!(take(&kq, NOW).len(), first);
        for size in 1..4 {
            writer.write_all(b"1").unwrap();
            assert!(readable(&kq));
            assert_eq!(one(&kq, NOW).data(), size);
            assert!(!readable(&kq));
            assert_eq!(take(&kq, NOW), []);
        }
    }
}

#[test]
fn with_note_file_poll_it_is_always_ready() {
    let dir = Dir::new();
    let file = dir.file("f");
    let kq = queue(&file, EvFlags::empty(), POLL);
    for _ in 0..3 {
        assert!(readable(&kq));
        assert_eq!(one(&kq, NOW).data(), 0);
    }
}

#[test]
fn oneshot_dispatch_and_disable() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    file.write_all(b"123").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let kq = queue(&file, EvFlags::EV_ONESHOT, NONE);
    assert_eq!(one(&kq, NOW).data(), 3);
    assert!(!readable(&kq));
    let with = |flags| change(&file, EVFILT_READ, flags, NONE, 0);
    assert_eq!(apply(&kq, &[with(EvFlags::EV_DELETE)]), Err(Errno::ENOENT));

    apply(&kq, &[with(ADD | EvFlags::EV_DISPATCH)]).unwrap();
    for _ in 0..3 {
        assert_eq!(one(&kq, NOW).data(), 3);
        assert!(!readable(&kq));
        assert_eq!(take(&kq, NOW), []);
        apply(&kq, &[with(EvFlags::EV_ENABLE)]).unwrap();
        assert!(readable(&kq));
    }
    apply(&kq, &[with(EvFlags::EV_DISABLE)]).unwrap();
    assert!(!readable(&kq));
    (&file).seek(SeekFrom::Start(3)).unwrap();
    apply(&kq, &[with(EvFlags::EV_ENABLE)]).unwrap();
    assert_eq!(take(&kq, NOW), [], "at the end by now");
    let mut writer = fs::OpenOptions::new().append(true).open(dir.path("f")).unwrap();
    writer.write_all(b"45").unwrap();
    assert_eq!(one(&kq, NOW).data(), 2, "watched again");
}

#[test]
fn a_file_can_always_be_written() {
    let dir = Dir::new();
    let file = dir.file("f");
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&file, EVFILT_WRITE, ADD, NONE, 0)]).unwrap();
    for _ in 0..3 {
        assert!(readable(&kq));
        assert_eq!(one(&kq, NOW).filter(), Ok(EVFILT_WRITE));
    }
    let clear = change(&file, EVFILT_WRITE, EvFlags::EV_DELETE, NONE, 0);
    apply(&kq, &[clear, change(&file, EVFILT_WRITE, ADD | CLEAR, NONE, 0)]).unwrap();
    assert_eq!(one(&kq, NOW).filter(), Ok(EVFILT_WRITE));
    assert_eq!(take(&kq, NOW), []);
    assert_eq!(
        apply(&kq, &[change(&file, EVFILT_EXCEPT, ADD, NONE, 0)]),
        Err(Errno::EINVAL),
        "a file has nothing out of band"
    );
}

#[test]
fn devices_that_never_block_are_always_ready() {
    for path in ["/dev/null", "/dev/zero", "/dev/full"] {
        let device = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let kq = Kqueue::new().unwrap();
        let both = [EVFILT_READ, EVFILT_WRITE].map(|filter| change(&device, filter, ADD, NONE, 0));
        apply(&kq, &both).unwrap();
        for _ in 0..3 {
            assert!(readable(&kq), "{path}");
            assert_eq!(take(&kq, NOW).len(), 2, "{path}");
        }
    }
}

#[test]
fn directories_and_the_kernels_own_files_are_always_ready() {
    let dir = Dir::new();
    let paths = [dir.as_ref().to_path_buf(), "/proc/self/status".into(), "/".into()];
    for path in paths {
        let mut file = File::open(&path).unwrap();
        let kq = queue(&file, EvFlags::empty(), NONE);
        for _ in 0..2 {
            assert!(one(&kq, NOW).data() >= 1, "{path:?}");
        }
        let _ = file.read_to_end(&mut Vec::new());
        assert!(one(&kq, NOW).data() >= 1, "{path:?}");
    }
}

/// Newer kernels do not tell inotify of writes to a memfd: each wait looks before it sleeps.
#[test]
fn a_memfd_grows() {
    let mut file = memfd();
    let kq = queue(&file, EvFlags::empty(), NONE);
    assert_eq!(take(&kq, NOW), []);
    for _ in 0..3 {
        file.write_all(b"12345").unwrap();
        assert_eq!(take(&kq, NOW), [], "written at the offset: still at the end");
        file.seek(SeekFrom::Current(-2)).unwrap();
        apply(&kq, &[change(&file, EVFILT_READ, ADD, NONE, 0)]).unwrap();
        assert_eq!(one(&kq, None).data(), 2);
        file.seek(SeekFrom::End(0)).unwrap();
        assert_eq!(take(&kq, NOW), []);
    }
    let mut other = File::options();
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut other = other.append(true).open(path).unwrap();
    other.write_all(b"123").unwrap();
    assert_eq!(one(&kq, None).data(), 3);
}

#[test]
fn read_and_vnode_share_a_watch() {
    let dir = Dir::new();
    let (reader, mut writer) = (dir.file("f"), dir.file("f"));
    let kq = queue(&reader, EvFlags::empty(), NONE);
    let write = FilterFlag::NOTE_WRITE;
    apply(&kq, &[change(&reader, EVFILT_VNODE, ADD | CLEAR, write, 0)]).unwrap();
    writer.write_all(b"1").unwrap();
    let mut seen: Vec<_> = take(&kq, NOW).iter().map(|e| e.filter().unwrap() as i16).collect();
    seen.sort_unstable();
    assert_eq!(seen, [EVFILT_VNODE as i16, EVFILT_READ as i16]);
    apply(&kq, &[change(&reader, EVFILT_VNODE, EvFlags::EV_DELETE, NONE, 0)]).unwrap();
    (&reader).read_exact(&mut [0]).unwrap();
    assert_eq!(take(&kq, NOW), []);
    writer.write_all(b"1").unwrap();
    assert_eq!(one(&kq, NOW).filter(), Ok(EVFILT_READ));
}

#[test]
fn closing_drops_the_knotes_at_once() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    file.write_all(b"1").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let _copy = file.try_clone().unwrap();
    let kq = queue(&file, EvFlags::empty(), NONE);
    assert!(readable(&kq));
    kq_core::abi::closing(file.as_raw_fd());
    drop(file);
    assert!(!readable(&kq));
    assert_eq!(kq.counters().knotes, 0);
}

/// A number goes from a file to a socket and back, and nobody is told of the closes.
#[test]
fn a_number_that_changes_its_kind() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    file.write_all(b"1").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let (socket, mut peer) = UnixStream::pair().unwrap();
    let number = file.try_clone().unwrap().into_raw_fd();
    let put = |fd: i32| {
        // SAFETY: the number is ours.
        assert_eq!(unsafe { libc::dup2(fd, number) }, number);
    };
    let kq = Kqueue::new().unwrap();
    let with = |filter, flags| change(&number, filter, flags, NONE, 0);
    apply(&kq, &[with(EVFILT_READ, ADD), with(EVFILT_WRITE, ADD)]).unwrap();
    assert_eq!(take(&kq, NOW).len(), 2);
    put(socket.as_raw_fd());
    assert_eq!(take(&kq, NOW), [], "the file is gone from this number");
    assert_eq!(kq.counters().knotes, 0);

    apply(&kq, &[with(EVFILT_READ, ADD), with(EVFILT_WRITE, ADD)]).unwrap();
    assert_eq!(one(&kq, NOW).filter(), Ok(EVFILT_WRITE));
    put(file.as_raw_fd());
    let delete = with(EVFILT_WRITE, EvFlags::EV_DELETE);
    assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    apply(&kq, &[with(EVFILT_READ, ADD)]).unwrap();
    peer.write_all(b"22").unwrap();
    let event = one(&kq, NOW);
    assert_eq!((event.filter(), event.data()), (Ok(EVFILT_READ), 1));

    put(socket.as_raw_fd());
    apply(&kq, &[with(EVFILT_READ, ADD)]).unwrap();
    assert_eq!(one(&kq, NOW).data(), 2);
    drop(own(number));
}

#[test]
fn force_oneshot_reports_at_the_end_too() {
    let dir = Dir::new();
    let file = dir.file("f");
    let kq = queue(&file, EvFlags::empty(), NONE);
    assert_eq!(take(&kq, NOW), []);
    let force = change(&file, EVFILT_READ, EvFlags::EV_FORCEONESHOT, NONE, 0);
    apply(&kq, &[force]).unwrap();
    assert!(readable(&kq));
    assert_eq!(one(&kq, NOW).data(), 0);
    assert_eq!(kq.counters().knotes, 0);
}

/// Nobody is told of the close, and nothing tells the two apart.
#[test]
fn the_same_file_at_the_same_number_is_the_same() {
    let dir = Dir::new();
    let mut file = dir.file("f");
    let number = dir.file("f").into_raw_fd();
    let kq = queue(&number, EvFlags::empty(), NONE);
    let again = dir.file("f");
    // SAFETY: the number is ours.
    assert_eq!(unsafe { libc::dup2(again.as_raw_fd(), number) }, number);
    file.write_all(b"12").unwrap();
    assert_eq!(one(&kq, NOW).data(), 2);
    drop(own(number));
    assert_eq!(take(&kq, NOW), []);
    assert_eq!(kq.counters().knotes, 0);
}
