//! Twenty defects of another kqueue for Linux, each reproduced there: what holds here instead. Each
//! test runs in a process of its own.

mod kq;

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use kq::*;
use kq_core::EventFilter::*;
use kq_core::test_support::signals::{block, catch, is_blocked, send_to_process, send_to_self};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue, abi, raw};
use libc::{SIGUSR1, timespec};

kq_core::suite! {
    d01_a_reused_number_can_be_added_and_fires
    d02_a_readd_changes_udata
    d03_added_disabled_is_silent_until_enabled
    d04_clear_on_one_filter_is_not_the_others
    d05_errors_and_receipts_come_at_once
    d06_one_slot_serves_both_filters
    d07_the_exit_of_a_reaped_child_or_of_a_stranger
    d08_dispatch_is_delivered_once
    d09_the_descriptor_is_polled_nested_and_duplicated
    d10_without_a_timeout_nothing_returns_without_an_event
    d11_many_vnodes_unlinked_files_and_memfds
    d12_vnode_is_reported_again
    d13_a_timer_of_zero_and_one_that_is_disabled
    d14_user_triggered_while_disabled
    d15_long_and_bad_timeouts
    d16_signals_are_counted_and_stay_the_programs
    d17_data_of_writers_and_listeners
    d18_unconnected_sockets_null_and_the_end_of_a_file
    d19_more_than_512_enable_with_udata_and_dispatch_oneshot
    d20_forks_are_told_or_refused
}

const NONE: FilterFlag = FilterFlag::empty();
const CLEAR: EvFlags = EvFlags::EV_CLEAR;
const DELETE: EvFlags = EvFlags::EV_DELETE;
const ENABLE: EvFlags = EvFlags::EV_ENABLE;
const DISABLE: EvFlags = EvFlags::EV_DISABLE;
const DISPATCH: EvFlags = EvFlags::EV_DISPATCH;
const ONESHOT: EvFlags = EvFlags::EV_ONESHOT;

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn with_udata(change: KEvent, udata: isize) -> KEvent {
    let data = change.data();
    KEvent::new(
        change.ident(),
        change.filter().unwrap(),
        change.flags(),
        change.fflags(),
        data,
        udata,
    )
}

fn timer(flags: EvFlags, unit: FilterFlag, data: isize) -> KEvent {
    KEvent::new(1, EVFILT_TIMER, flags, unit, data, 0)
}

fn within(kq: &Kqueue, millis: i64) -> Vec<KEvent> {
    let timeout = timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
    let mut events = [change(0, EVFILT_READ, ADD, NONE); 16];
    let n = kq.kevent(&[], &mut events, Some(timeout)).unwrap();
    events[..n].to_vec()
}

fn d01_a_reused_number_can_be_added_and_fires() {
    let kq = Kqueue::new().unwrap();
    for flags in [ADD, ADD | CLEAR, ADD | ONESHOT, ADD | DISPATCH, ADD | DISABLE] {
        let (old, mut old_peer) = pair();
        let number = old.as_raw_fd();
        old_peer.write_all(b"1").unwrap();
        apply(&kq, &[change(number, EVFILT_READ, flags, NONE)]).unwrap();
        let _ = now(&kq);
        drop((old, old_peer));
        let (new, mut peer) = pair();
        assert_eq!(new.as_raw_fd(), number);
        apply(&kq, &[change(number, EVFILT_READ, ADD, NONE)]).unwrap();
        assert_eq!(now(&kq), []);
        peer.write_all(b"22").unwrap();
        assert_eq!(next(&kq)[0].data(), 2, "{flags:?}");
        apply(&kq, &[change(number, EVFILT_READ, DELETE, NONE)]).unwrap();
    }
}

fn d02_a_readd_changes_udata() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    for flags in [ADD | CLEAR, ADD, ADD] {
        for udata in [1, 2] {
            let add = change(a.as_raw_fd(), EVFILT_READ, flags, NONE);
            apply(&kq, &[with_udata(add, udata)]).unwrap();
            assert_eq!(next(&kq)[0].udata(), udata);
        }
    }
}

fn d03_added_disabled_is_silent_until_enabled() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    apply(&kq, &[change(a.as_raw_fd(), EVFILT_READ, ADD | DISABLE, NONE)]).unwrap();
    assert_eq!(within(&kq, 10), []);
    apply(&kq, &[change(a.as_raw_fd(), EVFILT_READ, ENABLE, NONE)]).unwrap();
    assert_eq!(next(&kq).len(), 1);
}

fn d04_clear_on_one_filter_is_not_the_others() {
    for (read, write) in [(CLEAR, EvFlags::empty()), (EvFlags::empty(), CLEAR)] {
        let kq = Kqueue::new().unwrap();
        let (a, mut b) = pair();
        b.write_all(b"1").unwrap();
        let changes = [
            change(a.as_raw_fd(), EVFILT_READ, ADD | read, NONE),
            change(a.as_raw_fd(), EVFILT_WRITE, ADD | write, NONE),
        ];
        apply(&kq, &changes).unwrap();
        assert_eq!(next(&kq).len(), 2);
        let level = if read == CLEAR { EVFILT_WRITE } else { EVFILT_READ };
        for _ in 0..3 {
            let filters: Vec<_> = now(&kq).iter().map(|e| e.filter().unwrap()).collect();
            assert_eq!(filters, [level]);
        }
    }
}

fn d05_errors_and_receipts_come_at_once() {
    let kq = Kqueue::new().unwrap();
    let (a, _b) = pair();
    let changes = [
        change(a.as_raw_fd(), EVFILT_READ, ADD | EvFlags::EV_RECEIPT, NONE),
        change(a.as_raw_fd(), EVFILT_WRITE, DELETE, NONE),
    ];
    let mut events = [changes[0]; 4];
    // Nothing is ready, and there is no timeout.
    assert_eq!(kq.kevent(&changes, &mut events, None), Ok(2));
    assert_eq!((events[0].flags(), events[0].data()), (EvFlags::EV_ERROR, 0));
    let enoent = Errno::ENOENT as isize;
    assert_eq!((events[1].flags(), events[1].data()), (EvFlags::EV_ERROR, enoent));
}

fn d06_one_slot_serves_both_filters() {
    for flags in [EvFlags::empty(), CLEAR] {
        let kq = Kqueue::new().unwrap();
        let (a, mut b) = pair();
        b.write_all(b"1").unwrap();
        let add = |filter| change(a.as_raw_fd(), filter, ADD | flags, NONE);
        apply(&kq, &[add(EVFILT_READ), add(EVFILT_WRITE)]).unwrap();
        let mut one = [add(EVFILT_READ)];
        let mut filters: Vec<_> = (0..2)
            .map(|_| {
                assert_eq!(kq.kevent(&[], &mut one, None), Ok(1));
                one[0].filter().unwrap() as i16
            })
            .collect();
        filters.sort_unstable();
        assert_eq!(filters, [EVFILT_WRITE as i16, EVFILT_READ as i16], "{flags:?}");
    }
}

fn d07_the_exit_of_a_reaped_child_or_of_a_stranger() {
    let kq = Kqueue::new().unwrap();
    let exit = |pid| change(pid, EVFILT_PROC, ADD, FilterFlag::NOTE_EXIT);
    let mut reaped = std::process::Command::new("true").spawn().unwrap();
    reaped.wait().unwrap();
    assert_eq!(apply(&kq, &[exit(reaped.id() as i32)]), Err(Errno::ESRCH));
    // No child of ours: the shell prints its own child's number, and ends before that does.
    let mut shell = std::process::Command::new("sh")
        .args(["-c", "sleep 0.2 >/dev/null & echo $!"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut number = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut number).unwrap();
    shell.wait().unwrap();
    let stranger: i32 = number.trim().parse().unwrap();
    apply(&kq, &[exit(stranger)]).unwrap();
    let events = next(&kq);
    assert_eq!((events.len(), events[0].ident()), (1, stranger as usize));
    assert!(events[0].fflags().contains(FilterFlag::NOTE_EXIT));
    assert_eq!(within(&kq, 10), []);
}

fn d08_dispatch_is_delivered_once() {
    let kq = Kqueue::new().unwrap();
    let (mut a, mut b) = pair();
    apply(&kq, &[change(a.as_raw_fd(), EVFILT_READ, ADD | DISPATCH, NONE)]).unwrap();
    for round in 0..100 {
        let delivered: usize = std::thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| within(&kq, 5).len())).collect();
            b.write_all(b"1").unwrap();
            waiters.into_iter().map(|waiter| waiter.join().unwrap()).sum()
        });
        assert_eq!(delivered + now(&kq).len(), 1, "round {round}");
        a.read_exact(&mut [0]).unwrap();
        apply(&kq, &[change(a.as_raw_fd(), EVFILT_READ, ENABLE, NONE)]).unwrap();
    }
}

fn d09_the_descriptor_is_polled_nested_and_duplicated() {
    let (kq, outer) = (Kqueue::new().unwrap(), Kqueue::new().unwrap());
    apply(&outer, &[change(kq.as_raw_fd(), EVFILT_READ, ADD, NONE)]).unwrap();
    assert!(!is_readable(&kq) && now(&outer).is_empty());
    apply(&kq, &[change(1, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER)]).unwrap();
    assert!(is_readable(&kq));
    assert_eq!(next(&outer)[0].ident(), kq.as_raw_fd() as usize);

    // SAFETY: a new number.
    let copy = unsafe { OwnedFd::from_raw_fd(libc::dup(kq.as_raw_fd())) };
    let mut event = change(0, EVFILT_READ, ADD, NONE);
    let mut by_number = |kq| {
        let now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: no changes, room for one event.
        unsafe { abi::kevent::<abi::RawWait>(kq, std::ptr::null(), 0, &mut event, 1, &now) }
    };
    assert_eq!(by_number(copy.as_raw_fd()), Ok(1));
    assert_eq!(by_number(987), Err(Errno::EBADF));
    abi::closing(copy.as_raw_fd());
}

fn d10_without_a_timeout_nothing_returns_without_an_event() {
    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    // Wake-ups that are for nobody: a socket that is not connected, a mark that is not reached.
    let lone = lone_socket();
    let mark = FilterFlag::NOTE_LOWAT;
    let changes = [
        change(lone.as_raw_fd(), EVFILT_READ, ADD, NONE),
        change(lone.as_raw_fd(), EVFILT_WRITE, ADD, NONE),
        KEvent::new(a.as_raw_fd() as usize, EVFILT_READ, ADD, mark, 4, 0),
    ];
    apply(&kq, &changes).unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| next(&kq));
        for _ in 0..4 {
            std::thread::sleep(Duration::from_millis(5));
            b.write_all(b"1").unwrap();
        }
        let events = waiter.join().unwrap();
        assert_eq!((events.len(), events[0].data()), (1, 4));
    });
}

fn lone_socket() -> OwnedFd {
    // SAFETY: a new descriptor.
    unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) }
}

/// A file that has no name.
fn nameless() -> File {
    let path = std::env::temp_dir().join(format!("kqcompat-nameless-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn d11_many_vnodes_unlinked_files_and_memfds() {
    let kq = Kqueue::new().unwrap();
    let dir = std::env::temp_dir().join(format!("kqcompat-many-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let written =
        |file: &File| change(file.as_raw_fd(), EVFILT_VNODE, ADD | CLEAR, FilterFlag::NOTE_WRITE);
    let mut files: Vec<_> = (0..300)
        .map(|n| {
            let path = dir.join(n.to_string());
            std::fs::write(&path, "").unwrap();
            File::options().read(true).append(true).open(path).unwrap()
        })
        .collect();
    files.iter().for_each(|file| apply(&kq, &[written(file)]).unwrap());
    std::fs::remove_dir_all(&dir).unwrap();
    // SAFETY: a new descriptor; the name ends in a NUL.
    let memfd = unsafe { libc::memfd_create(c"test".as_ptr(), libc::MFD_CLOEXEC) };
    // SAFETY: as above.
    files.push(unsafe { File::from_raw_fd(memfd) });
    apply(&kq, &[written(files.last().unwrap())]).unwrap();
    let readable = |file: &File| raw::fcntl(file.as_raw_fd(), libc::F_GETFL, 0).unwrap();
    assert!(files.iter().all(|file| readable(file) & libc::O_ACCMODE == libc::O_RDWR));
    for at in [0, 128, 299, 300] {
        files[at].write_all(b"1").unwrap();
        assert_eq!(next(&kq)[0].ident(), files[at].as_raw_fd() as usize, "file {at}");
    }
}

fn d12_vnode_is_reported_again() {
    let kq = Kqueue::new().unwrap();
    let mut file = nameless();
    let note = FilterFlag::NOTE_WRITE;
    apply(&kq, &[change(file.as_raw_fd(), EVFILT_VNODE, ADD, note)]).unwrap();
    file.write_all(b"1").unwrap();
    for _ in 0..3 {
        assert!(next(&kq)[0].fflags().contains(note));
    }
}

fn d13_a_timer_of_zero_and_one_that_is_disabled() {
    let kq = Kqueue::new().unwrap();
    for flags in [ADD, ADD | ONESHOT] {
        apply(&kq, &[timer(flags, FilterFlag::NOTE_MSECONDS, 0)]).unwrap();
        assert!(next(&kq)[0].data() >= 1);
        let _ = apply(&kq, &[timer(DELETE, NONE, 0)]);
    }
    apply(&kq, &[timer(ADD | ONESHOT, FilterFlag::NOTE_MSECONDS, 5)]).unwrap();
    apply(&kq, &[timer(DISABLE, NONE, 0)]).unwrap();
    assert_eq!(within(&kq, 20), []);
    apply(&kq, &[timer(ENABLE, NONE, 0)]).unwrap();
    assert_eq!(next(&kq)[0].data(), 1);
}

fn d14_user_triggered_while_disabled() {
    let kq = Kqueue::new().unwrap();
    let user = |flags, fflags| change(1, EVFILT_USER, flags, fflags);
    apply(&kq, &[user(ADD | CLEAR | DISABLE, NONE)]).unwrap();
    apply(&kq, &[user(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
    assert_eq!(now(&kq), []);
    apply(&kq, &[user(ENABLE, NONE)]).unwrap();
    assert_eq!(next(&kq).len(), 1);
}

fn d15_long_and_bad_timeouts() {
    let kq = Kqueue::new().unwrap();
    let begun = Instant::now();
    apply(&kq, &[timer(ADD | ONESHOT, FilterFlag::NOTE_MSECONDS, 500)]).unwrap();
    let mut events = [timer(ADD, NONE, 0)];
    let long = timespec { tv_sec: 4_294_967, tv_nsec: 500_000_000 };
    assert_eq!(kq.kevent(&[], &mut events, Some(long)), Ok(1), "it ended before its event");
    assert!(begun.elapsed() >= Duration::from_millis(500));
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000)] {
        let bad = Some(timespec { tv_sec, tv_nsec });
        assert_eq!(kq.kevent(&[], &mut events, bad), Err(Errno::EINVAL));
    }
}

fn d16_signals_are_counted_and_stay_the_programs() {
    let kq = Kqueue::new().unwrap();
    catch(SIGUSR1, 0);
    apply(&kq, &[change(SIGUSR1, EVFILT_SIGNAL, ADD, NONE)]).unwrap();
    (0..3).for_each(|_| send_to_process(SIGUSR1)); // each is delivered before the next is sent
    send_to_self(SIGUSR1);
    assert_eq!(next(&kq)[0].data(), 4);
    assert!(!is_blocked(SIGUSR1));
    block(&[SIGUSR1]);
    (0..3).for_each(|_| send_to_self(SIGUSR1));
    assert_eq!(next(&kq)[0].data(), 1, "Linux merges what is pending");
}

fn d17_data_of_writers_and_listeners() {
    let kq = Kqueue::new().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    apply(&kq, &[change(listener.as_raw_fd(), EVFILT_READ, ADD | ONESHOT, NONE)]).unwrap();
    assert_eq!(next(&kq)[0].data(), 3);
    apply(&kq, &[change(clients[0].as_raw_fd(), EVFILT_WRITE, ADD, NONE)]).unwrap();
    assert!(next(&kq)[0].data() > 1000, "room in an empty buffer");
}

fn d18_unconnected_sockets_null_and_the_end_of_a_file() {
    let kq = Kqueue::new().unwrap();
    let lone = lone_socket();
    apply(&kq, &[change(lone.as_raw_fd(), EVFILT_READ, ADD, NONE)]).unwrap();
    assert_eq!(within(&kq, 10), []);
    let null = File::open("/dev/null").unwrap();
    apply(&kq, &[change(null.as_raw_fd(), EVFILT_READ, ADD | ONESHOT, NONE)]).unwrap();
    assert_eq!(next(&kq)[0].ident(), null.as_raw_fd() as usize);

    let path = std::env::temp_dir().join(format!("kqcompat-end-{}", std::process::id()));
    std::fs::write(&path, "12").unwrap();
    let mut file = File::open(&path).unwrap();
    let mut writer = File::options().append(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    apply(&kq, &[change(file.as_raw_fd(), EVFILT_READ, ADD, NONE)]).unwrap();
    assert_eq!(next(&kq)[0].data(), 2);
    file.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(now(&kq), []);
    writer.write_all(b"345").unwrap();
    assert_eq!(next(&kq)[0].data(), 3, "it comes back to life when it grows");
}

fn d19_more_than_512_enable_with_udata_and_dispatch_oneshot() {
    const MANY: usize = 600;
    let kq = Kqueue::new().unwrap();
    let users: Vec<_> =
        (0..MANY).map(|ident| change(ident, EVFILT_USER, ADD, FilterFlag::NOTE_TRIGGER)).collect();
    let mut events = users.clone();
    assert_eq!(kq.kevent(&users, &mut events, None), Ok(MANY));
    let mut idents: Vec<_> = events.iter().map(|event| event.ident()).collect();
    idents.sort_unstable();
    assert!(idents.into_iter().eq(0..MANY));

    let kq = Kqueue::new().unwrap();
    let (a, mut b) = pair();
    b.write_all(b"1").unwrap();
    let read = |flags| change(a.as_raw_fd(), EVFILT_READ, flags, NONE);
    apply(&kq, &[read(ADD | DISABLE)]).unwrap();
    apply(&kq, &[with_udata(read(ENABLE), 77)]).unwrap();
    assert_eq!(next(&kq)[0].udata(), 77);
    apply(&kq, &[read(DELETE)]).unwrap();
    apply(&kq, &[read(ADD | DISPATCH | ONESHOT)]).unwrap();
    assert_eq!(next(&kq).len(), 1);
    assert_eq!(apply(&kq, &[read(DELETE)]), Err(Errno::ENOENT));
}

fn d20_forks_are_told_or_refused() {
    let kq = Kqueue::new().unwrap();
    // A shell that forks when it is told to.
    let mut shell = std::process::Command::new("sh")
        .args(["-c", "read line; (exit 0); read line"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let fork = change(shell.id() as i32, EVFILT_PROC, ADD, FilterFlag::NOTE_FORK);
    let added = apply(&kq, &[fork]);
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"go\n").unwrap();
    match added {
        Ok(()) => assert!(next(&kq)[0].fflags().contains(FilterFlag::NOTE_FORK)),
        // The process connector is not to be had: that is said, and not passed over.
        Err(errno) => assert_eq!(errno, Errno::EPERM),
    }
    drop(input);
    shell.wait().unwrap();
}
