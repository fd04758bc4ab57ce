//! The epoll instance, as nix has it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libc::c_int;
use nix::Result;

use crate::{EpollCreateFlags, EpollEvent, EpollOp, EpollTimeout, c};

/// An epoll instance: a queue of the engine under epoll's rules.
///
/// Registered, reported, changed, and ended:
///
/// ```
/// use std::io::Write;
///
/// use compat_epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
/// epoll.add(&reader, EpollEvent::new(EpollFlags::EPOLLIN, 7))?;
/// writer.write_all(b"x")?;
/// let mut events = [EpollEvent::empty(); 8];
/// assert_eq!(epoll.wait(&mut events, EpollTimeout::NONE)?, 1);
/// assert_eq!((events[0].data(), events[0].events()), (7, EpollFlags::EPOLLIN));
/// epoll.modify(&reader, &mut EpollEvent::new(EpollFlags::empty(), 7))?;
/// assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO)?, 0);
/// epoll.delete(&reader)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It has no `Drop` of its own, so that the descriptor can be taken out as with nix; the engine
/// notices a close when the number comes back.
///
/// ```
/// use compat_epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
/// use nix::errno::Errno;
///
/// let epoll = Epoll::new(EpollCreateFlags::empty())?;
/// let file = std::fs::File::open("/dev/null").unwrap();
/// let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
/// // What is always ready cannot be waited for.
/// assert_eq!(epoll.add(&file, event), Err(Errno::EPERM));
/// # Ok::<(), Errno>(())
/// ```
#[derive(Debug)]
pub struct Epoll(pub OwnedFd);

impl Epoll {
    /// `epoll_create1(flags)` - makes an instance with nothing registered (epoll_create1(2)).
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`: no descriptor is left to the process, to the system.
    /// - `ENOMEM`: no memory is left to the kernel.
    #[doc(alias = "epoll_create1")]
    pub fn new(flags: EpollCreateFlags) -> Result<Self> {
        let fd = c::epoll_create1(flags.bits())?;
        // SAFETY: the descriptor was made just now and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// `epoll_ctl(EPOLL_CTL_ADD)` - registers `fd` for what `event` says (epoll_ctl(2)).
    ///
    /// # Errors
    /// - `EEXIST`: it is registered already.
    /// - `EPERM`: it cannot be waited for (a regular file, a directory).
    /// - `EINVAL`: it is this instance, or `EPOLLEXCLUSIVE` is asked for together with what does not
    ///   go with it.
    /// - `ELOOP`: it is an instance that watches this one, or too many lie in each other.
    /// - `ENOSPC`: the user's limit on registrations is reached.
    /// - `ENOMEM`: no memory is left to the kernel.
    pub fn add<Fd: AsFd>(&self, fd: Fd, event: EpollEvent) -> Result<()> {
        self.control(EpollOp::EpollCtlAdd, fd, &event)
    }

    /// `epoll_ctl(EPOLL_CTL_DEL)` - ends the registration of `fd` (epoll_ctl(2)).
    ///
    /// # Errors
    /// - `ENOENT`: it is not registered.
    /// - `EPERM`, `EINVAL`: as for [`Epoll::add`].
    pub fn delete<Fd: AsFd>(&self, fd: Fd) -> Result<()> {
        self.control(EpollOp::EpollCtlDel, fd, std::ptr::null())
    }

    /// `epoll_ctl(EPOLL_CTL_MOD)` - changes what `fd` is registered for (epoll_ctl(2)). It is
    /// reported anew if it is ready, however it was reported before.
    ///
    /// # Errors
    /// - `ENOENT`: it is not registered.
    /// - `EINVAL`: `EPOLLEXCLUSIVE` is or was asked for; or it is this instance.
    /// - `EPERM`: as for [`Epoll::add`].
    pub fn modify<Fd: AsFd>(&self, fd: Fd, event: &mut EpollEvent) -> Result<()> {
        self.control(EpollOp::EpollCtlMod, fd, event)
    }

    /// `epoll_wait(events, timeout)` - takes what is ready, or waits until something is, for at most
    /// `timeout` milliseconds ([`EpollTimeout::NONE`]: for ever). Returns how many events it wrote
    /// (epoll_wait(2)).
    ///
    /// # Errors
    /// - `EINTR`: a signal handler ran.
    /// - `EINVAL`: `events` is empty.
    pub fn wait<T: Into<EpollTimeout>>(
        &self,
        events: &mut [EpollEvent],
        timeout: T,
    ) -> Result<usize> {
        let room = events.len() as c_int;
        // SAFETY: EpollEvent is a transparent epoll_event, and there are `room` of them.
        unsafe {
            c::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr().cast(),
                room,
                timeout.into().into(),
            )
        }
    }

    fn control<Fd: AsFd>(&self, op: EpollOp, fd: Fd, event: *const EpollEvent) -> Result<()> {
        // SAFETY: EpollEvent is a transparent epoll_event; the pointer is null or from a reference.
        unsafe {
            c::epoll_ctl(self.0.as_raw_fd(), op as c_int, fd.as_fd().as_raw_fd(), event.cast())
        }
    }
}
