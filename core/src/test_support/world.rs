//! Where a random program runs: a row of descriptor numbers that are free at first and closed at the
//! end, so that a program gives the same numbers each time it is run.

use std::fs;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use super::census::Census;
use super::ops::{Num, Op, Outcome};
use super::settle::{Barrier, HIGH};
use super::zoo::{self, Kind};
use super::{deeds, passing, signals, sockets, sys};

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
        signals::block(&[zoo::SIGNAL]);
        signals::ignore(libc::SIGPIPE);
        let unique = format!("kqcompat-{}-{}", std::process::id(), sys::monotonic_ns());
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
        World {
            ground: self,
            inet: AtomicBool::new(false),
            inotify: AtomicBool::new(false),
            census: Census::default(),
        }
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
    /// Was an inotify queue made? A second one on the same directory may hear of a file before the
    /// first or after it: the kernel keeps them in the order of their addresses.
    inotify: AtomicBool,
    census: Census,
}

impl World<'_> {
    /// The real number.
    pub fn fd(&self, num: Num) -> RawFd {
        self.ground.first + RawFd::from(self.at(num))
    }

    /// The number counted from the first; of those to wait for, if any will do.
    fn at(&self, num: Num) -> u8 {
        self.census.at(num, |kind, _| kind.can_be_polled())
    }

    /// Is it the number of a queue?
    pub fn is_queue(&self, num: Num) -> bool {
        self.census.is_queue(self.at(num))
    }

    /// Says of a new descriptor that it is a queue; as [`World::admit`].
    pub fn admit_queue(&self, fd: RawFd) -> Outcome {
        let outcome = self.admit(&[fd]);
        if let Outcome::Opened(at) = &outcome {
            self.census.add_queue(at[0]);
        }
        outcome
    }

    /// Was an INET socket made? Then one step may be several events, some time apart.
    pub fn has_inet(&self) -> bool {
        self.inet.load(Ordering::Relaxed)
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

    /// Does one step, and waits until it shows. Returns the step with the numbers that it had.
    pub fn apply(&self, op: &Op) -> (Op, Outcome) {
        let op = op
            .map(|num, place| Num::At(self.census.at(num, |kind, end| op.suits(place, kind, end))));
        let may_send = self.may_send_packets(&op);
        let outcome = self.run(&op).unwrap_or_else(Outcome::Failed);
        self.census.note(&op, &outcome);
        if may_send {
            self.settle();
            if matches!(op, Op::Shutdown(..)) {
                self.settle_last_acknowledgements();
            }
        }
        (op, outcome)
    }

    /// Asked before the step: a descriptor that it closes is gone after it.
    fn may_send_packets(&self, op: &Op) -> bool {
        let inet = |n: Num| {
            self.has_inet()
                && sockets::option(self.fd(n), libc::SOL_SOCKET, libc::SO_DOMAIN)
                    == Ok(libc::AF_INET)
        };
        match *op {
            Op::Open(kind) => kind.is_inet(),
            Op::Dup(_) | Op::Arm(..) | Op::Raise | Op::Touch | Op::Poll(..) => false,
            // A message or a FIFO may hold the last reference to a socket.
            Op::Pass(..) | Op::Receive(_) => self.has_inet(),
            Op::Close(n) | Op::Write(n, _) | Op::Read(n, _) | Op::Fill(n) | Op::Shutdown(n, _) => {
                inet(n)
            }
            Op::SendOob(n) | Op::RecvOob(n) | Op::OobInline(n) | Op::LowWater(n) => inet(n),
            Op::Dup2(_, n) | Op::Connect(n, _) | Op::ConnectNowhere(n) => inet(n),
            Op::Listen(n) | Op::Accept(n) | Op::TakeError(n) | Op::ResetAtClose(n) => inet(n),
        }
    }

    /// Waits until no packet is on its way.
    fn settle(&self) {
        self.ground.barrier.wait();
        // An acknowledgement may be put off. This sends what was put off, where nothing is unread.
        // Whatever is no TCP socket refuses: no matter.
        for fd in (0..NUMBERS).map(|n| self.fd(Num::At(n))) {
            let _ = sockets::set_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 1);
        }
        self.ground.barrier.wait();
    }

    /// That a FIN was acknowledged is an event for who sent it: waits until it was. Where the other
    /// side is not there to do it (a connection that was not accepted yet), not for long.
    fn settle_last_acknowledgements(&self) {
        const PATIENCE: std::time::Duration = std::time::Duration::from_millis(100);
        let start = std::time::Instant::now();
        let waits =
            || (0..NUMBERS).any(|n| sockets::awaits_last_acknowledgement(self.fd(Num::At(n))));
        while waits() && start.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
        self.settle();
    }

    fn run(&self, op: &Op) -> sys::Result<Outcome> {
        let done = |()| Outcome::Done;
        match *op {
            Op::Open(kind) => self.open(kind),
            Op::Close(n) => sys::close(self.fd(n)).map(done),
            Op::Dup(n) => sys::dup(self.fd(n)).map(|fd| self.admit(&[fd.into_raw_fd()])),
            Op::Dup2(n, onto) => sys::dup2(self.fd(n), self.fd(onto)).map(|_| Outcome::Done),
            Op::Write(n, payload) => deeds::write(self.fd(n), payload),
            Op::Read(n, amount) => deeds::read(self.fd(n), amount),
            Op::Fill(n) => deeds::fill(self.fd(n)),
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
            Op::Accept(n) => sockets::accept(self.fd(n)).map(|fd| {
                sockets::acknowledge_soon(fd.as_raw_fd());
                self.admit(&[fd.into_raw_fd()])
            }),
            Op::TakeError(n) => sockets::option(self.fd(n), libc::SOL_SOCKET, libc::SO_ERROR)
                .map(|e| Outcome::Failed(Errno::from_raw(e))),
            Op::ResetAtClose(n) => sockets::reset_at_close(self.fd(n)).map(done),
            Op::Arm(n, when) => deeds::arm(self.fd(n), when),
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
        if kind == Kind::Inotify && self.inotify.swap(true, Ordering::Relaxed) {
            return Ok(Outcome::Skipped);
        }
        if kind.is_inet() {
            self.inet.store(true, Ordering::Relaxed);
        }
        let fds = kind.open(&self.ground.dir)?;
        let fds: Vec<RawFd> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
        if kind.is_inet() {
            fds.iter().copied().for_each(sockets::acknowledge_soon);
        }
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
            let fd = self.fd(Num::At(n));
            // Whatever is not a TCP socket, or not open, refuses: no matter.
            let _ = sockets::reset_at_close(fd);
            let _ = sys::close(fd);
        }
        // Gone, so that the next program finds none; they need not be there.
        let _ = fs::remove_file(self.ground.dir.join("touched"));
        let _ = fs::remove_file(self.ground.dir.join("file"));
        passing::take_signal(zoo::SIGNAL);
        if self.has_inet() {
            self.ground.barrier.wait();
        }
    }
}
