//! What kind of descriptor a number is.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use libc::{c_int, c_void};
use nix::errno::Errno;

use super::bits::Kind;

/// What the system says of a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Number {
    /// It is not open; or it is the library's own, which the system knows nothing of.
    Unknown,
    /// A file or directory, which epoll refuses.
    File,
    /// A descriptor that can be waited for.
    Of(Kind),
    /// None of those: perhaps a queue.
    Other,
}

/// Looks a number up.
pub(crate) fn of(fd: RawFd) -> Number {
    let Some(stat) = stat(fd) else { return Number::Unknown };
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Number::File,
        libc::S_IFCHR if is_bare(&stat) => Number::File,
        // SAFETY: takes a number.
        libc::S_IFCHR if unsafe { libc::isatty(fd) } == 1 => Number::Of(Kind::Terminal),
        libc::S_IFIFO => Number::Of(pipe(fd)),
        libc::S_IFSOCK => Number::Of(socket(fd)),
        _ => Number::Other,
    }
}

/// Is that why no WRITE knote can be added: the other end of the pipe is closed? NetBSD says EBADF.
pub(crate) fn is_gone(errno: Errno, fd: RawFd, kind: Kind) -> bool {
    let is_end = matches!(kind, Kind::PipeWrite | Kind::PipeBoth);
    errno == Errno::EPIPE || errno == Errno::EBADF && is_end && of(fd) == Number::Of(kind)
}

/// Is the number open, as far as the system knows?
pub(crate) fn is_open(fd: RawFd) -> bool {
    // SAFETY: takes a number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

fn stat(fd: RawFd) -> Option<libc::stat> {
    let mut stat = MaybeUninit::uninit();
    // SAFETY: fstat fills it where it returns 0.
    unsafe { (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init()) }
}

/// /dev/null and /dev/zero, which are always ready.
fn is_bare(stat: &libc::stat) -> bool {
    [c"/dev/null", c"/dev/zero"].into_iter().any(|path| {
        let mut bare = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the path ends with a zero byte; stat fills the struct where it returns 0.
        unsafe {
            libc::stat(path.as_ptr(), bare.as_mut_ptr()) == 0
                && bare.assume_init().st_rdev == stat.st_rdev
        }
    })
}

/// By the direction that it was opened for.
fn pipe(fd: RawFd) -> Kind {
    // SAFETY: takes a number.
    match unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_ACCMODE {
        libc::O_RDONLY => Kind::PipeRead,
        libc::O_WRONLY => Kind::PipeWrite,
        _ => Kind::PipeBoth,
    }
}

fn socket(fd: RawFd) -> Kind {
    match option(fd, libc::SO_TYPE) {
        Some(libc::SOCK_DGRAM | libc::SOCK_RAW) => Kind::Datagram,
        _ if option(fd, libc::SO_ACCEPTCONN).is_some_and(|listens| listens != 0) => Kind::Listener,
        _ => Kind::Stream,
    }
}

fn option(fd: RawFd, name: c_int) -> Option<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    let at = (&raw mut value).cast::<c_void>();
    // SAFETY: an int and its length.
    let result = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, at, &mut len) };
    (result == 0).then_some(value)
}
