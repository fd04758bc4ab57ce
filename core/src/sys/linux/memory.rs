//! Is this pointer of a C caller any good?
//!
//! A kernel copies with a fault handler; we do not have one. So before a page of the caller's is
//! touched for the first time, the kernel is asked. Pages that were good once are remembered: a
//! program that unmaps its eventlist and passes it again crashes, where a kernel would say EFAULT.

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::raw::{self, Result};

const PAGE: usize = 4096;
const WORD: usize = size_of::<u64>();
const READ: usize = 1;
const WRITE: usize = 2;

/// Pages that were good, each in one of the two places that its number hashes to, with what they were
/// good for in the two lowest bits. (Two, since with one two pages that a call needs would now and then
/// drive out each other: 300 ns a call.)
static GOOD: [[AtomicUsize; 2]; 256] = [const { [const { AtomicUsize::new(0) }; 2] }; 256];

/// # Errors
/// - `EFAULT`: some of the memory cannot be read.
#[inline]
pub(crate) fn check_readable(at: *const u8, len: usize) -> Result<()> {
    check(at as usize, len, READ)
}

/// # Errors
/// - `EFAULT`: some of the memory cannot be written.
///
/// # Safety
/// Nobody else uses the memory meanwhile: a word of it on each page is written over and restored. It
/// is none at all, or a word at least.
#[inline]
pub(crate) unsafe fn check_writable(at: *mut u8, len: usize) -> Result<()> {
    debug_assert!(len == 0 || len >= WORD);
    check(at as usize, len, READ | WRITE)
}

#[inline(always)]
fn check(at: usize, len: usize, wanted: usize) -> Result<()> {
    // Mostly it is none, or lies on one page, which is known.
    let (first, last) = (at / PAGE, at.wrapping_add(len).wrapping_sub(1) / PAGE);
    if len == 0 || len <= PAGE && first == last && is_good(&places(first)[0], first, wanted) {
        return Ok(());
    }
    check_pages(at, len, wanted)
}

#[inline(always)]
fn places(page: usize) -> &'static [AtomicUsize; 2] {
    &GOOD[page % GOOD.len()]
}

#[inline(always)]
fn is_good(place: &AtomicUsize, page: usize, wanted: usize) -> bool {
    let known = place.load(Ordering::Relaxed);
    known | (!wanted & (READ | WRITE)) == page << 2 | READ | WRITE
}

#[inline(never)]
fn check_pages(at: usize, len: usize, wanted: usize) -> Result<()> {
    if at < PAGE {
        return Err(Errno::EFAULT); // null, and what lies at its feet; to the call below it is "none"
    }
    let end = at.checked_add(len).ok_or(Errno::EFAULT)?;
    for page in at / PAGE..=(end - 1) / PAGE {
        let [one, other] = places(page);
        if !is_good(one, page, wanted) && !is_good(other, page, wanted) {
            ask(at.max(page * PAGE), end, wanted)?;
            other.store(one.load(Ordering::Relaxed), Ordering::Relaxed);
            one.store(page << 2 | wanted, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Asks the kernel about the page of `at`, by system calls that copy a few bytes and do nothing else.
/// (Not madvise: it does not make a stack grow, as a touch does. Not rt_sigprocmask: valgrind does that
/// one itself, and dies of a bad pointer.)
///
/// What is written over lies between `at` and `end`, or just before `end`, in the caller's array and
/// nowhere else: the rest of the page is other threads', or holds the frames of this very function.
#[cold]
fn ask(at: usize, end: usize, wanted: usize) -> Result<()> {
    ask_readable(at / PAGE * PAGE)?;
    if wanted & WRITE == 0 {
        return Ok(());
    }
    // At the end of the memory less than a word may lie on the page: it begins on the one before, which
    // was asked about. At its beginning it goes on on the next, which was not.
    let next = (at / PAGE + 1) * PAGE;
    if at + WORD > next && end > next {
        if next + WORD <= end { ask(next, end, wanted)? } else { ask_readable(next)? }
    }
    let at = at.min(end - WORD) as *mut u64;
    // SAFETY: the pages can be read. The caller's memory may lie anywhere.
    let saved = unsafe { at.read_unaligned() };
    // SAFETY: `check_writable`'s promise lets us write there.
    if unsafe { raw::rt_sigpending_to(at) } == Err(Errno::EFAULT) {
        return Err(Errno::EFAULT);
    }
    // SAFETY: the kernel could write there, so we can.
    unsafe { at.write_unaligned(saved) };
    Ok(())
}

/// Asks about the page that begins there.
fn ask_readable(page: usize) -> Result<()> {
    // epoll_ctl reads the event first, and finds out then that there is no such epoll set.
    match raw::epoll_ctl(-1, libc::EPOLL_CTL_MOD, -1, page as *const _) {
        Err(Errno::EFAULT) => Err(Errno::EFAULT),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;

    use super::*;

    #[test]
    fn good_memory_is_good_and_keeps_its_contents() {
        let mut memory = vec![7_u8; 5 * PAGE];
        // SAFETY: the vector is ours alone.
        unsafe { check_writable(memory.as_mut_ptr(), memory.len()) }.unwrap();
        check_readable(memory.as_ptr(), memory.len()).unwrap();
        assert!(memory.iter().all(|&b| b == 7));
    }

    /// As if this were the first call.
    fn forget() {
        GOOD.iter().flatten().for_each(|place| place.store(0, Ordering::Relaxed));
    }

    /// Whatever lies on the same page: it may be another thread's.
    #[test]
    fn only_the_callers_own_memory_is_touched() {
        use std::sync::atomic::AtomicU64;
        const ROUNDS: u64 = 20_000;
        #[repr(align(4096))]
        struct Page([AtomicU64; PAGE / 8]);
        let page = Page([const { AtomicU64::new(0) }; PAGE / 8]);
        std::thread::scope(|scope| {
            for theirs in [&page.0[0], &page.0[99], &page.0[108], &page.0[511]] {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        theirs.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let ours = (&raw const page.0[100]).cast_mut().cast::<u8>();
            while page.0[0].load(Ordering::Relaxed) < ROUNDS {
                forget();
                // SAFETY: these eight words are ours, and atomics may be written.
                unsafe { check_writable(ours, 64) }.unwrap();
                // SAFETY: as above; odd addresses.
                unsafe { check_writable(ours.add(1), 62) }.unwrap();
            }
        });
        for theirs in [0, 99, 108, 511] {
            assert_eq!(page.0[theirs].load(Ordering::Relaxed), ROUNDS, "word {theirs}");
        }
    }

    /// An array on the stack: its page is that of the frames of the check itself, too.
    #[test]
    fn an_array_may_lie_anywhere_on_the_stack() {
        #[inline(never)]
        fn deeper(levels: usize) -> usize {
            let mut array = [0xA5_u8; 64];
            forget();
            // SAFETY: this frame's own.
            unsafe { check_writable(std::hint::black_box(array.as_mut_ptr()), 64) }.unwrap();
            assert!(array.iter().all(|&byte| byte == 0xA5));
            if levels == 0 { 0 } else { deeper(levels - 1) + 1 }
        }
        // Frames are some multiple of 16 bytes, so that the array comes to lie at many places of a
        // page.
        assert_eq!(deeper(1000), 1000);
    }

    /// The first page ends after so few bytes, and the next is not to be touched, or only to be read.
    #[test]
    fn memory_may_end_within_its_first_word() {
        let beyond = |protection| {
            // SAFETY: a new mapping; its second page is not used.
            unsafe {
                let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                let both = libc::PROT_READ | libc::PROT_WRITE;
                let pages = libc::mmap(null_mut(), 2 * PAGE, both, kind, -1, 0);
                assert_ne!(pages, libc::MAP_FAILED);
                assert_eq!(libc::mprotect(pages.byte_add(PAGE), PAGE, protection), 0);
                pages.cast::<u8>().add(PAGE)
            }
        };
        for end in [beyond(libc::PROT_NONE), beyond(libc::PROT_READ)] {
            for few in 1..=9 {
                forget();
                // SAFETY: what can be written of it is the mapping's.
                let checked = unsafe { check_writable(end.sub(few), 64) };
                assert_eq!(checked, Err(Errno::EFAULT), "{few} bytes");
            }
        }
    }

    #[test]
    fn a_word_may_lie_on_two_pages() {
        let mut memory = vec![7_u8; 3 * PAGE];
        let next = memory.as_ptr().align_offset(PAGE) + PAGE;
        for beyond in 1..=9 {
            forget();
            // SAFETY: within the vector.
            unsafe { check_writable(memory.as_mut_ptr().add(next + beyond - 64), 64) }.unwrap();
            assert!(memory.iter().all(|&b| b == 7));
        }
    }

    #[test]
    fn bad_memory_is_efault() {
        let null = null_mut::<u8>();
        assert_eq!(check_readable(null, 1), Err(Errno::EFAULT));
        // SAFETY: nobody uses these addresses.
        assert_eq!(unsafe { check_writable(null, 8) }, Err(Errno::EFAULT));
        let read_only = check as *const fn() as *mut u8;
        // SAFETY: code is not written by anybody.
        assert_eq!(unsafe { check_writable(read_only, 8) }, Err(Errno::EFAULT));
        check_readable(read_only, 1).unwrap();
        assert_eq!(check_readable(usize::MAX as *const u8, 64), Err(Errno::EFAULT));
        assert_eq!(check_readable(null, 0), Ok(()));
    }
}
