//! Which process are we? A queue belongs to the process that made it.
//!
//! A page that the kernel wipes in a forked child (MADV_WIPEONFORK, Linux 4.14) holds a number
//! that is unlike its parent's; reading it costs one load. `getpid` would cost a system call each
//! time, `pthread_atfork` is not run by a raw `fork` system call. A **vfork** child shares our
//! memory, so this page does not tell it: who must know that too compares [`raw::getpid`].

use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use super::raw;

/// The page, once it is there; before that [`NONE`], and [`ABSENT`] where mmap or madvise failed.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NONE).cast_mut());
/// Stay 0, which is nobody's number.
static NONE: AtomicU32 = AtomicU32::new(0);
static ABSENT: AtomicU32 = AtomicU32::new(0);
/// The number where there is no page, and the process that it is of, by `getpid`.
static UNWIPED: AtomicU32 = AtomicU32::new(0);
static UNWIPED_PID: AtomicI32 = AtomicI32::new(0);
/// The last number given out. A child inherits it and goes on from there, so that no number of an
/// ancestor is given out again.
static LAST: AtomicU32 = AtomicU32::new(0);

/// A number, never 0, that is the same throughout one process and unlike that of every process
/// that it descends from.
#[inline]
pub fn generation() -> u32 {
    // SAFETY: `PAGE` holds `&NONE`, `&ABSENT` or a page mapped by `map_page`, never unmapped.
    match unsafe { &*PAGE.load(Ordering::Acquire) }.load(Ordering::Relaxed) {
        0 => first_call_of_a_process(),
        generation => generation,
    }
}

#[cold]
fn first_call_of_a_process() -> u32 {
    let none = (&raw const NONE).cast_mut();
    let mut page = PAGE.load(Ordering::Acquire);
    if std::ptr::eq(page, none) {
        let made = map_page().unwrap_or((&raw const ABSENT).cast_mut());
        // Where two threads come first at once, one page stays and the other is left mapped, once.
        page = match PAGE.compare_exchange(none, made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => made,
            Err(other) => other,
        };
    }
    let cell = if std::ptr::eq(page, &raw const ABSENT) {
        let pid = raw::getpid();
        if UNWIPED_PID.swap(pid, Ordering::AcqRel) != pid {
            UNWIPED.store(0, Ordering::Release);
        }
        &UNWIPED
    } else {
        // SAFETY: as in `generation`.
        unsafe { &*page }
    };
    let current = cell.load(Ordering::Acquire);
    if current != 0 {
        return current;
    }
    let next = LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
    match cell.compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => next,
        Err(other) => other,
    }
}

fn map_page() -> Option<*mut AtomicU32> {
    const LEN: usize = 4096;
    let page = raw::mmap_anonymous(LEN).ok()?;
    // SAFETY: the page was mapped just now and nobody else knows it.
    unsafe { raw::madvise(page, LEN, libc::MADV_WIPEONFORK) }.ok()?;
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_stable_and_not_zero() {
        assert_ne!(generation(), 0);
        assert_eq!(generation(), generation());
    }

    #[test]
    fn differs_in_a_forked_child() {
        let ours = generation();
        // SAFETY: the child only compares numbers and leaves by _exit.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                let other = generation() != ours && generation() == generation();
                libc::_exit(if other { 0 } else { 1 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert_eq!(status, 0, "the child kept its parent's generation");
        }
        assert_eq!(generation(), ours);
    }
}
