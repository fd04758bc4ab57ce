//! epoll's own vocabulary: what sys/epoll.h says on Linux, here for the systems without one.

#[cfg(target_os = "linux")]
pub use libc::{
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLERR, EPOLLET, EPOLLEXCLUSIVE,
    EPOLLHUP, EPOLLIN, EPOLLMSG, EPOLLONESHOT, EPOLLOUT, EPOLLPRI, EPOLLRDBAND, EPOLLRDHUP,
    EPOLLRDNORM, EPOLLWAKEUP, EPOLLWRBAND, EPOLLWRNORM, epoll_event,
};
#[cfg(not(target_os = "linux"))]
pub use own::*;

/// Compiled in tests on Linux too, to be compared with the C library's.
#[cfg(any(test, not(target_os = "linux")))]
#[cfg_attr(target_os = "linux", allow(unreachable_pub, reason = "public elsewhere"))]
mod own {
    use libc::c_int;

    /// `struct epoll_event`: packed on x86_64, as on Linux.
    #[derive(Clone, Copy)]
    #[allow(non_camel_case_types, reason = "the name in C")]
    #[cfg_attr(target_arch = "x86_64", repr(C, packed))]
    #[cfg_attr(not(target_arch = "x86_64"), repr(C))]
    pub struct epoll_event {
        /// The bits below.
        pub events: u32,
        /// The program's own 64 bits.
        pub u64: u64,
    }

    impl std::fmt::Debug for epoll_event {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let (events, data) = (self.events, self.u64);
            f.debug_struct("epoll_event").field("events", &events).field("u64", &data).finish()
        }
    }

    /// There is something to read.
    pub const EPOLLIN: c_int = 0x1;
    /// There is out-of-band data.
    pub const EPOLLPRI: c_int = 0x2;
    /// There is room to write.
    pub const EPOLLOUT: c_int = 0x4;
    /// An error; told unasked.
    pub const EPOLLERR: c_int = 0x8;
    /// Both directions are shut down; told unasked.
    pub const EPOLLHUP: c_int = 0x10;
    /// As `EPOLLIN`, told by itself.
    pub const EPOLLRDNORM: c_int = 0x40;
    /// Never told.
    pub const EPOLLRDBAND: c_int = 0x80;
    /// As `EPOLLOUT`, told by itself.
    pub const EPOLLWRNORM: c_int = 0x100;
    /// Never told.
    pub const EPOLLWRBAND: c_int = 0x200;
    /// Never told.
    pub const EPOLLMSG: c_int = 0x400;
    /// The other side writes no more.
    pub const EPOLLRDHUP: c_int = 0x2000;
    /// Asked: of several instances one need be told.
    pub const EPOLLEXCLUSIVE: c_int = 1 << 28;
    /// Asked: keep the system awake. Without effect.
    pub const EPOLLWAKEUP: c_int = 1 << 29;
    /// Asked: tell once, then nothing until it is changed.
    pub const EPOLLONESHOT: c_int = 1 << 30;
    /// Asked: tell each activity once.
    pub const EPOLLET: c_int = 1 << 31;
    /// Registers.
    pub const EPOLL_CTL_ADD: c_int = 1;
    /// Ends a registration.
    pub const EPOLL_CTL_DEL: c_int = 2;
    /// Changes a registration.
    pub const EPOLL_CTL_MOD: c_int = 3;
    /// The instance is closed on exec.
    pub const EPOLL_CLOEXEC: c_int = libc::O_CLOEXEC;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::own;

    #[test]
    fn ours_are_linuxs() {
        assert_eq!(size_of::<own::epoll_event>(), size_of::<libc::epoll_event>());
        assert_eq!(align_of::<own::epoll_event>(), align_of::<libc::epoll_event>());
        let shown = format!("{:?}", own::epoll_event { events: 1, u64: 2 });
        assert_eq!(shown, "epoll_event { events: 1, u64: 2 }");
        let pairs = [
            (own::EPOLLIN, libc::EPOLLIN),
            (own::EPOLLPRI, libc::EPOLLPRI),
            (own::EPOLLOUT, libc::EPOLLOUT),
            (own::EPOLLERR, libc::EPOLLERR),
            (own::EPOLLHUP, libc::EPOLLHUP),
            (own::EPOLLRDNORM, libc::EPOLLRDNORM),
            (own::EPOLLRDBAND, libc::EPOLLRDBAND),
            (own::EPOLLWRNORM, libc::EPOLLWRNORM),
            (own::EPOLLWRBAND, libc::EPOLLWRBAND),
            (own::EPOLLMSG, libc::EPOLLMSG),
            (own::EPOLLRDHUP, libc::EPOLLRDHUP),
            (own::EPOLLEXCLUSIVE, libc::EPOLLEXCLUSIVE),
            (own::EPOLLWAKEUP, libc::EPOLLWAKEUP),
            (own::EPOLLONESHOT, libc::EPOLLONESHOT),
            (own::EPOLLET, libc::EPOLLET),
            (own::EPOLL_CTL_ADD, libc::EPOLL_CTL_ADD),
            (own::EPOLL_CTL_DEL, libc::EPOLL_CTL_DEL),
            (own::EPOLL_CTL_MOD, libc::EPOLL_CTL_MOD),
            (own::EPOLL_CLOEXEC, libc::EPOLL_CLOEXEC),
        ];
        assert!(pairs.iter().all(|(ours, theirs)| ours == theirs), "{pairs:x?}");
    }
}
