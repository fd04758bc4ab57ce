//! Descriptors of our own that the program shall not stumble over.

use std::os::fd::RawFd;

use super::raw::{self, Result};

/// Where hidden descriptors begin, if the descriptor limit permits. Programs expect the lowest
/// free number for theirs, so ours lie above those in use; but not far above, since a table that
/// has grown makes each fork slower.
const FLOORS: [i32; 4] = [1000, 500, 240, 100];

/// Moves a new descriptor of ours to a high number, close-on-exec. Where there is no room up there
/// it stays where it is, which is no error.
///
/// The number it was made at is free again afterwards. That it was taken for a moment cannot be
/// avoided: no system call makes a descriptor at a number of our choice.
pub fn hide(fd: RawFd) -> RawFd {
    for floor in FLOORS {
        match raw::fcntl(fd, libc::F_DUPFD_CLOEXEC, floor) {
            Ok(high) => {
                // The number is ours alone, so closing it cannot fail in a way that matters.
                let _ = raw::close(fd);
                return high;
            }
            // EINVAL: the floor lies over RLIMIT_NOFILE. EMFILE: nothing free above it.
            Err(_) => continue,
        }
    }
    fd
}

/// Makes a descriptor with `make` and hides it.
///
/// # Errors
/// What `make` says.
pub fn hidden(make: impl FnOnce() -> Result<RawFd>) -> Result<RawFd> {
    make().map(hide)
}
