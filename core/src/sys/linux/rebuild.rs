//! Getting rid of registrations that cannot be deleted ([`strays`](super::strays)): the set that
//! holds them is given up, and a new one takes its place.
//!
//! A nested lane is ours alone. The queue's own set is known to others by its number, so the new one
//! is put at that number (dup3), and what the old one was registered in is told. Who sleeps in the
//! old one is woken by the alarm and goes to sleep again, in the new one. What an edge knote had
//! reported already it may report once more.
//!
//! A duplicate of the queue's descriptor that we do not know of keeps the old set: readable, so that
//! whoever polls it calls kevent(), which finds out and puts that right.
//! (docs/deviations.md has what cannot be put right: a duplicate in another process.)

use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, F_GETFD, F_GETFL, F_SETFL, FD_CLOEXEC, O_CLOEXEC};

use nix::errno::Errno;

use super::alarm;
use super::epoll_list::{self, Registration};
use super::hidden::{Own, hidden};
use super::queue::QueueKnotes;
use super::raw::{self, Result};
use super::registered::check_number;
use super::token::Token;

impl QueueKnotes {
    /// Puts a new set in the place of a lane's; `numbers` are those that are known to be the queue's.
    /// Where that fails everything is as it was.
    pub(crate) fn rebuild(&mut self, lane: u8, numbers: &[RawFd]) -> Result<()> {
        match lane {
            0 => {
                let made = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
                let done = self.rebuild_queue(made, numbers);
                let _ = raw::close(made);
                done?;
            }
            _ => self.rebuild_lane(lane)?,
        }
        self.strays.forget(lane);
        Ok(())
    }

    fn rebuild_lane(&mut self, lane: u8) -> Result<()> {
        let kq = self.descriptors.lanes.set(0);
        let made = self.descriptors.lanes.another(lane)?;
        let new = made.number();
        let moved = match self.descriptors.copy_lane(lane, new) {
            Ok(moved) => moved,
            Err(errno) => {
                made.close(kq);
                return Err(errno);
            }
        };
        if let Some(old) = self.descriptors.lanes.replace(lane, made) {
            self.descriptors.leave_lane(lane, old.number(), new, &moved);
            // With its only descriptor the set is gone, and its registration in the queue.
            old.close(kq);
        }
        Ok(())
    }

    fn rebuild_queue(&mut self, made: RawFd, numbers: &[RawFd]) -> Result<()> {
        let kq = self.descriptors.lanes.set(0);
        // (The bell may be wanted to tell a duplicate of the old set by.)
        if !self.soft.is_set(kq)? {
            return Err(Errno::EBADF);
        }
        raw::fcntl(made, F_SETFL, raw::fcntl(kq, F_GETFL, 0)?)?;
        // Descriptors' registrations are moved with their knotes.
        let mut ours = epoll_list::of(kq)?;
        ours.retain(|&Registration { fd, event }| {
            let serial = Token::serial(event.u64);
            let is_there = match Token::decode(event.u64) {
                None | Some(Token::Descriptor { .. } | Token::Alarm | Token::Bell) => false,
                Some(process @ Token::Process { .. }) => !self.is_stray(process, serial),
                Some(_) => Own::new(fd, serial).is_last(),
            };
            is_there && check_number(kq, fd).is_ok() // the program may have closed it
        });
        for registration in ours.iter_mut().filter(|r| is_ringer(r)) {
            registration.event.events = 0; // what it was rung for is looked at below
        }
        for Registration { fd, event } in &ours {
            raw::epoll_ctl(made, EPOLL_CTL_ADD, *fd, event)?;
        }
        self.soft.move_bell_into(made)?;
        let moved = self.descriptors.copy_lane(0, made)?;
        alarm::sound(kq)?;
        // From here on nothing fails, but by what the program closes meanwhile.
        for registration @ Registration { fd, .. } in &ours {
            // (The bell stays there too: a duplicate is known by it. So does the ringer, which a signal
            // handler may ring at any time.)
            if !is_ringer(registration)
                && raw::epoll_ctl(kq, EPOLL_CTL_DEL, *fd, std::ptr::null()).is_err()
            {
                // The number of a process's descriptor, which means another file by now.
                let _ = raw::epoll_ctl(made, EPOLL_CTL_DEL, *fd, std::ptr::null());
            }
        }
        self.descriptors.leave_lane(0, kq, made, &moved);
        for &number in numbers.iter().filter(|&&number| number != kq).chain([&kq]) {
            if number == kq || self.soft.is_set(number) == Ok(true) {
                let _ = replace(number, made);
            }
        }
        self.descriptors.lanes.move_to(kq);
        self.soft.was_moved();
        self.rebuilt = true;
        Ok(())
    }

    /// After a rebuild, a number turned up that may still mean the old set.
    pub(crate) fn renew(&mut self, number: RawFd) -> Result<()> {
        if self.rebuilt { replace(number, self.descriptors.lanes.set(0)) } else { Ok(()) }
    }
}

fn is_ringer(registration: &Registration) -> bool {
    Token::decode(registration.event.u64) == Some(Token::Signals)
}

/// Makes a number mean another epoll set, for those too who watch it.
fn replace(number: RawFd, set: RawFd) -> Result<()> {
    let watchers = epoll_list::watchers(number);
    for (watcher, _) in &watchers {
        let _ = raw::epoll_ctl(*watcher, EPOLL_CTL_DEL, number, std::ptr::null());
    }
    let close_on_exec = raw::fcntl(number, F_GETFD, 0)? & FD_CLOEXEC != 0;
    let done = raw::dup3(set, number, if close_on_exec { O_CLOEXEC } else { 0 });
    for (watcher, event) in &watchers {
        // Level or edge: what is ready is told anew.
        let _ = raw::epoll_ctl(*watcher, EPOLL_CTL_ADD, number, event);
    }
    done
}
