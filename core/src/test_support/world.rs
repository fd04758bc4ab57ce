//! Where a random program runs: a row of descriptor numbers that are free at first and closed at the
//! end, so that a program gives the same numbers each time it is run.

use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::errno::Errno;

use super::ops::{Amount, Num, Op, Outcome, Payload, When};
use super::settle::{Barrier, HIGH};
use super::zoo::{self, Kind};
use super::{passing, signals, sockets, sys};

/// How many numbers a program has.
pub const NUMBERS: u8 = 16;

/// What a process needs once to run programs: it must have one thread, and nobody else may open
/// descriptors while a program runs.
#[derive(Debug)]
pub struct Ground {
    barrier: Barrier,
    /// A TCP socket that is bound but does not listen: its port refuses.
    nowhere: OwnedFd,
    dir: PathBuf,
    first: RawFd,
}

impl Ground {
    /// # Panics
    /// When there is no row of free numbers, or sockets or a directory cannot be had.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        signals::block(&[zoo::SIGNAL]);
        signals::ignore(libc::SIGPIPE);
        let unique =
            format!("kqcompat-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(unique);
        fs::create_dir(&dir).expect("a directory for the test");
        sys::mkfifo(dir.join("fifo")).expect("mkfifo");
        let low = sockets::socket(libc::AF_INET, libc::SOCK_STREAM).expect("socket");
        sockets::bind(low.as_raw_fd(), 0).expect("bind");
        let nowhere = sys::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH).and_then(sys::own);
        drop(low);
        let barrier = Barrier::new();
        let first = lowest_free();
        let row = first..first + RawFd::from(NUMBERS);
        assert!(!row.clone().any(sys::is_open), "{row:?} has numbers in use");
        assert!(row.end <= HIGH, "{row:?} reaches the hidden numbers");
        Self { barrier, nowhere: nowhere.expect("F_DUPFD"), dir, first }
    }

    /// A world without descriptors.
    pub fn world(&self) -> World<'_> {
        World { ground: self, inet: AtomicBool::new(false) }
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // A directory that stays behind in the place for temporary files is no reason to fail.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn lowest_free() -> RawFd {
    sys::eventfd(0).expect("eventfd").as_raw_fd()
}

/// The descriptors of one run of one program.
#[derive(Debug)]
pub struct World<'a> {
    ground: &'a Ground,
    /// Was an INET socket made? Then packets may be on their way after any step.
    inet: AtomicBool,
}

impl World<'_> {
    /// The real number.
    pub fn fd(&self, num: Num) -> RawFd {
        self.ground.first + RawFd::from(num.0)
    }

    /// What a program shall see of new descriptors; closes them if they lie past the row.
    pub fn admit(&self, fds: &[RawFd]) -> Outcome {
        if fds.iter().any(|fd| *fd >= self.ground.first + RawFd::from(NUMBERS)) {
            for fd in fds {
                sys::close(*fd).expect("it was opened just now");
            }
            return Outcome::Skipped;
        }
        Outcome::Opened(fds.iter().map(|fd| fd - self.ground.first).collect())
    }

    /// Does one step, and waits until it shows.
    pub fn apply(&self, op: &Op) -> Outcome {
        let outcome = match self.run(op) {
            Ok(outcome) => outcome,
            Err(errno) => Outcome::Failed(errno),
        };
        self.settle();
        outcome
    }

    /// Waits until no packet is on its way.
    pub fn settle(&self) {
        if !self.inet.load(Ordering::Relaxed) {
            return;
        }
        self.ground.barrier.wait();
        // An acknowledgement may be put off for 40 ms, and is an edge where it is one of a FIN. This
        // sends what was put off. Whatever is no TCP socket refuses: no matter.
        for n in 0..NUMBERS {
            let fd = self.fd(Num(n));
            let _ = sockets::set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1);
        }
        self.ground.barrier.wait();
    }

    fn run(&self, op: &Op) -> sys::Result<Outcome> {
        let done = |()| Outcome::Done;
        match *op {
            Op::Open(kind) => self.open(kind),
            Op::Close(n) => sys::close(self.fd(n)).map(done),
            Op::Dup(n) => sys::dup(self.fd(n)).map(|fd| self.admit(&[fd.into_raw_fd()])),
            Op::Dup2(n, onto) => sys::dup2(self.fd(n), self.fd(onto)).map(|_| Outcome::Done),
            Op::Write(n, payload) => write(self.fd(n), payload),
            Op::Read(n, amount) => read(self.fd(n), amount),
            Op::Fill(n) => fill(self.fd(n)),
            Op::Shutdown(n, how) => sockets::shutdown(self.fd(n), how).map(done),
            Op::SendOob(n) => sockets::send(self.fd(n), b"!", libc::MSG_OOB).map(Outcome::Bytes),
            Op::RecvOob(n) => {
                sockets::recv(self.fd(n), 1, libc::MSG_OOB).map(|b| Outcome::Bytes(b.len()))
            }
            Op::OobInline(n) => {
                sockets::set_option(self.fd(n), libc::SOL_SOCKET, libc::SO_OOBINLINE, 1).map(done)
            }
            Op::LowWater(n) => {
                sockets::set_option(self.fd(n), libc::SOL_SOCKET, libc::SO_RCVLOWAT, 10).map(done)
            }
            Op::Connect(n, to) => self.connect(self.fd(n), self.fd(to)),
            Op::ConnectNowhere(n) => self.connect(self.fd(n), self.ground.nowhere.as_raw_fd()),
            Op::Listen(n) => self.listen(self.fd(n)),
            Op::Accept(n) => sockets::accept(self.fd(n)).map(|fd| self.admit(&[fd.into_raw_fd()])),
            Op::TakeError(n) => sockets::option(self.fd(n), libc::SOL_SOCKET, libc::SO_ERROR)
                .map(|e| Outcome::Failed(Errno::from_raw(e))),
            Op::ResetAtClose(n) => sockets::reset_at_close(self.fd(n)).map(done),
            Op::Arm(n, when) => arm(self.fd(n), when),
            Op::Raise => {
                signals::send_to_process(zoo::SIGNAL);
                Ok(Outcome::Done)
            }
            Op::Touch => Ok(self.touch()),
            Op::Pass(over, n) => passing::send(self.fd(over), self.fd(n)).map(|sent| match sent {
                true => Outcome::Done,
                false => Outcome::Skipped,
            }),
            Op::Receive(over) => passing::receive(self.fd(over)).map(|fds| self.admit(&fds)),
            Op::Poll(n, events) => Ok(Outcome::Revents(sys::poll(self.fd(n), events))),
        }
    }

    fn open(&self, kind: Kind) -> sys::Result<Outcome> {
        if kind.is_inet() {
            self.inet.store(true, Ordering::Relaxed);
        }
        let fds = kind.open(&self.ground.dir)?;
        let fds: Vec<RawFd> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
        Ok(self.admit(&fds))
    }

    /// Only to listeners and to the port that refuses: a connect to the port of any other socket
    /// could meet that socket's own, and what comes of it depends on the ports.
    fn connect(&self, fd: RawFd, to: RawFd) -> sys::Result<Outcome> {
        let listens = sockets::option(to, libc::SOL_SOCKET, libc::SO_ACCEPTCONN) == Ok(1);
        let nowhere = to == self.ground.nowhere.as_raw_fd();
        match sockets::port_of(to) {
            Some(port) if listens || nowhere => sockets::connect(fd, port).map(|()| Outcome::Done),
            _ => Ok(Outcome::Skipped),
        }
    }

    /// An unbound UNIX socket refuses; an INET socket gets a port.
    fn listen(&self, fd: RawFd) -> sys::Result<Outcome> {
        sockets::listen(fd, 4).map(|()| Outcome::Done)
    }

    fn touch(&self) -> Outcome {
        let path = self.ground.dir.join("touched");
        if fs::remove_file(&path).is_err() {
            drop(sys::open(&path, libc::O_WRONLY | libc::O_CREAT).expect("a file can be made"));
        }
        Outcome::Done
    }
}

impl Drop for World<'_> {
    /// Closes all numbers. TCP leaves no connection in TIME_WAIT: there are not enough ports for
    /// that in a long run.
    fn drop(&mut self) {
        for n in 0..NUMBERS {
            let fd = self.fd(Num(n));
            // Whatever is not a TCP socket, or not open, refuses: no matter.
            let _ = sockets::reset_at_close(fd);
            let _ = sys::close(fd);
        }
        let _ = fs::remove_file(self.ground.dir.join("touched"));
        passing::take_signal(zoo::SIGNAL);
        self.settle();
    }
}

fn write(fd: RawFd, payload: Payload) -> sys::Result<Outcome> {
    let page = [b'p'; 4096];
    let bytes: &[u8] = match payload {
        Payload::Nothing => &[],
        Payload::Byte => b"b",
        Payload::One => &1_u64.to_ne_bytes(),
        Payload::Most => &(u64::MAX - 1).to_ne_bytes(),
        Payload::Page => &page,
    };
    sys::write(fd, bytes).map(Outcome::Bytes)
}

fn read(fd: RawFd, amount: Amount) -> sys::Result<Outcome> {
    let len = match amount {
        Amount::Byte => 1,
        Amount::Word => 8,
        Amount::NearlyPage => 4095,
        Amount::All => 65536,
    };
    sys::read(fd, len).map(|bytes| Outcome::Bytes(bytes.len()))
}

/// Not on INET sockets: how much fits there depends on what was acknowledged in time.
fn fill(fd: RawFd) -> sys::Result<Outcome> {
    /// More than any buffer of the zoo holds; a file would take it for ever.
    const LIMIT: usize = 1 << 20;
    if sockets::port_of(fd).is_some() {
        return Ok(Outcome::Skipped);
    }
    let mut total = 0;
    for chunk in [&[b'f'; 4096][..], b"f"] {
        while total < LIMIT {
            match sys::write(fd, chunk) {
                Ok(n) => total += n,
                Err(Errno::EAGAIN) => break,
                Err(other) => return Err(other),
            }
        }
    }
    Ok(Outcome::Bytes(total))
}

fn arm(fd: RawFd, when: When) -> sys::Result<Outcome> {
    let first = match when {
        When::Now => 1,
        When::Later => 3_600_000_000_000,
        When::Never => 0,
    };
    sys::arm_timer(fd, first, 0)?;
    if when == When::Now {
        super::threads::wait_until_ready(fd, libc::POLLIN);
    }
    Ok(Outcome::Done)
}
