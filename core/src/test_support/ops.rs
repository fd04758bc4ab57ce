//! What a random program does to descriptors.

use nix::errno::Errno;
use std::os::fd::RawFd;

use super::zoo::Kind;

/// Which descriptor number of the world.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Num {
    /// This one, counted from the world's first.
    At(u8),
    /// One of those that are open when the step is done.
    Open(u8),
    /// One of those that are queues (of the kind under test) when the step is done.
    Queue(u8),
    /// One of those that the step can do something with; any open one, where there is none.
    Fit(u8),
}

/// Which of a step's numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// The one that it is about.
    First,
    /// The other one.
    Second,
}

/// What to write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Payload {
    /// Nothing: an empty datagram, where it is one.
    Nothing,
    /// One byte.
    Byte,
    /// Eight bytes that are the number 1: what an eventfd counts by.
    One,
    /// Eight bytes that are the largest count of an eventfd.
    Most,
    /// 4096 bytes.
    Page,
}

/// How much to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Amount {
    /// One byte.
    Byte,
    /// Eight bytes.
    Word,
    /// 4095 bytes: all but one of a page.
    NearlyPage,
    /// As much as there is.
    All,
}

/// When a timer shall expire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum When {
    /// At once; the operation returns when it has.
    Now,
    /// In an hour: not in this test.
    Later,
    /// Never: disarmed.
    Never,
}

/// One step of a random program that is no call under test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// Opens a descriptor at the lowest free number.
    Open(Kind),
    /// close(2)
    Close(Num),
    /// dup(2)
    Dup(Num),
    /// dup2(2), mostly onto a number that is in use
    Dup2(Num, Num),
    /// write(2)
    Write(Num, Payload),
    /// read(2)
    Read(Num, Amount),
    /// write(2) until EAGAIN
    Fill(Num),
    /// shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR
    Shutdown(Num, i32),
    /// send(2) of a byte out of band
    SendOob(Num),
    /// recv(2) of the byte out of band
    RecvOob(Num),
    /// SO_OOBINLINE
    OobInline(Num),
    /// SO_RCVLOWAT of ten bytes
    LowWater(Num),
    /// connect(2) to a listener
    Connect(Num, Num),
    /// connect(2) to a port where nobody listens
    ConnectNowhere(Num),
    /// listen(2)
    Listen(Num),
    /// accept(2)
    Accept(Num),
    /// SO_ERROR, which clears it
    TakeError(Num),
    /// Has close(2) send a reset
    ResetAtClose(Num),
    /// timerfd_settime(2)
    Arm(Num, When),
    /// Sends this process the (blocked) signal that signalfds report
    Raise,
    /// Makes a file in the directory that inotify watches, or removes it
    Touch,
    /// Sends a descriptor that is no socket over a UNIX socket
    Pass(Num, Num),
    /// Receives what was sent like that
    Receive(Num),
    /// The kernel's own poll of one descriptor, for these events
    Poll(Num, i16),
}

impl Op {
    /// The same step with other numbers; those are told in which place they stand.
    pub fn map(&self, number: impl Fn(Num, Place) -> Num) -> Self {
        let (n, m) = (|a| number(a, Place::First), |b| number(b, Place::Second));
        match *self {
            Self::Open(_) | Self::Raise | Self::Touch => self.clone(),
            Self::Close(a) => Self::Close(n(a)),
            Self::Dup(a) => Self::Dup(n(a)),
            Self::Dup2(a, b) => Self::Dup2(n(a), m(b)),
            Self::Write(a, payload) => Self::Write(n(a), payload),
            Self::Read(a, amount) => Self::Read(n(a), amount),
            Self::Fill(a) => Self::Fill(n(a)),
            Self::Shutdown(a, how) => Self::Shutdown(n(a), how),
            Self::SendOob(a) => Self::SendOob(n(a)),
            Self::RecvOob(a) => Self::RecvOob(n(a)),
            Self::OobInline(a) => Self::OobInline(n(a)),
            Self::LowWater(a) => Self::LowWater(n(a)),
            Self::Connect(a, b) => Self::Connect(n(a), m(b)),
            Self::ConnectNowhere(a) => Self::ConnectNowhere(n(a)),
            Self::Listen(a) => Self::Listen(n(a)),
            Self::Accept(a) => Self::Accept(n(a)),
            Self::TakeError(a) => Self::TakeError(n(a)),
            Self::ResetAtClose(a) => Self::ResetAtClose(n(a)),
            Self::Arm(a, when) => Self::Arm(n(a), when),
            Self::Pass(a, b) => Self::Pass(n(a), m(b)),
            Self::Receive(a) => Self::Receive(n(a)),
            Self::Poll(a, events) => Self::Poll(n(a), events),
        }
    }

    /// Can the step do something with a descriptor in that place if it is that end of that kind?
    pub fn suits(&self, place: Place, kind: Kind, end: u8) -> bool {
        if place == Place::Second {
            return match self {
                Self::Connect(..) => kind == Kind::TcpListener,
                Self::Pass(..) => !kind.is_socket(),
                _ => true,
            };
        }
        let tcp = matches!(kind, Kind::TcpPair | Kind::TcpSocket | Kind::TcpListener);
        match self {
            Self::Write(..) | Self::Fill(_) => kind.can_be_written(end),
            Self::Read(..) => kind.can_be_read(end),
            Self::Arm(..) => kind == Kind::Timerfd,
            Self::Connect(..) | Self::ConnectNowhere(_) | Self::Listen(_) => {
                kind == Kind::TcpSocket
            }
            Self::Accept(_) => matches!(kind, Kind::TcpListener | Kind::TcpSocket),
            Self::SendOob(_) | Self::RecvOob(_) | Self::OobInline(_) | Self::LowWater(_) => {
                tcp || kind == Kind::UnixStream
            }
            Self::ResetAtClose(_) => tcp,
            Self::Shutdown(..) | Self::TakeError(_) => kind.is_socket(),
            Self::Pass(..) | Self::Receive(_) => kind.is_socket() && !kind.is_inet(),
            _ => true,
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was done; nothing to tell.
    Done,
    /// So many bytes went over.
    Bytes(usize),
    /// New descriptors, counted from the world's first.
    Opened(Vec<RawFd>),
    /// poll(2) said so.
    Revents(i16),
    /// The system call failed.
    Failed(Errno),
    /// It does not apply to such a descriptor, or the world has no room.
    Skipped,
}
