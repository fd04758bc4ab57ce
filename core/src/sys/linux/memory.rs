//! Is this pointer of a C caller any good?
//!
//! A kernel copies with a fault handler; we do not have one. So before a page of the caller's is
//! touched for the first time, the kernel is asked. Pages that were good once are remembered: a
//! program that unmaps its eventlist and passes it again crashes, where a kernel would say EFAULT.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::raw::{self, Result};

const PAGE: usize = 4096;
const READ: usize = 1;
const WRITE: usize = 2;

/// Pages that were good, each in the place that its number hashes to, with what they were good for.
static GOOD: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];

/// # Errors
/// - `EFAULT`: some of the memory cannot be read.
pub(crate) fn check_readable(at: *const u8, len: usize) -> Result<()> {
    check(at as usize, len, READ)
}

/// # Errors
/// - `EFAULT`: some of the memory cannot be written.
///
/// # Safety
/// Nobody else uses the memory meanwhile: a word of each page is written over and restored.
pub(crate) unsafe fn check_writable(at: *mut u8, len: usize) -> Result<()> {
    check(at as usize, len, READ | WRITE)
}

#[inline]
fn check(at: usize, len: usize, wanted: usize) -> Result<()> {
    if len == 0 {
        return Ok(());
    }
    if at < PAGE {
        return Err(Errno::EFAULT); // null, and what lies at its feet; to the call below it is "none"
    }
    let end = at.checked_add(len - 1).ok_or(Errno::EFAULT)?;
    for page in at / PAGE..=end / PAGE {
        let slot = &GOOD[page % GOOD.len()];
        let known = slot.load(Ordering::Relaxed);
        if known / 4 == page && known & wanted == wanted {
            continue;
        }
        ask(page * PAGE, wanted)?;
        slot.store((page * 4) | wanted, Ordering::Relaxed);
    }
    Ok(())
}

/// Asks the kernel about a page, by system calls that copy eight bytes and do nothing else. (Not
/// madvise: it does not make a stack grow, as a touch does.)
#[cold]
fn ask(page: usize, wanted: usize) -> Result<()> {
    const NO_SUCH_HOW: i32 = 99;
    let at = page as *mut u64;
    // rt_sigprocmask reads the new set first, and finds out then that there is no such operation.
    // SAFETY: changes nothing.
    match unsafe { raw::rt_sigprocmask(NO_SUCH_HOW, at.cast(), null_mut()) } {
        Err(Errno::EFAULT) => return Err(Errno::EFAULT),
        _ if wanted & WRITE == 0 => return Ok(()),
        _ => {}
    }
    // SAFETY: the page can be read; it is aligned.
    let saved = unsafe { at.read_volatile() };
    // SAFETY: `check_writable`'s promise lets us write there; the old mask goes to `at`.
    unsafe { raw::rt_sigprocmask(NO_SUCH_HOW, std::ptr::null(), at.cast()) }?;
    // SAFETY: the kernel could write there, so we can.
    unsafe { at.write_volatile(saved) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_memory_is_good_and_keeps_its_contents() {
        let mut memory = vec![7_u8; 5 * PAGE];
        // SAFETY: the vector is ours alone.
        unsafe { check_writable(memory.as_mut_ptr(), memory.len()) }.unwrap();
        check_readable(memory.as_ptr(), memory.len()).unwrap();
        assert!(memory.iter().all(|&b| b == 7));
    }

    #[test]
    fn bad_memory_is_efault() {
        let null = null_mut::<u8>();
        assert_eq!(check_readable(null, 1), Err(Errno::EFAULT));
        // SAFETY: nobody uses these addresses.
        assert_eq!(unsafe { check_writable(null, 1) }, Err(Errno::EFAULT));
        let read_only = check as *const fn() as *mut u8;
        // SAFETY: code is not written by anybody.
        assert_eq!(unsafe { check_writable(read_only, 1) }, Err(Errno::EFAULT));
        check_readable(read_only, 1).unwrap();
        assert_eq!(check_readable(usize::MAX as *const u8, 64), Err(Errno::EFAULT));
        assert_eq!(check_readable(null, 0), Ok(()));
    }
}
