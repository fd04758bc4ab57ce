//! Which numbers may be ours: looked at whenever anything is read or written, so it takes no lock.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Numbers that differ by a multiple of this share a bit.
const NUMBERS: usize = 1 << 16;

static BITS: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];
static ANY: AtomicBool = AtomicBool::new(false);

fn place(fd: RawFd) -> (usize, u64) {
    let at = fd as usize % NUMBERS;
    (at / 64, 1 << (at % 64))
}

/// A number is one of ours, and may be again: its bit stays.
pub(super) fn add(fd: RawFd) {
    let (word, bit) = place(fd);
    BITS[word].fetch_or(bit, Ordering::Relaxed);
    ANY.store(true, Ordering::Relaxed);
}

/// Was a number ever one of ours?
#[inline]
pub(super) fn has(fd: RawFd) -> bool {
    let (word, bit) = place(fd);
    fd >= 0 && BITS[word].load(Ordering::Relaxed) & bit != 0
}

/// Was there never any?
#[inline]
pub(super) fn is_empty() -> bool {
    !ANY.load(Ordering::Relaxed)
}
