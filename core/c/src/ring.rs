//! The event ring for C: `kevent_ring_open` and its kin.

use kq_core::abi::RawRing;
use kq_core::{Errno, KEvent};
use libc::{c_int, c_uint, timespec};

use crate::answer;

/// `kevent_ring_open(kq, capacity)` - a ring with room for so many unread events, or NULL.
///
/// errno: `EBADF` no queue; `EINVAL` a capacity of 0 or over 2^30, or the queue has a ring.
#[unsafe(no_mangle)]
pub extern "C" fn kevent_ring_open(kq: c_int, capacity: c_uint) -> *mut RawRing {
    match RawRing::open(kq, capacity as usize) {
        Ok(ring) => Box::into_raw(Box::new(ring)),
        Err(errno) => {
            errno.set();
            std::ptr::null_mut()
        }
    }
}

/// `kevent_ring_close(ring)` - the ring goes, and unread events with it. NULL is nothing.
///
/// # Safety
/// A ring of [`kevent_ring_open`] that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_close(ring: *mut RawRing) {
    if !ring.is_null() {
        // SAFETY: made by `kevent_ring_open`; the caller's promise.
        drop(unsafe { Box::from_raw(ring) });
    }
}

/// `kevent_ring_wait(ring, timeout)` - waits until there is something to read, and moves events into
/// the ring if it is empty; how many events there are, 0 when the time is over, or -1. No cancellation
/// point.
///
/// errno: see [`kq_core::Ring::wait`].
///
/// # Safety
/// A ring that is open; the timeout is NULL or can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_wait(ring: *const RawRing, timeout: *const timespec) -> c_int {
    // SAFETY: the caller's promise.
    let (ring, timeout) = unsafe { (&*ring, timeout.as_ref()) };
    answer(ring.wait(timeout.copied()).map(|n| n as c_int))
}

/// `kevent_ring_fill(ring)` - moves what is ready into the ring, as far as there is room; how many
/// events, or -1.
///
/// errno: see [`kq_core::Ring::fill`].
///
/// # Safety
/// A ring that is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_fill(ring: *const RawRing) -> c_int {
    // SAFETY: the caller's promise.
    answer(unsafe { &*ring }.fill().map(|n| n as c_int))
}

/// `kevent_ring_read(ring, eventlist, nevents, position)` - copies unread events, and says in
/// `*position` what [`kevent_ring_commit`] wants to know; how many. No system call.
///
/// # Safety
/// A ring that is open; room for `nevents` events, and a position.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_read(
    ring: *const RawRing,
    eventlist: *mut KEvent,
    nevents: c_int,
    position: *mut u64,
) -> c_int {
    // SAFETY: the caller's promise; an event is good whatever its bits are.
    unsafe {
        let (n, from) = (*ring).read(room(eventlist, nevents));
        position.write(from);
        n as c_int
    }
}

/// `kevent_ring_commit(ring, position, n)` - takes the first `n` events that were read at a position;
/// 0, or -1.
///
/// errno: `EAGAIN`: another thread has taken some of them; what was read is void.
///
/// # Safety
/// A ring that is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_commit(
    ring: *const RawRing,
    position: u64,
    n: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    let done = usize::try_from(n).is_ok_and(|n| unsafe { &*ring }.commit(position, n));
    answer(if done { Ok(0) } else { Err(Errno::EAGAIN) })
}

/// `kevent_ring_take(ring, eventlist, nevents)` - reads and commits; how many. No system call.
///
/// # Safety
/// A ring that is open, and room for `nevents` events.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_take(
    ring: *const RawRing,
    eventlist: *mut KEvent,
    nevents: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*ring).take(room(eventlist, nevents)) as c_int }
}

/// `kevent_ring_overflows(ring)` - how often the ring had too little room.
///
/// # Safety
/// A ring that is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kevent_ring_overflows(ring: *const RawRing) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { &*ring }.overflows()
}

/// # Safety
/// Room for `nevents` events, for as long as the slice is used; none where that is not positive.
unsafe fn room<'a>(eventlist: *mut KEvent, nevents: c_int) -> &'a mut [KEvent] {
    match usize::try_from(nevents) {
        // SAFETY: the caller's promise. The memory may be uninitialised: it is only written.
        Ok(n @ 1..) => unsafe { std::slice::from_raw_parts_mut(eventlist, n) },
        _ => &mut [],
    }
}
