//! Asking by number: poll over what is not registered, and over the queue.

use std::os::fd::RawFd;

use libc::pollfd;
use nix::errno::Errno;

use crate::sys::raw::{self, Result};

use super::front::{Delivered, Front, Time};
use super::set::{Kind, Set, State};

impl Set {
    /// Asks poll about the queue, if one is given, and all that is asked by number; gives the
    /// caller what is ready. How many results that made, and whether the queue has something.
    ///
    /// # Errors
    /// Those of poll(2); and of select(2), for which a number that is not open is EBADF.
    pub(crate) fn ask_poll<F: Front>(
        &mut self,
        front: &mut F,
        queue: Option<RawFd>,
        time: Time,
    ) -> Result<(usize, bool)> {
        self.make_pollfds()?;
        self.pollfds[0].fd = queue.unwrap_or(-1);
        let (fds, len) = (self.pollfds.as_mut_ptr(), self.pollfds.len());
        let ready = match time {
            // SAFETY: an array of ours.
            Time::Now => unsafe { raw::poll(fds, len, 0) },
            // SAFETY: an array of ours.
            Time::AtMost(_) => unsafe { front.ppoll(fds, len, time) },
        }?;
        let queue_has = self.pollfds[0].revents != 0;
        let mut left = ready - usize::from(queue_has);
        let (mut results, mut at) = (0, 0);
        while left > 0 && at < self.asked.len() {
            let bits = self.pollfds[at + 1].revents as u16;
            if bits != 0 {
                left -= 1;
                results += self.answer(front, at, bits)?;
            }
            at += 1;
        }
        Ok((results, queue_has))
    }

    /// One of those that are asked by number is ready; how many results that makes.
    fn answer<F: Front>(&mut self, front: &mut F, at: usize, bits: u16) -> Result<usize> {
        if F::KIND == Kind::Select && bits & libc::POLLNVAL as u16 != 0 {
            return Err(Errno::EBADF);
        }
        let index = self.asked[at].index;
        let delivered = front.deliver(self, index, bits);
        let (calls, asked) = (self.calls, &mut self.asked[at]);
        match delivered {
            Delivered::Results(more) => {
                if asked.state() == State::Fired {
                    asked.is_seen_at(calls);
                }
                Ok(more)
            }
            Delivered::Again => Ok(0),
            Delivered::Nothing => {
                asked.set_state(State::Unfit);
                Ok(0)
            }
        }
    }

    fn make_pollfds(&mut self) -> Result<()> {
        if !self.asked_changed && !self.pollfds.is_empty() {
            return Ok(());
        }
        self.pollfds.clear();
        let entry = |fd, bits| pollfd { fd, events: bits as i16, revents: 0 };
        let mut room = self.pollfds.push(entry(-1, libc::POLLIN as u16));
        for at in 0..self.asked.len() {
            let a = self.asked[at];
            room &= self.pollfds.push(entry(a.fd, a.bits()));
        }
        self.asked_changed = !room;
        if room { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}
