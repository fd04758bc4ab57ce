//! kevent() from a signal handler that interrupted its own thread in a queue.
//!
//! On the BSDs kevent() is a system call, which a handler may make. Here the queue is locked by the
//! very thread that was interrupted. Changes are put down, and applied when the thread leaves the
//! queue: so a handler can trigger a USER knote at any time, and no trigger is lost. Events cannot be
//! handed out meanwhile.

use std::cell::UnsafeCell;
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;

use super::Queue;
use crate::event::KEvent;
use crate::sys::linux::kevent::{Caller, apply_later};
use crate::sys::linux::raw::Result;

const FREE: u32 = 0;
const BUSY: u32 = 1;
const FULL: u32 = 2;

/// A place for one change.
struct Place {
    state: AtomicU32,
    change: UnsafeCell<Change>,
}

#[derive(Clone, Copy)]
struct Change {
    /// Changes are applied in the order in which they were put down.
    turn: u64,
    queue: *const Queue,
    life: u32,
    change: KEvent,
}

// SAFETY: whoever has made a place BUSY is the only one to touch its change.
unsafe impl Sync for Place {}

const NOTHING: Change = Change {
    turn: 0,
    queue: null(),
    life: 0,
    change: KEvent { ident: 0, filter: 0, flags: 0, fflags: 0, data: 0, udata: 0, ext: [0; 4] },
};

static PLACES: [Place; 64] =
    [const { Place { state: AtomicU32::new(FREE), change: UnsafeCell::new(NOTHING) } }; 64];
static TURN: AtomicU64 = AtomicU64::new(0);
/// Something was put down.
static SOME: AtomicBool = AtomicBool::new(false);
/// Puts down one change.
///
/// # Errors
/// - `EAGAIN`: there is no place left.
pub(crate) fn put_down(caller: Caller, change: KEvent) -> Result<()> {
    let claim = |place: &&Place| {
        let orders = (Ordering::Acquire, Ordering::Relaxed);
        place.state.compare_exchange(FREE, BUSY, orders.0, orders.1).is_ok()
    };
    let place = PLACES.iter().find(claim).ok_or(Errno::EAGAIN)?;
    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    // SAFETY: it was made BUSY just now, by us.
    unsafe {
        *place.change.get() = Change { turn, queue: caller.queue, life: caller.life, change }
    };
    place.state.store(FULL, Ordering::Release);
    SOME.store(true, Ordering::Release);
    Ok(())
}

/// Whether changes were put down.
#[inline]
pub(super) fn any() -> bool {
    SOME.load(Ordering::Relaxed)
}

/// Applies what was put down. The thread still counts as in a queue, but has none locked.
pub(super) fn see_to_changes() {
    if !SOME.swap(false, Ordering::AcqRel) {
        return;
    }
    let mut taken = [NOTHING; PLACES.len()];
    let mut n = 0;
    for place in &PLACES {
        let orders = (Ordering::Acquire, Ordering::Relaxed);
        if place.state.compare_exchange(FULL, BUSY, orders.0, orders.1).is_ok() {
            // SAFETY: as above.
            taken[n] = unsafe { *place.change.get() };
            n += 1;
            place.state.store(FREE, Ordering::Release);
        }
    }
    taken[..n].sort_unstable_by_key(|change| change.turn);
    for Change { queue, life, change, .. } in &taken[..n] {
        // SAFETY: a caller's queue, and these are never freed.
        if let Some(queue) = unsafe { queue.as_ref() } {
            apply_later(queue, *life, change);
        }
    }
}
