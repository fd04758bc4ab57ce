//! **kq-core**: one kqueue engine, with the names of `nix::sys::event`.
//!
//! On the BSDs and macOS it passes through to kqueue(2); on Linux it is built on epoll(7) and its
//! kin, through raw system calls. The compat crates (select, poll, epoll) are thin readings of it
//! through the readiness view.

#[cfg(not(any(
    target_os = "linux",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
    target_os = "macos",
)))]
compile_error!("kqcompat knows Linux, FreeBSD, NetBSD, OpenBSD, DragonFly and macOS");

#[cfg(not(kqcompat_native))]
mod aio;
mod counters;
#[cfg(not(kqcompat_native))]
mod entry;
pub mod epoll_abi;
mod event;
#[cfg_attr(kqcompat_native, allow(dead_code, unused_imports, reason = "some is for stats alone"))]
pub mod hooks;
#[cfg(not(kqcompat_native))]
mod kqueue;
pub mod next;
#[cfg(not(kqcompat_native))]
mod ring;
#[cfg(not(kqcompat_native))]
mod selective;
#[cfg_attr(
    kqcompat_native,
    allow(dead_code, unused_imports, unreachable_pub, reason = "some is for stats alone")
)]
pub mod sets;
#[cfg(not(kqcompat_native))]
pub mod stats;
mod sys;
#[cfg(not(kqcompat_native))]
mod trace;
#[cfg(not(kqcompat_native))]
mod wait;

#[cfg(not(kqcompat_native))]
pub use aio::{AioDone, AioList, AioNotify, AioRefused, AioRequest};
pub use counters::Counters;
#[cfg(not(kqcompat_native))]
pub use entry::{Entry, EntryChange};
pub use event::{EvFlags, EventFilter, EventFlag, FilterFlag, KEvent};
#[cfg(not(kqcompat_native))]
pub use kqueue::Kqueue;
pub use nix::errno::Errno;
#[cfg(not(kqcompat_native))]
pub use ring::{Batch, Ring};
#[cfg(not(kqcompat_native))]
pub use selective::{Cpus, Places, Selective, SelectiveCounts};
#[cfg(kqcompat_native)]
pub use sys::native::kqueue::Kqueue;
#[cfg(not(kqcompat_native))]
pub use wait::WaitFlags;

#[cfg(not(kqcompat_native))]
pub use sys::linux::aio::AioCancel;

/// kqueue and kevent by number and pointer, for the C library and whoever else has no [`Kqueue`].
#[cfg(not(kqcompat_native))]
pub mod abi {
    /// Asynchronous requests.
    pub mod aio {
        pub use crate::sys::linux::aio::abi::*;
    }
    pub use crate::ring::RawRing;
    pub use crate::sys::linux::abi::{Wait, entry, kevent, kevent_min, kqueue, set_private};
    pub use crate::sys::linux::kevent::RawWait;
    pub use crate::sys::linux::queue::closes::{closing, listen};
}

/// The readiness view: descriptors and poll bits, as epoll, poll and select know them.
///
/// On Linux it carries the kernel's own bits, exactly. On a native kqueue it is put together
/// from kevents by tables: docs/native-tables.md.
pub mod readiness {
    #[cfg(kqcompat_native)]
    pub use crate::sys::native::readiness::*;

    /// The parts of a wait, for a caller who makes the blocking call himself.
    #[cfg(not(kqcompat_native))]
    pub mod parts {
        pub use crate::sys::linux::epoll_again::{Rest, Since, until_taken};
        pub use crate::sys::linux::epoll_millis::Millis;
        pub use crate::sys::linux::epoll_rules::{Waiting, begin_wait};
    }

    #[cfg(not(kqcompat_native))]
    pub use crate::sys::linux::epoll_rules::{
        closed, epoll_create_hidden, epoll_create1, epoll_ctl, epoll_wait,
    };
    #[cfg(not(kqcompat_native))]
    pub use crate::sys::linux::epoll_waits::{epoll_pwait, epoll_pwait2};
    #[cfg(not(kqcompat_native))]
    pub use crate::sys::linux::queue::{counters, counters_of};
}

/// eventfd, timerfd and signalfd where the system has none.
#[cfg(kqcompat_native)]
pub mod objects {
    pub use crate::sys::native::objects::*;
}

#[cfg(not(kqcompat_native))]
pub use sys::linux::{fd_table, signals};
#[cfg(target_os = "linux")]
pub use sys::linux::{fork, hidden, raw};

#[cfg(all(feature = "test-support", target_os = "linux"))]
// The errors of its functions are those of the calls that these are named for.
#[allow(clippy::missing_errors_doc)]
pub mod test_support;
