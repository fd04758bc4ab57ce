//! Which descriptors may be registered.
//!
//! Those only whose poll is known to behave: it consumes nothing (that of /proc/self/mounts and of
//! pressure files does), it keeps one wait queue (that of a tun device, of fuse and ppp comes and
//! goes), and each change of readiness wakes the sleeper (a flushed pty's does not). Everything else
//! is asked by number, with the kernel's own call, at each call. An epoll or kqueue descriptor too:
//! in our queue it would be nested one level deeper than its program knows, and meet ELOOP.

use std::os::fd::RawFd;

use super::raw;

/// Protocols of INET sockets that poll with the socket's own wait queue. (SMC, which runs over
/// AF_INET too, changes its socket's when it falls back to TCP.)
const PROTOCOLS: [i32; 7] = [
    libc::IPPROTO_TCP,
    libc::IPPROTO_UDP,
    libc::IPPROTO_UDPLITE,
    libc::IPPROTO_ICMP,
    libc::IPPROTO_ICMPV6,
    libc::IPPROTO_SCTP,
    libc::IPPROTO_MPTCP,
];

const ANONYMOUS: [&[u8]; 5] = [
    b"anon_inode:[eventfd]",
    b"anon_inode:[timerfd]",
    b"anon_inode:[signalfd]",
    b"anon_inode:inotify",
    b"anon_inode:[pidfd]",
];

/// May this descriptor be registered?
///
/// Nothing here asks a file system (fstat would: a network's may not answer for minutes).
pub(crate) fn is_fit(fd: RawFd) -> bool {
    match raw::getsockopt::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) {
        Ok(libc::AF_UNIX) => true,
        Ok(libc::AF_INET | libc::AF_INET6) => {
            raw::getsockopt::<i32>(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL)
                .is_ok_and(|protocol| PROTOCOLS.contains(&protocol))
        }
        Ok(_) => false,
        Err(_) => is_pipe(fd) || is_known_anonymous(fd),
    }
}

/// Pipes and FIFOs, and nothing else, have a pipe's size.
fn is_pipe(fd: RawFd) -> bool {
    raw::fcntl(fd, libc::F_GETPIPE_SZ, 0).is_ok()
}

/// The other kinds have no inode of their own to be known by, but the kernel names them in /proc;
/// a path of a real file begins with a slash. Without /proc they are asked by number.
fn is_known_anonymous(fd: RawFd) -> bool {
    let mut path = [0; 32];
    let Some(path) = proc_path(fd, &mut path) else { return false };
    let mut target = [0; 64];
    raw::readlink(path, &mut target).is_ok_and(|target| ANONYMOUS.contains(&target))
}

/// "/proc/self/fd/N" without allocating.
fn proc_path(fd: RawFd, buf: &mut [u8; 32]) -> Option<&std::ffi::CStr> {
    use std::io::Write;
    let mut rest = &mut buf[..];
    write!(rest, "/proc/self/fd/{fd}\0").ok()?;
    std::ffi::CStr::from_bytes_until_nul(buf).ok()
}
