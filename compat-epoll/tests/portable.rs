//! What holds on every system, with nothing but std: the tables of docs/native-tables.md, on whatever
//! kernel this runs on.

use std::io::{Read, Write, pipe};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use compat_epoll::*;
use nix::errno::Errno;

const IN: EpollFlags = EpollFlags::EPOLLIN;
const OUT: EpollFlags = EpollFlags::EPOLLOUT;
const HUP: EpollFlags = EpollFlags::EPOLLHUP;
const ERR: EpollFlags = EpollFlags::EPOLLERR;
const RDHUP: EpollFlags = EpollFlags::EPOLLRDHUP;
const ALL: EpollFlags = IN.union(OUT).union(RDHUP);
const NONE: EpollFlags = EpollFlags::empty();

fn instance() -> Epoll {
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap()
}

fn add(epoll: &Epoll, fd: impl AsFd, flags: EpollFlags, data: u64) {
    epoll.add(fd, EpollEvent::new(flags, data)).unwrap();
}

/// What is ready, in order of the data.
fn ready(epoll: &Epoll, ms: u16) -> Vec<(u64, EpollFlags)> {
    let mut events = [EpollEvent::empty(); 16];
    let n = epoll.wait(&mut events, ms).unwrap();
    let mut ready: Vec<_> = events[..n].iter().map(|e| (e.data(), e.events())).collect();
    ready.sort_unstable();
    ready
}

/// What one descriptor is ready for: that, within some seconds.
fn becomes(fd: impl AsFd, asked: EpollFlags, expected: EpollFlags) {
    let started = Instant::now();
    loop {
        let epoll = instance();
        add(&epoll, fd.as_fd(), asked, 1);
        let got = ready(&epoll, 0).first().map_or(NONE, |(_, flags)| *flags);
        if got == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{got:?}, not {expected:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_pipes_end_that_reads() {
    let (mut reader, mut writer) = pipe().unwrap();
    becomes(&reader, ALL & !OUT, NONE);
    writer.write_all(b"!").unwrap();
    becomes(&reader, IN, IN);
    becomes(&reader, NONE, NONE);
    drop(writer);
    becomes(&reader, IN, IN | HUP);
    reader.read_exact(&mut [0]).unwrap();
    becomes(&reader, IN, HUP);
    becomes(&reader, NONE, HUP);
}

#[test]
fn a_pipes_end_that_writes() {
    let (reader, writer) = pipe().unwrap();
    becomes(&writer, OUT, OUT);
    drop(reader);
    let epoll = instance();
    add(&epoll, &writer, OUT, 1);
    for _ in 0..2 {
        let [(1, flags)] = ready(&epoll, 1000)[..] else { panic!("nothing") };
        // The BSDs tell no room any more.
        assert_eq!(flags - OUT, ERR);
    }
}

#[test]
fn a_pipe_that_nobody_reads_is_an_error_until_it_is_closed() {
    // Registered before or after, for something or nothing.
    for (before, asked) in [(true, NONE), (true, OUT), (false, NONE), (false, OUT)] {
        let (epoll, (reader, writer)) = (instance(), pipe().unwrap());
        let reader = before.then_some(reader);
        add(&epoll, &writer, asked, 1);
        assert_eq!(ready(&epoll, 0).len(), usize::from(!before || asked == OUT));
        drop(reader);
        for _ in 0..3 {
            let [(1, flags)] = ready(&epoll, 1000)[..] else { panic!("nothing") };
            assert_eq!(flags - OUT, ERR);
        }
        drop(writer);
        assert_eq!(ready(&epoll, 0), []);
    }
}

fn halves(mut ours: impl Read + AsFd, theirs: impl Write + AsFd, shut: impl Fn(Shutdown)) {
    becomes(&ours, ALL, OUT);
    let mut theirs = theirs;
    theirs.write_all(b"!").unwrap();
    becomes(&ours, ALL, IN | OUT);
    ours.read_exact(&mut [0]).unwrap();
    becomes(&ours, ALL, OUT);
    // Its own end is no hang-up.
    shut(Shutdown::Write);
    becomes(&ours, ALL, OUT);
    drop(theirs);
    becomes(&ours, ALL, IN | OUT | RDHUP | HUP);
    becomes(&ours, IN, IN | HUP);
    becomes(&ours, NONE, HUP);
}

#[test]
fn a_unix_stream_is_hung_up_when_both_directions_are() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let other = ours.try_clone().unwrap();
    halves(ours, theirs, |how| other.shutdown(how).unwrap());
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (ours, listener.accept().unwrap().0)
}

#[test]
fn a_tcp_stream_is_hung_up_when_both_directions_are() {
    let (ours, theirs) = tcp();
    let other = ours.try_clone().unwrap();
    halves(ours, theirs, |how| other.shutdown(how).unwrap());
}

#[test]
fn a_peer_that_writes_no_more_is_half_closed() {
    let (ours, theirs) = tcp();
    theirs.shutdown(Shutdown::Write).unwrap();
    becomes(&ours, ALL, IN | OUT | RDHUP);
    becomes(&ours, RDHUP, RDHUP);
    becomes(&ours, OUT, OUT);
}

#[test]
fn a_listener_is_readable_when_somebody_comes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    becomes(&listener, IN, NONE);
    let _stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    becomes(&listener, IN, IN);
}

#[test]
fn level_is_told_again_and_edge_once() {
    let (level, edge) = (instance(), instance());
    let (reader, mut writer) = pipe().unwrap();
    add(&level, &reader, IN, 1);
    add(&edge, &reader, IN | EpollFlags::EPOLLET, 1);
    writer.write_all(b"!").unwrap();
    assert_eq!((ready(&level, 1000), ready(&edge, 1000)), (vec![(1, IN)], vec![(1, IN)]));
    assert_eq!((ready(&level, 0), ready(&edge, 0)), (vec![(1, IN)], vec![]));
    writer.write_all(b"!").unwrap();
    assert_eq!(ready(&edge, 1000), [(1, IN)]);
}

#[test]
fn the_end_of_a_stream_is_one_edge() {
    for is_closed in [false, true] {
        let (epoll, (ours, theirs)) = (instance(), UnixStream::pair().unwrap());
        add(&epoll, &ours, IN | EpollFlags::EPOLLET, 1);
        theirs.shutdown(Shutdown::Write).unwrap();
        let _theirs = (!is_closed).then_some(theirs);
        let [(1, flags)] = ready(&epoll, 1000)[..] else { panic!("nothing") };
        assert!(flags.contains(IN));
        assert_eq!(ready(&epoll, 0), []);
    }
}

#[test]
fn oneshot_is_told_once_until_it_is_changed() {
    let (epoll, (ours, mut theirs)) = (instance(), UnixStream::pair().unwrap());
    add(&epoll, &ours, IN | OUT | EpollFlags::EPOLLONESHOT, 1);
    assert_eq!(ready(&epoll, 1000), [(1, OUT)]);
    theirs.write_all(b"!").unwrap();
    drop(theirs);
    assert_eq!(ready(&epoll, 0), []);
    assert_eq!(epoll.add(&ours, EpollEvent::new(IN, 2)), Err(Errno::EEXIST));
    epoll.modify(&ours, &mut EpollEvent::new(IN, 3)).unwrap();
    assert_eq!(ready(&epoll, 1000), [(3, IN | HUP)]);
}

#[test]
fn errors_are_epolls() {
    let (epoll, (reader, _writer)) = (instance(), pipe().unwrap());
    let event = || EpollEvent::new(IN, 1);
    assert_eq!(epoll.modify(&reader, &mut event()), Err(Errno::ENOENT));
    assert_eq!(epoll.delete(&reader), Err(Errno::ENOENT));
    epoll.add(&reader, event()).unwrap();
    assert_eq!(epoll.add(&reader, event()), Err(Errno::EEXIST));
    epoll.delete(&reader).unwrap();
    assert_eq!(epoll.delete(&reader), Err(Errno::ENOENT));
    let file = std::fs::File::open("/").unwrap();
    assert_eq!(epoll.add(&file, event()), Err(Errno::EPERM));
    assert_eq!(epoll.add(&epoll.0, event()), Err(Errno::EINVAL));
    assert_eq!(epoll.wait(&mut [], 0_u8), Err(Errno::EINVAL));
    let other = instance();
    epoll.add(&other.0, event()).unwrap();
    assert_eq!(other.add(&epoll.0, event()), Err(Errno::ELOOP));
}

#[test]
fn a_reused_number_is_another_descriptor() {
    let epoll = instance();
    let (reader, mut writer) = pipe().unwrap();
    let number = reader.as_raw_fd();
    add(&epoll, &reader, IN, 1);
    drop(reader);
    // Tests in other threads open descriptors too: until the number comes back, or does not.
    let readers: Vec<_> = (0..64).map(|_| pipe().unwrap()).collect();
    assert!(writer.write(b"!").is_err());
    for (reader, writer) in &readers {
        for end in [reader.as_fd(), writer.as_fd()] {
            if end.as_raw_fd() == number {
                add(&epoll, end, OUT, 2);
                assert_eq!(epoll.add(end, EpollEvent::new(OUT, 3)), Err(Errno::EEXIST));
                epoll.delete(end).unwrap();
            }
        }
    }
    assert_eq!(ready(&epoll, 0), []);
}

#[test]
fn a_wait_ends_by_what_another_thread_does_and_not_before_its_time() {
    let (epoll, (reader, mut writer)) = (instance(), pipe().unwrap());
    let started = Instant::now();
    assert_eq!(ready(&epoll, 30), []);
    assert!(started.elapsed() >= Duration::from_millis(30));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| ready(&epoll, 60_000));
        add(&epoll, &reader, IN, 7);
        writer.write_all(b"!").unwrap();
        assert_eq!(waiter.join().unwrap(), [(7, IN)]);
    });
}

#[test]
fn a_level_is_told_to_each_thread_that_waits() {
    let (epoll, (reader, mut writer)) = (instance(), pipe().unwrap());
    add(&epoll, &reader, IN, 7);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| ready(&epoll, 60_000))).collect();
        writer.write_all(b"!").unwrap();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), [(7, IN)]);
        }
    });
}

#[test]
fn a_signal_that_is_ignored_by_default_can_be_read() {
    use compat_epoll::signalfd::{SfdFlags, SignalFd};
    use nix::sys::signal::{SigSet, Signal, raise};
    let mask = SigSet::from_iter([Signal::SIGURG]);
    mask.thread_block().unwrap();
    let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK).unwrap();
    raise(Signal::SIGURG).unwrap();
    let info = fd.read_signal().unwrap().expect("a signal");
    assert_eq!(info.ssi_signo, Signal::SIGURG as u32);
}

mod with_compat {
    use compat_epoll::{eventfd, signalfd, timerfd};

    include!("objects/api_body.rs");
}

#[test]
fn eventfd_timerfd_and_signalfd_have_nixs_names() {
    with_compat::all();
}
