//! poll(2) and ppoll(2) at the cost of what is ready, with the names and types of [`nix::poll`].
//!
//! A program that polls many descriptors of which few are ready changes one import:
//!
//! ```
//! use compat_poll::{PollFd, PollFlags, PollTimeout, poll};
//! use std::os::fd::AsFd;
//!
//! let (reader, writer) = nix::unistd::pipe()?;
//! nix::unistd::write(&writer, b"x")?;
//! let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
//! assert_eq!(poll(&mut fds, PollTimeout::NONE)?, 1);
//! assert_eq!(fds[0].revents(), Some(PollFlags::POLLIN));
//! # Ok::<(), nix::Error>(())
//! ```
//!
//! Results are the kernel's own. Sets of eight descriptors and more that come again are registered
//! in a queue of the calling thread, which then answers. A descriptor that is closed and opened
//! again under the same number between two calls is noticed at once if it was reported before;
//! otherwise within some milliseconds (docs/poll.md; programs that call
//! [`hooks`](kq_core::hooks) at each close have it noticed at once always).

pub use kq_core::sets::{
    Policy, SetCounters as Counters, policy, set_counters as counters, set_policy,
};
pub use nix::poll::{PollFd, PollFlags, PollTimeout, PollTimeoutTryFromError};

use std::ptr::{from_mut, from_ref, null, null_mut};

use kq_core::sets::{self, RawCalls, Wait, raw};
use libc::{c_int, nfds_t, pollfd, sigset_t, timespec};
use nix::Result;
use nix::sys::signal::SigSet;
use nix::sys::time::TimeSpec;

/// `poll(fds, timeout)` - waits until one of the descriptors is ready; returns how many are.
///
/// # Errors
/// - `EINTR`: a signal handler ran.
/// - `EINVAL`: more entries than RLIMIT_NOFILE.
/// - `ENOMEM`: the kernel has none.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
///
/// use compat_poll::{PollFd, PollFlags, PollTimeout, poll};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
/// assert_eq!(poll(&mut fds, PollTimeout::ZERO)?, 0);
/// writer.write_all(b"x")?;
/// assert_eq!(poll(&mut fds, PollTimeout::NONE)?, 1);
/// assert_eq!(fds[0].revents(), Some(PollFlags::POLLIN));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn poll<T: Into<PollTimeout>>(fds: &mut [PollFd], timeout: T) -> Result<c_int> {
    let timeout = c_int::from(timeout.into());
    // Not PollTimeout::as_millis, which panics for NONE.
    let time = u32::try_from(timeout)
        .ok()
        .map(|ms| timespec { tv_sec: (ms / 1000).into(), tv_nsec: (ms % 1000 * 1_000_000).into() });
    // SAFETY: `wait` passes the caller's entries.
    wait(fds, time, null(), |array, len| unsafe { raw::poll(array, len, timeout) })
}

/// `ppoll(fds, timeout, sigmask)` - waits until one of the descriptors is ready, with another signal
/// mask meanwhile; `None` waits for ever, or leaves the mask as it is.
///
/// # Errors
/// Those of [`poll`], and `EINVAL` for a negative timeout or nanoseconds not below 10⁹.
///
/// # Examples
/// ```
/// use compat_poll::ppoll;
/// use nix::sys::time::{TimeSpec, TimeValLike};
///
/// // Nothing to wait for: it sleeps.
/// assert_eq!(ppoll(&mut [], Some(TimeSpec::milliseconds(1)), None), Ok(0));
/// ```
pub fn ppoll(
    fds: &mut [PollFd],
    timeout: Option<TimeSpec>,
    sigmask: Option<SigSet>,
) -> Result<c_int> {
    let timeout = timeout.map(|t| *t.as_ref());
    if timeout.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
        return Err(nix::Error::EINVAL);
    }
    let sigmask = sigmask.as_ref().map_or(null(), |set| from_ref(set.as_ref()));
    wait(fds, timeout, sigmask, |array, len| {
        let mut timeout = timeout;
        let timeout = timeout.as_mut().map_or(null_mut(), from_mut);
        // SAFETY: `wait` passes the caller's entries; the timeout is a copy of ours, the mask is
        // borrowed.
        unsafe { raw::ppoll(array, len as nfds_t, timeout, sigmask) }
    })
}

/// `own` is the kernel's call over the entries that it is given, which are `fds`.
fn wait(
    fds: &mut [PollFd],
    timeout: Option<timespec>,
    sigmask: *const sigset_t,
    own: impl Fn(*mut pollfd, usize) -> Result<usize>,
) -> Result<c_int> {
    // PollFd is a transparent pollfd.
    let (array, len) = (fds.as_mut_ptr().cast::<pollfd>(), fds.len());
    let calls = &RawCalls(|| own(array, len));
    let wait = Wait { timeout, sigmask, unproven: false, calls };
    // SAFETY: `array` is borrowed mutably and has `len` entries; the mask is null or borrowed.
    unsafe { sets::poll(array, len, &wait) }.map(|ready| ready as c_int)
}
