//! From the kernel's poll bits to what a knote reports.

use std::os::fd::RawFd;

use crate::event::{EvFlags, EventFilter, FilterFlag};

use super::data::{self, Kind};
use super::knote::Knote;

/// What goes into an event beside what the knote itself holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Report {
    pub(crate) flags: u16,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
}

const IN: u32 = libc::EPOLLIN as u32;
const PRI: u32 = libc::EPOLLPRI as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;

/// Whether the bits mean something to the knote, and what.
pub(crate) fn report(knote: &mut Knote, fd: RawFd, bits: u32) -> Option<Report> {
    if !concerns(knote.filter, bits) {
        return None;
    }
    let no_data = knote.fflags & FilterFlag::NOTE_NODATA.bits() != 0;
    if knote.kind == Kind::Unknown && (!no_data || bits & HUP != 0) {
        knote.kind = Kind::of(fd);
    }
    if is_unconnected(knote.kind, bits) {
        return None;
    }
    if no_data && knote.filter != EventFilter::EVFILT_EXCEPT {
        let gone =
            if knote.filter == EventFilter::EVFILT_READ { RDHUP | HUP | ERR } else { HUP | ERR };
        return Some(Report { flags: eof_flag(bits & gone != 0), ..Report::default() });
    }
    let mark = (knote.fflags & FilterFlag::NOTE_LOWAT.bits() != 0).then_some(knote.data);
    match knote.filter {
        EventFilter::EVFILT_READ => read(fd, knote.kind, bits, mark),
        EventFilter::EVFILT_WRITE => write(fd, knote.kind, bits, mark),
        EventFilter::EVFILT_EXCEPT => {
            Some(Report { fflags: FilterFlag::NOTE_OOB.bits(), ..Report::default() })
        }
        _ => None,
    }
}

fn concerns(filter: EventFilter, bits: u32) -> bool {
    let wanted = match filter {
        EventFilter::EVFILT_READ => IN | RDHUP | HUP | ERR,
        EventFilter::EVFILT_WRITE => OUT | HUP | ERR,
        _ => PRI,
    };
    bits & wanted != 0
}

/// A stream socket that was never connected: Linux calls that OUT|HUP (rule G09), kqueue says
/// nothing of it. A connection that was hung up comes with IN and RDHUP too.
fn is_unconnected(kind: Kind, bits: u32) -> bool {
    kind == Kind::Socket && bits & HUP != 0 && bits & (IN | RDHUP | ERR) == 0
}

fn read(fd: RawFd, kind: Kind, bits: u32, mark: Option<i64>) -> Option<Report> {
    let eof = bits & (RDHUP | HUP | ERR) != 0;
    let data = if bits & IN == 0 { 0 } else { data::readable(fd, kind) };
    if mark.is_some_and(|mark| data < mark) && !eof {
        return None;
    }
    Some(Report { flags: eof_flag(eof), fflags: 0, data })
}

fn write(fd: RawFd, kind: Kind, bits: u32, mark: Option<i64>) -> Option<Report> {
    let eof = bits & (HUP | ERR) != 0;
    let data = data::writable(fd, kind);
    if mark.is_some_and(|mark| data < mark) && !eof {
        return None;
    }
    Some(Report { flags: eof_flag(eof), fflags: 0, data })
}

fn eof_flag(eof: bool) -> u16 {
    if eof { EvFlags::EV_EOF.bits() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_concern_their_filters_only() {
        use EventFilter::*;
        assert!(concerns(EVFILT_READ, IN) && !concerns(EVFILT_READ, OUT | PRI));
        assert!(concerns(EVFILT_WRITE, OUT) && !concerns(EVFILT_WRITE, IN | RDHUP | PRI));
        assert!(concerns(EVFILT_EXCEPT, PRI) && !concerns(EVFILT_EXCEPT, IN | HUP | ERR));
        assert!([EVFILT_READ, EVFILT_WRITE].iter().all(|&f| concerns(f, HUP) && concerns(f, ERR)));
    }

    #[test]
    fn an_unconnected_socket_is_not_a_hung_up_one() {
        assert!(is_unconnected(Kind::Socket, OUT | HUP));
        assert!(!is_unconnected(Kind::Socket, IN | OUT | RDHUP | HUP));
        assert!(!is_unconnected(Kind::Pipe, HUP));
    }
}
