//! A queue known by several numbers.
//!
//! dup(2), dup2(2), fcntl(F_DUPFD) and a socket can give a queue's descriptor another number, and
//! nobody tells. So when kevent() is called with a number that we do not know, each queue is asked
//! whether it is the one: its bell is registered in no other epoll set. From then on the number is
//! in the table like the first, and the queue lives until the last number in the table is closed.
//!
//! (kcmp(2) would compare two descriptors too, but is often forbidden; fcntl(F_DUPFD_QUERY) is not
//! there before Linux 6.10. To look at each dup would take a hook on fcntl, which is variadic.)

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use super::{Queue, QueueKnotes, Rules, all, by_number, closes, spare};
use crate::sys::linux::raw;

/// The queue that an unknown number stands for, if it is one under kqueue's rules.
#[cold]
pub(crate) fn find(fd: RawFd) -> Option<&'static Queue> {
    if !is_epoll(fd) {
        return None;
    }
    for queue in all().filter(|queue| queue.rules() == Rules::Kqueue) {
        let Ok(mut knotes) = queue.knotes(queue.life()) else { continue };
        if knotes.soft.is_set(fd) == Ok(true) {
            let known = by_number::get(fd);
            if known.is_some_and(|known| std::ptr::eq(known, queue)) {
                return Some(queue); // another thread has found it while we waited for the lock
            }
            knotes.renew(fd).ok()?;
            if !by_number::set(fd, Some(queue)) {
                return None;
            }
            if let Some(over) = known.filter(|known| !known.is_open()) {
                spare::keep(over);
            }
            queue.numbers.fetch_add(1, Ordering::Relaxed);
            closes::watch(fd);
            return Some(queue);
        }
    }
    None
}

/// Whether a number is that of an epoll set, as far as one can tell without /proc.
pub(crate) fn is_epoll(fd: RawFd) -> bool {
    let mut name = [0; 32];
    raw::fcntl(fd, libc::F_GETFD, 0).is_ok()
        && raw::readlink_fd(fd, &mut name).map_or(true, |name| name == b"anon_inode:[eventpoll]")
}

/// A number of the queue goes. False: it was the last.
pub(super) fn leave(queue: &Queue, fd: RawFd) -> bool {
    let Ok(mut knotes) = queue.knotes_anyway(queue.life()) else { return false };
    if queue.numbers.load(Ordering::Relaxed) <= 1 {
        return false;
    }
    queue.numbers.fetch_sub(1, Ordering::Relaxed);
    by_number::set(fd, None);
    if knotes.descriptors.lanes.set(0) == fd
        && let Some(&other) = numbers(queue).first()
    {
        knotes.move_to(other);
    }
    true
}

/// The numbers that are known to be a queue's.
pub(crate) fn numbers(queue: &Queue) -> Vec<RawFd> {
    let mine = |(_, of): &(RawFd, &Queue)| std::ptr::eq(*of, queue);
    by_number::all().filter(mine).map(|(fd, _)| fd).collect()
}

impl QueueKnotes {
    /// From here on the queue's own calls go by another of its numbers.
    fn move_to(&mut self, kq: RawFd) {
        self.descriptors.lanes.move_to(kq);
        self.soft.move_to(kq);
    }
}
