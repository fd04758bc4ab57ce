//! Sockets for tests: loopback only, nonblocking, close-on-exec.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libc::{c_int, sockaddr_in, socklen_t};
use nix::errno::Errno;

use super::sys::{Result, own};
use super::threads::wait_until_ready;
use crate::hooks;

const FLAGS: c_int = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
const ADDRESS_LEN: socklen_t = size_of::<sockaddr_in>() as socklen_t;

/// `socketpair(AF_UNIX, kind)`; `kind` as `SOCK_STREAM`.
pub fn unix_pair(kind: c_int) -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two ints.
    Errno::result(unsafe { libc::socketpair(libc::AF_UNIX, kind | FLAGS, 0, ends.as_mut_ptr()) })?;
    Ok((own(ends[0])?, own(ends[1])?))
}

/// `socket(domain, kind)`.
pub fn socket(domain: c_int, kind: c_int) -> Result<OwnedFd> {
    // SAFETY: takes no pointer.
    own(unsafe { libc::socket(domain, kind | FLAGS, 0) })
}

/// 127.0.0.1 and a port; 0 has the kernel choose.
pub fn loopback(port: u16) -> sockaddr_in {
    // SAFETY: an all-zero sockaddr_in is a valid one.
    let mut address: sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
    address.sin_port = port.to_be();
    address
}

/// `bind(fd, 127.0.0.1:port)`.
pub fn bind(fd: RawFd, port: u16) -> Result<()> {
    let address = loopback(port);
    // SAFETY: the address is valid, and so long.
    Errno::result(unsafe { libc::bind(fd, (&raw const address).cast(), ADDRESS_LEN) }).map(drop)
}

/// `connect(fd, 127.0.0.1:port)`: mostly EINPROGRESS.
pub fn connect(fd: RawFd, port: u16) -> Result<()> {
    let address = loopback(port);
    // SAFETY: the address is valid, and so long.
    Errno::result(unsafe { libc::connect(fd, (&raw const address).cast(), ADDRESS_LEN) }).map(drop)
}

/// The port that an INET socket is bound to; None for other sockets.
pub fn port_of(fd: RawFd) -> Option<u16> {
    let mut address = MaybeUninit::<sockaddr_in>::zeroed();
    let mut len = ADDRESS_LEN;
    // SAFETY: the kernel writes at most `len` bytes of the address; all-zero is valid.
    let address = unsafe {
        Errno::result(libc::getsockname(fd, address.as_mut_ptr().cast(), &mut len)).ok()?;
        address.assume_init()
    };
    let inet = c_int::from(address.sin_family) == libc::AF_INET;
    inet.then(|| u16::from_be(address.sin_port))
}

/// A TCP listener with room for a few connections.
pub fn tcp_listener() -> Result<OwnedFd> {
    let listener = socket(libc::AF_INET, libc::SOCK_STREAM)?;
    bind(listener.as_raw_fd(), 0)?;
    listen(listener.as_raw_fd(), 8)?;
    Ok(listener)
}

/// `listen(fd, backlog)`.
pub fn listen(fd: RawFd, backlog: c_int) -> Result<()> {
    // SAFETY: takes no pointer.
    Errno::result(unsafe { libc::listen(fd, backlog) }).map(drop)
}

/// `accept4(fd, SOCK_NONBLOCK | SOCK_CLOEXEC)`.
pub fn accept(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: the address is not asked for.
    own(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), FLAGS) })
}

/// A connected pair over loopback: who connected and who accepted. No delay for small writes.
pub fn tcp_pair() -> Result<(OwnedFd, OwnedFd)> {
    let listener = tcp_listener()?;
    let client = socket(libc::AF_INET, libc::SOCK_STREAM)?;
    let port = port_of(listener.as_raw_fd()).ok_or(Errno::EINVAL)?;
    match connect(client.as_raw_fd(), port) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(other) => return Err(other),
    }
    wait_until_ready(listener.as_raw_fd(), libc::POLLIN);
    let server = accept(listener.as_raw_fd())?;
    wait_until_ready(client.as_raw_fd(), libc::POLLOUT);
    for end in [&client, &server] {
        set_option(end.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    }
    Ok((client, server))
}

/// Two UDP sockets connected to each other over loopback.
pub fn udp_pair() -> Result<(OwnedFd, OwnedFd)> {
    let one = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    let two = socket(libc::AF_INET, libc::SOCK_DGRAM)?;
    for (from, to) in [(&one, &two), (&two, &one)] {
        bind(to.as_raw_fd(), 0).or_else(|e| if e == Errno::EINVAL { Ok(()) } else { Err(e) })?;
        connect(from.as_raw_fd(), port_of(to.as_raw_fd()).ok_or(Errno::EINVAL)?)?;
    }
    Ok((one, two))
}

/// `shutdown(fd, how)`.
pub fn shutdown(fd: RawFd, how: c_int) -> Result<()> {
    // SAFETY: takes no pointer.
    Errno::result(unsafe { libc::shutdown(fd, how) }).map(drop)
}

/// `send(fd, bytes, flags | MSG_NOSIGNAL)`.
pub fn send(fd: RawFd, bytes: &[u8], flags: c_int) -> Result<usize> {
    // SAFETY: the kernel reads `bytes`.
    Errno::result(unsafe {
        libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags | libc::MSG_NOSIGNAL)
    })
    .map(|n| n as usize)
}

/// `recv(fd, flags)` of up to `len` bytes.
pub fn recv(fd: RawFd, len: usize, flags: c_int) -> Result<Vec<u8>> {
    let mut buf = vec![0; len];
    // SAFETY: the kernel writes at most `len` bytes.
    let n = Errno::result(unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), len, flags) })?;
    buf.truncate(n as usize);
    Ok(buf)
}

/// `setsockopt(fd, level, name, value)` of an int.
pub fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> Result<()> {
    let len = size_of::<c_int>() as socklen_t;
    // SAFETY: the kernel reads one int.
    let set = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), len) };
    if name == libc::SO_OOBINLINE && hooks::are_complete() {
        hooks::changed_silently();
    }
    Errno::result(set).map(drop)
}

/// `getsockopt(fd, level, name)` of an int.
pub fn option(fd: RawFd, level: c_int, name: c_int) -> Result<c_int> {
    crate::raw::getsockopt(fd, level, name)
}

/// Has close() of a TCP socket send a reset, and leave nothing behind in TIME_WAIT.
pub fn reset_at_close(fd: RawFd) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let len = size_of::<libc::linger>() as socklen_t;
    // SAFETY: the kernel reads one linger.
    Errno::result(unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len)
    })
    .map(drop)
}

/// Has a TCP socket said that it will send no more, and is waiting for that to be acknowledged?
pub fn awaits_last_acknowledgement(fd: RawFd) -> bool {
    /// FIN_WAIT1, CLOSING and LAST_ACK of the kernel's list of states.
    const STATES: [u8; 3] = [4, 11, 9];
    // The state is the first byte of struct tcp_info, of which the kernel gives as much as is asked.
    let state = crate::raw::getsockopt::<u8>(fd, libc::IPPROTO_TCP, libc::TCP_INFO);
    state.is_ok_and(|state| STATES.contains(&state))
}

/// Has a TCP socket acknowledge as soon as it may (Linux 6.15; before, it may take 40 ms).
pub fn acknowledge_soon(fd: RawFd) {
    const TCP_DELACK_MAX_US: c_int = 46;
    // The least that is accepted is two ticks of the kernel's clock, which has 1000 to 100 a second.
    // An older kernel refuses all: then those tests take longer.
    let set = |us| set_option(fd, libc::IPPROTO_TCP, TCP_DELACK_MAX_US, us);
    let _ = [2_000, 8_000, 20_000].into_iter().any(|us| set(us).is_ok());
}
