//! ppoll on macOS, which has none. Its tests run over Linux's calls.

use std::time::{Duration, Instant};

use libc::{c_int, nfds_t, pollfd, sigset_t, timespec};
use nix::errno::Errno;

use super::raw::{self, Result};

/// `ppoll(fds, nfds, timeout, sigmask)`: by poll, whose milliseconds are rounded up; with a mask by
/// pselect, which takes it as one with the wait. Numbers from FD_SETSIZE on are EINVAL then, and of
/// an entry that asks for nothing no hang-up wakes.
///
/// # Safety
/// `fds` are `nfds` entries of whoever asked for this call; the timeout and the mask are null or can
/// be read.
///
/// # Errors
/// Those of poll(2) and pselect(2).
#[cfg_attr(
    not(target_os = "macos"),
    allow(unreachable_pub, reason = "there it is in the public raw")
)]
pub unsafe fn ppoll(
    fds: *mut pollfd,
    nfds: nfds_t,
    timeout: *mut timespec,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    let timeout = unsafe { timeout.as_ref() }.map(|time| {
        Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
    });
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        // SAFETY: the caller's promise.
        let ready = unsafe {
            if sigmask.is_null() {
                raw::poll(fds, nfds as usize, milliseconds(left))
            } else {
                masked(fds, nfds as usize, left, sigmask)
            }
        }?;
        if ready > 0 || left.is_some_and(|left| left.is_zero()) {
            return Ok(ready);
        }
    }
}

fn milliseconds(time: Option<Duration>) -> c_int {
    let Some(time) = time else { return -1 };
    c_int::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

/// # Safety
/// As for [`ppoll`].
unsafe fn masked(
    fds: *mut pollfd,
    nfds: usize,
    left: Option<Duration>,
    sigmask: *const sigset_t,
) -> Result<usize> {
    // What is ready wins over a signal.
    // SAFETY: the caller's promise.
    let ready = unsafe { raw::poll(fds, nfds, 0) }?;
    if ready > 0 {
        return Ok(ready);
    }
    // SAFETY: an fd_set of zeros is one; numbers that are set are below FD_SETSIZE.
    let mut sets: [libc::fd_set; 3] = unsafe { std::mem::zeroed() };
    let mut highest = -1;
    for at in 0..nfds {
        // SAFETY: the caller's promise.
        let entry = unsafe { fds.add(at).read_unaligned() };
        if entry.fd < 0 {
            continue;
        }
        if entry.fd as usize >= libc::FD_SETSIZE {
            return Err(Errno::EINVAL);
        }
        highest = highest.max(entry.fd);
        let ways = [libc::POLLIN | libc::POLLRDNORM, libc::POLLOUT, libc::POLLPRI];
        for (set, way) in sets.iter_mut().zip(ways) {
            if entry.events & way != 0 {
                // SAFETY: see above.
                unsafe { libc::FD_SET(entry.fd, set) };
            }
        }
    }
    let mut time = left.map(|left| timespec {
        tv_sec: left.as_secs() as libc::time_t,
        tv_nsec: left.subsec_nanos().into(),
    });
    let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
    let sets = sets.each_mut().map(|set| std::ptr::from_mut(set).cast());
    // SAFETY: sets and time are ours; the caller's promise on the mask.
    unsafe {
        raw::pselect(highest + 1, sets, time, sigmask)?;
        raw::poll(fds, nfds, 0)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::test_support::signals::{block, catch, caught, send_to_self, set_of};

    fn ask(entry: pollfd, nanos: Option<u32>, mask: Option<&sigset_t>) -> (Result<usize>, i16) {
        let mut entries = [entry];
        let mut time = nanos.map(|nanos| timespec { tv_sec: 0, tv_nsec: nanos.into() });
        let time = time.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        let mask = mask.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: one entry; time and mask are null or ours.
        (unsafe { ppoll(entries.as_mut_ptr(), 1, time, mask) }, entries[0].revents)
    }

    #[test]
    fn milliseconds_are_rounded_up() {
        let of = |time| milliseconds(Some(time));
        assert_eq!((milliseconds(None), of(Duration::ZERO)), (-1, 0));
        assert_eq!((of(Duration::from_nanos(1)), of(Duration::from_micros(1001))), (1, 2));
        assert_eq!(of(Duration::MAX), c_int::MAX);
    }

    #[test]
    fn with_and_without_a_mask_it_is_ppoll() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let entry = pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let none = set_of(&[]);
        for mask in [None, Some(&none)] {
            assert_eq!(ask(entry, Some(1000), mask), (Ok(0), 0));
            let nobody = pollfd { fd: -1, ..entry };
            assert_eq!(ask(nobody, Some(1), mask), (Ok(0), 0));
        }
        std::io::Write::write_all(&mut writer, b"!").unwrap();
        for mask in [None, Some(&none)] {
            assert_eq!(ask(entry, None, mask), (Ok(1), libc::POLLIN));
        }
    }

    #[test]
    fn with_a_mask_high_numbers_are_einval_unless_something_is_ready() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        // SAFETY: takes numbers.
        let high = unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 1500) };
        assert!(high >= libc::FD_SETSIZE as c_int);
        let entry = pollfd { fd: high, events: libc::POLLIN, revents: 0 };
        let none = set_of(&[]);
        assert_eq!(ask(entry, Some(1), None), (Ok(0), 0));
        assert_eq!(ask(entry, Some(1), Some(&none)).0, Err(Errno::EINVAL));
        std::io::Write::write_all(&mut writer, b"!").unwrap();
        assert_eq!(ask(entry, Some(1), Some(&none)), (Ok(1), libc::POLLIN));
        // SAFETY: made above.
        unsafe { libc::close(high) };
    }

    #[test]
    fn the_mask_holds_while_it_waits() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let entry = pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        catch(libc::SIGUSR2, 0);
        block(&[libc::SIGUSR2]);
        let before = caught(libc::SIGUSR2);
        send_to_self(libc::SIGUSR2);
        assert_eq!(ask(entry, Some(1000), Some(&set_of(&[libc::SIGUSR2]))), (Ok(0), 0));
        assert_eq!(ask(entry, None, Some(&set_of(&[]))).0, Err(Errno::EINTR));
        assert_eq!(caught(libc::SIGUSR2), before + 1);
    }
}
