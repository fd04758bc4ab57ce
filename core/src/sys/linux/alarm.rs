//! The alarm: a descriptor that is always readable. Put into an epoll set, it ends every wait on that
//! set, now and later.
//!
//! Closing an epoll descriptor wakes nobody (rule C12): a thread that sleeps in the set holds on to
//! it. So where a set is given up, because its queue is closed or rebuilt, the alarm goes into it
//! first. There is one for the whole process, made when first needed and never closed: a set may
//! be slept in for as long as any thread likes.

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN};
use nix::errno::Errno;

use super::lanes::epoll_event;
use super::raw::{self, Result};
use super::roll;
use super::token::Token;

/// Ends all waits on an epoll set.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, or no memory for the registration;
/// `EBADF`, `EINVAL`: there is no such set.
pub(crate) fn sound(set: RawFd) -> Result<()> {
    let (alarm, event) = (roll::alarm()?, epoll_event(EPOLLIN as u32, Token::Alarm));
    match raw::epoll_ctl(set, EPOLL_CTL_ADD, alarm, &event) {
        Err(Errno::EEXIST) => raw::epoll_ctl(set, EPOLL_CTL_MOD, alarm, &event),
        done => done,
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
