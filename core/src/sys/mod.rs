//! The seam: one backend per family of systems, with the same items, chosen here and nowhere else.

#[cfg(target_os = "linux")]
pub(crate) mod linux;
