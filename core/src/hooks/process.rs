//! Whose memory and whose descriptors are these?

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};

use crate::sys::{fork, raw};

/// The process that made the queues there are.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static PID: AtomicI32 = AtomicI32::new(0);

/// Who runs, as seen from the queues in our memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whose {
    /// The process that made them.
    Ours,
    /// A child that shares its memory (vfork) but not its descriptors: queues are not to be touched.
    Shared,
    /// A forked child, or any process, that has made no queue: those in our memory are its parent's.
    Fresh,
}

/// This process makes a queue.
pub(crate) fn has_queues() {
    let generation = fork::generation();
    if GENERATION.load(SeqCst) != generation {
        PID.store(raw::getpid(), SeqCst);
        GENERATION.store(generation, SeqCst);
    }
}

/// See [`Whose`]. Costs a system call, since nothing in memory tells a vfork child.
pub(crate) fn whose() -> Whose {
    if GENERATION.load(SeqCst) != fork::generation() {
        Whose::Fresh
    } else if PID.load(SeqCst) == raw::getpid() {
        Whose::Ours
    } else {
        Whose::Shared
    }
}
