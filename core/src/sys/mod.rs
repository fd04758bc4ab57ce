//! The seam: one side for Linux, one for systems that have a kqueue, with the same items, chosen here
//! and nowhere else. core/build.rs says when `kqcompat_native` is set.

mod seam;

#[cfg(not(kqcompat_native))]
pub(crate) mod linux;
#[cfg(any(kqcompat_native, test))]
pub(crate) mod native;

/// What poll and select stand on.
#[cfg(not(kqcompat_native))]
pub(crate) use linux::poll_queue;
#[cfg(not(kqcompat_native))]
pub use linux::raw;
#[cfg(kqcompat_native)]
pub(crate) use native::poll_queue;
#[cfg(kqcompat_native)]
pub use native::raw;

#[cfg(target_os = "linux")]
pub(crate) use linux::fork;
#[cfg(not(target_os = "linux"))]
pub(crate) use native::fork;

/// Where the native side is forced, what of Linux's is no kqueue: what tests compare with, the kernel's
/// own calls.
#[cfg(all(kqcompat_native, target_os = "linux"))]
pub(crate) mod linux {
    pub(crate) mod fit;
    pub mod fork;
    pub mod hidden;
    pub mod raw;
}
