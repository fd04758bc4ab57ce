//! The seam: one side for Linux, one for systems that have a kqueue, with the same items, chosen here
//! and nowhere else. core/build.rs says when `kqcompat_native` is set.

#[cfg(not(kqcompat_native))]
pub(crate) mod linux;
#[cfg(any(kqcompat_native, test))]
pub(crate) mod native;

/// The kernel's own calls, with which tests compare what is forced onto a library's kqueue.
#[cfg(all(kqcompat_native, target_os = "linux"))]
pub(crate) mod linux {
    pub mod raw;
}
