//! Queues that are known again by a knote of their own: a number may be closed, come to another file,
//! or be a duplicate, and nobody is told.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustc_hash::FxHashMap;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};
use crate::sys::fork;

use super::kqueue::change;
use super::layout;

/// What belongs to a marked queue.
pub(crate) trait Marked {
    /// The ident of the queue's mark.
    fn id(&self) -> usize;
}

/// What belongs to this process's marked queues, by number. An entry may be of a number that was
/// closed since: [`is`] tells.
///
/// A forked child has none of the queues, and begins anew: what a thread of its parent had locked at
/// that moment is not looked at. (Its parent's entries stay in memory.)
#[derive(Debug)]
pub(crate) struct Table<T: 'static>(AtomicPtr<Entries<T>>);

#[derive(Debug)]
struct Entries<T> {
    /// Of which process they are.
    generation: u32,
    by_number: RwLock<FxHashMap<RawFd, Arc<T>>>,
    gate: Mutex<()>,
}

impl<T: Marked> Table<T> {
    pub(crate) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// This process's, if there are any.
    fn look(&self) -> Option<&'static Entries<T>> {
        // SAFETY: null, or what `entries` has leaked.
        let entries = unsafe { self.0.load(Ordering::Acquire).as_ref() };
        entries.filter(|entries| entries.generation == fork::generation())
    }

    /// This process's.
    fn entries(&self) -> &'static Entries<T> {
        loop {
            let there = self.0.load(Ordering::Acquire);
            if let Some(entries) = self.look() {
                return entries;
            }
            let (by_number, gate) = (RwLock::default(), Mutex::default());
            let new = Entries { generation: fork::generation(), by_number, gate };
            let new = Box::into_raw(Box::new(new));
            let put = self.0.compare_exchange(there, new, Ordering::AcqRel, Ordering::Acquire);
            if put.is_err() {
                // SAFETY: made above, and known to nobody else.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }

    /// Keeps out whoever comes here too.
    pub(crate) fn gate(&self) -> MutexGuard<'static, ()> {
        self.entries().gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, kq: RawFd, what: Arc<T>) {
        let entries = self.entries();
        entries.by_number.write().unwrap_or_else(PoisonError::into_inner).insert(kq, what);
    }

    pub(crate) fn remove(&self, kq: RawFd) {
        let Some(entries) = self.look() else { return };
        entries.by_number.write().unwrap_or_else(PoisonError::into_inner).remove(&kq);
    }

    /// What a number was when it was last looked at.
    pub(crate) fn known(&self, kq: RawFd) -> Option<Arc<T>> {
        let entries = self.look()?;
        entries.by_number.read().unwrap_or_else(PoisonError::into_inner).get(&kq).cloned()
    }

    /// What a number is, if it was known.
    pub(crate) fn proven(&self, kq: RawFd) -> Option<Arc<T>> {
        let known = self.known(kq)?;
        if is(kq, known.id()) {
            return Some(known);
        }
        self.remove(kq);
        None
    }

    /// What a number is that was not known: a duplicate's, perhaps.
    pub(crate) fn duplicate(&self, kq: RawFd) -> Option<Arc<T>> {
        if !is_queue(kq) {
            return None;
        }
        let found = self.all().into_iter().find(|what| is(kq, what.id()))?;
        self.insert(kq, found.clone());
        Some(found)
    }

    /// Everything, some perhaps under several numbers.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let Some(entries) = self.look() else { return Vec::new() };
        let table = entries.by_number.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<Arc<T>> = Vec::new();
        for what in table.values() {
            if !all.iter().any(|there| Arc::ptr_eq(there, what)) {
                all.push(what.clone());
            }
        }
        all
    }
}

/// Makes a queue with a mark; returns its descriptor and the mark's ident.
///
/// # Errors
/// Those of kqueue(2).
pub(crate) fn create() -> Result<(RawFd, usize), nix::errno::Errno> {
    let kq = layout::kqueue()?;
    let id = ident(next_serial());
    let _ = MARKERS.iter().any(|filter| mark(kq, *filter, id, EvFlags::EV_ADD));
    Ok((kq, id))
}

/// Of queues, never 0.
fn next_serial() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1)
}

/// An ident that no program would choose for itself.
fn ident(serial: u32) -> usize {
    serial as usize ^ (usize::MAX / 3)
}

/// Marks a queue by a user event; returns by which it is known again, or 0 where there are no such events.
/// (Of timers, the other kind of marks, a system may have no more than some thousands.)
pub(crate) fn sign(kq: RawFd) -> u32 {
    let serial = next_serial();
    let is_marked = mark(kq, EventFilter::EVFILT_USER, ident(serial), EvFlags::EV_ADD);
    if is_marked { serial } else { 0 }
}

/// Is the number the queue that was marked so? Where there are no marks: any queue?
pub(crate) fn is_signed(kq: RawFd, serial: u32) -> bool {
    match serial {
        0 => is_queue(kq),
        _ => mark(kq, EventFilter::EVFILT_USER, ident(serial), EvFlags::empty()),
    }
}

/// Is it any queue, of this process?
pub(crate) fn is_queue(fd: RawFd) -> bool {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    layout::kevent(fd, &[], &mut [], Some(&now)).is_ok()
}

/// The mark is a knote that never reports, and can be asked for by any number that the queue has.
/// Where there are no user events it is a timer that is disabled; where there is neither, duplicates
/// are not known.
const MARKERS: [EventFilter; 2] = [EventFilter::EVFILT_USER, EventFilter::EVFILT_TIMER];

fn mark(kq: RawFd, filter: EventFilter, id: usize, flags: EvFlags) -> bool {
    const DAY: isize = 86_400_000;
    let flags = flags | EvFlags::EV_DISABLE;
    let data = if filter == EventFilter::EVFILT_TIMER { DAY } else { 0 };
    change(kq, &KEvent::new(id, filter, flags, FilterFlag::empty(), data, 0)).is_ok()
}

/// Is the number the queue with that mark?
pub(crate) fn is(kq: RawFd, id: usize) -> bool {
    MARKERS.iter().any(|filter| mark(kq, *filter, id, EvFlags::empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thing(usize);

    impl Marked for Thing {
        fn id(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_forked_child_waits_for_nothing_that_its_parent_had_locked() {
        static TABLE: Table<Thing> = Table::new();
        let make = || {
            let (kq, id) = create().unwrap();
            TABLE.insert(kq, Arc::new(Thing(id)));
            kq
        };
        let kq = make();
        let gate = TABLE.gate();
        let numbers = TABLE.entries().by_number.write().unwrap();
        // SAFETY: the child touches what is its own, and leaves by _exit; if it waits the alarm ends it.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(30);
                let is_known = TABLE.known(kq).is_some();
                drop(TABLE.gate());
                libc::_exit(if !is_known && TABLE.proven(make()).is_some() { 0 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        drop((gate, numbers));
        assert_eq!((status, TABLE.proven(kq).is_some()), (0, true));
        // SAFETY: made above.
        unsafe { libc::close(kq) };
    }
}
