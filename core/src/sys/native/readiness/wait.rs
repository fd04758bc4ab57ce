//! epoll_wait: kevents, merged to one event a descriptor.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libc::{c_int, sigset_t, timespec};
use nix::errno::Errno;

use crate::counters::count;
use crate::epoll_abi::epoll_event;

use super::super::layout::{self, Raw};
use super::super::raw;
use super::batch::{self, Batch};
use super::instance::{self, Instance};

/// `epoll_pwait(epfd, events, maxevents, timeout, sigmask)` - takes what is ready, or waits until
/// something is, `timeout` milliseconds at most, for ever where it is negative; with this mask of
/// blocked signals while it lasts, if it is not null (epoll_pwait(2)). Returns how many events it
/// wrote. Nothing is locked while it waits.
///
/// # Errors
/// - `EBADF`: `epfd` is not open.
/// - `EINVAL`: `epfd` is no epoll instance, or `maxevents` is not positive or larger than any array.
/// - `EFAULT`: `events` is null.
/// - `EINTR`: a signal handler ran.
///
/// # Safety
/// `events` is null or has room for `maxevents` events; `sigmask` is null or can be read.
pub unsafe fn epoll_pwait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: c_int,
    sigmask: *const sigset_t,
) -> Result<usize, Errno> {
    let timeout = u64::try_from(timeout).ok().map(Duration::from_millis);
    // SAFETY: the caller's promise.
    super::keep_errno(|| unsafe { wait(epfd, events, maxevents, timeout, sigmask) })
}

/// `epoll_pwait2(epfd, events, maxevents, timeout, sigmask)` - [`epoll_pwait`] with a timeout in
/// nanoseconds; null is for ever (epoll_pwait2(2)).
///
/// # Errors
/// - `EINVAL`: `timeout` is negative or has a second's worth of nanoseconds.
/// - Those of [`epoll_pwait`].
///
/// # Safety
/// As for [`epoll_pwait`]; `timeout` is null or can be read.
pub unsafe fn epoll_pwait2(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: *const timespec,
    sigmask: *const sigset_t,
) -> Result<usize, Errno> {
    let timeout = if timeout.is_null() {
        None
    } else {
        // SAFETY: the caller's promise; C's need not be aligned.
        Some(duration(unsafe { timeout.read_unaligned() })?)
    };
    // SAFETY: the caller's promise.
    super::keep_errno(|| unsafe { wait(epfd, events, maxevents, timeout, sigmask) })
}

fn duration(time: timespec) -> Result<Duration, Errno> {
    let seconds = u64::try_from(time.tv_sec).map_err(|_| Errno::EINVAL)?;
    match u32::try_from(time.tv_nsec) {
        Ok(nanos @ 0..1_000_000_000) => Ok(Duration::new(seconds, nanos)),
        _ => Err(Errno::EINVAL),
    }
}

/// # Safety
/// As for [`epoll_pwait`].
unsafe fn wait(
    epfd: RawFd,
    events: *mut epoll_event,
    maxevents: c_int,
    timeout: Option<Duration>,
    sigmask: *const sigset_t,
) -> Result<usize, Errno> {
    let mut instance = instance::find_unproven(epfd)?;
    let most = c_int::MAX as usize / size_of::<epoll_event>();
    let room = usize::try_from(maxevents).unwrap_or(0);
    if room == 0 || room > most {
        return Err(Errno::EINVAL);
    }
    if events.is_null() {
        return Err(Errno::EFAULT);
    }
    count(&instance.counters.waits, 1);
    // What is too long to be a moment of the clock is for ever.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let at_once = timeout.is_some_and(|timeout| timeout.is_zero());
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let left = if at_once { Some(Duration::ZERO) } else { left };
        let Collected { batch, more } = collect(&mut instance, epfd, room, left, sigmask)?;
        let ready = batch::deliver(&instance, epfd, batch, |at, event| {
            // SAFETY: the caller's promise: a batch holds at most `room`; C's may be at any address.
            unsafe { events.add(at).write_unaligned(event) };
        });
        if ready > 0 || (left == Some(Duration::ZERO) && !more) {
            count(&instance.counters.events, ready as u64);
            return Ok(ready);
        }
    }
}

/// What was fetched.
struct Collected {
    batch: Batch,
    /// There may be more than there was room for.
    more: bool,
}

/// Fetches kevents of at most `room` descriptors: waits for the first, and goes on until there are
/// so many, or no more. The number may turn out to be another instance by now (dup2).
fn collect(
    instance: &mut Arc<Instance>,
    kq: RawFd,
    room: usize,
    left: Option<Duration>,
    sigmask: *const sigset_t,
) -> Result<Collected, Errno> {
    /// Fetched in one call.
    const MOST: usize = 1024;
    let (has_gone, fetched) = {
        let mut registrations = instance.lock();
        (registrations.gone > 0, registrations.room_beside_gone(room))
    };
    let mut left = if has_gone { Some(Duration::ZERO) } else { left };
    let mut mask = sigmask;
    let mut batch = Batch::new(room);
    if fetched == 0 {
        return Ok(Collected { batch, more: true });
    }
    loop {
        let want = (fetched - batch.len()).min(MOST);
        let mut raw = vec![Raw::default(); want];
        let n = match fetch(kq, &mut raw, left, mask) {
            Ok(n) => n,
            // What was fetched before is not lost.
            Err(_) if batch.len() > 0 => 0,
            Err(Errno::EINTR) => return Err(Errno::EINTR),
            // Closed, or another file by now?
            Err(errno) => return Err(instance::find(kq).err().unwrap_or(errno)),
        };
        let mut new = batch.add(&instance.lock(), &raw[..n]);
        if n > 0 && batch.len() == 0 && !instance::is_same(kq, instance) {
            *instance = instance::find(kq)?;
            new = batch.add(&instance.lock(), &raw[..n]);
        }
        let full = n == want;
        if !full || new == 0 || batch.len() == fetched {
            batch.is_all = !full;
            return Ok(Collected { batch, more: full });
        }
        (left, mask) = (Some(Duration::ZERO), std::ptr::null());
    }
}

/// kevent(2) with a mask.
fn fetch(
    kq: RawFd,
    events: &mut [Raw],
    left: Option<Duration>,
    sigmask: *const sigset_t,
) -> Result<usize, Errno> {
    /// Longer times are waited in parts: some systems refuse them.
    const PART: Duration = Duration::from_secs(86_400);
    let part = left.map_or(PART, |left| left.min(PART));
    if sigmask.is_null() {
        return layout::kevent(kq, &[], events, Some(&timespec_of(part)));
    }
    // kevent(2) takes no mask. What is ready wins over a signal.
    let now = timespec_of(Duration::ZERO);
    let ready = layout::kevent(kq, &[], events, Some(&now))?;
    if ready > 0 || left == Some(Duration::ZERO) {
        return Ok(ready);
    }
    let mut entry = libc::pollfd { fd: kq, events: libc::POLLIN, revents: 0 };
    let mut time = timespec_of(part);
    // SAFETY: an entry and a time of ours; the mask is the caller's, who promised that it can be read.
    unsafe { raw::ppoll(&mut entry, 1, &mut time, sigmask) }?;
    layout::kevent(kq, &[], events, Some(&now))
}

pub(crate) fn timespec_of(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timespec_is_checked() {
        let of = |tv_sec, tv_nsec| duration(timespec { tv_sec, tv_nsec });
        assert_eq!(of(1, 5), Ok(Duration::new(1, 5)));
        assert_eq!(of(-1, 0), Err(Errno::EINVAL));
        assert_eq!(of(0, -1), Err(Errno::EINVAL));
        assert_eq!(of(0, 1_000_000_000), Err(Errno::EINVAL));
    }
}
