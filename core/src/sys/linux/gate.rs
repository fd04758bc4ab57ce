//! A gate: an epoll set through which a thread sleeps until something *new* happens in a queue, though
//! the queue is ready all the while.
//!
//! The queue's set is nested in it, edge-triggered: each activity in the queue is one event of the
//! gate's, whatever was ready before (rule H06). Nothing is fetched from the queue.
//!
//! It watches the queue by a duplicate of its descriptor, which keeps the set until the gate goes: the
//! alarm that is put into a queue at its end ([`alarm`](super::alarm)) is then still heard where the
//! number was closed before the sleeper looked.
//!
//! A gate is not closed by being dropped, since a thread may be cancelled while it sleeps, and nothing
//! may be dropped then. So the thread has its gate's descriptors in a variable of its own, which
//! closes them if it ends like that.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use libc::{
    EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLET, EPOLLIN, F_DUPFD_CLOEXEC, epoll_event, timespec,
};

use super::abi::Wait;
use super::hidden::{Own, hidden, hide};
use super::kevent::{self, Caller};
use super::raw::{self, Result};
use super::registered;

thread_local! {
    static OPEN: Left = const { Left(Cell::new(None)) };
}

/// The descriptors of this thread's gate.
struct Left(Cell<Option<[Own; 2]>>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(open) = self.0.get() {
            close(open);
        }
    }
}

/// Closes both, if the one is in the other: the program may have closed the numbers during the wait.
fn close([set, queue]: [Own; 2]) {
    let (set, is_last) = (set.number(), set.is_last() && queue.is_last());
    if is_last && raw::epoll_ctl(set, EPOLL_CTL_DEL, queue.number(), std::ptr::null()).is_ok() {
        let _ = raw::close(queue.number());
        let _ = raw::close(set);
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    set: Own,
    queue: Own,
    /// [`Queue::strays`](super::queue::Queue::strays) when it was made.
    strays: u32,
    /// The gate of a wait that a signal handler interrupted, to wait itself.
    outer: Option<[Own; 2]>,
}

impl Gate {
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, no memory, no watch.
    /// - `ELOOP`, `EINVAL`: the queue's own sets are nested too deeply already.
    pub(crate) fn open(caller: Caller) -> Result<Self> {
        let strays = caller.queue.strays.load(Ordering::Acquire);
        let set = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        let queue = match raw::fcntl(caller.kq, F_DUPFD_CLOEXEC, 0) {
            Ok(fd) => hide(fd),
            Err(errno) => {
                let _ = raw::close(set);
                return Err(errno);
            }
        };
        let event = epoll_event { events: EPOLLIN as u32 | EPOLLET as u32, u64: 0 };
        if let Err(errno) = raw::epoll_ctl(set, EPOLL_CTL_ADD, queue, &event) {
            let _ = (raw::close(set), raw::close(queue));
            return Err(errno);
        }
        // (Where the thread is about to end there is no such variable any more.)
        let (set, queue) = (Own::at(set), Own::at(queue));
        let outer = OPEN.try_with(|open| open.0.replace(Some([set, queue]))).unwrap_or(None);
        Ok(Self { set, queue, strays, outer })
    }

    pub(crate) fn close(self) {
        let _ = OPEN.try_with(|open| open.0.set(self.outer));
        close([self.set, self.queue]);
    }

    /// Whether it is still the queue's present set that it watches: a set is given up for another
    /// (`rebuild`) only after a stray event was noted. And whether its numbers are still ours.
    pub(crate) fn is_current(&self, caller: Caller) -> bool {
        self.strays == caller.queue.strays.load(Ordering::Acquire)
            && self.set.is_last()
            && registered::check(self.set.number(), self.queue).is_ok()
    }

    /// Sleeps until something has happened since the last wait, or the time is over.
    ///
    /// # Errors
    /// - `EINTR`: a signal handler ran.
    /// - `EBADF`: the queue was closed.
    pub(crate) fn wait<W: Wait>(&self, caller: Caller, timeout: Option<&timespec>) -> Result<()> {
        let mut event = epoll_event { events: 0, u64: 0 };
        caller.queue.uncount_sleep();
        // SAFETY: room for one event.
        let slept =
            unsafe { kevent::sleep::<W>(&caller, self.set.number(), &mut event, 1, timeout) };
        caller.queue.wake();
        slept.map(drop)
    }
}
