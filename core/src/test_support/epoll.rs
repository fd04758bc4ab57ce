//! epoll as tests call it, whoever answers: the kernel through the C library, Rust functions, another
//! C library.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, null_mut};

use libc::{c_int, epoll_event, sigset_t, timespec};

use super::sys::Result;
use super::threads::{self, Background};

pub use super::epoll_native::{KERNEL, NATIVE};

/// EPOLLIN
pub const IN: u32 = libc::EPOLLIN as u32;
/// EPOLLPRI
pub const PRI: u32 = libc::EPOLLPRI as u32;
/// EPOLLOUT
pub const OUT: u32 = libc::EPOLLOUT as u32;
/// EPOLLERR
pub const ERR: u32 = libc::EPOLLERR as u32;
/// EPOLLHUP
pub const HUP: u32 = libc::EPOLLHUP as u32;
/// EPOLLRDNORM
pub const RDNORM: u32 = libc::EPOLLRDNORM as u32;
/// EPOLLWRNORM
pub const WRNORM: u32 = libc::EPOLLWRNORM as u32;
/// EPOLLRDHUP
pub const RDHUP: u32 = libc::EPOLLRDHUP as u32;
/// EPOLLEXCLUSIVE
pub const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;
/// EPOLLWAKEUP
pub const WAKEUP: u32 = libc::EPOLLWAKEUP as u32;
/// EPOLLONESHOT
pub const ONESHOT: u32 = libc::EPOLLONESHOT as u32;
/// EPOLLET
pub const ET: u32 = libc::EPOLLET as u32;

/// EPOLL_CTL_ADD
pub const ADD: c_int = libc::EPOLL_CTL_ADD;
/// EPOLL_CTL_MOD
pub const MOD: c_int = libc::EPOLL_CTL_MOD;
/// EPOLL_CTL_DEL
pub const DEL: c_int = libc::EPOLL_CTL_DEL;

/// The six calls, with C's arguments. Each is safe to call with any pointer to memory of the test's,
/// or to nothing; tests pass no other.
pub trait Backend: Sync {
    /// epoll_create(2)
    fn epoll_create(&self, size: c_int) -> Result<RawFd>;
    /// epoll_create1(2)
    fn epoll_create1(&self, flags: c_int) -> Result<RawFd>;
    /// epoll_ctl(2)
    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()>;
    /// epoll_wait(2)
    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize>;
    /// epoll_pwait(2)
    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize>;
    /// epoll_pwait2(2)
    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize>;
}

/// A backend, and shorthands over it.
#[derive(Clone, Copy)]
pub struct Epoll(pub &'static dyn Backend);

impl std::fmt::Debug for Epoll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Epoll")
    }
}

/// An event, comparable.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Event {
    /// Its bits.
    pub events: u32,
    /// The caller's 64 bits.
    pub data: u64,
}

/// An event with those bits and data.
pub fn event(events: u32, data: u64) -> Event {
    Event { events, data }
}

impl Epoll {
    /// A new instance, close-on-exec.
    pub fn create(self) -> OwnedFd {
        let fd = self.0.epoll_create1(libc::EPOLL_CLOEXEC).expect("epoll_create1");
        // SAFETY: the descriptor was made just now and nobody else knows it.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }

    /// epoll_ctl(2) of numbers; no event is a null pointer.
    pub fn ctl(self, epfd: RawFd, op: c_int, fd: RawFd, event: Option<Event>) -> Result<()> {
        match event {
            None => self.0.epoll_ctl(epfd, op, fd, null_mut()),
            Some(Event { events, data }) => {
                self.0.epoll_ctl(epfd, op, fd, &mut epoll_event { events, u64: data })
            }
        }
    }

    /// Registers.
    pub fn add(self, ep: &impl AsRawFd, fd: &impl AsRawFd, events: u32, data: u64) -> Result<()> {
        self.ctl(ep.as_raw_fd(), ADD, fd.as_raw_fd(), Some(event(events, data)))
    }

    /// Changes.
    pub fn modify(
        self,
        ep: &impl AsRawFd,
        fd: &impl AsRawFd,
        events: u32,
        data: u64,
    ) -> Result<()> {
        self.ctl(ep.as_raw_fd(), MOD, fd.as_raw_fd(), Some(event(events, data)))
    }

    /// Ends a registration.
    pub fn delete(self, ep: &impl AsRawFd, fd: &impl AsRawFd) -> Result<()> {
        self.ctl(ep.as_raw_fd(), DEL, fd.as_raw_fd(), None)
    }

    /// epoll_wait(2) of a number.
    pub fn wait_on(self, epfd: RawFd, maxevents: usize, timeout: c_int) -> Result<Vec<Event>> {
        take(maxevents, |events, max| self.0.epoll_wait(epfd, events, max, timeout))
    }

    /// Waits.
    pub fn wait(self, ep: &impl AsRawFd, maxevents: usize, timeout: c_int) -> Result<Vec<Event>> {
        self.wait_on(ep.as_raw_fd(), maxevents, timeout)
    }

    /// epoll_pwait(2); no set is a null pointer.
    pub fn pwait(
        self,
        ep: &impl AsRawFd,
        maxevents: usize,
        timeout: c_int,
        mask: Option<&sigset_t>,
    ) -> Result<Vec<Event>> {
        let mask = mask.map_or(ptr::null(), ptr::from_ref);
        take(maxevents, |events, max| {
            self.0.epoll_pwait(ep.as_raw_fd(), events, max, timeout, mask)
        })
    }

    /// epoll_pwait2(2) with seconds and nanoseconds; none is a null pointer.
    pub fn pwait2(
        self,
        ep: &impl AsRawFd,
        maxevents: usize,
        timeout: Option<(i64, i64)>,
    ) -> Result<Vec<Event>> {
        let spec = timeout.map(|(tv_sec, tv_nsec)| timespec { tv_sec, tv_nsec });
        let spec = spec.as_ref().map_or(ptr::null(), ptr::from_ref);
        take(maxevents, |events, max| {
            self.0.epoll_pwait2(ep.as_raw_fd(), events, max, spec, ptr::null())
        })
    }

    /// What is ready now.
    #[track_caller]
    pub fn ready(self, ep: &impl AsRawFd) -> Vec<Event> {
        self.wait(ep, 64, 0).expect("epoll_wait")
    }

    /// The bits of the one event that is ready now; 0 where none is.
    #[track_caller]
    pub fn bits(self, ep: &impl AsRawFd) -> u32 {
        let ready = self.ready(ep);
        assert!(ready.len() <= 1, "one descriptor, more than one event: {ready:?}");
        ready.first().map_or(0, |event| event.events)
    }

    /// Waits until something is ready (a minute at most): the bits of the one event.
    #[track_caller]
    pub fn bits_soon(self, ep: &impl AsRawFd) -> u32 {
        let ready = self.wait(ep, 64, 60_000).expect("epoll_wait");
        assert_eq!(ready.len(), 1, "{ready:?}");
        ready[0].events
    }

    /// The bits that a fresh registration of `fd` for `events` reports at once.
    #[track_caller]
    pub fn state(self, fd: &impl AsRawFd, events: u32) -> u32 {
        let ep = self.create();
        self.add(&ep, fd, events, 0).expect("epoll_ctl");
        self.bits(&ep)
    }

    /// Starts a thread that waits for one event, for ever, and returns when it is asleep.
    #[track_caller]
    pub fn waiter(self, ep: &impl AsRawFd) -> Background<Result<Vec<Event>>> {
        let epfd = ep.as_raw_fd();
        let waiter = threads::start(move || self.wait_on(epfd, 1, -1));
        assert!(waiter.wait_until_asleep(), "it did not wait: {:?}", waiter.join());
        waiter
    }
}

/// Calls with room for that many events, and takes those written. What lies after them must be left
/// as it was.
fn take(
    maxevents: usize,
    call: impl FnOnce(*mut epoll_event, c_int) -> Result<usize>,
) -> Result<Vec<Event>> {
    const UNTOUCHED: epoll_event = epoll_event { events: 0xdead_beef, u64: 0xfeed_face_cafe_f00d };
    let mut events = vec![UNTOUCHED; maxevents + 1];
    let count = call(events.as_mut_ptr(), maxevents as c_int)?;
    let all: Vec<Event> = events.iter().map(|e| event(e.events, e.u64)).collect();
    let (written, rest) = all.split_at(count);
    assert!(rest.iter().all(|e| *e == event(UNTOUCHED.events, UNTOUCHED.u64)), "{rest:?}");
    Ok(written.to_vec())
}
