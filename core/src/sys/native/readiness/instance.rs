//! The epoll instances of this process: a queue each, and what is registered in it.

use std::collections::hash_map::Entry;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::counters::{Counters, Live, count};
use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::super::layout::{self, HERE, Raw};
use super::super::translate;
use super::apply::{Change, apply};
use super::bits::Kind;
use super::interest::Knote;

/// One epoll instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// By which the queue is known again under another number: see [`marker`].
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

type Table = FxHashMap<RawFd, Arc<Instance>>;

/// By number. An entry may be of a number that was closed since: [`is`] tells.
static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

fn known(epfd: RawFd) -> Option<Arc<Instance>> {
    TABLE.read().unwrap_or_else(PoisonError::into_inner).get(&epfd).cloned()
}

/// Makes an instance; returns its descriptor.
pub(crate) fn create() -> Result<RawFd, Errno> {
    static IDS: AtomicUsize = AtomicUsize::new(0);
    let kq = layout::kqueue()?;
    // An ident that no program would choose for itself.
    let id = IDS.fetch_add(1, Ordering::Relaxed) ^ (usize::MAX / 3);
    mark(kq, id);
    let instance = Instance { id, registrations: Mutex::default(), counters: Live::new() };
    count(&instance.counters.queues, 1);
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    table.insert(kq, Arc::new(instance));
    Ok(kq)
}

/// The number of an instance was closed by its owner, who tells us so.
pub fn forget(epfd: RawFd) {
    TABLE.write().unwrap_or_else(PoisonError::into_inner).remove(&epfd);
}

/// The instance of a number, which may be a duplicate's.
///
/// # Errors
/// - `EBADF`: the number is not open.
/// - `EINVAL`: it is no instance.
pub(crate) fn find(epfd: RawFd) -> Result<Arc<Instance>, Errno> {
    if let Some(instance) = known(epfd) {
        if is(epfd, instance.id) {
            return Ok(instance);
        }
        forget(epfd);
    }
    let not = if super::kind::is_open(epfd) { Errno::EINVAL } else { Errno::EBADF };
    if !is_queue(epfd) {
        return Err(not);
    }
    for instance in all() {
        if is(epfd, instance.id) {
            let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
            table.insert(epfd, instance.clone());
            return Ok(instance);
        }
    }
    Err(not)
}

/// The instance that a number was when it was last looked at. For a wait: what comes of another
/// queue has no serial of ours.
pub(crate) fn find_unproven(epfd: RawFd) -> Result<Arc<Instance>, Errno> {
    known(epfd).map_or_else(|| find(epfd), Ok)
}

/// Every instance, some perhaps under several numbers.
pub(crate) fn all() -> Vec<Arc<Instance>> {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    let mut all: Vec<Arc<Instance>> = Vec::new();
    for instance in table.values() {
        if !all.iter().any(|there| Arc::ptr_eq(there, instance)) {
            all.push(instance.clone());
        }
    }
    all
}

/// Is the number still that instance's?
pub(crate) fn is_same(epfd: RawFd, instance: &Instance) -> bool {
    is(epfd, instance.id)
}

/// Is it any queue?
fn is_queue(fd: RawFd) -> bool {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    layout::kevent(fd, &[], &mut [], Some(&now)).is_ok()
}

/// A knote that never reports, by which the queue is known: it can be asked for by any number that
/// the queue has. Where there are no user events a timer that is disabled does; where there is
/// neither, duplicates are not known.
fn marker(filter: EventFilter, id: usize, flags: EvFlags) -> Change {
    Change { ident: id, filter, flags, serial: 0, quiet: false }
}

const MARKERS: [EventFilter; 2] = [EventFilter::EVFILT_USER, EventFilter::EVFILT_TIMER];

fn mark(kq: RawFd, id: usize) {
    const DAY: isize = 86_400_000;
    for filter in MARKERS {
        let flags = EvFlags::EV_ADD | EvFlags::EV_DISABLE;
        let data = if filter == EventFilter::EVFILT_TIMER { DAY } else { 0 };
        let event = KEvent::new(id, filter, flags, FilterFlag::empty(), data, 0);
        let Ok(plain) = translate::change(&HERE, &event) else { continue };
        if layout::kevent(kq, &[Raw::from(plain)], &mut [], None).is_ok() {
            return;
        }
    }
}

/// Is the number that instance's queue?
fn is(kq: RawFd, id: usize) -> bool {
    let asked = MARKERS.map(|filter| marker(filter, id, EvFlags::EV_DISABLE));
    apply(kq, &asked).is_ok_and(|answers| answers.iter().any(Result::is_ok))
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
    known(epfd).map(|instance| instance.snapshot())
}
