//! What the engine did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// What a queue, or all queues together, did so far. Each number only ever grows, but for
        /// `queues` and `knotes`, which say how many there are now.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl std::ops::AddAssign for Counters {
            fn add_assign(&mut self, other: Self) { $(self.$name += other.$name;)* }
        }

        /// The same, counted by many threads. Relaxed order: nothing is decided by a counter.
        #[derive(Debug, Default)]
        pub(crate) struct Live { $(pub(crate) $name: AtomicU64,)* }

        impl Live {
            pub(crate) const fn new() -> Self { Self { $($name: AtomicU64::new(0),)* } }

            /// The numbers as they are now.
            pub(crate) fn snapshot(&self) -> Counters {
                Counters { $($name: self.$name.load(Ordering::Relaxed),)* }
            }

            #[cfg(not(kqcompat_native))]
            /// Takes the numbers out and leaves zeros.
            pub(crate) fn take(&self) -> Counters {
                Counters { $($name: self.$name.swap(0, Ordering::Relaxed),)* }
            }

            #[cfg(not(kqcompat_native))]
            /// Adds numbers that another set counted.
            pub(crate) fn add(&self, more: Counters) {
                $(self.$name.fetch_add(more.$name, Ordering::Relaxed);)*
            }
        }
    };
}

counters! {
    /// Queues that are open.
    queues
    /// Knotes (kqueue) and registrations (epoll's rules) that are on a queue. A registration that
    /// ended because its descriptor was closed is counted until its number is seen again: under
    /// epoll's rules nobody tells us of the close.
    knotes
    /// Changes that were asked for: entries of a change list, or calls of epoll_ctl.
    changes
    /// Waits that were begun: calls that asked for events, with or without a timeout.
    waits
    /// Events that were handed out.
    events
}

/// Adds to one counter.
#[inline]
pub(crate) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Adds to one counter that is only changed under its queue's lock, which spares the bus lock. What
/// is added may be a difference that wraps.
#[cfg(not(kqcompat_native))]
#[inline]
pub(crate) fn count_locked(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Takes from one counter that says how many there are.
#[cfg(not(kqcompat_native))]
#[inline]
pub(crate) fn uncount(counter: &AtomicU64, less: u64) {
    counter.fetch_sub(less, Ordering::Relaxed);
}
