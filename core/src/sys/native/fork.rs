//! Which process are we? A queue belongs to the process that made it, and a forked child has none.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Counted up in each forked child.
static GENERATION: AtomicU32 = AtomicU32::new(1);
static IS_COUNTED: AtomicBool = AtomicBool::new(false);

/// A number, never 0, that is the same throughout one process and unlike that of every process
/// that it descends from by fork(2). A child that shares our memory (vfork) has ours.
#[inline]
pub(crate) fn generation() -> u32 {
    if !IS_COUNTED.load(Ordering::Acquire) {
        begin_to_count();
    }
    GENERATION.load(Ordering::Relaxed)
}

#[cold]
fn begin_to_count() {
    extern "C" fn is_born() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // Where two threads come here at once each child counts twice, which is no less.
    // SAFETY: the handler only counts. Without memory for it a child is found out by its queues,
    // which are not open there.
    unsafe { libc::pthread_atfork(None, None, Some(is_born)) };
    IS_COUNTED.store(true, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differs_in_a_forked_child() {
        let ours = generation();
        assert_eq!((generation(), ours == 0), (ours, false));
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
