//! What an epoll set holds, as the kernel tells it in /proc (proc(5), fdinfo; Linux 3.8): for what is
//! done too seldom to keep a list for it.

use std::os::fd::RawFd;

use libc::epoll_event;
use nix::errno::Errno;

use super::queue::duplicates::is_epoll;
use super::raw::{self, Result};

/// One entry of an epoll set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) fd: RawFd,
    pub(crate) event: epoll_event,
}

/// All entries of an epoll set.
///
/// # Errors
/// `ENOENT`: /proc is not mounted, or there is no such descriptor; `EMFILE` and the like.
pub(crate) fn of(set: RawFd) -> Result<Vec<Registration>> {
    let text = read_all(&format!("/proc/thread-self/fdinfo/{set}\0"))?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// "tfd:        5 events:       19 data:     100000005  pos:0 ino:61af sdev:7"
fn parse(line: &[u8]) -> Option<Registration> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("tfd:")?;
    let (fd, rest) = line.split_once("events:")?;
    let (events, rest) = rest.split_once("data:")?;
    let data = rest.split_whitespace().next()?;
    let events = u32::from_str_radix(events.trim(), 16).ok()?;
    let data = u64::from_str_radix(data, 16).ok()?;
    Some(Registration { fd: fd.trim().parse().ok()?, event: epoll_event { events, u64: data } })
}

/// The epoll sets of this process that watch a number, each with what for.
pub(crate) fn watchers(number: RawFd) -> Vec<(RawFd, epoll_event)> {
    let mut watchers = Vec::new();
    for fd in open_numbers().unwrap_or_default() {
        if fd != number && is_epoll(fd) {
            let list = of(fd).unwrap_or_default();
            watchers.extend(list.iter().filter(|r| r.fd == number).map(|r| (fd, r.event)));
        }
    }
    watchers
}

/// The numbers of this process's descriptors.
fn open_numbers() -> Result<Vec<RawFd>> {
    const NAME: usize = 19; // struct linux_dirent64: 8 inode, 8 offset, 2 length, 1 type, name
    let directory = raw::open_read(c"/proc/thread-self/fd")?;
    let (mut numbers, mut buffer) = (Vec::new(), vec![0_u8; 32 * 1024]);
    loop {
        let filled = match raw::getdents64(directory, &mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(filled) => filled,
        };
        let mut entries = &buffer[..filled];
        while entries.len() > NAME {
            let len = usize::from(u16::from_ne_bytes([entries[16], entries[17]]));
            let name = entries[NAME..len].split(|&byte| byte == 0).next().unwrap_or_default();
            numbers.extend(std::str::from_utf8(name).ok().and_then(|n| n.parse::<RawFd>().ok()));
            entries = &entries[len..];
        }
    }
    raw::close(directory)?;
    Ok(numbers)
}

fn read_all(path: &str) -> Result<Vec<u8>> {
    let path = std::ffi::CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| Errno::EINVAL)?;
    let file = raw::open_read(path)?;
    let (mut text, mut filled) = (vec![0; 4096], 0);
    let done = loop {
        match raw::read(file, &mut text[filled..]) {
            Ok(0) => break Ok(()),
            Ok(n) => filled += n,
            Err(errno) => break Err(errno),
        }
        if filled == text.len() {
            text.resize(filled * 2, 0);
        }
    };
    raw::close(file)?;
    text.truncate(filled);
    done.map(|()| text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn the_kernel_lists_what_was_registered() {
        let set = raw::epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
        let (inner, (reader, _writer)) =
            (raw::epoll_create1(libc::EPOLL_CLOEXEC).unwrap(), std::io::pipe().unwrap());
        let events = (libc::EPOLLIN | libc::EPOLLET) as u32;
        for (fd, data) in [(reader.as_raw_fd(), u64::MAX - 1), (inner, 7)] {
            let event = epoll_event { events, u64: data };
            raw::epoll_ctl(set, libc::EPOLL_CTL_ADD, fd, &event).unwrap();
        }
        let mut list: Vec<_> =
            of(set).unwrap().iter().map(|r| (r.fd, r.event.events & events, r.event.u64)).collect();
        list.sort_unstable();
        let mut expected = [(reader.as_raw_fd(), events, u64::MAX - 1), (inner, events, 7)];
        expected.sort_unstable();
        assert_eq!(list, expected);

        let watching: Vec<_> = watchers(inner).iter().map(|(fd, e)| (*fd, e.u64)).collect();
        assert_eq!(watching, [(set, 7)]);
        raw::close(inner).unwrap();
        raw::close(set).unwrap();
    }
}
