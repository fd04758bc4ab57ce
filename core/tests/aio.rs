//! EVFILT_AIO and EVFILT_LIO: asynchronous requests over io_uring.

mod kq;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

use kq::*;
use kq_core::EventFilter::{EVFILT_AIO, EVFILT_LIO, EVFILT_USER};
use kq_core::test_support::isolate::skip;
use kq_core::test_support::{leak, sys};
use kq_core::{
    AioCancel, AioDone, AioNotify, AioRequest, Errno, EvFlags, FilterFlag, KEvent, Kqueue,
};

kq_core::suite! {
    a_read_completes_and_is_told_until_it_is_given_back
    a_read_waits_for_a_pipe
    a_write_is_written
    a_sync_waits_for_the_writes_before_it
    what_cannot_be_begun_is_said_at_once
    what_goes_wrong_later_is_told
    flags_of_the_notification
    a_knote_is_made_by_a_request_only
    a_request_outlives_its_knote
    a_request_is_cancelled
    what_does_not_block_is_waited_for
    thousands_are_in_flight_and_no_more_than_there_is_room
    a_thread_that_ends_leaves_its_requests_going
    a_queue_that_is_dropped_leaves_nothing_behind
    a_request_goes_on_with_its_file
    a_record_lock_survives
    completions_interrupt_nobody_in_kevent
    completions_interrupt_an_epoll_wait
    internal_steps_may_wake_for_nothing
    a_signal_interrupts
    a_waiting_thread_is_told_of_anothers_request
    a_child_has_no_requests
    without_io_uring_it_is_enosys
    a_list_is_told_of_once
    a_send_sends_all
    a_receive_takes_all_or_says_how_far_it_got
    a_datagram_is_received_whole
    a_send_that_fails_says_how_far_it_got
    a_send_is_cancelled_half_way
    files_are_sent_from_any_offset
    thousands_of_receives_are_in_flight
    the_ring_is_hidden_and_made_when_needed
}

const NONE: EvFlags = EvFlags::empty();

fn notify(flags: EvFlags) -> AioNotify {
    AioNotify { flags, udata: 0x77 }
}

fn queue() -> Kqueue {
    let kq = Kqueue::new().unwrap();
    let (reader, _writer) = std::io::pipe().unwrap();
    match kq.aio_submit(AioRequest::read(reader.as_fd(), vec![0], 0), notify(NONE)) {
        Err(refused) if refused.errno == Errno::ENOSYS => skip("there is no io_uring here"),
        ident => assert_eq!(kq.aio_cancel(ident.unwrap()), Ok(AioCancel::Canceled)),
    }
    Kqueue::new().unwrap()
}

#[track_caller]
fn submit(kq: &Kqueue, request: AioRequest<'_>) -> usize {
    kq.aio_submit(request, notify(NONE)).unwrap()
}

/// Waits for the next completion, and takes it.
#[track_caller]
fn done(kq: &Kqueue, ident: usize) -> AioDone {
    let events = next(kq);
    assert_eq!((events.len(), events[0].ident()), (1, ident), "{events:?}");
    assert_eq!(events[0].filter(), Ok(EVFILT_AIO));
    let done = kq.aio_return(ident).unwrap();
    assert_eq!(events[0].data(), done.error.map_or(0, |errno| errno as isize));
    assert_eq!(events[0].ext()[0], done.moved as u64);
    done
}

fn temporary(content: &[u8]) -> File {
    let file = tempfile();
    file.write_all_at(content, 0).unwrap();
    file
}

fn tempfile() -> File {
    let name = std::env::temp_dir().join(format!("kqcompat-aio-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&name).unwrap();
    std::fs::remove_file(name).unwrap();
    file
}

fn a_read_completes_and_is_told_until_it_is_given_back() {
    let kq = queue();
    let file = temporary(b"0123456789");
    let ident = submit(&kq, AioRequest::read(file.as_fd(), vec![0; 4], 3));
    assert_eq!(sys::poll_for(kq.as_raw_fd(), libc::POLLIN, 20_000), libc::POLLIN);
    for _ in 0..3 {
        let events = next(&kq);
        assert_eq!(events.len(), 1);
        let event = events[0];
        assert_eq!((event.ident(), event.filter()), (ident, Ok(EVFILT_AIO)));
        assert_eq!((event.flags(), event.fflags()), (EvFlags::EV_EOF, FilterFlag::empty()));
        assert_eq!((event.data(), event.udata(), event.ext()[0]), (0, 0x77, 4));
        assert_eq!(kq.aio_error(ident), Ok(()));
        assert!(is_readable(&kq));
    }
    let done = kq.aio_return(ident).unwrap();
    assert_eq!((done.buffer.as_slice(), done.result()), (&b"3456"[..], Ok(4)));
    assert!(!is_readable(&kq));
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
    assert_eq!(kq.aio_error(ident), Err(Errno::EINVAL));
    assert_eq!(kq.aio_return(ident).unwrap_err(), Errno::EINVAL);
    // To its end, and behind it.
    let ident = submit(&kq, AioRequest::read(file.as_fd(), vec![0; 100], 5));
    assert_eq!(done_moved(&kq, ident), 5);
    let ident = submit(&kq, AioRequest::read(file.as_fd(), vec![0; 100], 50));
    assert_eq!(done_moved(&kq, ident), 0);
}

#[track_caller]
fn done_moved(kq: &Kqueue, ident: usize) -> usize {
    done(kq, ident).result().unwrap()
}

fn a_read_waits_for_a_pipe() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 9], 0));
    assert_eq!(now(&kq), []);
    assert!(!is_readable(&kq));
    assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
    assert_eq!(kq.aio_return(ident).unwrap_err(), Errno::EINVAL);
    writer.write_all(b"hello").unwrap();
    assert_eq!(done(&kq, ident).buffer, b"hello\0\0\0\0");
}

fn a_write_is_written() {
    let kq = queue();
    let file = temporary(b"0123456789");
    let ident = submit(&kq, AioRequest::write(file.as_fd(), b"abc".to_vec(), 4));
    assert_eq!(done_moved(&kq, ident), 3);
    let mut content = [0; 10];
    file.read_exact_at(&mut content, 0).unwrap();
    assert_eq!(&content, b"0123abc789");
    // All of it, though the pipe has not room for so much at once.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let ident = submit(&kq, AioRequest::write(writer.as_fd(), bytes.clone(), 0));
    assert_eq!(now(&kq), []);
    drop(writer);
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(done_moved(&kq, ident), bytes.len());
    assert!(read.join().unwrap() == bytes);
}

fn a_sync_waits_for_the_writes_before_it() {
    let kq = queue();
    let file = tempfile();
    let block = vec![7; 1 << 20];
    for round in 0..20 {
        let writes: Vec<usize> = (0..4)
            .map(|n| submit(&kq, AioRequest::write(file.as_fd(), block.clone(), n << 20)))
            .collect();
        let sync = submit(&kq, AioRequest::fsync(file.as_fd(), round % 2 == 0));
        while kq.aio_error(sync) == Err(Errno::EINPROGRESS) {
            next(&kq);
        }
        for write in writes {
            assert_eq!(kq.aio_return(write).unwrap().result(), Ok(1 << 20), "before the sync");
        }
        assert_eq!(done_moved(&kq, sync), 0);
    }
    // A sync that waits for one that does not end is cancelled.
    let tty = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let read = submit(&kq, AioRequest::read(tty.as_fd(), vec![0; 9], 0));
    let sync = submit(&kq, AioRequest::fsync(tty.as_fd(), false));
    assert_eq!(kq.aio_error(sync), Err(Errno::EINPROGRESS));
    assert_eq!(kq.aio_cancel(sync), Ok(AioCancel::Canceled));
    assert_eq!(done(&kq, sync).error, Some(Errno::ECANCELED));
    assert_eq!(kq.aio_error(read), Err(Errno::EINPROGRESS));
}

#[track_caller]
fn refused(kq: &Kqueue, request: AioRequest<'_>) -> Errno {
    kq.aio_submit(request, notify(NONE)).unwrap_err().errno
}

fn what_cannot_be_begun_is_said_at_once() {
    let kq = queue();
    let (reader, writer) = std::io::pipe().unwrap();
    let file = temporary(b"1");
    assert_eq!(refused(&kq, AioRequest::read(writer.as_fd(), vec![1], 0)), Errno::EBADF);
    assert_eq!(refused(&kq, AioRequest::write(reader.as_fd(), vec![1], 0)), Errno::EBADF);
    assert_eq!(refused(&kq, AioRequest::read(file.as_fd(), vec![1], -1)), Errno::EINVAL);
    assert_eq!(refused(&kq, AioRequest::fsync(writer.as_fd(), false)), Errno::EINVAL);
    assert_eq!(refused(&kq, AioRequest::send(file.as_fd(), vec![1], 0)), Errno::ENOTSOCK);
    assert_eq!(refused(&kq, AioRequest::recv(reader.as_fd(), vec![1], 0)), Errno::ENOTSOCK);
    let (socket, _peer) = UnixStream::pair().unwrap();
    let pipe_to_socket = AioRequest::sendfile(socket.as_fd(), reader.as_fd(), 0, 1);
    assert_eq!(refused(&kq, pipe_to_socket), Errno::EINVAL);
    let given = kq.aio_submit(AioRequest::read(writer.as_fd(), vec![4; 2], 0), notify(NONE));
    assert_eq!(given.unwrap_err().request.into_buffer(), [4; 2]);
    let bad = kq.aio_submit(AioRequest::read(reader.as_fd(), vec![1], 0), notify(ADD));
    assert_eq!(bad.unwrap_err().errno, Errno::EINVAL);
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
}

fn what_goes_wrong_later_is_told() {
    let kq = queue();
    let directory = File::open("/").unwrap();
    let ident = submit(&kq, AioRequest::read(directory.as_fd(), vec![0; 9], 0));
    assert_eq!(done(&kq, ident).result(), Err(Errno::EISDIR));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ident = submit(&kq, AioRequest::write(full.as_fd(), vec![0; 9], 0));
    let events = next(&kq);
    assert_eq!((events[0].flags(), events[0].data()), (EvFlags::EV_EOF, Errno::ENOSPC as isize));
    assert_eq!(kq.aio_error(ident), Err(Errno::ENOSPC));
}

fn flags_of_the_notification() {
    let kq = queue();
    let file = temporary(b"0123456789");
    for flags in [EvFlags::EV_ONESHOT, EvFlags::EV_CLEAR, EvFlags::EV_DISPATCH] {
        let read = AioRequest::read(file.as_fd(), vec![0; 4], 3);
        let ident = kq.aio_submit(read, notify(flags)).unwrap();
        let events = next(&kq);
        assert_eq!((events.len(), events[0].flags()), (1, flags | EvFlags::EV_EOF));
        assert_eq!(now(&kq), [], "{flags:?}");
        assert!(!is_readable(&kq));
        let left = u64::from(flags != EvFlags::EV_ONESHOT);
        assert_eq!(kq.counters().knotes, left);
        if flags == EvFlags::EV_DISPATCH {
            apply(&kq, &[change(ident, EVFILT_AIO, EvFlags::EV_ENABLE, FilterFlag::empty())])
                .unwrap();
            assert_eq!(next(&kq)[0].ident(), ident);
        }
        assert_eq!(kq.aio_return(ident).unwrap().result(), Ok(4));
        assert_eq!(kq.counters().knotes, 0);
    }
}

fn a_knote_is_made_by_a_request_only() {
    let kq = queue();
    for filter in [EVFILT_AIO, EVFILT_LIO] {
        let add = change(4_usize, filter, ADD, FilterFlag::empty());
        assert_eq!(apply(&kq, &[add]), Err(Errno::EPERM));
        let delete = change(4_usize, filter, EvFlags::EV_DELETE, FilterFlag::empty());
        assert_eq!(apply(&kq, &[delete]), Err(Errno::ENOENT));
    }
}

fn a_request_outlives_its_knote() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 1], 0));
    let delete = change(ident, EVFILT_AIO, EvFlags::EV_DELETE, FilterFlag::empty());
    apply(&kq, &[delete]).unwrap();
    assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
    writer.write_all(b"x").unwrap();
    while kq.aio_error(ident) == Err(Errno::EINPROGRESS) {
        std::thread::yield_now();
    }
    assert_eq!(now(&kq), []);
    assert!(!is_readable(&kq));
    assert_eq!(kq.aio_return(ident).unwrap().buffer, b"x");
}

fn a_request_is_cancelled() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 1], 0));
    assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::Canceled));
    assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::AllDone));
    assert_eq!(done(&kq, ident).error, Some(Errno::ECANCELED));
    assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::AllDone));
    // What it would have read is there.
    writer.write_all(b"y").unwrap();
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 1], 0));
    assert_eq!(done(&kq, ident).buffer, b"y");
    // By another thread than the one that began it, and that one sleeps.
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 1], 0));
    std::thread::scope(|threads| {
        threads.spawn(|| assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::Canceled)));
        assert_eq!(done(&kq, ident).error, Some(Errno::ECANCELED));
    });
}

fn what_does_not_block_is_waited_for() {
    let kq = queue();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ident = submit(&kq, AioRequest::read(ours.as_fd(), vec![0; 3], 0));
    assert_eq!(now(&kq), []);
    theirs.write_all(b"abcde").unwrap();
    assert_eq!(done(&kq, ident).buffer, b"abc");
    let ident = submit(&kq, AioRequest::read(ours.as_fd(), vec![0; 9], 0));
    assert_eq!(done_moved(&kq, ident), 2);
    let ident = submit(&kq, AioRequest::read(ours.as_fd(), vec![0; 9], 0));
    assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::Canceled));
    assert_eq!(done(&kq, ident).error, Some(Errno::ECANCELED));
}

/// Lets a process have many descriptors.
fn raise_the_limit() {
    let most = libc::rlimit { rlim_cur: 20_000, rlim_max: 20_000 };
    // SAFETY: reads one struct.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &most) } != 0 {
        skip("the descriptor limit cannot be raised");
    }
}

fn thousands_are_in_flight_and_no_more_than_there_is_room() {
    raise_the_limit();
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut idents = std::collections::BTreeSet::new();
    let refused = loop {
        match kq.aio_submit(AioRequest::read(reader.as_fd(), vec![0], 0), notify(EvFlags::EV_CLEAR))
        {
            Ok(ident) => assert!(idents.insert(ident)),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.errno, Errno::EAGAIN);
    assert!(idents.len() > 4000, "{}", idents.len());
    let all = idents.len();
    let mut request = Some(refused.request);
    let (mut sum, mut completed) = (0_usize, 0);
    for chunk in (0..=all).collect::<Vec<_>>().chunks(100) {
        let bytes: Vec<u8> = chunk.iter().map(|n| *n as u8).collect();
        writer.write_all(&bytes).unwrap();
        let until = completed + chunk.len();
        while completed < until {
            for event in next(&kq) {
                assert!(idents.remove(&event.ident()), "told twice");
                let done = kq.aio_return(event.ident()).unwrap();
                assert_eq!(done.result(), Ok(1));
                sum += usize::from(done.buffer[0]);
                completed += 1;
                // There is room again.
                if let Some(request) = request.take() {
                    idents.insert(kq.aio_submit(request, notify(EvFlags::EV_CLEAR)).unwrap());
                }
            }
        }
    }
    assert_eq!(sum, (0..=all).map(|n| usize::from(n as u8)).sum());
    assert!(idents.is_empty());
    assert_eq!(kq.counters().knotes, 0);
}

fn a_thread_that_ends_leaves_its_requests_going() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let idents = std::thread::scope(|threads| {
        let begin = || {
            [
                submit(&kq, AioRequest::read(reader.as_fd(), vec![0; 4], 0)),
                submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 4], 0)),
            ]
        };
        threads.spawn(begin).join().unwrap()
    });
    leak::assert_threads_end(0);
    assert_eq!(kq.aio_error(idents[0]), Err(Errno::EINPROGRESS));
    writer.write_all(b"pipe").unwrap();
    assert_eq!(done(&kq, idents[0]).buffer, b"pipe");
    theirs.write_all(b"so").unwrap();
    theirs.write_all(b"ck").unwrap();
    assert_eq!(done(&kq, idents[1]).buffer, b"sock");
}

fn a_queue_that_is_dropped_leaves_nothing_behind() {
    // The ring of what belongs to no queue, and the alarm, may stay.
    drop(queue());
    let before = leak::open_descriptors();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let file = temporary(&[1; 100_000]);
    for _ in 0..20 {
        let kq = queue();
        for _ in 0..50 {
            submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 1000], 0));
            submit(&kq, AioRequest::read(file.as_fd(), vec![0; 100_000], 0));
        }
        drop(kq);
        theirs.write_all(&[9; 1000]).unwrap();
        let mut bytes = [0; 1000];
        (&ours).read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [9; 1000], "a dropped queue took bytes");
    }
    drop((ours, theirs, file));
    let left = leak::open_descriptors();
    assert_eq!(left.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "{left:?}");
}

/// Puts another file at the number of a descriptor that is closed.
fn take_over(fd: OwnedFd) -> OwnedFd {
    let number = fd.into_raw_fd();
    let null = File::open("/dev/null").unwrap();
    // SAFETY: replaces a number of ours, which the descriptor that is made owns.
    unsafe {
        assert_eq!(libc::dup2(null.as_raw_fd(), number), number);
        OwnedFd::from_raw_fd(number)
    }
}

fn a_request_goes_on_with_its_file() {
    let kq = queue();
    for nonblocking in [false, true] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(nonblocking).unwrap();
        let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 4], 0));
        let _other = take_over(ours.into());
        for part in [b"a", b"b", b"c"] {
            theirs.write_all(part).unwrap();
            assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
        }
        theirs.write_all(b"d").unwrap();
        assert_eq!(done(&kq, ident).buffer, b"abcd");
        let mut rest = Vec::new();
        assert_eq!(theirs.read_to_end(&mut rest).unwrap(), 0, "the file is let go of");
    }
    for _ in 0..200 {
        let ident = {
            let file = temporary(b"1");
            let ident = submit(&kq, AioRequest::fsync(file.as_fd(), false));
            drop(take_over(file.into()));
            ident
        };
        assert_eq!(done(&kq, ident).result(), Ok(0), "not of the next file with that number");
    }
}

fn a_record_lock_survives() {
    let kq = queue();
    let file = temporary(b"1");
    // SAFETY: numbers only.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    // SAFETY: one struct.
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) }, 0);
    for request in [
        AioRequest::read(file.as_fd(), vec![0], 0),
        AioRequest::write(file.as_fd(), vec![0], 0),
        AioRequest::fsync(file.as_fd(), false),
    ] {
        let ident = submit(&kq, request);
        done(&kq, ident);
    }
    // Another process sees whose it is.
    // SAFETY: the child makes system calls, and leaves.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock);
            libc::_exit(i32::from(lock.l_type == libc::F_UNLCK as i16));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0, "the lock is gone");
    }
}

fn completions_interrupt_nobody_in_kevent() {
    let kq = queue();
    let other = Kqueue::new().unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let add = change(1_usize, EVFILT_USER, ADD, FilterFlag::empty());
    apply(&other, &[add]).unwrap();
    let idents: Vec<usize> =
        (0..100).map(|_| submit(&kq, AioRequest::read(reader.as_fd(), vec![0], 0))).collect();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for _ in &idents {
                writer.write_all(b"x").unwrap();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            let trigger = change(1_usize, EVFILT_USER, NONE, FilterFlag::NOTE_TRIGGER);
            apply(&other, &[trigger]).unwrap();
        });
        // This thread began the requests, and sleeps in another queue.
        assert_eq!(next(&other)[0].ident(), 1);
    });
    for ident in idents {
        while kq.aio_error(ident) == Err(Errno::EINPROGRESS) {
            next(&kq);
        }
        kq.aio_return(ident).unwrap();
    }
}

/// Nothing that a library could hide: the kernel runs completions in the thread that submitted.
fn completions_interrupt_an_epoll_wait() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    submit(&kq, AioRequest::read(reader.as_fd(), vec![0], 0));
    let set = sys::own_epoll();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }];
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            writer.write_all(b"x").unwrap();
        });
        // SAFETY: room for one event.
        let n = unsafe { libc::epoll_wait(set.as_raw_fd(), events.as_mut_ptr(), 1, 20_000) };
        assert_eq!((n, Errno::last()), (-1, Errno::EINTR));
    });
}

fn internal_steps_may_wake_for_nothing() {
    let kq = queue();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let file = temporary(&[7; 1 << 20]);
    let ident = submit(&kq, AioRequest::sendfile(ours.as_fd(), file.as_fd(), 0, 1 << 20));
    // The first pieces find room.
    assert_eq!(sys::poll_for(kq.as_raw_fd(), libc::POLLIN, 20_000), libc::POLLIN);
    while is_readable(&kq) {
        assert_eq!(now(&kq), []);
    }
    assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
    let reader = std::thread::spawn(move || std::io::copy(&mut &theirs, &mut std::io::sink()));
    assert_eq!(done_moved(&kq, ident), 1 << 20);
    drop(ours);
    assert_eq!(reader.join().unwrap().unwrap(), 1 << 20);
}

fn a_signal_interrupts() {
    use kq_core::test_support::signals::catch;
    let kq = queue();
    let (reader, _writer) = std::io::pipe().unwrap();
    submit(&kq, AioRequest::read(reader.as_fd(), vec![0], 0));
    catch(libc::SIGUSR1, 0);
    // SAFETY: the calling thread's own number.
    let thread = unsafe { libc::pthread_self() };
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let mut events = [KEvent::default()];
        assert_eq!(kq.kevent(&[], &mut events, None), Err(Errno::EINTR));
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn a_waiting_thread_is_told_of_anothers_request() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::scope(|threads| {
        let waiter = threads.spawn(|| next(&kq));
        while kq.counters().waits == 0 {
            std::thread::yield_now();
        }
        let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0], 0));
        writer.write_all(b"x").unwrap();
        assert_eq!(waiter.join().unwrap()[0].ident(), ident);
    });
}

fn a_child_has_no_requests() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let ident = submit(&kq, AioRequest::read(reader.as_fd(), vec![0], 0));
    // SAFETY: the child makes calls that fail before they lock anything, and leaves.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let none = kq.aio_error(ident) == Err(Errno::EBADF)
                && kq.aio_cancel(ident) == Err(Errno::EBADF)
                && kq_core::abi::aio::error(ident).is_none();
            libc::_exit(i32::from(!none));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &mut status, 0), child);
        assert_eq!(status, 0);
    }
    writer.write_all(b"x").unwrap();
    assert_eq!(done(&kq, ident).buffer, b"x");
}

/// Has io_uring_setup(2) fail in this process from here on.
fn forbid_io_uring(errno: Errno) {
    const NUMBER: u32 = 0; // its offset in struct seccomp_data
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let mut is_setup = statement(jump, libc::SYS_io_uring_setup as u32);
    is_setup.jf = 1;
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER),
        is_setup,
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel reads the program.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program, 0, 0), 0);
    }
}

fn without_io_uring_it_is_enosys() {
    for errno in [Errno::ENOSYS, Errno::EPERM] {
        forbid_io_uring(errno);
        let before = leak::open_descriptors();
        let kq = Kqueue::new().unwrap();
        let file = File::open("/dev/null").unwrap();
        let request = AioRequest::read(file.as_fd(), vec![5], 0);
        let refused = kq.aio_submit(request, notify(NONE)).unwrap_err();
        assert_eq!((refused.errno, refused.request.into_buffer()), (Errno::ENOSYS, vec![5]));
        let list = kq.lio_listio(Vec::new(), notify(NONE));
        assert_eq!(list.unwrap_err(), Errno::ENOSYS);
        assert_eq!(kq.counters().knotes, 0);
        assert_eq!(now(&kq), []);
        drop((kq, file));
        let mut left = leak::open_descriptors();
        left.retain(|fd, _| !before.contains_key(fd));
        leak::leave_out_what_stays(&mut left);
        assert!(left.is_empty(), "{left:?}");
    }
}

fn a_list_is_told_of_once() {
    let kq = queue();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let file = temporary(b"0123456789");
    let requests = vec![
        AioRequest::read(file.as_fd(), vec![0; 2], 0),
        AioRequest::read(reader.as_fd(), vec![0; 2], 0),
        AioRequest::read(file.as_fd(), vec![0; 2], -1),
        AioRequest::read(file.as_fd(), vec![0; 2], 4),
    ];
    let list = kq.lio_listio(requests, notify(NONE)).unwrap();
    assert_eq!(list.requests[2].as_ref().unwrap_err().errno, Errno::EINVAL);
    assert_eq!(now(&kq), []);
    writer.write_all(b"ab").unwrap();
    for _ in 0..2 {
        let events = next(&kq);
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].ident(), events[0].filter()), (list.ident, Ok(EVFILT_LIO)));
        assert_eq!((events[0].flags(), events[0].data(), events[0].udata()), (NONE, 0, 0x77));
    }
    let idents: Vec<usize> = list.requests.into_iter().filter_map(Result::ok).collect();
    assert_eq!(idents.len(), 3);
    for (ident, bytes) in idents.iter().zip(["01", "ab", "45"]) {
        assert_eq!(next(&kq).len(), 1, "until the last is given back");
        assert_eq!(kq.aio_return(*ident).unwrap().buffer, bytes.as_bytes());
    }
    assert_eq!(now(&kq), []);
    assert_eq!(kq.counters().knotes, 0);
    // A list of nothing is told of never.
    let list = kq.lio_listio(Vec::new(), notify(NONE)).unwrap();
    assert!(list.requests.is_empty());
    assert_eq!((now(&kq), kq.counters().knotes), (vec![], 0));
}

fn the_ring_is_hidden_and_made_when_needed() {
    drop(queue());
    let kq = Kqueue::new().unwrap();
    let before = leak::open_descriptors();
    let file = temporary(b"1");
    let ident = submit(&kq, AioRequest::read(file.as_fd(), vec![0], 0));
    let rings: Vec<_> = leak::open_descriptors()
        .into_iter()
        .filter(|(fd, name)| !before.contains_key(fd) && name.contains("io_uring"))
        .collect();
    assert_eq!(rings.len(), 1, "{rings:?}");
    assert!(rings[0].0 >= 100);
    // SAFETY: takes no pointer.
    let flags = unsafe { libc::fcntl(rings[0].0, libc::F_GETFD) };
    assert_eq!(flags, libc::FD_CLOEXEC);
    done(&kq, ident);
}

/// Bytes that tell where they come from.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn read_all(mut from: UnixStream) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).unwrap();
        all
    })
}

fn a_send_sends_all() {
    let kq = queue();
    for nonblocking in [false, true] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(nonblocking).unwrap();
        // More than there is room for.
        let bytes = pattern(3_000_000);
        let ident = submit(&kq, AioRequest::send(ours.as_fd(), bytes.clone(), 0));
        while is_readable(&kq) {
            assert_eq!(now(&kq), []);
        }
        assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
        let reader = read_all(theirs);
        assert_eq!(done_moved(&kq, ident), bytes.len());
        drop(ours);
        assert!(reader.join().unwrap() == bytes);
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let ident = submit(&kq, AioRequest::send(ours.as_fd(), Vec::new(), 0));
    assert_eq!(done_moved(&kq, ident), 0);
}

fn a_receive_takes_all_or_says_how_far_it_got() {
    let kq = queue();
    for nonblocking in [false, true] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(nonblocking).unwrap();
        let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 6], 0));
        for part in ["ab", "c", "de"] {
            theirs.write_all(part.as_bytes()).unwrap();
            assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
        }
        theirs.write_all(b"fgh").unwrap();
        assert_eq!(done(&kq, ident).buffer, b"abcdef");
        // What is left, and then the other side closes.
        let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 6], 0));
        assert_eq!(kq.aio_error(ident), Err(Errno::EINPROGRESS));
        drop(theirs);
        let done = done(&kq, ident);
        assert_eq!((done.result(), &done.buffer[..2]), (Ok(2), &b"gh"[..]));
    }
}

fn a_datagram_is_received_whole() {
    use std::os::unix::net::UnixDatagram;
    let kq = queue();
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 100], 0));
    assert_eq!(now(&kq), []);
    theirs.send(b"one").unwrap();
    theirs.send(b"other").unwrap();
    assert_eq!(done_moved(&kq, ident), 3);
    let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 100], 0));
    assert_eq!(done_moved(&kq, ident), 5);
}

fn a_send_that_fails_says_how_far_it_got() {
    let kq = queue();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ident = submit(&kq, AioRequest::send(ours.as_fd(), pattern(10_000_000), 0));
    let mut some = vec![0; 100_000];
    theirs.read_exact(&mut some).unwrap();
    assert!(some == pattern(100_000));
    drop(theirs);
    let done = done(&kq, ident);
    assert_eq!(done.error, Some(Errno::EPIPE), "and no SIGPIPE");
    assert!((100_000..10_000_000).contains(&done.moved), "{}", done.moved);
}

fn a_send_is_cancelled_half_way() {
    let kq = queue();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ident = submit(&kq, AioRequest::send(ours.as_fd(), pattern(3_000_000), 0));
    while is_readable(&kq) {
        assert_eq!(now(&kq), []);
    }
    assert_eq!(kq.aio_cancel(ident), Ok(AioCancel::Canceled));
    let done = done(&kq, ident);
    assert_eq!(done.error, Some(Errno::ECANCELED));
    let reader = read_all(theirs);
    drop(ours);
    assert!(reader.join().unwrap() == pattern(done.moved), "what it says was sent was");
}

fn files_are_sent_from_any_offset() {
    let kq = queue();
    let content = pattern(300_000);
    let file = temporary(&content);
    let to_the_end = content.len() as u64;
    for (offset, asked) in [
        (0, 0),
        (0, 1),
        (1, 65_536),
        (7, 65_537),
        (250_000, 50_000),
        (250_000, to_the_end),
        (5, u64::MAX),
    ] {
        for nonblocking in [false, true] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(nonblocking).unwrap();
            let reader = read_all(theirs);
            let request = AioRequest::sendfile(ours.as_fd(), file.as_fd(), offset, asked);
            let ident = submit(&kq, request);
            let left = content.len() - offset as usize;
            let expected = usize::try_from(asked).unwrap_or(left).min(left);
            while kq.aio_error(ident) == Err(Errno::EINPROGRESS) {
                next(&kq);
            }
            assert_eq!(kq.aio_return(ident).unwrap().result(), Ok(expected));
            drop(ours);
            let sent = &content[offset as usize..][..expected];
            assert!(reader.join().unwrap() == sent, "{asked} from {offset}");
        }
    }
    // The number may be another file's by the time that the file is read.
    let (ours, theirs) = UnixStream::pair().unwrap();
    let number = file.as_raw_fd();
    let ident = submit(&kq, AioRequest::sendfile(ours.as_fd(), file.as_fd(), 0, u64::MAX));
    let _other = take_over(file.into());
    assert_eq!(_other.as_raw_fd(), number);
    let reader = read_all(theirs);
    assert_eq!(done_moved(&kq, ident), content.len());
    drop(ours);
    assert!(reader.join().unwrap() == content);
}

fn thousands_of_receives_are_in_flight() {
    raise_the_limit();
    let kq = queue();
    let pairs: Vec<_> = (0..2000).map(|_| UnixStream::pair().unwrap()).collect();
    let mut waiting = std::collections::BTreeMap::new();
    for (at, (ours, _)) in pairs.iter().enumerate() {
        let ident = submit(&kq, AioRequest::recv(ours.as_fd(), vec![0; 8], 0));
        waiting.insert(ident, at);
    }
    // In two halves, and not in the order in which they were begun.
    for half in [0..4, 4..8] {
        assert_eq!(waiting.len(), pairs.len());
        for at in (0..pairs.len()).rev() {
            (&pairs[at].1).write_all(&at.to_ne_bytes()[half.clone()]).unwrap();
        }
    }
    while !waiting.is_empty() {
        for event in next(&kq) {
            let at = waiting.remove(&event.ident()).expect("told once");
            assert_eq!(kq.aio_return(event.ident()).unwrap().buffer, at.to_ne_bytes());
        }
    }
    assert_eq!(kq.counters().knotes, 0);
}
