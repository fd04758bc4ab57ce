//! **compat-epoll**: epoll(7) over the kqcompat engine.
//!
//! Names and types are those of `nix::sys::epoll`, so that
//!
//! ```diff
//! -use nix::sys::epoll::*;
//! +use compat_epoll::*;
//! ```
//!
//! moves a program over. The types that carry no behaviour *are* nix's. A queue is one of the
//! engine's ([`kq_core`]), under epoll's own rules for close, dup and fork; the engine's counters
//! show what it does.
//!
//! [`c`] has the calls with the C library's signatures; `libkqcompat_epoll` exports them.
//!
//! ```
//! use std::io::Write;
//! use std::os::unix::net::UnixStream;
//!
//! use compat_epoll::*;
//!
//! let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
//! let (ours, mut theirs) = UnixStream::pair().unwrap();
//! epoll.add(&ours, EpollEvent::new(EpollFlags::EPOLLIN, 17))?;
//! theirs.write_all(b"!").unwrap();
//!
//! let mut events = [EpollEvent::empty(); 8];
//! assert_eq!(epoll.wait(&mut events, EpollTimeout::NONE)?, 1);
//! assert_eq!((events[0].data(), events[0].events()), (17, EpollFlags::EPOLLIN));
//! # Ok::<(), nix::errno::Errno>(())
//! ```

pub mod c;
mod epoll;
#[cfg(any(kqcompat_native, not(target_os = "linux")))]
pub mod eventfd;
mod free;
#[cfg(any(kqcompat_native, not(target_os = "linux")))]
pub mod signalfd;
#[cfg(any(kqcompat_native, not(target_os = "linux")))]
pub mod timerfd;
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", allow(unreachable_pub, reason = "tested only"))]
mod types;

pub use epoll::Epoll;
#[expect(deprecated, reason = "nix has them, deprecated, and so have we")]
pub use free::{epoll_create, epoll_create1, epoll_ctl, epoll_wait};
#[cfg(target_os = "linux")]
pub use nix::sys::epoll::{
    EpollCreateFlags, EpollEvent, EpollFlags, EpollOp, EpollTimeout, EpollTimeoutTryFromError,
};
/// What goes with epoll: the kernel's own, by nix, where it has them.
#[cfg(all(target_os = "linux", not(kqcompat_native)))]
pub use nix::sys::{eventfd, signalfd, timerfd};
#[cfg(not(target_os = "linux"))]
pub use types::{
    EpollCreateFlags, EpollEvent, EpollFlags, EpollOp, EpollTimeout, EpollTimeoutTryFromError,
};
