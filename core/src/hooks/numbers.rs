//! One word for each descriptor number: is it being closed, how often was it, who watches it.
//!
//! A plain array in .bss: no allocation, no lock, no pointer to follow, so that a signal handler
//! and a vfork child may use it; pages of numbers that nobody uses are never touched. (A table made
//! on demand would save address space, and cost a race between its making and a close.)
//!
//! ```text
//!   63            32 31     26  25     24   23            8 7        0
//!   +---------------+---------+------+--------+-------------+----------+
//!   |  generation   |    -    | sink | hidden |    owner    | closers  |
//!   +---------------+---------+------+--------+-------------+----------+
//! ```
//! - closers: closes of this number that are under way. While there is one, the number is
//!   untrusted: nobody registers it.
//! - owner: who has registered it: a queue of poll or select by its id, [`MANY`], or 0.
//! - hidden: the number is a descriptor of our own.
//! - sink: a queue under kqueue's rules wants to be told.
//! - generation: counted up at the end of each close.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

/// Numbers from here on are never registered: that of the kernel's default `fs.nr_open`.
pub(crate) const NUMBERS: usize = 1 << 20;

const CLOSER: u64 = 1;
const CLOSERS: u64 = 0xff;
const OWNER_SHIFT: u32 = 8;
const OWNER: u64 = 0xffff << OWNER_SHIFT;
const HIDDEN: u64 = 1 << 24;
const SINK: u64 = 1 << 25;
const GENERATION: u64 = 1 << 32;

/// The owner of a number that more than one queue has registered.
pub(crate) const MANY: u16 = u16::MAX;

static WORDS: [AtomicU64; NUMBERS] = [const { AtomicU64::new(0) }; NUMBERS];
/// One more than the highest number that anybody ever watched or hid: a close of a range need not
/// look further.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// What a number's word said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Number(u64);

impl Number {
    /// No close is under way.
    #[inline]
    pub(crate) fn is_settled(self) -> bool {
        self.0 & CLOSERS == 0
    }

    /// Counted up at the end of each close. 16 bits of it are kept with each registration: that
    /// exactly 65536 closes come between two looks, none of which left a note, is no concern.
    #[inline]
    pub(crate) fn generation(self) -> u16 {
        (self.0 / GENERATION) as u16
    }

    #[inline]
    pub(crate) fn owner(self) -> u16 {
        ((self.0 & OWNER) >> OWNER_SHIFT) as u16
    }

    #[inline]
    pub(crate) fn is_hidden(self) -> bool {
        self.0 & HIDDEN != 0
    }

    #[inline]
    pub(crate) fn has_sink(self) -> bool {
        self.0 & SINK != 0
    }

    /// Is there anyone to tell of a close?
    #[inline]
    pub(crate) fn is_watched(self) -> bool {
        self.0 & (OWNER | HIDDEN | SINK) != 0
    }
}

#[inline]
fn word(fd: RawFd) -> Option<&'static AtomicU64> {
    // A negative number becomes one that is far too high.
    WORDS.get(fd as u32 as usize)
}

/// The number's word; none where it is out of our range.
#[inline]
pub(crate) fn get(fd: RawFd) -> Option<Number> {
    word(fd).map(|w| Number(w.load(SeqCst)))
}

/// One more than the highest number that is of interest.
pub(crate) fn highest() -> usize {
    HIGHEST.load(SeqCst)
}

/// A close begins. From here on the number is untrusted.
#[inline]
pub(crate) fn begin_close(fd: RawFd) -> Option<Number> {
    word(fd).map(|w| Number(w.fetch_add(CLOSER, SeqCst)))
}

/// A close is over. If `forget`, nobody has the number registered any more (nor has anybody since it
/// began); a vfork child, whose closes change nothing for its parent, leaves that as it is.
#[inline]
pub(crate) fn end_close(fd: RawFd, forget: bool) {
    if let Some(word) = word(fd) {
        if forget && word.load(SeqCst) & OWNER != 0 {
            word.fetch_and(!OWNER, SeqCst);
        }
        word.fetch_add(GENERATION - CLOSER, SeqCst);
    }
}

/// The queue `id` is going to register the number: from here on its closes are told to it. None
/// where a close is under way or the number is out of range.
pub(crate) fn take(fd: RawFd, id: u16) -> Option<Number> {
    HIGHEST.fetch_max(fd as u32 as usize + 1, SeqCst);
    let word = word(fd)?;
    let mut old = word.load(SeqCst);
    loop {
        if !Number(old).is_settled() {
            return None;
        }
        let owner = match Number(old).owner() {
            0 => id,
            same if same == id => return Some(Number(old)),
            _ => MANY,
        };
        let new = old & !OWNER | u64::from(owner) << OWNER_SHIFT;
        match word.compare_exchange_weak(old, new, SeqCst, SeqCst) {
            Ok(_) => return Some(Number(new)),
            Err(now) => old = now,
        }
    }
}

/// The queue `id` has the number no longer.
pub(crate) fn release(fd: RawFd, id: u16) {
    let Some(word) = word(fd) else { return };
    let mut old = word.load(SeqCst);
    while Number(old).owner() == id {
        match word.compare_exchange_weak(old, old & !OWNER, SeqCst, SeqCst) {
            Ok(_) => return,
            Err(now) => old = now,
        }
    }
}

/// Marks a number as a descriptor of our own, or as no longer one.
pub(crate) fn set_hidden(fd: RawFd, hidden: bool) {
    let Some(word) = word(fd) else { return };
    if hidden {
        HIGHEST.fetch_max(fd as usize + 1, SeqCst);
        word.fetch_or(HIDDEN, SeqCst);
    } else {
        word.fetch_and(!HIDDEN, SeqCst);
    }
}

/// The sinks want to be told of closes of this number, until the next one.
#[inline]
pub(crate) fn set_sink(fd: RawFd) {
    let Some(word) = word(fd) else { return };
    if Number(word.load(SeqCst)).has_sink() {
        return; // which spares two instructions that lock the bus
    }
    HIGHEST.fetch_max(fd as usize + 1, SeqCst);
    word.fetch_or(SINK, SeqCst);
}

/// The sinks are about to be told of a close of this number.
pub(crate) fn clear_sink(fd: RawFd) {
    if let Some(word) = word(fd) {
        word.fetch_and(!SINK, SeqCst);
    }
}
