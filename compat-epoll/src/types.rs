//! nix's types of `nix::sys::epoll`, which it has on Linux only.

use std::ffi::c_int;

use bitflags::bitflags;
use kq_core::epoll_abi as e;
#[cfg(not(target_os = "linux"))]
pub use nix::poll::{
    PollTimeout as EpollTimeout, PollTimeoutTryFromError as EpollTimeoutTryFromError,
};

bitflags! {
    /// What to wait for, and what came (epoll_ctl(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct EpollFlags: c_int {
        /// There is something to read.
        const EPOLLIN = e::EPOLLIN;
        /// There is out-of-band data.
        const EPOLLPRI = e::EPOLLPRI;
        /// There is room to write.
        const EPOLLOUT = e::EPOLLOUT;
        /// As `EPOLLIN`, told by itself.
        const EPOLLRDNORM = e::EPOLLRDNORM;
        /// Never told.
        const EPOLLRDBAND = e::EPOLLRDBAND;
        /// As `EPOLLOUT`, told by itself.
        const EPOLLWRNORM = e::EPOLLWRNORM;
        /// Never told.
        const EPOLLWRBAND = e::EPOLLWRBAND;
        /// Never told.
        const EPOLLMSG = e::EPOLLMSG;
        /// An error; told unasked.
        const EPOLLERR = e::EPOLLERR;
        /// Both directions are shut down; told unasked.
        const EPOLLHUP = e::EPOLLHUP;
        /// The other side writes no more.
        const EPOLLRDHUP = e::EPOLLRDHUP;
        /// Asked: of several instances one need be told.
        const EPOLLEXCLUSIVE = e::EPOLLEXCLUSIVE;
        /// Asked: keep the system awake. Without effect.
        const EPOLLWAKEUP = e::EPOLLWAKEUP;
        /// Asked: tell once, then nothing until it is changed.
        const EPOLLONESHOT = e::EPOLLONESHOT;
        /// Asked: tell each activity once.
        const EPOLLET = e::EPOLLET;
    }
}

bitflags! {
    /// How an instance is made (epoll_create1(2)).
    #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
    pub struct EpollCreateFlags: c_int {
        /// It is closed on exec.
        const EPOLL_CLOEXEC = e::EPOLL_CLOEXEC;
    }
}

/// What to do (epoll_ctl(2)).
#[allow(clippy::enum_variant_names, reason = "nix's names")]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(i32)]
#[non_exhaustive]
pub enum EpollOp {
    /// Register.
    EpollCtlAdd = e::EPOLL_CTL_ADD,
    /// End the registration.
    EpollCtlDel = e::EPOLL_CTL_DEL,
    /// Change the registration.
    EpollCtlMod = e::EPOLL_CTL_MOD,
}

/// An event, or what to wait for.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct EpollEvent {
    event: e::epoll_event,
}

impl EpollEvent {
    /// These flags, with the program's own 64 bits.
    pub const fn new(events: EpollFlags, data: u64) -> Self {
        Self { event: e::epoll_event { events: events.bits() as u32, u64: data } }
    }

    /// A place for an event.
    pub const fn empty() -> Self {
        Self { event: e::epoll_event { events: 0, u64: 0 } }
    }

    /// The flags.
    pub const fn events(&self) -> EpollFlags {
        EpollFlags::from_bits_retain(self.event.events as c_int)
    }

    /// The program's own 64 bits.
    pub const fn data(&self) -> u64 {
        self.event.u64
    }
}

impl PartialEq for EpollEvent {
    fn eq(&self, other: &Self) -> bool {
        (self.events(), self.data()) == (other.events(), other.data())
    }
}

impl Eq for EpollEvent {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use nix::sys::epoll;

    #[test]
    fn they_are_nixs() {
        let ours: Vec<_> = EpollFlags::all().iter_names().map(|(n, f)| (n, f.bits())).collect();
        let theirs: Vec<_> =
            epoll::EpollFlags::all().iter_names().map(|(n, f)| (n, f.bits())).collect();
        assert_eq!(ours, theirs);
        assert_eq!(EpollCreateFlags::all().bits(), epoll::EpollCreateFlags::all().bits());
        let pairs = [
            (EpollOp::EpollCtlAdd as c_int, epoll::EpollOp::EpollCtlAdd as c_int),
            (EpollOp::EpollCtlDel as c_int, epoll::EpollOp::EpollCtlDel as c_int),
            (EpollOp::EpollCtlMod as c_int, epoll::EpollOp::EpollCtlMod as c_int),
        ];
        assert!(pairs.iter().all(|(ours, theirs)| ours == theirs));
        assert_eq!(size_of::<EpollEvent>(), size_of::<epoll::EpollEvent>());
        let event = EpollEvent::new(EpollFlags::EPOLLIN, 7);
        assert_eq!((event.events(), event.data()), (EpollFlags::EPOLLIN, 7));
        assert_ne!(event, EpollEvent::empty());
    }
}
