//! How many connections wait to be accepted at a listening socket.

use std::os::fd::RawFd;

use libc::{SO_ACCEPTCONN, SO_DOMAIN, SOL_SOCKET, c_int};

use super::raw;

/// None: it does not listen, or the kernel does not tell.
pub(crate) fn backlog(fd: RawFd) -> Option<i64> {
    if raw::getsockopt::<c_int>(fd, SOL_SOCKET, SO_ACCEPTCONN) != Ok(1) {
        return None;
    }
    match raw::getsockopt::<c_int>(fd, SOL_SOCKET, SO_DOMAIN) {
        Ok(libc::AF_UNIX) => of_unix(fd),
        Ok(libc::AF_INET | libc::AF_INET6) => {
            // tcp(7): of a listening socket tcpi_unacked is the number of connections in the queue.
            let info: TcpInfo = raw::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO).ok()?;
            Some(i64::from(info.unacked))
        }
        _ => None,
    }
}

/// The head of `struct tcp_info` (linux/tcp.h): the kernel fills as much as is asked for.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct TcpInfo {
    state_to_options: [u8; 8],
    rto_ato_mss: [u32; 4],
    unacked: u32,
}

/// `struct nlmsghdr` and `struct unix_diag_req` (linux/netlink.h, linux/unix_diag.h), as words.
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 24;
/// `struct unix_diag_msg`.
const MESSAGE: usize = 16;
const SOCK_DIAG_BY_FAMILY: u32 = 20;
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;

/// A socket of the unix family tells its backlog by sock_diag(7) only.
fn of_unix(fd: RawFd) -> Option<i64> {
    let inode = u32::try_from(raw::fstat(fd).ok()?.st_ino).ok()?;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let diag = raw::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG).ok()?;
    let mut answer = [0; 256];
    let read =
        raw::write(diag, &request(inode)).and_then(|_| raw::read(diag, &mut answer)).unwrap_or(0);
    let _ = raw::close(diag);
    queue_length(&answer[..read])
}

/// Asks for one socket, by its inode.
fn request(inode: u32) -> [u8; REQUEST] {
    let any_cookie = u32::MAX;
    let flags = libc::NLM_F_REQUEST as u32;
    let words = [
        REQUEST as u32,
        u32::from_ne_bytes(join(SOCK_DIAG_BY_FAMILY as u16, flags as u16)),
        0, // the message's number
        0, // from us
        u32::from_ne_bytes([libc::AF_UNIX as u8, 0, 0, 0]),
        u32::MAX, // in any state
        inode,
        UDIAG_SHOW_RQLEN,
        any_cookie,
        any_cookie,
    ];
    let mut bytes = [0; REQUEST];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

fn join(low: u16, high: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (low.to_ne_bytes(), high.to_ne_bytes());
    [a, b, c, d]
}

/// Finds the attribute in the answer: of a listening socket its queue is the backlog.
fn queue_length(answer: &[u8]) -> Option<i64> {
    let half =
        |bytes: &[u8], at: usize| Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    if u32::from(half(answer, 4)?) != SOCK_DIAG_BY_FAMILY {
        return None; // an error: no such socket in our network namespace, or no unix_diag
    }
    let mut attributes = answer.get(HEADER + MESSAGE..)?;
    loop {
        let (len, name) = (usize::from(half(attributes, 0)?), half(attributes, 2)?);
        if name == UNIX_DIAG_RQLEN {
            let queue = attributes.get(4..8)?.try_into().ok()?;
            return Some(i64::from(u32::from_ne_bytes(queue)));
        }
        attributes = attributes.get(len.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_searched_for_its_attribute() {
        let mut answer = vec![0; HEADER + MESSAGE];
        answer[4..6].copy_from_slice(&(SOCK_DIAG_BY_FAMILY as u16).to_ne_bytes());
        answer.extend(join(6, 0)); // a name of two bytes
        answer.extend([1, 2, 0, 0]);
        answer.extend(join(12, UNIX_DIAG_RQLEN));
        answer.extend(7_u32.to_ne_bytes());
        answer.extend(128_u32.to_ne_bytes());
        assert_eq!(queue_length(&answer), Some(7));
        assert_eq!(queue_length(&answer[..40]), None);
        assert_eq!(queue_length(&[]), None);
        answer[4] = libc::NLMSG_ERROR as u8;
        assert_eq!(queue_length(&answer), None);
    }
}
