//! Moving a lane's registrations to another epoll set: all of them, or none. And what to do where the
//! program has closed the set.

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
    pub(crate) fn leave_lane(&mut self, lane: u8, old: RawFd, new: RawFd, all: &[Moved]) {
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
            self.settle_in(lane, fd, want, token);
        }
    }

    fn settle_in(&mut self, lane: u8, fd: RawFd, want: u16, token: u32) {
        while self.list(fd).take(|k| k.lane == lane && k.state == State::Ghost).is_some() {}
        self.note_armed(fd, lane, want, token);
    }

    /// Whether there are descriptors of our own that must be there for events to come.
    pub(crate) fn has_own(&self) -> bool {
        self.low_water.is_there() || self.lanes.are_nested()
    }

    /// Makes anew what the program has closed: some close every number that they find.
    #[cold]
    pub(crate) fn mend(&mut self) {
        self.low_water.mend(self.lanes.set(0));
        for lane in self.lanes.lost() {
            let _ = self.mend_lane(lane);
        }
    }

    /// Registers a lane's knotes in another set. Of a number that was closed with the old one, and
    /// opened again, nobody knows: it is taken for the same.
    fn mend_lane(&mut self, lane: u8) -> Result<()> {
        let made = self.lanes.another(lane)?;
        let all = match self.copy_lane(lane, made.number()) {
            Ok(all) => all,
            Err(errno) => {
                made.close(self.lanes.set(0));
                return Err(errno);
            }
        };
        self.lanes.replace(lane, made);
        for Moved { fd, want, token } in all {
            if want != 0 && self.lanes.check(lane, fd).is_err() {
                self.purge(fd);
            } else {
                self.settle_in(lane, fd, want, token);
            }
        }
        Ok(())
    }

    /// The queue is over.
    pub(crate) fn close_own(&mut self) {
        self.low_water.close(self.lanes.set(0));
        self.lanes.close();
    }
}
