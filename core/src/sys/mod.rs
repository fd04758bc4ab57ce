//! The seam: one side for Linux, one for systems that have a kqueue, with the same items, chosen here
//! and nowhere else. core/build.rs says when `kqcompat_native` is set.

#[cfg(not(kqcompat_native))]
pub(crate) mod linux;
#[cfg(any(kqcompat_native, test))]
pub(crate) mod native;

/// Where the native side is forced, what of Linux's is no kqueue: the kernel's own calls, with which
/// poll and select serve what is not in a queue, and tests compare.
#[cfg(all(kqcompat_native, target_os = "linux"))]
pub(crate) mod linux {
    pub mod fork;
    pub mod hidden;
    pub mod raw;
}
