//! EVFILT_FS, and what Linux cannot offer: EVFILT_EMPTY and NOTE_REVOKE.

mod common;

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use common::*;
use kq_core::EventFilter::{EVFILT_EMPTY, EVFILT_FS, EVFILT_VNODE};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};

const MOUNT: FilterFlag = FilterFlag::VQ_MOUNT;
const UNMOUNT: FilterFlag = FilterFlag::VQ_UNMOUNT;

fn fs(flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(0, EVFILT_FS, flags, fflags, 0, 7)
}

fn mount(at: &CString) {
    // SAFETY: the strings end in a NUL; tmpfs takes no data.
    let done = unsafe {
        let tmpfs = c"tmpfs".as_ptr();
        libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, std::ptr::null())
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Runs a test of this file in a process with a mount namespace of its own; false in that process,
/// which goes on, and true in the one that has waited for it.
fn isolated(name: &str) -> bool {
    const CHILD: &str = "KQCOMPAT_TEST_ISOLATED";
    if std::env::var_os(CHILD).is_some() {
        return false;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name]).env(CHILD, "1");
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(|| {
            let null = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let done = libc::unshare(libc::CLONE_NEWNS) == 0
                && libc::mount(null, c"/".as_ptr(), null, private, null.cast()) == 0;
            if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    match command.output() {
        Err(error) => println!("skipped: a mount namespace: {error}"),
        Ok(output) => assert!(output.status.success(), "{output:?}"),
    }
    true
}

fn unmount(at: &CString) {
    // SAFETY: the path ends in a NUL.
    assert_eq!(unsafe { libc::umount2(at.as_ptr(), 0) }, 0);
}

#[test]
fn file_systems_come_and_go() {
    if isolated("file_systems_come_and_go") {
        return;
    }
    let dir = Dir::new();
    let at = CString::new(dir.as_ref().to_str().unwrap()).unwrap();
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[fs(ADD, MOUNT | UNMOUNT)]).unwrap();
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(&kq));
    let only_mounts = Kqueue::new().unwrap();
    apply(&only_mounts, &[fs(ADD, MOUNT)]).unwrap();
    mount(&at);
    for _ in 0..3 {
        assert!(readable(&kq), "asking does not consume it");
    }
    let event = one(&kq, NOW);
    assert_eq!((event.fflags(), event.udata(), event.ident()), (MOUNT, 7, 0));
    assert!(event.flags().contains(EvFlags::EV_CLEAR));
    assert_eq!(take(&kq, NOW), []);
    assert!(!readable(&kq));
    assert_eq!(one(&only_mounts, NOW).fflags(), MOUNT);
    unmount(&at);
    assert_eq!(one(&kq, None).fflags(), UNMOUNT);
    assert_eq!(take(&only_mounts, NOW), []);

    // Gone again before anybody looked.
    mount(&at);
    unmount(&at);
    assert_eq!(one(&kq, NOW).fflags(), MOUNT | UNMOUNT);
    assert_eq!(take(&kq, NOW), []);

    // While disabled.
    apply(&kq, &[fs(EvFlags::EV_DISABLE, MOUNT | UNMOUNT)]).unwrap();
    mount(&at);
    assert_eq!(take(&kq, NOW), []);
    apply(&kq, &[fs(EvFlags::EV_ENABLE, MOUNT | UNMOUNT)]).unwrap();
    assert_eq!(one(&kq, NOW).fflags(), MOUNT);

    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| one(&kq, None).fflags());
        std::thread::sleep(std::time::Duration::from_millis(20));
        unmount(&at);
        assert_eq!(waiter.join().unwrap(), UNMOUNT);
    });
    apply(&kq, &[fs(EvFlags::EV_DELETE, NONE)]).unwrap();
    mount(&at);
    assert_eq!(take(&kq, NOW), []);
    unmount(&at);
}

#[test]
fn empty_is_not_supported() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
    let add = |fd: i32| apply(&kq, &[change(&fd, EVFILT_EMPTY, ADD, NONE, 0)]);
    assert_eq!(add(a.as_raw_fd()), Err(Errno::ENOTSUP));
    assert_eq!(add(99_999), Err(Errno::EBADF));
}

/// Why: the kernel wakes a writer when there is room after there was none, not when all is gone.
#[test]
fn linux_wakes_nobody_when_a_send_buffer_has_drained() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut b, _) = listener.accept().unwrap();
    // SAFETY: takes no pointer.
    let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let mut event = libc::epoll_event { events: (libc::EPOLLOUT | libc::EPOLLET) as u32, u64: 0 };
    let (ep, fd) = (epoll.as_raw_fd(), a.as_raw_fd());
    // SAFETY: one event, to be read.
    assert_eq!(unsafe { libc::epoll_ctl(ep, libc::EPOLL_CTL_ADD, fd, &mut event) }, 0);
    // SAFETY: room for one event.
    let mut woken = || unsafe { libc::epoll_wait(ep, &mut event, 1, 0) };
    assert_eq!(woken(), 1, "there is room at first");
    let text = [b'x'; 10_000];
    a.write_all(&text).unwrap();
    b.read_exact(&mut [0; 10_000]).unwrap();
    let queued = || {
        let mut bytes = 0;
        // SAFETY: the request writes one int.
        assert_eq!(unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &mut bytes) }, 0);
        bytes
    };
    while queued() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(woken(), 0);
}

/// No file system goes away beneath an open file, and Linux has no revoke(2).
#[test]
fn a_lazy_unmount_revokes_nothing() {
    if isolated("a_lazy_unmount_revokes_nothing") {
        return;
    }
    let dir = Dir::new();
    let at = std::ffi::CString::new(dir.as_ref().to_str().unwrap()).unwrap();
    mount(&at);
    let mut file = dir.file("f");
    let kq = Kqueue::new().unwrap();
    let asked = FilterFlag::NOTE_REVOKE | FilterFlag::NOTE_WRITE;
    apply(&kq, &[change(&file, EVFILT_VNODE, ADD | CLEAR, asked, 0)]).unwrap();
    // SAFETY: the path ends in a NUL.
    assert_eq!(unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) }, 0);
    assert_eq!(take(&kq, NOW), []);
    file.write_all(b"1").unwrap();
    assert_eq!(one(&kq, NOW).fflags(), FilterFlag::NOTE_WRITE, "it lives on");
}
