//! Which descriptors may be registered.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::marked::is_queue;

/// Sockets, pipes and FIFOs: what their filters tell is what poll asks, in every system. Everything
/// else is asked by number; a queue too, which some systems take for a pipe: in ours it would be
/// nested deeper than its program knows.
pub(crate) fn is_fit(fd: RawFd) -> bool {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills it where it returns 0.
    let mode = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 {
            return false;
        }
        stat.assume_init().st_mode
    };
    match mode & libc::S_IFMT {
        libc::S_IFSOCK => true,
        libc::S_IFIFO => !is_queue(fd),
        _ => false,
    }
}
