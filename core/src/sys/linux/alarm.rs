//! The alarm: a descriptor that is always readable. Put into an epoll set, it ends every wait on that
//! set, now and later.
//!
//! Closing an epoll descriptor wakes nobody (rule C12): a thread that sleeps in the set holds on to
//! it. So where a set is given up, because its queue is closed or rebuilt, the alarm goes into it
//! first. There is one for the whole process, made when first needed and never closed: a set may
//! be slept in for as long as any thread likes.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLLIN};
use nix::errno::Errno;

use super::data::Kind;
use super::hidden::hidden;
use super::lanes::epoll_event;
use super::raw::{self, Result};
use super::report::poll_now;
use super::token::Token;

/// The descriptor, or -1.
static ALARM: AtomicI32 = AtomicI32::new(-1);

/// Ends all waits on an epoll set.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, or no memory for the registration;
/// `EBADF`, `EINVAL`: there is no such set.
pub(crate) fn sound(set: RawFd) -> Result<()> {
    match raw::epoll_ctl(
        set,
        EPOLL_CTL_ADD,
        descriptor()?,
        &epoll_event(EPOLLIN as u32, Token::Alarm),
    ) {
        Err(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

/// The descriptor; made anew if the program has closed it (some close every number they find).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor.
pub(crate) fn descriptor() -> Result<RawFd> {
    let there = ALARM.load(Ordering::Acquire);
    if there >= 0 && Kind::of(there) == Kind::Eventfd && poll_now(there) & EPOLLIN as u32 != 0 {
        return Ok(there);
    }
    let made = hidden(|| raw::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK))?;
    match ALARM.compare_exchange(there, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(made),
        Err(other) => {
            let _ = raw::close(made);
            Ok(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_every_wait_on_a_set() {
        let set = raw::epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
        let wait = || {
            let mut event = epoll_event(0, Token::Bell);
            // SAFETY: room for one event.
            let n = unsafe { raw::epoll_pwait(set, &mut event, 1, 20_000, std::ptr::null()) };
            assert_eq!(n, Ok(1));
            assert_eq!(Token::decode(event.u64), Some(Token::Alarm));
        };
        std::thread::scope(|threads| {
            (0..3).for_each(|_| drop(threads.spawn(wait)));
            std::thread::sleep(std::time::Duration::from_millis(5));
            sound(set).unwrap();
            sound(set).unwrap();
        });
        wait();
        raw::close(set).unwrap();
        assert_eq!(sound(set), Err(Errno::EBADF));
    }
}
