//! The ring's memory: one writer at a time, any number of readers, no locks.
//!
//! `head` counts the entries that were taken, `tail` those that were written; both only grow, so
//! that a reader who slept for long cannot mistake one round for another. Between them lie the unread
//! entries, which the writer never touches.
//!
//! **Reading is a copy, committing one compare-and-exchange of `head`.** A reader copies from `head`
//! on, and owns what it copied if `head` is still what it was. Until then nothing has changed: a
//! reader that dies has taken nothing. (To mark entries as claimed first would leave the marks of the
//! dead behind.)
//!
//! The order of memory:
//! - *Written before published*: the writer stores an entry and then `tail` (Release); a reader loads
//!   `tail` (Acquire) and then the entry. So it sees the entry whole.
//! - *Read before overwritten*: a reader loads the entry and then exchanges `head` (Release); the
//!   writer loads `head` (Acquire) before it uses the room. So no later entry is seen in the place of
//!   one whose commit succeeded.
//! - A reader that is overtaken, because another one commits and the writer goes on, may copy a mix
//!   of two entries. Its commit fails, since `head` has moved on for good. The entries are atomic
//!   words, so that such a copy is no undefined behaviour.

use super::sync::{AtomicU64, Ordering};

/// See the module. An entry is so many words.
#[derive(Debug)]
pub(crate) struct Buffer<const WORDS: usize> {
    /// A power of two of them, at least `capacity`.
    slots: Box<[[AtomicU64; WORDS]]>,
    capacity: u64,
    head: AtomicU64,
    tail: AtomicU64,
}

/// A copy of some entries was made, from this place on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Copied {
    pub(crate) from: u64,
    pub(crate) n: usize,
}

impl<const WORDS: usize> Buffer<WORDS> {
    pub(crate) fn new(capacity: usize) -> Self {
        let slot = |_| std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            slots: (0..capacity.next_power_of_two()).map(slot).collect(),
            capacity: capacity as u64,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// How many entries are unread.
    pub(crate) fn unread(&self) -> usize {
        let head = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        // What was taken between the two loads makes it more than there are.
        tail.saturating_sub(head).min(self.capacity) as usize
    }

    /// For the writer: how many more entries there is room for. It can only grow meanwhile.
    pub(crate) fn room(&self) -> usize {
        let tail = self.tail.load(Ordering::Relaxed);
        (self.capacity - (tail - self.head.load(Ordering::Acquire))) as usize
    }

    /// For the writer: adds entries, for which there must be room.
    pub(crate) fn publish(&self, entries: impl ExactSizeIterator<Item = [u64; WORDS]>) {
        assert!(entries.len() <= self.room(), "unread entries are never overwritten");
        let mut tail = self.tail.load(Ordering::Relaxed);
        for entry in entries {
            for (word, value) in self.slot(tail).iter().zip(entry) {
                word.store(value, Ordering::Relaxed);
            }
            tail += 1;
        }
        self.tail.store(tail, Ordering::Release);
    }

    /// Copies unread entries, at most `most`, each to `put` with its number in the copy.
    pub(crate) fn copy(&self, most: usize, mut put: impl FnMut(usize, [u64; WORDS])) -> Copied {
        let from = self.head.load(Ordering::Acquire);
        let tail = self.tail.load(Ordering::Acquire);
        let n = tail.saturating_sub(from).min(self.capacity).min(most as u64);
        for at in 0..n {
            let slot = self.slot(from + at);
            put(at as usize, std::array::from_fn(|word| slot[word].load(Ordering::Relaxed)));
        }
        Copied { from, n: n as usize }
    }

    /// Takes what was copied; false: another reader was first, and the copy is void (or it is no copy
    /// of what is there).
    pub(crate) fn commit(&self, copied: Copied) -> bool {
        let to = copied.from.saturating_add(copied.n as u64);
        if to > self.tail.load(Ordering::Relaxed) {
            return false;
        }
        self.head.compare_exchange(copied.from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    fn slot(&self, place: u64) -> &[AtomicU64; WORDS] {
        &self.slots[place as usize & (self.slots.len() - 1)]
    }
}
