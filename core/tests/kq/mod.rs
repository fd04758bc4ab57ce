//! What the tests of single filters share.

use std::os::fd::AsRawFd;

use kq_core::test_support::sys;
use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::timespec;

pub(crate) const ADD: EvFlags = EvFlags::EV_ADD;
const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });

/// A change of a knote.
pub(crate) fn change(
    ident: impl TryInto<usize>,
    filter: EventFilter,
    flags: EvFlags,
    fflags: FilterFlag,
) -> KEvent {
    let ident = ident.try_into().ok().expect("an ident is not negative");
    KEvent::new(ident, filter, flags, fflags, 0, 0x55)
}

/// Applies changes only.
pub(crate) fn apply(kq: &Kqueue, changes: &[KEvent]) -> Result<(), Errno> {
    kq.kevent(changes, &mut [], None).map(drop)
}

/// What is there now.
pub(crate) fn now(kq: &Kqueue) -> Vec<KEvent> {
    take(kq, NOW)
}

/// Waits for the next events.
pub(crate) fn next(kq: &Kqueue) -> Vec<KEvent> {
    take(kq, None)
}

fn take(kq: &Kqueue, timeout: Option<timespec>) -> Vec<KEvent> {
    let mut events = [change(0, EventFilter::EVFILT_READ, ADD, FilterFlag::empty()); 16];
    let n = kq.kevent(&[], &mut events, timeout).expect("kevent");
    events[..n].to_vec()
}

/// Whether the queue's own descriptor is readable.
pub(crate) fn is_readable(kq: &Kqueue) -> bool {
    sys::poll(kq.as_raw_fd(), libc::POLLIN) != 0
}
