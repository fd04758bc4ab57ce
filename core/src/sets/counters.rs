//! What poll and select did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident $name:ident)*) => {
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Count { $($variant),* }

        /// What poll and select did so far, in all threads of this process together.
        ///
        /// Counted without atomic additions (they would cost more than all the rest of a short
        /// call): where threads share a cell, a few may be missing.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct SetCounters { $($(#[$doc])* pub $name: u64,)* }

        /// Reads the numbers.
        pub fn set_counters() -> SetCounters {
            let sum = |what: Count| CELLS.iter().map(|c| c.0[what as usize].load(Relaxed)).sum();
            SetCounters { $($name: sum(Count::$variant),)* }
        }

        impl std::fmt::Display for SetCounters {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(write!(f, concat!(stringify!($name), "={} "), self.$name)?;)*
                Ok(())
            }
        }

        const COUNTS: usize = [$(Count::$variant),*].len();
    };
}

counts! {
    /// Calls answered from the thread's queue.
    Served served
    /// Calls handed to the kernel's own poll or select: small sets, sets seen for the first time,
    /// dense ones, and whatever the engine cannot serve.
    Handed handed
    /// Waits that went on in the kernel's own call after T.
    ChangedOver changed_over
    /// Looks at all entries with the kernel's own call in a loop that is never idle.
    FullChecks full_checks
    /// Registrations that no longer belonged to anything and fired.
    Stale stale
    /// Queues that were thrown away and built anew.
    Rebuilt rebuilt
    /// Numbers that were seen to be closed or reused while registered.
    Reused reused
    /// Registrations that were made.
    Registered registered
    /// Queues that were made.
    Queues queues
}

/// Begins at 0 again.
pub(crate) fn forget_counters() {
    CELLS.iter().flat_map(|cell| &cell.0).for_each(|counter| counter.store(0, Relaxed));
}

#[repr(align(64))]
struct Cell([AtomicU64; COUNTS]);

/// Threads are spread over these.
static CELLS: [Cell; 64] = [const { Cell([const { AtomicU64::new(0) }; COUNTS]) }; 64];

#[inline]
pub(super) fn count(what: Count) {
    // Stacks lie far from each other: this frame's address tells threads apart. (A thread-local
    // would be dearer: in a preloaded library its address is asked of the linker at each use.)
    let here = 0_u8;
    let here = std::ptr::from_ref(std::hint::black_box(&here)) as usize;
    let counter = &CELLS[(here >> 16 ^ here >> 22) % CELLS.len()].0[what as usize];
    counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
}
