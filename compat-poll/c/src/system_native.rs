//! The system's own calls, which core finds behind ours.

pub(crate) use kq_core::sets::RawCalls as Libc;
pub(crate) use kq_core::sets::raw::{poll, ppoll};

/// `sets::prepare` has them found.
pub(crate) use kq_core::sets::raw::are_exported as find;
