//! Moving a lane's registrations to another epoll set: all of them, or none.

use std::os::fd::RawFd;

use libc::EPOLL_CTL_DEL;
use nix::errno::Errno;

use super::Descriptors;
use crate::sys::linux::knote::State;
use crate::sys::linux::lanes;
use crate::sys::linux::raw::{self, Result};

/// A registration of the old set, and what it is in the new one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    fd: RawFd,
    /// 0: it is in no lane any more.
    want: u16,
    token: u32,
}

impl Descriptors {
    /// Registers what a lane holds in a new set too.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC`, and for the park `EMFILE`, `ENFILE`: the new set is to be closed, and the
    /// lane is as it was.
    pub(crate) fn copy_lane(&mut self, lane: u8, new: RawFd) -> Result<Vec<Moved>> {
        let mut all = Vec::new();
        for at in 0..self.lists.len() {
            let (fd, list) = (at as RawFd, &self.lists[at]);
            if list.armed(lane) == 0 {
                continue;
            }
            let want = list.wanted(lane, self.hold);
            let edge = list.iter().any(|k| k.lane == lane && k.is_edge());
            let stays = list.iter().any(|k| k.lane != lane || k.state != State::Ghost);
            let elsewhere = list.iter().any(|k| k.lane != lane && k.armed != 0);
            self.last_token = self.last_token.wrapping_add(1);
            let token = self.last_token;
            let done = match want {
                0 if stays && !elsewhere => self.lanes.park(fd),
                0 => Ok(()),
                _ => lanes::add_to(new, fd, token, want, edge),
            };
            match done {
                // The number was closed, as the old set will say.
                Ok(()) | Err(Errno::EBADF | Errno::EPERM) => all.push(Moved { fd, want, token }),
                Err(errno) => return Err(errno),
            }
        }
        Ok(all)
    }

    /// Leaves the old set to itself. What was fetched from it is void.
    pub(crate) fn leave_lane(&mut self, lane: u8, new: RawFd, all: &[Moved]) {
        let old = self.lanes.replace(lane, new);
        for &Moved { fd, want, token } in all {
            if raw::epoll_ctl(old, EPOLL_CTL_DEL, fd, std::ptr::null()).is_err() {
                // Closed: it may be the very one that we flee from. What has the number now was not
                // asked about.
                let _ = match want {
                    0 => self.lanes.unpark(fd),
                    _ => raw::epoll_ctl(new, EPOLL_CTL_DEL, fd, std::ptr::null()),
                };
                self.purge(fd);
                continue;
            }
            while self.list(fd).take(|k| k.lane == lane && k.state == State::Ghost).is_some() {}
            self.note_armed(fd, lane, want, token);
        }
    }
}
