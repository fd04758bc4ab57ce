//! The bell: an eventfd that makes the queue's descriptor ready when a knote that is no descriptor's
//! has become active.
//!
//! Registered EPOLLET: the scan that fetches its event has consumed it, and need not read it. Each
//! write is a new edge, so what one scan leaves over is announced by ringing again.

use std::os::fd::RawFd;

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN};
use nix::errno::Errno;

use super::hidden::hidden;
use super::lanes::epoll_event;
use super::raw::{self, Result};
use super::token::Token;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    fd: Option<RawFd>,
    /// Rung, and no scan has come for it yet.
    rung: bool,
}

impl Bell {
    /// Makes it, if it is not there yet: at the change that will need it, which can fail.
    pub(crate) fn hang(&mut self, kq: RawFd) -> Result<()> {
        if self.fd.is_none() {
            let fd = hidden(|| raw::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))?;
            if let Err(errno) = raw::epoll_ctl(kq, EPOLL_CTL_ADD, fd, &event()) {
                let _ = raw::close(fd);
                return Err(errno);
            }
            self.fd = Some(fd);
        }
        Ok(())
    }

    /// Whether it hangs in an epoll set.
    pub(crate) fn hangs_in(&self, set: RawFd) -> Result<bool> {
        // Changes nothing, but that a bell which was rung may be heard a second time.
        match raw::epoll_ctl(set, EPOLL_CTL_MOD, self.fd.unwrap_or(-1), &event()) {
            Err(Errno::ENOENT) => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Makes the queue's descriptor ready, once until it is heard.
    pub(crate) fn ring(&mut self) {
        if let Some(fd) = self.fd
            && !self.rung
        {
            // The counter is at most the number of rings: 2^64 of them do not come.
            self.rung = raw::write(fd, &1_u64.to_ne_bytes()).is_ok();
        }
    }

    /// Whether the queue's descriptor is ready for it.
    pub(crate) fn is_rung(&self) -> bool {
        self.rung
    }

    /// A scan has fetched the bell's event.
    pub(crate) fn heard(&mut self) {
        self.rung = false;
    }

    /// What it was rung for is gone: the queue's descriptor must not be ready for it.
    pub(crate) fn hush(&mut self) {
        if let Some(fd) = self.fd
            && self.rung
        {
            let _ = raw::read(fd, &mut [0; 8]);
            self.rung = false;
        }
    }
}

fn event() -> libc::epoll_event {
    epoll_event(EPOLLIN as u32 | EPOLLET as u32, Token::Bell)
}

impl Drop for Bell {
    fn drop(&mut self) {
        if let Some(fd) = self.fd {
            let _ = raw::close(fd);
        }
    }
}
