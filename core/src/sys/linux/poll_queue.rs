//! The queue of a set of poll or select: an epoll set that nobody else sees.

use std::os::fd::RawFd;
use std::ptr::null;

use nix::errno::Errno;

use super::fit;
use super::hidden::Own;
use super::known_set::KnownSet;
use super::raw::{self, Result};
use super::roll;

/// What the queue tells.
pub(crate) type Event = libc::epoll_event;
pub(crate) const NO_EVENT: Event = Event { events: 0, u64: 0 };

/// poll's own bits (POLLNVAL is the kernel's alone to set): others must not reach a registration,
/// where they would mean something else. 0x2000 is POLLRDHUP.
pub(crate) const POLL_BITS: u16 = 0x27df;

/// Are registrations armed once in any case? Here it is the caller's to say.
pub(crate) const ALWAYS_ONCE: bool = false;

/// A registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) fd: RawFd,
    /// poll's bits.
    pub(crate) bits: u16,
    /// Comes back with its events.
    pub(crate) token: u64,
    /// An event ends its watch.
    pub(crate) once: bool,
}

/// A new queue, at a high number, and the serial number by which it [is known](is_ours).
pub(crate) fn open() -> Result<(RawFd, u32)> {
    let own = KnownSet::new()?.own();
    Ok((own.number(), own.serial()))
}

/// Is this number the queue of this serial number, and none that the program has there? Also in a forked
/// child, of its parent's.
pub(crate) fn is_ours(fd: RawFd, serial: u32) -> bool {
    KnownSet::of(Own::new(fd, serial)).is_some_and(|set| set.check().is_ok())
}

/// What there is of our own besides queues, and stays.
pub(crate) fn standing() -> [RawFd; 2] {
    roll::numbers()
}

/// May this descriptor be registered? Whatever it is asked for.
pub(crate) fn is_fit(fd: RawFd, _bits: u16) -> bool {
    fit::is_fit(fd)
}

/// Registers a descriptor.
pub(crate) fn add(queue: RawFd, wanted: &Wanted) -> Result<()> {
    match control(queue, libc::EPOLL_CTL_ADD, wanted) {
        // A registration of ours that is not armed, or could not be deleted, of the same file.
        Err(Errno::EEXIST) => control(queue, libc::EPOLL_CTL_MOD, wanted),
        other => other,
    }
}

/// Arms a registration that has fired; an error where its number is of another file by now.
pub(crate) fn arm(queue: RawFd, wanted: &Wanted) -> Result<()> {
    control(queue, libc::EPOLL_CTL_MOD, wanted)
}

/// Registers for other bits than `before`, or the same ones again; an error where the number is not
/// registered any more: it was closed unseen, and may be another file.
pub(crate) fn modify(queue: RawFd, wanted: &Wanted, _before: u16) -> Result<()> {
    control(queue, libc::EPOLL_CTL_MOD, wanted)
}

/// Ends the registration of a number, if there is one.
pub(crate) fn delete(queue: RawFd, fd: RawFd) {
    let _ = raw::epoll_ctl(queue, libc::EPOLL_CTL_DEL, fd, null());
}

fn control(queue: RawFd, op: i32, wanted: &Wanted) -> Result<()> {
    let once = if wanted.once { libc::EPOLLONESHOT as u32 } else { 0 };
    let events = u32::from(wanted.bits & POLL_BITS) | once;
    raw::epoll_ctl(queue, op, wanted.fd, &Event { events, u64: wanted.token })
}

/// Takes what is ready, without waiting.
///
/// # Errors
/// Those of epoll_wait(2), which say that the descriptor is not our queue.
#[inline]
pub(crate) fn ready(queue: RawFd, events: &mut [Event]) -> Result<&[Event]> {
    let room = events.len() as i32;
    // SAFETY: `events` is borrowed mutably and has `room` places.
    let count = unsafe { raw::epoll_wait(queue, events.as_mut_ptr(), room, 0) }?;
    Ok(&events[..count])
}

/// The token of the registration that an event is of.
#[inline]
pub(crate) fn token(event: &Event) -> u64 {
    event.u64
}

/// poll's bits that an event tells.
#[inline]
pub(crate) fn bits(event: &Event) -> u16 {
    event.events as u16
}
