//! The epoll instances of this process: a queue each, and what is registered in it.

use std::collections::hash_map::Entry;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::counters::{Counters, Live, count};

use super::super::marked::{self, Marked, Table};
use super::bits::Kind;
use super::interest::Knote;

/// One epoll instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// By which the queue is known again under another number.
    pub(crate) id: usize,
    registrations: Mutex<Registrations>,
    pub(crate) counters: Live,
}

/// What is registered.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pub(crate) by_fd: FxHashMap<RawFd, Registration>,
    /// How many have [`Registration::gone`].
    pub(crate) gone: usize,
    /// The one of them that was told last.
    pub(crate) last_gone: RawFd,
    /// Whose turn is it, where there is room for one: theirs, or that of what the queue has?
    pub(crate) gone_first: bool,
}

impl Registrations {
    /// Of so many places, how many are for what the queue has? Those without a knote are not to be
    /// kept out for ever by descriptors that are always ready, nor these by them.
    pub(crate) fn room_beside_gone(&mut self, room: usize) -> usize {
        if self.gone == 0 {
            return room;
        }
        self.gone_first = !self.gone_first;
        if room == 1 && !self.gone_first { 1 } else { room - 1 }
    }
}

/// One descriptor's registration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    /// What was asked for.
    pub(crate) events: u32,
    /// The program's own 64 bits.
    pub(crate) data: u64,
    /// In its knotes' udata: tells their events from those of an earlier registration.
    pub(crate) serial: usize,
    pub(crate) kind: Kind,
    /// The instance that it is, by its id, if it is one.
    pub(crate) target: Option<usize>,
    /// READ, WRITE, EXCEPT.
    pub(crate) knotes: [Knote; 3],
    /// EPOLLONESHOT has not fired.
    pub(crate) armed: bool,
    /// What was told so far.
    pub(crate) told: u32,
    /// A pipe that had no reader when it was registered: some systems (EPIPE) give it no knote.
    pub(crate) gone: bool,
}

impl Instance {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Counters {
        Counters { knotes: self.lock().by_fd.len() as u64, ..self.counters.snapshot() }
    }
}

impl Marked for Instance {
    fn id(&self) -> usize {
        self.id
    }
}

static TABLE: Table<Instance> = Table::new();

/// Makes an instance; returns its descriptor.
pub(crate) fn create() -> Result<RawFd, Errno> {
    let (kq, id) = marked::create()?;
    let instance = Instance { id, registrations: Mutex::default(), counters: Live::new() };
    count(&instance.counters.queues, 1);
    TABLE.insert(kq, Arc::new(instance));
    Ok(kq)
}

/// The number of an instance was closed by its owner, who tells us so.
pub fn forget(epfd: RawFd) {
    TABLE.remove(epfd);
}

/// The instance of a number, which may be a duplicate's.
///
/// # Errors
/// - `EBADF`: the number is not open.
/// - `EINVAL`: it is no instance.
pub(crate) fn find(epfd: RawFd) -> Result<Arc<Instance>, Errno> {
    TABLE
        .proven(epfd)
        .or_else(|| TABLE.duplicate(epfd))
        .ok_or_else(|| if super::kind::is_open(epfd) { Errno::EINVAL } else { Errno::EBADF })
}

/// The instance that a number was when it was last looked at. For a wait: what comes of another
/// queue has no serial of ours.
pub(crate) fn find_unproven(epfd: RawFd) -> Result<Arc<Instance>, Errno> {
    TABLE.known(epfd).map_or_else(|| find(epfd), Ok)
}

/// Keeps out whoever else nests instances.
pub(crate) fn gate() -> MutexGuard<'static, ()> {
    TABLE.gate()
}

/// Every instance, some perhaps under several numbers.
pub(crate) fn all() -> Vec<Arc<Instance>> {
    TABLE.all()
}

/// Is the number still that instance's?
pub(crate) fn is_same(epfd: RawFd, instance: &Instance) -> bool {
    marked::is(epfd, instance.id)
}

/// For a registration: unlike that of every other one of this process, and never 0.
pub(crate) fn next_serial() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

impl Registrations {
    /// Puts a registration in the place of an earlier one.
    pub(crate) fn set(&mut self, fd: RawFd, registration: Registration) {
        self.gone += usize::from(registration.gone);
        match self.by_fd.entry(fd) {
            Entry::Occupied(mut there) => {
                self.gone -= usize::from(there.get().gone);
                there.insert(registration);
            }
            Entry::Vacant(place) => {
                place.insert(registration);
            }
        }
    }

    pub(crate) fn remove(&mut self, fd: RawFd) {
        if let Some(was) = self.by_fd.remove(&fd) {
            self.gone -= usize::from(was.gone);
        }
    }
}

/// What all instances did so far.
pub fn counters() -> Counters {
    let mut sum = Counters::default();
    all().iter().for_each(|instance| sum += instance.snapshot());
    sum
}

/// What one instance did so far; none where the number is no instance.
pub fn counters_of(epfd: RawFd) -> Option<Counters> {
    TABLE.known(epfd).map(|instance| instance.snapshot())
}
