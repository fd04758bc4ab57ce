//! What the benchmarks of the ancestors need of an interface: watch, unwatch, wait.

use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use kq_core::epoll_abi;
use libc::{c_int, pollfd, timespec};

use super::capi::{EpollApi, PollApi, SelectApi};
use super::kq::{
    EV_ADD, EV_CLEAR, EV_DELETE, EV_DISPATCH, EV_ENABLE, EVFILT_READ, EVFILT_WRITE, Kq,
};

/// What to be told of a descriptor, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// EPOLLET, EV_CLEAR. select and poll have none.
    pub(crate) edge: bool,
    /// EPOLLONESHOT, EV_DISPATCH: silent after one report until enabled again.
    pub(crate) oneshot: bool,
    /// A kqueue need not say how much there is, where it knows that: epoll does not either.
    pub(crate) nodata: bool,
}

impl Want {
    /// Input, as long as there is some.
    pub(crate) const READ: Self =
        Self { read: true, write: false, edge: false, oneshot: false, nodata: false };
    /// Input, once for each arrival.
    pub(crate) const READ_EDGE: Self = Self { edge: true, ..Self::READ };
}

/// One waiter's view of one interface.
pub(crate) trait Poller: Send {
    /// Starts to watch.
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()>;

    /// Changes or re-arms what is watched.
    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()>;

    /// Stops watching.
    fn delete(&mut self, fd: RawFd) -> io::Result<()>;

    /// Waits (milliseconds; negative: for ever) and puts the descriptors that are ready into
    /// `ready`, which it empties first. A signal is no error: nothing is ready then.
    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()>;

    /// Another thread's view of the same queue; None where each waiter has its own set.
    fn share(&self) -> Option<Box<dyn Poller>>;
}

/// A descriptor, closed when its last user is gone.
#[derive(Debug)]
struct Queue(RawFd);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue's own number, closed once.
        unsafe { libc::close(self.0) };
    }
}

/// Interrupted waits give nothing, other errors are errors.
fn unless_interrupted(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}

/// epoll(7), native or compat.
pub(crate) struct EpollPoller {
    api: EpollApi,
    queue: Arc<Queue>,
    events: Vec<epoll_abi::epoll_event>,
}

impl EpollPoller {
    pub(crate) fn new(api: EpollApi, max_events: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue(api.create()?));
        Ok(Self {
            api,
            queue,
            events: vec![epoll_abi::epoll_event { events: 0, u64: 0 }; max_events],
        })
    }

    fn ctl(&self, op: c_int, fd: RawFd, want: Want) -> io::Result<()> {
        let bit = |on: bool, bit: c_int| if on { bit as u32 } else { 0 };
        let events = bit(want.read, epoll_abi::EPOLLIN)
            | bit(want.write, epoll_abi::EPOLLOUT)
            | bit(want.edge, epoll_abi::EPOLLET)
            | bit(want.oneshot, epoll_abi::EPOLLONESHOT);
        self.api.ctl(self.queue.0, op, fd, events, fd as u64)
    }
}

impl Poller for EpollPoller {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.ctl(epoll_abi::EPOLL_CTL_ADD, fd, want)
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.ctl(epoll_abi::EPOLL_CTL_MOD, fd, want)
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.ctl(epoll_abi::EPOLL_CTL_DEL, fd, Want::default())
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let n = unless_interrupted(self.api.wait(self.queue.0, &mut self.events, timeout))?;
        ready.extend(self.events[..n].iter().map(|e| e.u64 as RawFd));
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        Some(Box::new(Self {
            api: self.api,
            queue: Arc::clone(&self.queue),
            events: self.events.clone(),
        }))
    }
}

/// poll(2), native or compat. Its array is kept between calls, as programs do.
pub(crate) struct PollPoller {
    api: PollApi,
    fds: Vec<pollfd>,
    /// fd -> place in `fds`.
    place: Vec<usize>,
}

impl PollPoller {
    pub(crate) fn new(api: PollApi) -> Self {
        Self { api, fds: Vec::new(), place: Vec::new() }
    }
}

impl Poller for PollPoller {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        let at = fd as usize;
        if self.place.len() <= at {
            self.place.resize(at + 1, 0);
        }
        self.place[at] = self.fds.len();
        self.fds.push(pollfd { fd, events: 0, revents: 0 });
        self.modify(fd, want)
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.fds[self.place[fd as usize]].events =
            if want.read { libc::POLLIN } else { 0 } | if want.write { libc::POLLOUT } else { 0 };
        Ok(())
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        let at = self.place[fd as usize];
        self.fds.swap_remove(at);
        if let Some(moved) = self.fds.get(at) {
            self.place[moved.fd as usize] = at;
        }
        Ok(())
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let n = unless_interrupted(self.api.poll(&mut self.fds, timeout))?;
        ready.extend(self.fds.iter().filter(|p| p.revents != 0).map(|p| p.fd).take(n));
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        None
    }
}

/// select(2), native or compat. The wanted sets are kept and copied for each call, as programs
/// do.
pub(crate) struct SelectPoller {
    api: SelectApi,
    nfds: usize,
    want: [Vec<u64>; 2],
    got: [Vec<u64>; 2],
    /// Descriptors whose writability is wanted: without any, that set is NULL.
    writers: usize,
}

impl SelectPoller {
    pub(crate) fn new(api: SelectApi) -> Self {
        Self {
            api,
            nfds: 0,
            want: [Vec::new(), Vec::new()],
            got: [Vec::new(), Vec::new()],
            writers: 0,
        }
    }

    fn set(&mut self, which: usize, fd: RawFd, on: bool) -> bool {
        let (word, bit) = (fd as usize / 64, 1 << (fd % 64));
        let word = &mut self.want[which][word];
        let was = *word & bit != 0;
        *word = if on { *word | bit } else { *word & !bit };
        was
    }
}

impl Poller for SelectPoller {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.nfds = self.nfds.max(fd as usize + 1);
        let words = self.nfds.div_ceil(64);
        for set in self.want.iter_mut().chain(&mut self.got) {
            set.resize(words, 0);
        }
        self.modify(fd, want)
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        self.set(0, fd, want.read);
        let was = self.set(1, fd, want.write);
        self.writers = self.writers + usize::from(want.write) - usize::from(was);
        Ok(())
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.modify(fd, Want::default())
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let [read, write] = &mut self.got;
        read.copy_from_slice(&self.want[0]);
        let write: &mut [u64] = if self.writers == 0 {
            &mut []
        } else {
            write.copy_from_slice(&self.want[1]);
            write
        };
        if unless_interrupted(self.api.select(self.nfds, read, write, timeout))? == 0 {
            return Ok(());
        }
        for (word, &bits) in read.iter().enumerate() {
            let mut bits = bits | write.get(word).copied().unwrap_or(0);
            while bits != 0 {
                ready.push((word * 64) as RawFd + bits.trailing_zeros() as RawFd);
                bits &= bits - 1;
            }
        }
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        None
    }
}

/// A kqueue of any library, watching READ and WRITE.
pub(crate) struct KqPoller<K: Kq> {
    kq: Arc<K>,
    events: Vec<K::Event>,
}

impl<K: Kq> KqPoller<K> {
    pub(crate) fn new(kq: K, max_events: usize) -> Self {
        Self { kq: Arc::new(kq), events: K::room(max_events) }
    }

    fn set(&self, fd: RawFd, filter: i16, flags: u16, want: Want) -> io::Result<()> {
        let fflags = if want.nodata { self.kq.nodata() } else { 0 };
        self.kq.change(&[K::event(fd as usize, filter, flags, fflags, 0)])
    }

    /// Deletes, where there may be nothing to delete.
    fn unset(&self, fd: RawFd, filter: i16) -> io::Result<()> {
        match self.set(fd, filter, EV_DELETE, Want::default()) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }
}

impl<K: Kq + 'static> Poller for KqPoller<K> {
    fn add(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        let flags = EV_ADD
            | if want.edge { EV_CLEAR } else { 0 }
            | if want.oneshot { EV_DISPATCH } else { 0 };
        if want.read {
            self.set(fd, EVFILT_READ, flags, want)?;
        }
        if want.write {
            self.set(fd, EVFILT_WRITE, flags, want)?;
        }
        Ok(())
    }

    fn modify(&mut self, fd: RawFd, want: Want) -> io::Result<()> {
        if want.oneshot && want.read && !want.write {
            // A re-arm: the knote is there, switched off.
            return self.set(fd, EVFILT_READ, EV_ENABLE, want);
        }
        if !want.read {
            self.unset(fd, EVFILT_READ)?;
        }
        if !want.write {
            self.unset(fd, EVFILT_WRITE)?;
        }
        self.add(fd, want)
    }

    fn delete(&mut self, fd: RawFd) -> io::Result<()> {
        self.unset(fd, EVFILT_READ)?;
        self.unset(fd, EVFILT_WRITE)
    }

    fn wait(&mut self, timeout: c_int, ready: &mut Vec<RawFd>) -> io::Result<()> {
        ready.clear();
        let ts = timespec {
            tv_sec: (timeout / 1000).into(),
            tv_nsec: (timeout % 1000 * 1_000_000).into(),
        };
        let timeout = (timeout >= 0).then_some(&ts);
        let n = unless_interrupted(self.kq.kevent(&[], &mut self.events, timeout))?;
        ready.extend(self.events[..n].iter().map(|e| K::ident(e) as RawFd));
        Ok(())
    }

    fn share(&self) -> Option<Box<dyn Poller>> {
        Some(Box::new(Self { kq: Arc::clone(&self.kq), events: self.events.clone() }))
    }
}
