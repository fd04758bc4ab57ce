//! Looking at the queues from outside ([`crate::stats`]).

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::counters::Counters;
use crate::stats::{ByFilter, KnoteInfo, QueueStats};

use super::both_rules;
use super::epoll_list;
use super::queue::{self, Queue, QueueKnotes, Rules};
use super::raw::Result;

/// Calls `f` with each open queue of this process, in order of their descriptors.
pub fn queues(mut f: impl FnMut(&QueueStats)) {
    queue::each(|fd, queue| f(&stats_of(fd, queue)));
}

/// What closed queues had done.
pub(crate) fn closed() -> Counters {
    queue::closed_counters()
}

/// Forgets it.
pub(crate) fn forget_closed() {
    queue::forget_closed_counters();
}

/// The queue at a number.
pub(crate) fn queue(fd: RawFd) -> Option<QueueStats> {
    queue::find(fd).map(|queue| stats_of(fd, queue))
}

fn stats_of(fd: RawFd, queue: &'static Queue) -> QueueStats {
    let is_epoll = queue.rules() == Rules::Epoll;
    let by_filter = |knotes: &QueueKnotes| {
        let mut sums = ByFilter::default();
        each(knotes, |knote| {
            if let Ok(filter) = knote.event.filter() {
                sums.count(filter);
            }
        });
        sums
    };
    let knotes = if is_epoll { None } else { queue.try_knotes().map(|k| by_filter(&k)) };
    QueueStats { fd, is_epoll, counters: queue.counted(), knotes }
}

/// The knotes of the queue at a number: those of kevent(), also where the queue is under epoll's
/// rules. FreeBSD tells the same by the sysctl kern.proc.kqueue (procstat -K).
///
/// # Errors
/// - `EBADF`: `fd` is no queue of this process.
/// - `EBUSY`: another thread is changing the queue, or this one was when it was interrupted.
///
/// # Examples
/// ```
/// # use std::os::fd::AsRawFd;
/// let queue = kq_core::Kqueue::new()?;
/// assert_eq!(kq_core::stats::knotes(queue.as_raw_fd())?, []);
/// assert_eq!(kq_core::stats::knotes(-1), Err(kq_core::Errno::EBADF));
/// # Ok::<(), kq_core::Errno>(())
/// ```
pub fn knotes(fd: RawFd) -> Result<Vec<KnoteInfo>> {
    let found = queue::find(fd).ok_or(Errno::EBADF)?;
    let holder = match found.rules() {
        Rules::Kqueue => found,
        Rules::Epoll => match both_rules::inner(found) {
            Some(inner) => inner.queue,
            None => return Ok(Vec::new()),
        },
    };
    let mut list = Vec::new();
    each(&*holder.try_knotes().ok_or(Errno::EBUSY)?, |knote| list.push(knote));
    list.sort_unstable_by_key(|knote| (knote.event.ident, -knote.event.filter));
    Ok(list)
}

fn each(knotes: &QueueKnotes, mut f: impl FnMut(KnoteInfo)) {
    knotes.descriptors.each(&mut f);
    knotes.soft.each(&mut f);
}

/// What epoll_ctl has registered for one descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Registration {
    /// The number that it was registered by.
    pub fd: RawFd,
    /// What for (epoll_ctl(2)).
    pub events: u32,
    /// The program's 64 bits.
    pub data: u64,
}

/// What is registered with the epoll set at a number, as the kernel tells it; without what the engine
/// itself has put there.
///
/// # Errors
/// - `ENOENT`: no such descriptor, or /proc is not mounted; `EMFILE` and the like.
///
/// # Examples
/// ```
/// use kq_core::{readiness, stats};
///
/// let epoll = readiness::epoll_create1(0)?;
/// assert_eq!(stats::registrations(epoll)?, []);
/// # Ok::<(), kq_core::Errno>(())
/// ```
pub fn registrations(fd: RawFd) -> Result<Vec<Registration>> {
    let inner = queue::find(fd).map_or(-1, |queue| queue.inner.load(Ordering::Acquire));
    let list = epoll_list::of(fd)?.into_iter().filter(|r| r.fd != inner);
    Ok(list.map(|r| Registration { fd: r.fd, events: r.event.events, data: r.event.u64 }).collect())
}
