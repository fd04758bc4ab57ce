//! select(2) and pselect(2) at the cost of what is ready, with the names of
//! [`nix::sys::select`](https://docs.rs/nix/latest/nix/sys/select), and sets that may hold any
//! number.
//!
//! ```
//! use compat_select::{FdSet, select};
//! use std::os::fd::AsFd;
//!
//! let (reader, writer) = nix::unistd::pipe()?;
//! nix::unistd::write(&writer, b"x")?;
//! let mut readable = FdSet::new();
//! readable.insert(reader.as_fd());
//! assert_eq!(select(None, &mut readable, None, None, None)?, 1);
//! assert!(readable.contains(reader.as_fd()));
//! # Ok::<(), nix::Error>(())
//! ```
//!
//! Results are the kernel's own. Sets of eight descriptors and more that come again are registered
//! in a queue of the calling thread, which then answers. A descriptor that is closed and opened
//! again under the same number between two calls is noticed at once if it was reported before;
//! otherwise within some milliseconds (docs/poll.md; programs that call
//! [`hooks`](kq_core::hooks) at each close have it noticed at once always).

mod set;

pub use kq_core::sets::{
    Policy, SetCounters as Counters, policy, set_counters as counters, set_policy,
};
pub use libc::FD_SETSIZE;
pub use set::{FdSet, Fds};

use std::cell::Cell;
use std::ptr::{from_mut, null, null_mut};

use kq_core::sets::{self, AnsweredBy, RawCalls, SelectTimeout, Wait, raw};
use libc::{c_int, sigset_t, timespec};
use nix::Result;
use nix::sys::signal::SigSet;
use nix::sys::time::{TimeSpec, TimeVal};

/// `select(nfds, readfds, writefds, errorfds, timeout)` - waits until one of the descriptors is
/// ready; returns how many are in all sets together, and leaves those in the sets.
///
/// `nfds` is one more than the highest number to look at; `None`: that of the sets. `timeout` is
/// updated to the time left; `None` waits for ever.
///
/// # Errors
/// - `EBADF`: a descriptor in a set is not open. The sets are as they were.
/// - `EINTR`: a signal handler ran. The sets are as they were.
/// - `EINVAL`: `nfds` or the timeout is negative.
/// - `ENOMEM`: the kernel has none.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use std::os::fd::AsFd;
///
/// use compat_select::{FdSet, select};
///
/// let (reader, mut writer) = std::io::pipe()?;
/// writer.write_all(b"x")?;
/// let mut readers = FdSet::new();
/// readers.insert(reader.as_fd());
/// assert_eq!(select(None, &mut readers, None, None, None)?, 1);
/// assert!(readers.contains(reader.as_fd()));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn select<'a, 'fd, N, R, W, E, T>(
    nfds: N,
    readfds: R,
    writefds: W,
    errorfds: E,
    timeout: T,
) -> Result<c_int>
where
    'fd: 'a,
    N: Into<Option<c_int>>,
    R: Into<Option<&'a mut FdSet<'fd>>>,
    W: Into<Option<&'a mut FdSet<'fd>>>,
    E: Into<Option<&'a mut FdSet<'fd>>>,
    T: Into<Option<&'a mut TimeVal>>,
{
    let mut timeout: Option<&mut TimeVal> = timeout.into();
    let begun = match &timeout {
        Some(time) => Some(SelectTimeout::begin(*(**time).as_ref())?),
        None => None,
    };
    let sets = [readfds.into(), writefds.into(), errorfds.into()];
    let (result, left) = wait(nfds.into(), sets, begun.map(|begun| begun.timeout()), null());
    if let (Some(time), Some(begun)) = (&mut timeout, begun) {
        **time = match left {
            // The kernel has told it.
            Some(left) => TimeVal::new(left.tv_sec, (left.tv_nsec / 1000) as _),
            None => begun.left().into(),
        };
    }
    result
}

/// `pselect(nfds, readfds, writefds, errorfds, timeout, sigmask)` - as [`select`], with another
/// signal mask meanwhile; the timeout is not updated.
///
/// # Errors
/// Those of [`select`], and `EINVAL` for nanoseconds not below 10⁹.
///
/// # Examples
/// ```
/// use compat_select::pselect;
/// use nix::sys::time::{TimeSpec, TimeValLike};
///
/// // Nothing to wait for: it sleeps.
/// let time = TimeSpec::milliseconds(1);
/// assert_eq!(pselect(None, None, None, None, &time, None), Ok(0));
/// ```
pub fn pselect<'a, 'fd, N, R, W, E, T, S>(
    nfds: N,
    readfds: R,
    writefds: W,
    errorfds: E,
    timeout: T,
    sigmask: S,
) -> Result<c_int>
where
    'fd: 'a,
    N: Into<Option<c_int>>,
    R: Into<Option<&'a mut FdSet<'fd>>>,
    W: Into<Option<&'a mut FdSet<'fd>>>,
    E: Into<Option<&'a mut FdSet<'fd>>>,
    T: Into<Option<&'a TimeSpec>>,
    S: Into<Option<&'a SigSet>>,
{
    let timeout: Option<timespec> = timeout.into().map(|time: &TimeSpec| *time.as_ref());
    if timeout.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
        return Err(nix::Error::EINVAL);
    }
    let sigmask = sigmask.into().map_or(null(), |mask: &SigSet| std::ptr::from_ref(mask.as_ref()));
    wait(nfds.into(), [readfds.into(), writefds.into(), errorfds.into()], timeout, sigmask).0
}

/// The result, and the time left if the kernel's own call said it.
fn wait(
    nfds: Option<c_int>,
    mut sets: [Option<&mut FdSet<'_>>; 3],
    timeout: Option<timespec>,
    sigmask: *const sigset_t,
) -> (Result<c_int>, Option<timespec>) {
    use std::os::fd::AsRawFd;
    let highest = || {
        let highest = |set: &FdSet<'_>| set.highest().map(|fd| fd.as_raw_fd());
        sets.iter().flatten().filter_map(|set| highest(set)).max().map_or(0, |fd| fd + 1)
    };
    let nfds = nfds.unwrap_or_else(highest);
    let words = sets.each_mut().map(|set| match set {
        Some(set) => {
            set.reserve(usize::try_from(nfds).unwrap_or(0));
            set.words()
        }
        None => null_mut(),
    });
    let left = Cell::new(timeout);
    let own = || {
        let mut time = left.get();
        let pointer = time.as_mut().map_or(null_mut(), from_mut);
        // SAFETY: each bitmap has `nfds` bits by the `reserve` above and is borrowed mutably; the
        // timeout is a copy of ours.
        let result = unsafe { raw::pselect(nfds, words.map(<*mut u64>::cast), pointer, sigmask) };
        left.set(time);
        result
    };
    let wait = Wait { timeout, sigmask, unproven: false, calls: &RawCalls(own) };
    // SAFETY: as above.
    let (result, by) = unsafe { sets::select(nfds, words, &wait) };
    let left = if by == AnsweredBy::Own { left.get() } else { None };
    (result.map(|ready| ready as c_int), left)
}
