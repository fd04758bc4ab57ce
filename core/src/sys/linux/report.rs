//! From the kernel's poll bits to what a knote reports.

use std::os::fd::RawFd;

use crate::event::{EvFlags, EventFilter, FilterFlag};

use super::data::{self, Kind};
use super::knote::Knote;
use super::last_check::{LOOK_AGAIN, look_again};
use super::raw;

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
#[inline(always)]
pub(crate) fn report(knote: &mut Knote, fd: RawFd, bits: u32) -> Option<Report> {
    // The common cases first: nothing is known but the bits, and nothing else is wanted, or how much
    // there is to read.
    if bits & (RDHUP | HUP | ERR) == 0 {
        if knote.wants_bits_only() {
            return concerns(knote.filter, bits).then_some(Report::default());
        }
        if knote.wants_amount_only() && bits & IN != 0 {
            return Some(Report { data: data::readable(fd, knote.kind), ..Report::default() });
        }
    }
    report_fully(knote, fd, bits)
}

#[inline(never)]
fn report_fully(knote: &mut Knote, fd: RawFd, bits: u32) -> Option<Report> {
    let bits = match knote.has(LOOK_AGAIN) {
        true => look_again(knote, fd, bits),
        false => bits,
    };
    if !concerns(knote.filter, bits) {
        return None;
    }
    if knote.filter == EventFilter::EVFILT_EXCEPT {
        return Some(Report { fflags: FilterFlag::NOTE_OOB.bits(), ..Report::default() });
    }
    if knote.kind == Kind::Unknown {
        knote.kind = Kind::of(fd);
    }
    let failed = bits & ERR != 0;
    let eof = ends(knote.filter, bits) || failed && knote.kind != Kind::Socket;
    // (A registration for writing is not told of IN and RDHUP: only poll tells the two apart.)
    if is_unconnected(knote.kind, bits) && is_unconnected(knote.kind, poll_now(fd)) {
        return None;
    }
    let flags = if eof { EvFlags::EV_EOF.bits() } else { 0 };
    if knote.wants_no_data() {
        return Some(Report { flags, ..Report::default() });
    }
    let data = match knote.filter {
        // It reports an end: what is left may be too little to be written to.
        EventFilter::EVFILT_WRITE if bits & OUT == 0 => 0,
        EventFilter::EVFILT_WRITE => data::writable(fd, knote.kind),
        _ if bits & IN == 0 => 0,
        _ => data::readable(fd, knote.kind),
    };
    if knote.has_low_water() && data < knote.data && !(eof || failed) {
        return None;
    }
    Some(Report { flags, fflags: 0, data })
}

#[inline]
fn concerns(filter: EventFilter, bits: u32) -> bool {
    let wanted = match filter {
        EventFilter::EVFILT_READ => IN | RDHUP | HUP | ERR,
        EventFilter::EVFILT_WRITE => OUT | HUP | ERR,
        _ => PRI,
    };
    bits & wanted != 0
}

/// Whether its direction is at an end. An error alone says so of a pipe, whose reader is gone. A socket
/// goes on: an earlier datagram was refused (as FreeBSD has it: an event, and no end), or there is
/// something in its error queue.
fn ends(filter: EventFilter, bits: u32) -> bool {
    let end = if filter == EventFilter::EVFILT_READ { RDHUP | HUP } else { HUP };
    bits & end != 0
}

/// A stream socket that was never connected: Linux calls that OUT|HUP (rule G09), kqueue says
/// nothing of it. A connection that was hung up comes with IN and RDHUP too.
fn is_unconnected(kind: Kind, bits: u32) -> bool {
    kind == Kind::Socket && bits & HUP != 0 && bits & (IN | RDHUP | ERR) == 0
}

/// The descriptor's poll bits at this moment; 0 where it is closed.
pub(crate) fn poll_now(fd: RawFd) -> u32 {
    let events = (libc::POLLIN | libc::POLLPRI | libc::POLLOUT) | libc::POLLRDHUP;
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry, ours.
    let _ = unsafe { raw::poll(&mut entry, 1, 0) };
    u32::from((entry.revents & !libc::POLLNVAL) as u16)
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
