//! A second look at a descriptor when its event is handed out.

use crate::event::{EvFlags, EventFilter};

use super::knote::Knote;
use super::report::poll_now;

/// Those that want it.
pub(crate) const LOOK_AGAIN: EvFlags = EvFlags::EV_LASTCHECK.union(EvFlags::EV_WAKEONE);

/// The bits to report by.
///
/// EV_LASTCHECK: the kernel tested the condition when it gave out the event, but until our lock was
/// had another thread may have read what there was. What is gone is not reported. (Nor lost: an edge
/// comes again with the next activity, and the level registration stands.)
///
/// EV_WAKEONE: an exclusive registration may not ask for RDHUP, so that only poll tells of an end.
pub(crate) fn look_again(knote: &Knote, fd: i32, bits: u32) -> u32 {
    if knote.has(EvFlags::EV_LASTCHECK) {
        poll_now(fd)
    } else if knote.filter == EventFilter::EVFILT_READ {
        bits | (poll_now(fd) & libc::EPOLLRDHUP as u32)
    } else {
        bits
    }
}
