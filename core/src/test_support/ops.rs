//! What a random program does to descriptors.

use nix::errno::Errno;
use std::os::fd::RawFd;

use super::zoo::Kind;

/// A descriptor number of the world, counted from its first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Num(pub u8);

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
    /// Does it make descriptors? Then its result depends on what other threads open.
    pub fn opens(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Dup(_) | Self::Accept(_) | Self::Receive(_))
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
