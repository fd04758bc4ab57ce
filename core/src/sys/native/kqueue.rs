//! The queue as a Rust program holds it: the system's own.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::timespec;
use nix::errno::Errno;
use smallvec::SmallVec;

use crate::counters::{Counters, Live, count};
use crate::event::{EvFlags, KEvent};

use super::layout::{self, HERE, Raw};
use super::translate::{self, Plain};

/// Events that one call of the system's takes at most.
const ROOM: usize = 1024;

/// A kernel event queue (kqueue(2)): the system's own, in our vocabulary.
///
/// Its descriptor can be polled, and be a READ knote of another queue. Dropping it closes the
/// descriptor. A forked child has no queue: there every call is `EBADF`.
///
/// What the system lacks of flags and filters is answered for the change that asks for it, with
/// `ENOTSUP` or `EINVAL`.
#[derive(Debug)]
pub struct Kqueue {
    fd: OwnedFd,
    counters: Live,
}

impl Kqueue {
    /// `kqueue()` - makes a queue. Its descriptor is close-on-exec, as all descriptors that Rust
    /// makes.
    ///
    /// # Errors
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor, or no memory (kqueue(2)).
    pub fn new() -> Result<Self, Errno> {
        let fd = layout::kqueue()?;
        // SAFETY: made just now, and known to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        super::set_close_on_exec(fd.as_raw_fd(), true);
        let counters = Live::new();
        count(&counters.queues, 1);
        Ok(Self { fd, counters })
    }

    /// As [`Kqueue::new`]: what only a queue that nobody polls from outside may leave out, a kernel's
    /// own queue does not pay for.
    ///
    /// # Errors
    /// Those of [`Kqueue::new`].
    pub fn private() -> Result<Self, Errno> {
        Self::new()
    }

    /// `kevent(kq, changelist, eventlist, timeout)` - applies the changes, then waits for events;
    /// returns how many it wrote to `eventlist`. Without a timeout it waits for ever; with an empty
    /// eventlist not at all.
    ///
    /// A change that fails is answered in `eventlist`, with `EV_ERROR` in its flags and the errno in
    /// its data; then no events are waited for.
    ///
    /// # Errors
    /// - `EBADF`: the queue is not this process's: it was made before a fork.
    /// - `EINVAL`: the timeout is negative, or its nanoseconds are out of range.
    /// - `EINTR`: a signal handler ran; all changes were applied.
    /// - Any error of a change for which there is no room in `eventlist`; later changes were not
    ///   applied.
    pub fn kevent(
        &self,
        changelist: &[KEvent],
        eventlist: &mut [KEvent],
        timeout_opt: Option<timespec>,
    ) -> Result<usize, Errno> {
        count(&self.counters.changes, changelist.len() as u64);
        if !eventlist.is_empty() {
            count(&self.counters.waits, 1);
        }
        let n = kevent(self.fd.as_raw_fd(), changelist, eventlist, timeout_opt.as_ref())?;
        count(&self.counters.events, n as u64);
        Ok(n)
    }

    /// What this queue did so far. The knotes are the system's, which does not count them for us: 0.
    pub fn counters(&self) -> Counters {
        self.counters.snapshot()
    }
}

impl AsFd for Kqueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Kqueue {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Kqueue> for OwnedFd {
    fn from(kqueue: Kqueue) -> Self {
        kqueue.fd
    }
}

/// kevent(2) with our events.
pub(super) fn kevent(
    kq: RawFd,
    changelist: &[KEvent],
    eventlist: &mut [KEvent],
    timeout: Option<&timespec>,
) -> Result<usize, Errno> {
    let changes: Result<SmallVec<[Raw; 16]>, Errno> = changelist.iter().map(in_one_call).collect();
    match changes {
        Ok(changes) => pass(kq, &changes, eventlist, timeout),
        Err(_) => one_by_one(kq, changelist, eventlist, timeout),
    }
}

/// A change that can be handed to the system together with others.
fn in_one_call(asked: &KEvent) -> Result<Raw, Errno> {
    let plain = translate::change(&HERE, asked)?;
    if translate::less(&HERE, &plain).is_some() { Err(Errno::EACCES) } else { Ok(plain.into()) }
}

/// Hands everything to the system.
fn pass(
    kq: RawFd,
    changes: &[Raw],
    eventlist: &mut [KEvent],
    timeout: Option<&timespec>,
) -> Result<usize, Errno> {
    let room = eventlist.len().min(ROOM.max(changes.len()));
    let mut events: SmallVec<[Raw; 64]> = SmallVec::from_elem(Raw::default(), room);
    let n = layout::kevent(kq, changes, &mut events, timeout)?;
    let known = events[..n].iter().filter_map(|raw| translate::event(&HERE, &Plain::from(*raw)));
    let mut filled = 0;
    for (place, event) in eventlist.iter_mut().zip(known) {
        *place = event;
        filled += 1;
    }
    Ok(filled)
}

/// Where the system lacks what some change asks for, or may refuse it: each change by itself, and its
/// answer.
fn one_by_one(
    kq: RawFd,
    changelist: &[KEvent],
    eventlist: &mut [KEvent],
    timeout: Option<&timespec>,
) -> Result<usize, Errno> {
    let receipt = EvFlags::EV_RECEIPT.bits();
    let mut filled = 0;
    for asked in changelist {
        let result = change(kq, asked);
        if result.is_ok() && asked.flags & receipt == 0 {
            continue;
        }
        let Some(place) = eventlist.get_mut(filled) else {
            // A receipt for which there is no room is left out; an error ends the call.
            result?;
            continue;
        };
        *place = *asked;
        place.flags = EvFlags::EV_ERROR.bits();
        place.data = result.map_or_else(|errno| errno as i64, |()| 0);
        filled += 1;
    }
    if filled > 0 { Ok(filled) } else { pass(kq, &[], eventlist, timeout) }
}

/// Applies one change.
pub(super) fn change(kq: RawFd, asked: &KEvent) -> Result<(), Errno> {
    let mut plain = translate::change(&HERE, asked)?;
    plain.flags |= u32::from(EvFlags::EV_RECEIPT.bits());
    match (apply(kq, plain), translate::less(&HERE, &plain)) {
        (Err(Errno::EACCES), Some(less)) => apply(kq, less),
        (result, _) => result,
    }
}

fn apply(kq: RawFd, plain: Plain) -> Result<(), Errno> {
    let mut answer = [Raw::default()];
    layout::kevent(kq, &[Raw::from(plain)], &mut answer, None)?;
    match Plain::from(answer[0]).data {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno as i32)),
    }
}
