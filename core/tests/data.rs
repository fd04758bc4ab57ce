//! What READ and WRITE report in `data`, for each kind of descriptor, and low-water marks.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use common::*;
use kq_core::EventFilter::{EVFILT_READ, EVFILT_WRITE};
use kq_core::test_support::sys;
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};

const EOF: EvFlags = EvFlags::EV_EOF;
const LOWAT: FilterFlag = FilterFlag::NOTE_LOWAT;

fn queue(fd: &impl AsRawFd, filter: kq_core::EventFilter) -> Kqueue {
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(fd, filter, ADD, NONE, 0)]).unwrap();
    kq
}

/// What READ says of a descriptor; it must be ready, or become so.
#[track_caller]
fn read(fd: &impl AsRawFd) -> KEvent {
    one(&queue(fd, EVFILT_READ), SOON)
}

#[track_caller]
fn to_read(fd: &impl AsRawFd) -> isize {
    read(fd).data()
}

#[track_caller]
fn room(fd: &impl AsRawFd) -> isize {
    one(&queue(fd, EVFILT_WRITE), SOON).data()
}

fn option(fd: &impl AsRawFd, name: libc::c_int) -> isize {
    let (mut value, mut len) = (0, 4);
    let at: *mut i32 = &mut value;
    // SAFETY: one int, as long as said.
    let done =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, at.cast(), &mut len) };
    assert_eq!(done, 0);
    value as isize
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (a, listener.accept().unwrap().0)
}

#[test]
fn streams_count_bytes() {
    let (mut a, b) = tcp_pair();
    a.write_all(b"12345").unwrap();
    assert_eq!(to_read(&b), 5);
    let (mut a, b) = UnixStream::pair().unwrap();
    a.write_all(b"12345").unwrap();
    assert_eq!(to_read(&b), 5);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"1234567").unwrap();
    assert_eq!(to_read(&reader), 7);
}

/// Of datagrams the first one counts: what one read returns.
#[test]
fn datagrams_count_the_first() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = UnixDatagram::pair().unwrap();
    for text in [&b"123"[..], b"45678"] {
        udp.send_to(text, udp.local_addr().unwrap()).unwrap();
        unix.0.send(text).unwrap();
    }
    assert_eq!(to_read(&udp), 3);
    assert_eq!(to_read(&unix.1), 3);
    let udp6 = UdpSocket::bind("[::1]:0").unwrap();
    udp6.send_to(b"1234", udp6.local_addr().unwrap()).unwrap();
    assert_eq!(to_read(&udp6), 4);
}

#[test]
fn a_seqpacket_socket_counts_all() {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the kernel writes two ints.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }, 0);
    let (a, b) = (own(ends[0]), own(ends[1]));
    for text in [&b"123"[..], b"45678"] {
        let mut a = File::from(a.try_clone().unwrap());
        a.write_all(text).unwrap();
    }
    assert_eq!(to_read(&b), 8);
}

#[test]
fn listeners_count_connections() {
    let dir = Dir::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp6 = TcpListener::bind("[::1]:0").unwrap();
    let unix = UnixListener::bind(dir.path("socket")).unwrap();
    let (tcp_at, tcp6_at) = (tcp.local_addr().unwrap(), tcp6.local_addr().unwrap());
    let mut clients: Vec<OwnedFd> = Vec::new();
    for n in 1..=3 {
        clients.push(TcpStream::connect(tcp_at).unwrap().into());
        clients.push(TcpStream::connect(tcp6_at).unwrap().into());
        clients.push(UnixStream::connect(dir.path("socket")).unwrap().into());
        assert_eq!((to_read(&tcp), to_read(&tcp6), to_read(&unix)), (n, n, n));
    }
    unix.accept().unwrap();
    assert_eq!(to_read(&unix), 2);
}

#[test]
fn what_was_sent_before_the_end_is_counted() {
    let (mut a, mut b) = tcp_pair();
    a.write_all(b"12345").unwrap();
    a.shutdown(Shutdown::Write).unwrap();
    let kq = Kqueue::new().unwrap();
    let mark = change(&b, EVFILT_READ, ADD, LOWAT, 100);
    apply(&kq, &[mark]).unwrap();
    let event = one(&kq, SOON);
    assert_eq!((event.data(), event.flags().contains(EOF)), (5, true), "no mark holds an end back");
    b.read_exact(&mut [0; 5]).unwrap();
    let event = one(&kq, SOON);
    assert_eq!((event.data(), event.flags().contains(EOF)), (0, true));
}

/// Linux shows one's own end to nobody: it would have to be asked for, at each event.
#[test]
fn ones_own_end_is_not_told_to_a_writer() {
    let (tcp, _peer) = tcp_pair();
    let (unix, _other) = UnixStream::pair().unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    unix.shutdown(Shutdown::Write).unwrap();
    for fd in [tcp.as_raw_fd(), unix.as_raw_fd()] {
        assert!(!one(&queue(&fd, EVFILT_WRITE), SOON).flags().contains(EOF));
    }
}

#[test]
fn an_eventfd_tells_its_counter() {
    // SAFETY: takes no pointer.
    let eventfd = own(unsafe { libc::eventfd(41, libc::EFD_CLOEXEC) });
    assert_eq!(to_read(&eventfd), 41);
    assert_eq!(room(&eventfd), isize::MAX);
    let mut file = File::from(eventfd.try_clone().unwrap());
    file.read_exact(&mut [0; 8]).unwrap();
    file.write_all(&(u64::MAX - 1 - 5).to_ne_bytes()).unwrap();
    assert_eq!(room(&eventfd), 5);
    assert_eq!(to_read(&eventfd), isize::MAX);
}

/// The kernel counts a periodic timer's expirations, and lets it go on, when it is read or asked for its
/// time: to ask it would be a new edge for all who watch it.
#[test]
fn a_periodic_timerfd_is_told_once_until_it_is_read() {
    let timerfd = sys::timerfd().unwrap();
    let kq = Kqueue::new().unwrap();
    let watch = change(&timerfd, EVFILT_READ, ADD | CLEAR, NONE, 0);
    apply(&kq, &[watch]).unwrap();
    for _ in 0..3 {
        sys::arm_timer(timerfd.as_raw_fd(), 1_000_000, 1_000_000).unwrap();
        assert_eq!(one(&kq, SOON).data(), 1);
        let some_periods = libc::timespec { tv_sec: 0, tv_nsec: 30_000_000 };
        assert_eq!(take(&kq, Some(some_periods)).len(), 0, "asking has started it again");
        let count = sys::read(timerfd.as_raw_fd(), 8).unwrap();
        assert!(i64::from_ne_bytes(count.try_into().unwrap()) >= 30);
        assert_eq!(one(&kq, SOON).data(), 1, "it goes on");
        sys::arm_timer(timerfd.as_raw_fd(), 0, 0).unwrap();
        take(&kq, NOW);
    }
}

#[test]
fn a_signalfd_tells_a_signals_bytes() {
    // Sent to this thread, which blocks it.
    // SAFETY: the set is ours; the thread's number is right.
    let signalfd = unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGUSR1);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
        let signalfd = own(libc::signalfd(-1, &set, libc::SFD_CLOEXEC));
        assert_eq!(libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1), 0);
        signalfd
    };
    assert_eq!(to_read(&signalfd), size_of::<libc::signalfd_siginfo>() as isize);
    File::from(signalfd).read_exact(&mut [0; size_of::<libc::signalfd_siginfo>()]).unwrap();
}

#[test]
fn inotify_tells_its_bytes() {
    let dir = Dir::new();
    // SAFETY: takes no pointer.
    let inotify = own(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) });
    let path = std::ffi::CString::new(dir.as_ref().to_str().unwrap()).unwrap();
    // SAFETY: the path ends in a NUL.
    let wd =
        unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), libc::IN_CREATE) };
    assert!(wd >= 0);
    drop(dir.file("f"));
    assert_eq!(to_read(&inotify), 32, "an event and a name");
}

#[test]
fn a_pidfd_an_epoll_set_and_a_queue_tell_at_least_one() {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    // SAFETY: takes no pointer.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    assert_eq!(to_read(&own(pidfd as i32)), 1);
    child.wait().unwrap();

    let (mut a, b) = UnixStream::pair().unwrap();
    a.write_all(b"12345").unwrap();
    let inner = queue(&b, EVFILT_READ);
    assert_eq!(to_read(&inner), 1);
    assert_eq!(one(&inner, NOW).data(), 5);
    // SAFETY: takes no pointer.
    let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) });
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let (ep, fd, add) = (epoll.as_raw_fd(), b.as_raw_fd(), libc::EPOLL_CTL_ADD);
    // SAFETY: one event, to be read.
    assert_eq!(unsafe { libc::epoll_ctl(ep, add, fd, &mut event) }, 0);
    assert_eq!(to_read(&epoll), 1);
}

#[test]
fn terminals_count_lines_and_bytes() {
    let (master, slave) = sys::pty().unwrap();
    let (mut master, mut slave) = (File::from(master), File::from(slave));
    let kq = queue(&slave, EVFILT_READ);
    master.write_all(b"abc").unwrap();
    assert_eq!(take(&kq, NOW), [], "a line is not complete");
    master.write_all(b"\nde").unwrap();
    assert_eq!(one(&kq, SOON).data(), 4, "the line");
    let mut echo = [0; 8];
    let n = master.read(&mut echo).unwrap();
    assert!(n > 0);
    slave.write_all(b"hello").unwrap();
    assert!(to_read(&master) >= 5);
    assert!(room(&slave) >= 1 && room(&master) >= 1);
    drop(slave);
    assert!(read(&master).flags().contains(EOF));
}

/// A FIFO is at its end when the last writer goes, and no more when another comes.
#[test]
fn a_fifo_comes_back_to_life() {
    let dir = Dir::new();
    let path = std::ffi::CString::new(dir.path("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path ends in a NUL.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let mut options = OpenOptions::new();
    let mut reader =
        options.read(true).custom_flags(libc::O_NONBLOCK).open(dir.path("fifo")).unwrap();
    let write = || OpenOptions::new().write(true).open(dir.path("fifo")).unwrap();
    for clear in [EvFlags::empty(), CLEAR] {
        let kq = Kqueue::new().unwrap();
        for round in 0..3 {
            let mut writer = write();
            if round == 0 {
                apply(&kq, &[change(&reader, EVFILT_READ, ADD | clear, NONE, 0)]).unwrap();
            }
            assert_eq!(take(&kq, NOW), [], "a writer is there, and has written nothing");
            writer.write_all(b"123").unwrap();
            let event = one(&kq, NOW);
            assert_eq!((event.data(), event.flags().contains(EOF)), (3, false));
            reader.read_exact(&mut [0; 3]).unwrap();
            drop(writer);
            let event = one(&kq, NOW);
            assert_eq!((event.data(), event.flags().contains(EOF)), (0, true), "{round}");
        }
    }
}

#[test]
fn a_packet_socket_counts_the_first_packet() {
    const ALL: u16 = libc::ETH_P_ALL as u16;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(ALL.to_be())) };
    if fd < 0 {
        println!("skipped: a packet socket: {}", std::io::Error::last_os_error());
        return;
    }
    let packet = own(fd);
    let kq = queue(&packet, EVFILT_READ);
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(b"1234", udp.local_addr().unwrap()).unwrap();
    let event = one(&kq, SOON);
    let mut first = vec![0; 65536];
    // SAFETY: room for as many bytes as said.
    let len = unsafe { libc::recv(packet.as_raw_fd(), first.as_mut_ptr().cast(), 65536, 0) };
    assert_eq!(event.data(), len);
}

#[test]
fn room_is_what_is_left_of_the_buffer() {
    let (mut a, _b) = UnixStream::pair().unwrap();
    let (tcp, _peer) = tcp_pair();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(room(&a), option(&a, libc::SO_SNDBUF));
    assert_eq!(room(&tcp), option(&tcp, libc::SO_SNDBUF));
    assert_eq!(room(&udp), option(&udp, libc::SO_SNDBUF));
    a.write_all(&[0; 10_000]).unwrap();
    assert!(room(&a) <= option(&a, libc::SO_SNDBUF) - 10_000);

    let (_reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the command takes no pointer.
    let size = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) } as isize;
    assert_eq!(room(&writer), size);
    writer.write_all(&[0; 5000]).unwrap();
    assert_eq!(room(&writer), size - 5000);
}

/// An error is the program's to fetch: asking for it would take it away.
#[test]
fn a_socket_error_is_left_to_the_program() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no pointer.
    let socket = own(unsafe { libc::socket(libc::AF_INET, kind, 0) });
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let (at, len) = (&raw const to, size_of_val(&to) as u32);
    // SAFETY: an address, as long as said.
    assert_eq!(unsafe { libc::connect(socket.as_raw_fd(), at.cast(), len) }, -1);
    let event = one(&queue(&socket, EVFILT_WRITE), SOON);
    assert!(event.flags().contains(EOF));
    assert_eq!(event.fflags(), NONE);
    assert_eq!(option(&socket, libc::SO_ERROR), Errno::ECONNREFUSED as isize);
}

/// A datagram that nobody was there for: an error to be fetched, and no end of anything.
#[test]
fn a_datagrams_error_is_no_end() {
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.connect(nobody).unwrap();
    for filter in [EVFILT_READ, EVFILT_WRITE] {
        let kq = Kqueue::new().unwrap();
        apply(&kq, &[change(&udp, filter, ADD, LOWAT, 1 << 30)]).unwrap();
        udp.send(b"1").unwrap();
        let event = one(&kq, SOON);
        assert_eq!(
            (event.flags(), event.fflags()),
            (EvFlags::empty(), NONE),
            "no mark holds it back"
        );
        assert_eq!(option(&udp, libc::SO_ERROR), Errno::ECONNREFUSED as isize);
        assert_eq!(take(&kq, NOW), []);
    }
}

/// What lies in its error queue does not end a connection.
#[test]
fn a_stream_with_something_in_its_error_queue_goes_on() {
    let (a, mut b) = tcp_pair();
    let on = 1;
    let (at, len) = ((&raw const on).cast(), size_of_val(&on) as u32);
    // SAFETY: an int, as long as said.
    let done =
        unsafe { libc::setsockopt(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, at, len) };
    assert_eq!(done, 0);
    // SAFETY: a byte that lives on.
    let sent = unsafe { libc::send(a.as_raw_fd(), c"1".as_ptr().cast(), 1, libc::MSG_ZEROCOPY) };
    assert_eq!(sent, 1);
    b.read_exact(&mut [0]).unwrap();
    // The kernel says there that it needs the byte no more.
    while sys::poll_for(a.as_raw_fd(), 0, 100) & libc::POLLERR == 0 {}
    let (read, write) = (read(&a), one(&queue(&a, EVFILT_WRITE), SOON));
    assert_eq!((read.flags(), read.data(), write.flags()), (EvFlags::empty(), 0, EvFlags::empty()));
}

#[test]
fn a_reader_waits_for_its_low_water_mark() {
    let dir = Dir::new();
    let path = std::ffi::CString::new(dir.path("fifo").to_str().unwrap()).unwrap();
    // SAFETY: the path ends in a NUL.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    let fifo = OpenOptions::new().read(true).write(true).open(dir.path("fifo")).unwrap();
    let (unix, tcp, pipe) = (UnixStream::pair().unwrap(), tcp_pair(), std::io::pipe().unwrap());
    let pairs: [(OwnedFd, OwnedFd); 4] = [
        (unix.0.into(), unix.1.into()),
        (tcp.0.into(), tcp.1.into()),
        (pipe.0.into(), pipe.1.into()),
        (fifo.try_clone().unwrap().into(), fifo.into()),
    ];
    for (reader, writer) in pairs {
        for flags in [EvFlags::empty(), CLEAR, EvFlags::EV_DISPATCH, EvFlags::EV_ONESHOT] {
            let (mut reader, mut writer) =
                (File::from(reader.try_clone().unwrap()), File::from(writer.try_clone().unwrap()));
            let kq = Kqueue::new().unwrap();
            apply(&kq, &[change(&reader, EVFILT_READ, ADD | flags, LOWAT, 10)]).unwrap();
            for _ in 0..3 {
                for _ in 0..9 {
                    writer.write_all(b"1").unwrap();
                    assert_eq!(take(&kq, NOW), [], "{flags:?}");
                }
                writer.write_all(b"1").unwrap();
                assert_eq!(one(&kq, SOON).data(), 10, "{flags:?}");
                reader.read_exact(&mut [0; 10]).unwrap();
                apply(
                    &kq,
                    &[change(&reader, EVFILT_READ, ADD | EvFlags::EV_ENABLE | flags, LOWAT, 10)],
                )
                .unwrap();
            }
        }
    }
}

/// A mark is kept though nobody wants to know how much there is.
#[test]
fn a_low_water_mark_without_data() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let kq = Kqueue::new().unwrap();
    let both = LOWAT | FilterFlag::NOTE_NODATA;
    apply(&kq, &[change(&reader, EVFILT_READ, ADD, both, 10)]).unwrap();
    writer.write_all(&[0; 9]).unwrap();
    assert_eq!(take(&kq, NOW), []);
    writer.write_all(&[0]).unwrap();
    assert_eq!(one(&kq, NOW).filter(), Ok(EVFILT_READ));
}

/// Linux wakes a writer when there is room after there was none, not when room grows.
#[test]
fn a_writer_waits_for_its_low_water_mark() {
    let (unix, tcp, pipe) = (UnixStream::pair().unwrap(), tcp_pair(), std::io::pipe().unwrap());
    let pairs: [(OwnedFd, OwnedFd); 3] = [
        (unix.0.into(), unix.1.into()),
        (tcp.0.into(), tcp.1.into()),
        (pipe.1.into(), pipe.0.into()),
    ];
    for (writer, reader) in pairs {
        let all = room(&writer);
        for flags in [EvFlags::empty(), CLEAR, EvFlags::EV_DISPATCH, EvFlags::EV_ONESHOT] {
            let (mut reader, mut writer) =
                (File::from(reader.try_clone().unwrap()), File::from(writer.try_clone().unwrap()));
            let kq = Kqueue::new().unwrap();
            writer.write_all(&[0; 2000]).unwrap();
            apply(&kq, &[change(&writer, EVFILT_WRITE, ADD | flags, LOWAT, all - 1000)]).unwrap();
            let left = room(&writer) < all - 1000;
            if left {
                assert_eq!(take(&kq, NOW), [], "{flags:?}");
            }
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| one(&kq, SOON));
                std::thread::sleep(std::time::Duration::from_millis(20));
                reader.read_exact(&mut [0; 2000]).unwrap();
                assert!(waiter.join().unwrap().data() >= all - 1000, "{flags:?}");
            });
        }
    }
}

/// Held back, a knote costs a look now and then, and does not keep the program busy.
#[test]
fn a_mark_that_is_not_reached_does_not_spin() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[0; 5000]).unwrap();
    let kq = Kqueue::new().unwrap();
    apply(&kq, &[change(&writer, EVFILT_WRITE, ADD, LOWAT, 1 << 30)]).unwrap();
    apply(&kq, &[change(&reader, EVFILT_READ, ADD, LOWAT, 1 << 30)]).unwrap();
    let before = cpu();
    let wait = libc::timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    assert_eq!(take(&kq, Some(wait)), []);
    assert!(cpu() - before < std::time::Duration::from_millis(100));
}

/// Processor time of this thread.
fn cpu() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: fills one timespec.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
