//! A table by descriptor number that is read and grown without a lock.
//!
//! Three levels of pointers, made when first needed and never freed while the table lives, so that
//! a reference out of it stays good whatever other threads do. A `RwLock<Vec<T>>` would be shorter,
//! but a signal handler that calls epoll_ctl, or a child forked while another thread held the lock,
//! would hang on it.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

const BITS: u32 = 6;
const WIDTH: usize = 1 << BITS;
/// The highest number the table has room for: that of the kernel's default `fs.nr_open`.
pub const MAX_FD: RawFd = 4 * (WIDTH * WIDTH * WIDTH) as RawFd - 1;

type Level<T> = [AtomicPtr<T>; WIDTH];
type Leaf<T> = [T; WIDTH];

/// See the module.
#[derive(Debug)]
pub struct FdTable<T>([AtomicPtr<Level<Level<Leaf<T>>>>; 4]);

impl<T: Default> Default for FdTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> FdTable<T> {
    /// An empty table.
    pub const fn new() -> Self {
        Self([const { AtomicPtr::new(null_mut()) }; 4])
    }

    /// The entry of `fd`, if one was made near it.
    #[inline]
    pub fn get(&self, fd: RawFd) -> Option<&T> {
        let at = Path::of(fd)?;
        let level = follow(&self.0[at.root])?;
        let level = follow(&level[at.high])?;
        Some(&follow(&level[at.middle])?[at.low])
    }

    /// The entry of `fd`, made if there is none; none where `fd` is negative or over [`MAX_FD`].
    #[inline]
    pub fn entry(&self, fd: RawFd) -> Option<&T> {
        let at = Path::of(fd)?;
        let level = follow_or_make(&self.0[at.root], new_level);
        let level = follow_or_make(&level[at.high], new_level);
        Some(&follow_or_make(&level[at.middle], || std::array::from_fn(|_| T::default()))[at.low])
    }

    /// Calls `f` with each entry there is and its number.
    pub fn for_each(&self, mut f: impl FnMut(RawFd, &T)) {
        for (root, top) in self.0.iter().enumerate() {
            let Some(top) = follow(top) else { continue };
            for (high, level) in top.iter().enumerate() {
                let Some(level) = follow(level) else { continue };
                for (middle, leaf) in level.iter().enumerate() {
                    let Some(leaf) = follow(leaf) else { continue };
                    for (low, entry) in leaf.iter().enumerate() {
                        let fd = ((root * WIDTH + high) * WIDTH + middle) * WIDTH + low;
                        f(fd as RawFd, entry);
                    }
                }
            }
        }
    }
}

struct Path {
    root: usize,
    high: usize,
    middle: usize,
    low: usize,
}

impl Path {
    #[inline]
    fn of(fd: RawFd) -> Option<Self> {
        if !(0..=MAX_FD).contains(&fd) {
            return None;
        }
        let (fd, mask) = (fd as usize, WIDTH - 1);
        Some(Self {
            root: fd >> (3 * BITS),
            high: fd >> (2 * BITS) & mask,
            middle: fd >> BITS & mask,
            low: fd & mask,
        })
    }
}

fn new_level<T>() -> Level<T> {
    [const { AtomicPtr::new(null_mut()) }; WIDTH]
}

#[inline]
fn follow<T>(at: &AtomicPtr<T>) -> Option<&T> {
    // SAFETY: the pointer is null or was published by `follow_or_make` from a Box that is freed
    // only by `Drop`, which has the table to itself.
    unsafe { at.load(Ordering::Acquire).as_ref() }
}

#[inline]
fn follow_or_make<T>(at: &AtomicPtr<T>, make: impl FnOnce() -> T) -> &T {
    follow(at).unwrap_or_else(|| made(at, make))
}

#[cold]
#[inline(never)]
fn made<T>(at: &AtomicPtr<T>, make: impl FnOnce() -> T) -> &T {
    let made = Box::into_raw(Box::new(make()));
    match at.compare_exchange(null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: `made` was just published and lives as long as the table.
        Ok(_) => unsafe { &*made },
        Err(there) => {
            // SAFETY: `made` came from a Box above and was not published; `there` was, by another
            // thread, and lives as long as the table.
            unsafe {
                drop(Box::from_raw(made));
                &*there
            }
        }
    }
}

impl<T> Drop for FdTable<T> {
    fn drop(&mut self) {
        fn take<T>(at: &mut AtomicPtr<T>) -> Option<Box<T>> {
            let there = std::mem::replace(at.get_mut(), null_mut());
            // SAFETY: a published pointer came from a Box, and `&mut self` has it alone.
            (!there.is_null()).then(|| unsafe { Box::from_raw(there) })
        }
        for root in &mut self.0 {
            let Some(mut top) = take(root) else { continue };
            for level in top.iter_mut() {
                let Some(mut level) = take(level) else { continue };
                for leaf in level.iter_mut() {
                    drop(take(leaf));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn each_number_has_its_own_entry() {
        let table = FdTable::<AtomicU32>::new();
        let numbers = [0, 1, 63, 64, 4095, 4096, 262_143, 262_144, MAX_FD];
        for &fd in &numbers {
            assert_eq!(table.get(fd).map(|e| e.load(Ordering::Relaxed)).unwrap_or(0), 0);
            table.entry(fd).unwrap().store(fd as u32 + 1, Ordering::Relaxed);
        }
        let mut seen = Vec::new();
        table.for_each(|fd, e| match e.load(Ordering::Relaxed) {
            0 => {}
            v => {
                assert_eq!(v, fd as u32 + 1);
                seen.push(fd);
            }
        });
        assert_eq!(seen, numbers);
        assert!(table.entry(-1).is_none() && table.entry(MAX_FD + 1).is_none());
    }
}
