//! Steps that are more than one system call.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::ops::{Amount, Outcome, Payload, When};
use super::{sockets, sys};

pub(super) fn write(fd: RawFd, payload: Payload) -> sys::Result<Outcome> {
    let page = [b'p'; 4096];
    let bytes: &[u8] = match payload {
        Payload::Nothing => &[],
        Payload::Byte => b"b",
        Payload::One => &1_u64.to_ne_bytes(),
        Payload::Most => &(u64::MAX - 1).to_ne_bytes(),
        Payload::Page => &page,
    };
    sys::write(fd, bytes).map(Outcome::Bytes)
}

pub(super) fn read(fd: RawFd, amount: Amount) -> sys::Result<Outcome> {
    let len = match amount {
        Amount::Byte => 1,
        Amount::Word => 8,
        Amount::NearlyPage => 4095,
        Amount::All => 65536,
    };
    sys::read(fd, len).map(|bytes| Outcome::Bytes(bytes.len()))
}

/// Not on INET sockets: how much fits there depends on what was acknowledged in time.
pub(super) fn fill(fd: RawFd) -> sys::Result<Outcome> {
    /// More than any buffer of the zoo holds; a file would take it for ever.
    const LIMIT: usize = 1 << 20;
    if sockets::port_of(fd).is_some() {
        return Ok(Outcome::Skipped);
    }
    let mut total = 0;
    for chunk in [&[b'f'; 4096][..], b"f"] {
        while total < LIMIT {
            match sys::write(fd, chunk) {
                Ok(n) => total += n,
                Err(Errno::EAGAIN) => break,
                Err(other) => return Err(other),
            }
        }
    }
    Ok(Outcome::Bytes(total))
}

pub(super) fn arm(fd: RawFd, when: When) -> sys::Result<Outcome> {
    let first = match when {
        When::Now => 1,
        When::Later => 3_600_000_000_000,
        When::Never => 0,
    };
    sys::arm_timer(fd, first, 0)?;
    if when == When::Now {
        super::threads::wait_until_ready(fd, libc::POLLIN);
    }
    Ok(Outcome::Done)
}
