//! The queue of a set of poll or select: a kqueue that nobody else sees.
//!
//! A registration is a knote for each direction that is asked for (READ, WRITE, EXCEPT), and always
//! armed once (EV_ONESHOT): it says where to look, and what is there the system's own call is then
//! asked about that descriptor ([`crate::sets`]). So results are the system's, whatever its filters
//! know of hang-ups and errors, and a knote that fires for what nobody asked for costs one look.
//!
//! Knotes carry the slot and serial of their registration in udata. One that fires for a registration
//! that is over is gone by that; one that is added again has the new serial; closing a number drops
//! its knotes. So there are never more than three for each number that is open.

use std::os::fd::RawFd;

use libc::timespec;
use nix::errno::Errno;

use crate::event::EvFlags;

use super::fit;
use super::layout::{self, Raw};
use super::marked::{self, is_queue};
use super::raw::{self, Result};
use super::readiness::apply::{Change, apply, event};
use super::readiness::interest::FILTERS;

/// What the queue tells.
pub(crate) type Event = Raw;
pub(crate) const NO_EVENT: Event = Raw::NONE;

const IN: u16 = (libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND) as u16;
const OUT: u16 = (libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND) as u16;
const PRI: u16 = libc::POLLPRI as u16;
/// What some systems have besides: to be told of a half-close, or not.
const MORE: u16 = if cfg!(target_os = "linux") {
    0x2000 // POLLRDHUP
} else if cfg!(target_os = "freebsd") {
    0x6000 // POLLINIGNEOF, POLLRDHUP
} else {
    0
};

/// poll's own bits (POLLNVAL is the system's alone to set).
pub(crate) const POLL_BITS: u16 = IN | OUT | PRI | MORE | (libc::POLLERR | libc::POLLHUP) as u16;

/// Are registrations armed once in any case?
pub(crate) const ALWAYS_ONCE: bool = true;

/// A registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) fd: RawFd,
    /// poll's bits.
    pub(crate) bits: u16,
    /// Comes back with its events.
    pub(crate) token: u64,
    /// An event ends its watch: it always does.
    #[allow(dead_code, reason = "it is not asked for here")]
    pub(crate) once: bool,
}

const _: () = assert!(usize::BITS == 64, "udata holds a slot and a serial");

/// A new queue, and by what it is known again.
pub(crate) fn open() -> Result<(RawFd, u32)> {
    make().map(|queue| (queue, marked::sign(queue)))
}

/// Is this number that queue, as far as one can tell? The program may have closed it, and have a queue of
/// its own there.
pub(crate) fn is_ours(fd: RawFd, serial: u32) -> bool {
    marked::is_signed(fd, serial)
}

/// What there is of our own besides queues, and stays.
pub(crate) fn standing() -> [RawFd; 0] {
    []
}

/// A queue, at a high number if the system's can be duplicated.
fn make() -> Result<RawFd> {
    /// As on Linux: above what programs use, and not far above.
    const FLOORS: [i32; 4] = [1000, 500, 240, 100];
    let queue = layout::kqueue()?;
    super::set_close_on_exec(queue, true);
    for floor in FLOORS {
        let Ok(high) = raw::fcntl(queue, libc::F_DUPFD_CLOEXEC, floor) else { continue };
        let (kept, other) = if is_queue(high) { (high, queue) } else { (queue, high) };
        let _ = raw::close(other);
        return Ok(kept);
    }
    Ok(queue)
}

const NOW: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// May this descriptor be registered for these bits?
///
/// For IN and OUT, whose filters tell hang-ups and errors too. Where neither is asked for the system's
/// own call is asked.
pub(crate) fn is_fit(fd: RawFd, bits: u16) -> bool {
    bits & (IN | OUT) != 0 && fit::is_fit(fd)
}

/// READ, WRITE, EXCEPT: which are there for these bits?
fn filters(bits: u16) -> [bool; 3] {
    [IN, OUT, PRI].map(|of_filter| bits & of_filter != 0)
}

/// Has the same done to some of a registration's knotes; an error where one has failed.
fn change(queue: RawFd, wanted: &Wanted, which: [bool; 3], flags: EvFlags) -> Result<()> {
    let change = |filter| Change {
        ident: wanted.fd as usize,
        filter,
        flags,
        serial: wanted.token as usize,
        quiet: false,
    };
    let all = FILTERS.map(change);
    let mut changes = [all[0]; 3];
    let mut len = 0;
    for (change, _) in all.iter().zip(which).filter(|(_, is_there)| *is_there) {
        changes[len] = *change;
        len += 1;
    }
    apply(queue, &changes[..len])?.iter().copied().collect()
}

/// Registers a descriptor.
///
/// # Errors
/// What a filter says: there is none for what was asked (EINVAL), a pipe has no reader (EPIPE), ...
pub(crate) fn add(queue: RawFd, wanted: &Wanted) -> Result<()> {
    change(queue, wanted, filters(wanted.bits), EvFlags::EV_ADD | EvFlags::EV_ONESHOT)
}

/// Arms a registration that has fired, or what its number is now.
pub(crate) fn arm(queue: RawFd, wanted: &Wanted) -> Result<()> {
    if is_fit(wanted.fd, wanted.bits) { add(queue, wanted) } else { Err(Errno::EPERM) }
}

/// Registers for other bits than `before`, or the same ones again; an error where a knote is not there
/// any more: the number was closed unseen, and may be another file.
pub(crate) fn modify(queue: RawFd, wanted: &Wanted, before: u16) -> Result<()> {
    let (old, new) = (filters(before), filters(wanted.bits));
    change(queue, wanted, old, EvFlags::EV_ENABLE)?;
    if old == new {
        return Ok(());
    }
    let gone = std::array::from_fn(|at| old[at] && !new[at]);
    change(queue, wanted, gone, EvFlags::EV_DELETE)?;
    arm(queue, wanted)
}

/// Ends the registration of a number, if there is one.
pub(crate) fn delete(queue: RawFd, fd: RawFd) {
    let wanted = Wanted { fd, bits: 0, token: 0, once: true };
    let _ = change(queue, &wanted, [true; 3], EvFlags::EV_DELETE);
}

/// Takes what is ready, without waiting.
///
/// # Errors
/// Those of kevent(2), which say that the descriptor is not our queue.
pub(crate) fn ready(queue: RawFd, events: &mut [Event]) -> Result<&[Event]> {
    let count = layout::kevent(queue, &[], events, Some(&NOW))?;
    Ok(&events[..count])
}

/// The token of the registration that an event is of; none is [`u64::MAX`].
pub(crate) fn token(raw: &Event) -> u64 {
    event(raw).map_or(u64::MAX, |event| event.serial as u64)
}

/// poll's bits that an event tells: none, it says where to look.
pub(crate) fn bits(_: &Event) -> u16 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_the_programs_is_not_ours() {
        let (queue, serial) = open().unwrap();
        let (other, other_serial) = open().unwrap();
        let theirs = layout::kqueue().unwrap();
        assert!(is_ours(queue, serial) && is_ours(other, other_serial));
        assert!(![theirs, other, -1].into_iter().any(|fd| is_ours(fd, serial)));
        raw::close(other).unwrap();
        assert!(!is_ours(other, other_serial));
        // Known without marks, if need be.
        assert!(is_ours(queue, 0) && !is_ours(other, 0));
        for fd in [queue, theirs] {
            raw::close(fd).unwrap();
        }
    }
}
