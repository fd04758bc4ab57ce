//! Others who want to be told of closes: queues under kqueue's rules, where closing a number drops
//! its knotes.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Whom to tell. The function may be called in a signal handler and from any thread; it is not called
/// in a vfork or forked child that has no queue of its own.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    /// The number is about to be closed and still means its file.
    pub closing: fn(RawFd),
}

/// Room for the sinks there are, and some.
static SINKS: [AtomicPtr<Sink>; 4] = [const { AtomicPtr::new(null_mut()) }; 4];

/// Adds a sink, for good; once, however often it is added. It is told of the numbers that were given
/// to [`watch`](super::watch).
///
/// # Panics
/// If there are four already: the engine has fewer parts that need one.
pub fn add_sink(sink: &'static Sink) {
    let new = std::ptr::from_ref(sink).cast_mut();
    for place in &SINKS {
        match place.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return,
            Err(there) if there == new => return,
            Err(_) => {}
        }
    }
    panic!("more sinks than there is room for");
}

pub(super) fn closing(fd: RawFd) {
    for place in &SINKS {
        // SAFETY: the table holds null or what `add_sink` took from a `&'static Sink`.
        if let Some(sink) = unsafe { place.load(Ordering::Acquire).as_ref() } {
            (sink.closing)(fd);
        }
    }
}
