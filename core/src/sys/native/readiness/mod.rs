//! The readiness view over a kqueue: epoll's calls, in user space.
//!
//! An instance is a queue, its descriptor the queue's. A registration is up to three knotes (READ,
//! WRITE, EXCEPT), level or edge as it was asked for, and one that is there for hang-ups only where
//! nothing was. What they report is put together for each descriptor by the tables of [`bits`];
//! where the knotes' own events do not say enough, all filters are asked ([`probe`]).
//!
//! Level knotes keep the queue's descriptor readable exactly while there is an event, for whoever
//! polls it or nests it.

pub(super) mod apply;
mod batch;
mod bits;
mod ctl;
mod instance;
pub(super) mod interest;
mod kind;
mod nesting;
mod probe;
pub(super) mod wait;

use std::os::fd::RawFd;

use libc::c_int;
use nix::errno::Errno;

use crate::epoll_abi as e;

use super::raw::keep_errno;

pub use ctl::epoll_ctl;
pub use instance::{counters, counters_of, forget as closed};
pub use wait::{epoll_pwait, epoll_pwait2};

/// `epoll_create1(flags)` - makes an instance; returns its descriptor, a queue's.
///
/// # Errors
/// - `EINVAL`: a flag other than `EPOLL_CLOEXEC`.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
pub fn epoll_create1(flags: c_int) -> Result<RawFd, Errno> {
    if flags & !e::EPOLL_CLOEXEC != 0 {
        return Err(Errno::EINVAL);
    }
    keep_errno(|| {
        let fd = instance::create()?;
        super::set_close_on_exec(fd, flags & e::EPOLL_CLOEXEC != 0);
        Ok(fd)
    })
}
