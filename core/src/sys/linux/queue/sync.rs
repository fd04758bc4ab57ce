//! The standard library's synchronisation, for the files beside this one that core/tests/loom compiles
//! with loom's.

pub(super) use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Between two SeqCst accesses that must keep their order: they do by themselves. (loom takes them for
/// AcqRel, and has a fence here.)
#[inline]
pub(super) fn in_order() {}
