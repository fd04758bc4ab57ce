//! poll and select as calls: a set of descriptors that is handed over at each call.

use std::io;
use std::os::fd::RawFd;

use libc::{c_int, pollfd};

use super::capi::{CloseApi, PollApi, SelectApi};
use super::{Family, Interfaces, Select, rust_select};

/// A program's set and the call that it is handed to. All of it is watched for input.
pub(crate) trait CallSet {
    /// Makes `fds` the set, in that order.
    fn fill(&mut self, fds: &[RawFd]);

    /// Puts `fd` in the place of the entry `at`.
    fn replace(&mut self, at: usize, fd: RawFd);

    /// Calls (milliseconds; negative: for ever) and says how many are ready.
    fn call(&mut self, timeout: c_int) -> io::Result<usize>;
}

/// poll's array.
#[derive(Debug)]
struct PollSet {
    api: PollApi,
    fds: Vec<pollfd>,
}

fn input(fd: RawFd) -> pollfd {
    pollfd { fd, events: libc::POLLIN, revents: 0 }
}

impl CallSet for PollSet {
    fn fill(&mut self, fds: &[RawFd]) {
        // In place: the array's address is part of what a program keeps.
        self.fds.clear();
        self.fds.extend(fds.iter().map(|&fd| input(fd)));
    }

    #[inline]
    fn replace(&mut self, at: usize, fd: RawFd) {
        self.fds[at] = input(fd);
    }

    #[inline]
    fn call(&mut self, timeout: c_int) -> io::Result<usize> {
        self.api.poll(&mut self.fds, timeout)
    }
}

/// select's bitmap: the wanted one, and the copy that each call overwrites.
#[derive(Debug)]
struct SelectSet {
    api: SelectApi,
    fds: Vec<RawFd>,
    nfds: usize,
    want: Vec<u64>,
    got: Vec<u64>,
}

impl SelectSet {
    fn set(&mut self, fd: RawFd) {
        let word = fd as usize / 64;
        if self.want.len() <= word {
            self.want.resize(word + 1, 0);
            self.got.resize(word + 1, 0);
        }
        self.want[word] |= 1 << (fd % 64);
        self.nfds = self.nfds.max(fd as usize + 1);
    }
}

impl CallSet for SelectSet {
    fn fill(&mut self, fds: &[RawFd]) {
        self.want.fill(0);
        self.nfds = 0;
        self.fds.clear();
        self.fds.extend_from_slice(fds);
        for &fd in fds {
            self.set(fd);
        }
    }

    #[inline]
    fn replace(&mut self, at: usize, fd: RawFd) {
        let old = std::mem::replace(&mut self.fds[at], fd) as usize;
        self.want[old / 64] &= !(1 << (old % 64));
        self.set(fd);
    }

    #[inline]
    fn call(&mut self, timeout: c_int) -> io::Result<usize> {
        self.got.copy_from_slice(&self.want);
        self.api.select(self.nfds, &mut self.got, &mut [], timeout)
    }
}

/// poll or select of some library, with the close that goes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    api: Api,
    pub(crate) close: CloseApi,
}

#[derive(Clone, Copy, Debug)]
enum Api {
    Poll(PollApi),
    Select(Select),
}

impl Caller {
    /// A C library, whose hooks see every close: what most targets are about.
    pub(crate) fn is_hooked(&self) -> bool {
        self.name.starts_with("compat-") && !self.name.ends_with("-rust")
    }

    /// A set of `fds`.
    pub(crate) fn set(&self, fds: &[RawFd]) -> Box<dyn CallSet> {
        let mut set: Box<dyn CallSet> = match self.api {
            Api::Poll(api) => Box::new(PollSet { api, fds: Vec::new() }),
            Api::Select(Select::Crate) => Box::new(rust_select::Set::default()),
            Api::Select(Select::C(api)) => {
                let (want, got) = (Vec::new(), Vec::new());
                Box::new(SelectSet { api, fds: Vec::new(), nfds: 0, want, got })
            }
        };
        set.fill(fds);
        set
    }
}

impl Interfaces {
    /// Native poll and select, each with those that are measured against it.
    pub(crate) fn callers(&self) -> Vec<(Caller, Vec<Caller>)> {
        // Those of the C libraries see the number being closed; a Rust program's crate does not.
        let close = |name: &str| match self.hooked_close {
            Some(hooked) if !name.ends_with("-rust") => hooked,
            _ => self.close,
        };
        let caller = |name, family, api, close| Caller { name, family, api, close };
        let polls = self.compat_polls.iter();
        let selects = self.compat_selects.iter();
        vec![
            (
                caller("poll", Family::Poll, Api::Poll(self.poll), self.close),
                polls.map(|&(n, api)| caller(n, Family::Poll, Api::Poll(api), close(n))).collect(),
            ),
            (
                caller("select", Family::Select, Api::Select(Select::C(self.select)), self.close),
                selects
                    .map(|&(n, api)| caller(n, Family::Select, Api::Select(api), close(n)))
                    .collect(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::pipes;
    use crate::iface::Choice;

    #[test]
    fn native_sets_report_what_is_ready_also_after_a_change() {
        let all = Interfaces::load(&Choice::default()).unwrap();
        let pipes = pipes(700).unwrap();
        let fds: Vec<_> = pipes[..600].iter().map(crate::fixture::Pipe::read_fd).collect();
        pipes[650].send().unwrap();
        for (native, _) in all.callers() {
            let mut set = native.set(&fds);
            assert_eq!(set.call(0).unwrap(), 0, "{}", native.name);
            // Past FD_SETSIZE.
            assert!(pipes[650].read_fd() > 1024);
            set.replace(3, pipes[650].read_fd());
            assert_eq!(set.call(-1).unwrap(), 1, "{}", native.name);
            set.fill(&fds);
            assert_eq!(set.call(0).unwrap(), 0, "{}", native.name);
        }
    }
}
