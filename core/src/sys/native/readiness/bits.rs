//! The truth tables: from what the filters say of a descriptor to poll's bits. docs/native-tables.md
//! is the same in words, with the systems' reasons.

use crate::epoll_abi as e;

/// What kind of descriptor it is, as far as the tables differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// The end of a pipe or FIFO that is only read.
    PipeRead,
    /// The end of a pipe or FIFO that is only written.
    PipeWrite,
    /// A FIFO that was opened for both; either end of a pipe where pipes carry both ways (FreeBSD,
    /// DragonFly).
    PipeBoth,
    /// A socket with connections, and what nothing is known of.
    Stream,
    /// A socket without.
    Datagram,
    /// A socket that listens.
    Listener,
    /// A terminal, or either side of a pseudo-terminal.
    Terminal,
    /// A queue.
    Queue,
}

/// What one filter said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Said {
    /// The bytes to read, or the room to write.
    pub(crate) data: i64,
    /// EV_EOF.
    pub(crate) eof: bool,
    /// An errno in fflags.
    pub(crate) error: bool,
}

/// What the filters say at one moment; None: it does not report.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) read: Option<Said>,
    pub(crate) write: Option<Said>,
    pub(crate) except: bool,
}

pub(crate) const IN: u32 = (e::EPOLLIN | e::EPOLLRDNORM) as u32;
pub(crate) const OUT: u32 = (e::EPOLLOUT | e::EPOLLWRNORM) as u32;
pub(crate) const PRI: u32 = e::EPOLLPRI as u32;
pub(crate) const ERR: u32 = e::EPOLLERR as u32;
pub(crate) const HUP: u32 = e::EPOLLHUP as u32;
pub(crate) const RDHUP: u32 = e::EPOLLRDHUP as u32;

impl Kind {
    /// As which kind it is read by a program that wants these bits: an end of a pipe that carries
    /// both ways is what it is used as.
    pub(crate) fn used_for(self, want: u32) -> Self {
        match self {
            Self::PipeBoth if want & OUT == 0 => Self::PipeRead,
            Self::PipeBoth if want & IN == 0 => Self::PipeWrite,
            kind => kind,
        }
    }

    /// Does a hang-up need both directions' end? Then either's end has the other asked.
    pub(crate) fn hangs_up_by_both(self) -> bool {
        matches!(self, Self::Stream | Self::Datagram)
    }
}

/// poll's bits, all that hold.
pub(crate) fn poll_bits(kind: Kind, seen: Seen) -> u32 {
    let Seen { read, write, except } = seen;
    let bits = match kind {
        Kind::PipeRead => read_end(read),
        Kind::PipeWrite => write_end(write),
        Kind::PipeBoth => read_end(read) | write_end(write),
        Kind::Terminal => read_end(read) | if write.is_some() { OUT } else { 0 },
        Kind::Listener | Kind::Queue => read.map_or(0, |_| IN),
        Kind::Stream | Kind::Datagram => socket(kind, read, write),
    };
    bits | if except { PRI } else { 0 }
}

/// A pipe that nobody writes is hung up; what is left in it can still be read.
fn read_end(read: Option<Said>) -> u32 {
    match read {
        None => 0,
        Some(Said { eof: false, .. }) => IN,
        Some(Said { data, .. }) => HUP | if data > 0 { IN } else { 0 },
    }
}

/// A pipe that nobody reads is an error, and not a hang-up. The BSDs tell no room then, as Linux does
/// of a full one.
fn write_end(write: Option<Said>) -> u32 {
    match write {
        None => 0,
        Some(Said { eof: false, .. }) => OUT,
        Some(Said { data, .. }) => ERR | if data > 0 { OUT } else { 0 },
    }
}

/// A socket is hung up when both directions are at their end: one alone is a half-close.
fn socket(kind: Kind, read: Option<Said>, write: Option<Said>) -> u32 {
    let has = |said: Option<Said>, what: fn(&Said) -> bool| said.as_ref().is_some_and(what);
    let error = has(read, |said| said.error) || has(write, |said| said.error);
    let (read_eof, write_eof) = (has(read, |said| said.eof), has(write, |said| said.eof));
    let mut bits = 0;
    if kind == Kind::Datagram && error {
        // Nothing has ended: the error of an earlier datagram.
        bits |= ERR | OUT | if has(read, |said| said.data > 0) { IN } else { 0 };
        return bits;
    }
    if read.is_some() {
        bits |= IN;
    }
    // After its own end a socket has the room that it had.
    if has(write, |said| !said.eof || said.data > 0) {
        bits |= OUT;
    }
    if read_eof {
        bits |= RDHUP;
    }
    if read_eof && write_eof {
        bits |= HUP;
    }
    bits | if error { ERR } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOT: Option<Said> = None;
    const YES: Option<Said> = Some(Said { data: 5, eof: false, error: false });
    const END: Option<Said> = Some(Said { data: 0, eof: true, error: false });
    const LAST: Option<Said> = Some(Said { data: 5, eof: true, error: false });
    const FAIL: Option<Said> = Some(Said { data: 0, eof: true, error: true });

    fn bits(kind: Kind, read: Option<Said>, write: Option<Said>) -> u32 {
        poll_bits(kind, Seen { read, write, except: false })
    }

    #[test]
    fn pipes() {
        let read = |said| bits(Kind::PipeRead, said, NOT);
        assert_eq!([NOT, YES, END, LAST].map(read), [0, IN, HUP, IN | HUP]);
        let write = |said| bits(Kind::PipeWrite, NOT, said);
        assert_eq!([NOT, YES, END, LAST].map(write), [0, OUT, ERR, OUT | ERR]);
        assert_eq!(Kind::PipeBoth.used_for(IN), Kind::PipeRead);
        assert_eq!(Kind::PipeBoth.used_for(OUT), Kind::PipeWrite);
        assert_eq!(Kind::PipeBoth.used_for(IN | OUT), Kind::PipeBoth);
        assert_eq!(Kind::PipeBoth.used_for(0), Kind::PipeRead);
        assert_eq!(bits(Kind::PipeBoth, YES, YES), IN | OUT);
    }

    #[test]
    fn a_stream_is_hung_up_by_both_ends_only() {
        let stream = |read, write| bits(Kind::Stream, read, write);
        assert_eq!(stream(NOT, NOT), 0);
        assert_eq!(stream(NOT, YES), OUT);
        assert_eq!(stream(YES, YES), IN | OUT);
        assert_eq!(stream(END, YES), IN | OUT | RDHUP);
        assert_eq!(stream(END, NOT), IN | RDHUP);
        assert_eq!(stream(NOT, END), 0);
        assert_eq!(stream(NOT, LAST), OUT);
        assert_eq!(stream(YES, LAST), IN | OUT);
        assert_eq!(stream(LAST, LAST), IN | OUT | RDHUP | HUP);
        assert_eq!(stream(FAIL, FAIL), IN | RDHUP | HUP | ERR);
    }

    #[test]
    fn a_datagrams_error_ends_nothing() {
        let datagram = |read, write| bits(Kind::Datagram, read, write);
        assert_eq!(datagram(YES, YES), IN | OUT);
        assert_eq!(datagram(FAIL, FAIL), OUT | ERR);
        assert_eq!(datagram(END, YES), IN | OUT | RDHUP);
        assert_eq!(datagram(END, LAST), IN | OUT | RDHUP | HUP);
    }

    #[test]
    fn the_others() {
        assert_eq!(bits(Kind::Listener, YES, NOT), IN);
        assert_eq!(bits(Kind::Queue, YES, NOT), IN);
        assert_eq!(bits(Kind::Terminal, END, YES), OUT | HUP);
        assert_eq!(bits(Kind::Terminal, LAST, YES), IN | OUT | HUP);
        let except = Seen { except: true, ..Seen::default() };
        assert_eq!(poll_bits(Kind::Stream, except), PRI);
    }
}
