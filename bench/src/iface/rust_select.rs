//! compat-select as Rust programs have it: sets of its own type, cloned for each call, since a call
//! overwrites them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use compat_select::{FdSet, select};
use libc::c_int;
use nix::sys::time::{TimeVal, TimeValLike};

use super::callset::CallSet;
use super::poller::{Poller, Want};

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the benchmarks keep what they watch open for as long as they watch it, and reopen a
    // number that they close before they call again.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// None for ever.
fn timeval(timeout_ms: c_int) -> Option<TimeVal> {
    (timeout_ms >= 0).then(|| TimeVal::milliseconds(timeout_ms.into()))
}

/// A set that is called with again and again.
#[derive(Debug, Default)]
pub(super) struct Set {
    fds: Vec<RawFd>,
    want: FdSet<'static>,
}

impl CallSet for Set {
    fn fill(&mut self, fds: &[RawFd]) {
        self.want.clear();
        for &fd in fds {
            self.want.insert(borrow(fd));
        }
        self.fds.clear();
        self.fds.extend_from_slice(fds);
    }

    #[inline]
    fn replace(&mut self, at: usize, fd: RawFd) {
        let old = std::mem::replace(&mut self.fds[at], fd);
        self.want.remove(borrow(old));
        self.want.insert(borrow(fd));
    }

    #[inline]
    fn call(&mut self, timeout: c_int) -> io::Result<usize> {
        let mut got = self.want.clone();
        let mut timeout = timeval(timeout);
        Ok(select(None, &mut got, None, None, timeout.as_mut())? as usize)
    }
}

/// The same as a waiter.
#[derive(Debug, Default)]
pub(super) struct SelectPoller {
    read: FdSet<'static>,
    write: FdSet<'static>,
    writers: usize,
}

impl Poller for SelectPoller {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.modify(fd, want)
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        let fd = borrow(fd);
        self.writers -= usize::from(self.write.contains(fd));
        for (set, wanted) in [(&mut self.read, want.read), (&mut self.write, want.write)] {
            if wanted {
                set.insert(fd);
            } else {
                set.remove(fd);
            }
        }
        self.writers += usize::from(want.write);
        Ok(())
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.modify(fd, Want::default())
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let mut read = self.read.clone();
        let mut write = (self.writers > 0).then(|| self.write.clone());
        let mut timeout = timeval(timeout);
        match select(None, &mut read, write.as_mut(), None, timeout.as_mut()) {
            Ok(0) | Err(nix::Error::EINTR) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(e.into()),
        }
        ready.extend(read.fds(None).map(|fd| fd.as_raw_fd()));
        if let Some(write) = write {
            ready.extend(write.fds(None).map(|fd| fd.as_raw_fd()));
            // One that is ready both ways is one descriptor.
            ready.sort_unstable();
            ready.dedup();
        }
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Pipe;

    #[test]
    fn readiness_in_both_directions_is_one_descriptor() {
        let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &b, b"x").unwrap();
        let mut poller = SelectPoller::default();
        let mut ready = Vec::new();
        poller.add(a.as_raw_fd(), Want { write: true, ..Want::READ }).unwrap();
        poller.wait(-1, &mut ready).unwrap();
        assert_eq!(ready, [a.as_raw_fd()]);
        poller.delete(a.as_raw_fd()).unwrap();
        poller.wait(0, &mut ready).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn a_replaced_entry_is_gone() {
        let (one, other) = (Pipe::new().unwrap(), Pipe::new().unwrap());
        one.send().unwrap();
        let mut set = Set::default();
        set.fill(&[one.read_fd()]);
        assert_eq!(set.call(-1).unwrap(), 1);
        set.replace(0, other.read_fd());
        assert_eq!(set.call(0).unwrap(), 0);
    }
}
