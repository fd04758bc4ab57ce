//! What READ and WRITE knotes report in `data`: how much there is to read, how much room to write.

use std::os::fd::RawFd;

use libc::{SO_SNDBUF, SO_TYPE, SOL_SOCKET, c_int};
use nix::errno::Errno;

use super::backlog::backlog;
use super::raw;

/// What a descriptor is, as far as `data` depends on it. Asked for once, at a knote's first report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Not asked yet.
    Unknown,
    Socket,
    Pipe,
    Eventfd,
    Timerfd,
    Signalfd,
    /// Terminals, inotify and whatever else knows FIONREAD.
    Other,
}

impl Kind {
    pub(crate) fn of(fd: RawFd) -> Self {
        if raw::getsockopt::<c_int>(fd, SOL_SOCKET, SO_TYPE).is_ok() {
            return Kind::Socket;
        }
        match raw::fstat(fd).map(|st| st.st_mode & libc::S_IFMT) {
            Ok(libc::S_IFIFO) => return Kind::Pipe,
            Ok(0) => {} // an anonymous inode: its name tells
            _ => return Kind::Other,
        }
        let mut name = [0; 32];
        match raw::readlink_fd(fd, &mut name) {
            Ok(b"anon_inode:[eventfd]") => Kind::Eventfd,
            Ok(b"anon_inode:[timerfd]") => Kind::Timerfd,
            Ok(b"anon_inode:[signalfd]") => Kind::Signalfd,
            _ => Kind::Other,
        }
    }
}

/// Bytes (or what takes their place) that can be read.
///
/// A listening socket: the connections that wait to be accepted; a datagram socket: the size of the
/// first datagram; an eventfd: its counter; a timerfd: the expirations that the kernel has counted, which
/// of a periodic one is 1 until it is read; a signalfd: one signal's bytes. Where the kernel does not
/// say, 1: something is there.
#[inline(always)]
pub(crate) fn readable(fd: RawFd, kind: Kind) -> i64 {
    if matches!(kind, Kind::Eventfd | Kind::Timerfd | Kind::Signalfd) {
        return readable_specially(fd, kind);
    }
    match raw::ioctl_int(fd, libc::FIONREAD) {
        Ok(bytes) => i64::from(bytes),
        // FIONREAD is EINVAL on a listening socket (tcp(7), and unix's inq_len).
        Err(Errno::EINVAL) if kind == Kind::Socket => backlog(fd).unwrap_or(1),
        Err(_) => 1,
    }
}

#[inline(never)]
fn readable_specially(fd: RawFd, kind: Kind) -> i64 {
    match kind {
        Kind::Eventfd => fdinfo(fd, b"eventfd-count:", 16).map_or(1, clamped),
        // (timerfd_gettime(2) would have it count the rest, and go on: a new edge for all who watch it.)
        Kind::Timerfd => fdinfo(fd, b"ticks:", 10).map_or(1, clamped),
        _ => size_of::<libc::signalfd_siginfo>() as i64,
    }
}

/// Room in the send buffer, in bytes. Where the kernel does not say, 1.
pub(crate) fn writable(fd: RawFd, kind: Kind) -> i64 {
    let room = match kind {
        Kind::Socket => {
            let size = raw::getsockopt::<c_int>(fd, SOL_SOCKET, SO_SNDBUF);
            let used = raw::ioctl_int(fd, libc::TIOCOUTQ);
            size.and_then(|size| used.map(|used| size.saturating_sub(used)))
        }
        Kind::Pipe => {
            let size = raw::fcntl(fd, libc::F_GETPIPE_SZ, 0);
            let used = raw::ioctl_int(fd, libc::FIONREAD);
            size.and_then(|size| used.map(|used| size.saturating_sub(used)))
        }
        Kind::Eventfd => {
            // It takes up to 2^64 - 2.
            let count = fdinfo(fd, b"eventfd-count:", 16);
            return count.map_or(1, |count| clamped((u64::MAX - 1).saturating_sub(count)));
        }
        _ => Ok(1),
    };
    // The kernel counts its own overhead as used: "writable" may stand beside "over the size".
    room.map_or(1, |room| i64::from(room.max(0)))
}

/// A number out of /proc/self/fdinfo, the only place that tells it without changing it.
pub(crate) fn fdinfo(fd: RawFd, name: &[u8], radix: u32) -> Option<u64> {
    let path = format!("/proc/self/fdinfo/{fd}\0");
    let path = std::ffi::CStr::from_bytes_with_nul(path.as_bytes()).ok()?;
    let file = raw::open_read(path).ok()?;
    let mut text = [0; 512];
    let read = raw::read(file, &mut text);
    let _ = raw::close(file);
    let line = text[..read.ok()?].split(|&b| b == b'\n').find_map(|l| l.strip_prefix(name))?;
    u64::from_str_radix(std::str::from_utf8(line).ok()?.trim(), radix).ok()
}

fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
