//! loom's synchronisation in the shape of `src/sys/linux/queue/sync.rs`.

pub(super) use loom::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

pub(super) fn in_order() {
    loom::sync::atomic::fence(Ordering::SeqCst);
}
