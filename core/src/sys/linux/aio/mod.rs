//! AIO: asynchronous requests over io_uring, completions as events.
//!
//! A queue has one ring, made at its first request. Its descriptor lies in the queue's epoll set and
//! is readable while there are completions that nobody has looked at; looking (`Aio::collect`)
//! marks requests and tells their knotes. A request outlives its knote, and its queue: the kernel may
//! still write into its buffer. It is known until its outcome is asked for ([`Aio::give_back`]).
//!
//! What the kernel has of a request is a number that is never used again.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN};
use linux_raw_sys::io_uring::io_uring_op::IORING_OP_ASYNC_CANCEL;
use nix::errno::Errno;
use rustc_hash::FxHashMap;

use super::hidden::Own;
use super::raw::Result;
use super::registered;
use super::roll;
use super::source::Key;
use super::token::Token;
use crate::event::EventFilter::{EVFILT_AIO, EVFILT_LIO};

pub(crate) mod abi;
pub(crate) mod calls;
mod files;
mod order;
mod request;
mod ring;

pub(crate) use order::Order;
pub use request::Deed;
pub(crate) use request::{Buffer, Outcome};

use files::{File, Files};
use request::{Next, Request, State};
use ring::{Done, Entry, Ring};

/// How many requests may be under way in a queue.
const MOST: u32 = 4096;

/// What the answer to a cancellation carries.
const CANCELLATION: u64 = u64::MAX;

/// What aio_cancel(2) found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AioCancel {
    /// It will not be done: its error is `ECANCELED`.
    Canceled,
    /// It goes on.
    NotCanceled,
    /// It was over already, or there is none.
    AllDone,
}

/// A knote has something to report.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) key: Key,
    pub(crate) errno: i64,
    pub(crate) moved: u64,
}

/// A list of requests that was begun by one call.
#[derive(Debug, Default)]
struct List {
    under_way: usize,
    /// Its outcome was not asked for yet.
    known: usize,
}

/// The requests of a queue, or of no queue.
#[derive(Debug)]
pub(crate) struct Aio {
    /// The epoll set that the ring is in: the queue's, or that of rings of no queue.
    set: RawFd,
    ring: Ring,
    files: Files,
    requests: FxHashMap<u64, Request>,
    by_ident: FxHashMap<usize, u64>,
    lists: FxHashMap<usize, List>,
    /// The number of the last request.
    last: u64,
    /// How many requests are not over, and how many of these wake nobody.
    under_way: usize,
    quiet: usize,
    /// How many wait for others.
    queued: usize,
    /// Whether completions wake the queue.
    listening: bool,
    /// What ended, first come first; some may be known no more.
    over: VecDeque<u64>,
    told: Vec<Told>,
    /// What a cancellation came to.
    answer: Option<i32>,
    /// Its queue was closed.
    left: bool,
}

impl Aio {
    /// # Errors
    /// Those of [`Ring::new`].
    pub(crate) fn open(set: RawFd) -> Result<Self> {
        let ring = ring_in(set)?;
        calls::prepare();
        Ok(Self {
            set,
            ring,
            files: Files::default(),
            requests: FxHashMap::default(),
            by_ident: FxHashMap::default(),
            lists: FxHashMap::default(),
            last: 0,
            under_way: 0,
            quiet: 0,
            queued: 0,
            listening: true,
            over: VecDeque::new(),
            told: Vec::new(),
            answer: None,
            left: false,
        })
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.set = kq;
    }

    /// The ring's descriptor.
    pub(crate) fn own(&self) -> Own {
        self.ring.own
    }

    /// Readable while there are completions to look at. -1: the program has closed it.
    pub(crate) fn descriptor(&self) -> RawFd {
        if self.is_there() { self.ring.own.number() } else { -1 }
    }

    /// Whether the ring's number still means it.
    fn is_there(&self) -> bool {
        registered::check(self.set, self.ring.own).is_ok() || roll::holds(self.ring.own)
    }

    /// Makes another ring if the program has closed this one. What is under way in it ends all the
    /// same, since it is mapped, and until then there is no other.
    fn renew(&mut self) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        if self.under_way > 0 {
            return Err(Errno::EAGAIN);
        }
        (self.ring, self.files, self.listening) = (ring_in(self.set)?, Files::default(), true);
        Ok(())
    }

    /// Begins a request; its ident. The order has its buffer back where that fails.
    ///
    /// # Errors
    /// - `EAGAIN`: too many are under way, or the kernel has no memory for it now.
    /// - `EBADF`: no descriptor, or not one for this.
    /// - `EINVAL`: a negative offset, a length that no call can move.
    /// - `ENOTSOCK`: to send to, or receive from, what is no socket.
    pub(crate) fn begin(&mut self, order: &mut Order) -> Result<usize> {
        self.collect();
        if self.is_full() {
            return Err(Errno::EAGAIN);
        }
        self.renew()?;
        let request = order.prepare(&mut self.files, &self.ring)?;
        let (ident, list, empty) = (request.ident, request.list, request.is_empty());
        let waits = matches!(request.deed, Deed::Sync { .. }) && self.is_busy(request.fd, u64::MAX);
        self.last += 1;
        let serial = self.last;
        self.requests.insert(serial, request);
        self.by_ident.insert(ident, serial);
        self.under_way += 1;
        if let Some(list) = list {
            let list = self.lists.entry(list).or_default();
            (list.under_way, list.known) = (list.under_way + 1, list.known + 1);
        }
        if empty {
            self.finish(serial, None);
        } else if waits {
            self.queued += 1;
        } else if let Err(errno) = self.step(serial) {
            self.under_way -= 1;
            self.release(serial);
            if let Some(list) = list.and_then(|list| self.lists.get_mut(&list)) {
                list.under_way -= 1;
            }
            if let Some((request, _)) = self.forget(serial) {
                order.buffer = request.buffer;
            }
            return Err(errno);
        }
        self.listen();
        Ok(ident)
    }

    /// Whether a request on a descriptor, of before another, is not over.
    fn is_busy(&self, fd: RawFd, before: u64) -> bool {
        let is_one = |request: &Request| {
            request.fd == fd && !request.is_over() && !matches!(request.deed, Deed::Sync { .. })
        };
        self.requests.iter().any(|(serial, request)| *serial < before && is_one(request))
    }

    /// Has the kernel do the next step of a request.
    fn step(&mut self, serial: u64) -> Result<()> {
        if !self.is_there() {
            return Err(Errno::EAGAIN);
        }
        let Some(request) = self.requests.get_mut(&serial) else { return Ok(()) };
        if matches!(request.state, State::Queued) {
            request.state = State::Moving;
        }
        let entry = Entry { token: serial, ..request.entry() };
        // SAFETY: the entry points into the request's own boxed step, and that to its buffer. Both
        // stay where they are until the request is forgotten, which is not before it is over.
        unsafe { self.ring.submit(entry) }
    }

    /// Looks at what the kernel has done. At most as many as are there now: what these bring about
    /// at once is for the next look.
    pub(crate) fn collect(&mut self) {
        for _ in 0..self.ring.ready() {
            let Some(Done { token, result }) = self.ring.take() else { break };
            if token == CANCELLATION {
                self.answer = Some(result);
                continue;
            }
            let Some(request) = self.requests.get_mut(&token) else { continue };
            match request.advance(result) {
                Next::Over(error) => self.finish(token, error),
                Next::Step => {
                    if let Err(errno) = self.step(token) {
                        self.finish(token, Some(errno));
                    }
                }
            }
        }
        self.listen();
    }

    /// A request is over, and what waited for it begins.
    fn finish(&mut self, serial: u64, error: Option<Errno>) {
        if let Some(fd) = self.end(serial, error)
            && self.queued > 0
        {
            self.begin_queued(fd);
        }
    }

    /// A request is over; on which descriptor.
    fn end(&mut self, serial: u64, error: Option<Errno>) -> Option<RawFd> {
        self.release(serial);
        let request = self.requests.get_mut(&serial)?;
        let outcome = request.outcome(error);
        let (errno, moved) = (error.map_or(0, |errno| errno as i64), outcome.moved);
        request.state = State::Over(outcome);
        let (fd, ident, list) = (request.fd, request.ident, request.list);
        let (quiet, abandoned) = (request.quiet, request.abandoned);
        self.under_way -= 1;
        self.quiet -= usize::from(quiet);
        self.told.push(Told { key: (EVFILT_AIO, ident), errno, moved });
        if let Some(at) = list
            && let Some(list) = self.lists.get_mut(&at)
        {
            list.under_way -= 1;
            if list.under_way == 0 {
                self.told.push(Told { key: (EVFILT_LIO, at), errno: 0, moved: 0 });
            }
        }
        if abandoned {
            self.forget(serial);
        } else {
            self.over.push_back(serial);
        }
        calls::tell_sleepers();
        Some(fd)
    }

    /// Lets go of a request's files.
    fn release(&mut self, serial: u64) {
        let Some(request) = self.requests.get(&serial) else { return };
        let held = [Some(request.nature.file), request.source];
        for held in held.into_iter().flatten().filter(|file| matches!(file, File::Held(_))) {
            if self.is_there() {
                self.files.release(&self.ring, held);
            }
        }
    }

    /// One of a descriptor's requests is over: begins what waited for it.
    fn begin_queued(&mut self, fd: RawFd) {
        let waits = |r: &Request| r.fd == fd && matches!(r.state, State::Queued);
        let mut waiting: Vec<u64> =
            self.requests.iter().filter(|(_, r)| waits(r)).map(|(&serial, _)| serial).collect();
        waiting.sort_unstable();
        for serial in waiting {
            if self.is_busy(fd, serial) {
                break;
            }
            self.queued -= 1;
            if let Err(errno) = self.step(serial) {
                self.end(serial, Some(errno)); // those that waited with it are next here
            }
        }
    }

    /// What is to be told to knotes.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Whether a knote of a request wakes anybody: a disabled one does not.
    pub(crate) fn set_quiet(&mut self, ident: usize, quiet: bool) {
        let request = self.by_ident.get(&ident).and_then(|serial| self.requests.get_mut(serial));
        if let Some(request) = request.filter(|request| !request.is_over()) {
            // Who goes on step by step needs somebody to look.
            let quiet = quiet && request.is_one_step();
            match (request.quiet, quiet) {
                (false, true) => self.quiet += 1,
                (true, false) => self.quiet -= 1,
                _ => {}
            }
            request.quiet = quiet;
            self.listen();
        }
    }

    /// Has completions wake the queue, unless all that are to come are of disabled knotes.
    fn listen(&mut self) {
        let listening = self.under_way == 0 || self.under_way > self.quiet;
        if listening != self.listening {
            let events = if listening { EPOLLIN as u32 } else { 0 };
            let event = registered::event(events, Token::Aio, self.ring.own);
            if registered::control(self.set, EPOLL_CTL_MOD, self.ring.own, &event).is_ok() {
                self.listening = listening;
            }
        }
    }

    /// None: there is no such request. `EINPROGRESS`: it is not over.
    pub(crate) fn error(&self, ident: usize) -> Option<std::result::Result<(), Errno>> {
        let request = self.requests.get(self.by_ident.get(&ident)?)?;
        Some(match &request.state {
            State::Over(outcome) => outcome.error.map_or(Ok(()), Err),
            _ => Err(Errno::EINPROGRESS),
        })
    }

    /// Takes a request that is over; its outcome, its buffer, and the list that it was the last of.
    pub(crate) fn give_back(&mut self, ident: usize) -> Option<(Outcome, Buffer, Option<usize>)> {
        let serial = *self.by_ident.get(&ident)?;
        if !self.requests.get(&serial)?.is_over() {
            return None;
        }
        let (request, ended) = self.forget(serial)?;
        let State::Over(outcome) = request.state else { return None };
        Some((outcome, request.buffer, ended))
    }

    /// The first of a C program's requests that is over.
    pub(crate) fn first_over(&mut self) -> Option<usize> {
        self.over.retain(|serial| self.requests.contains_key(serial));
        let named = |serial: &&u64| self.requests.get(serial).is_some_and(|request| request.named);
        let serial = self.over.iter().find(named)?;
        self.requests.get(serial).map(|request| request.ident)
    }

    fn forget(&mut self, serial: u64) -> Option<(Request, Option<usize>)> {
        let request = self.requests.remove(&serial)?;
        if self.by_ident.get(&request.ident) == Some(&serial) {
            self.by_ident.remove(&request.ident);
        }
        let mut ended = None;
        if let Some(at) = request.list
            && let Some(list) = self.lists.get_mut(&at)
        {
            list.known -= 1;
            if list.known == 0 {
                self.lists.remove(&at);
                ended = Some(at);
            }
        }
        if self.over.len() > 64 + 2 * self.requests.len() {
            self.over.retain(|serial| self.requests.contains_key(serial));
        }
        Some((request, ended))
    }

    /// Opens a list, which is not complete before it is closed.
    ///
    /// # Errors
    /// - `EINVAL`: there is one of that name.
    pub(crate) fn open_list(&mut self, at: usize) -> Result<()> {
        if self.lists.contains_key(&at) {
            return Err(Errno::EINVAL);
        }
        self.lists.insert(at, List { under_way: 1, known: 1 });
        Ok(())
    }

    /// All requests of a list have been begun. True: it has none.
    pub(crate) fn close_list(&mut self, at: usize) -> bool {
        let Some(list) = self.lists.get_mut(&at) else { return true };
        (list.under_way, list.known) = (list.under_way - 1, list.known - 1);
        if list.known == 0 {
            self.lists.remove(&at);
            return true;
        }
        if list.under_way == 0 {
            self.told.push(Told { key: (EVFILT_LIO, at), errno: 0, moved: 0 });
        }
        false
    }

    /// Ends a request before its time, if that can be.
    pub(crate) fn cancel(&mut self, ident: usize) -> AioCancel {
        self.collect();
        let Some(&serial) = self.by_ident.get(&ident) else { return AioCancel::AllDone };
        let Some(request) = self.requests.get_mut(&serial) else { return AioCancel::AllDone };
        match request.state {
            State::Over(_) => return AioCancel::AllDone,
            State::Queued => {
                self.queued -= 1;
                self.finish(serial, Some(Errno::ECANCELED));
                return AioCancel::Canceled;
            }
            State::Moving | State::Awaiting => request.cancelled = true,
        }
        let opcode = IORING_OP_ASYNC_CANCEL as u8;
        let entry =
            Entry { opcode, fd: -1, address: serial, token: CANCELLATION, ..Entry::default() };
        // SAFETY: points to nothing.
        if !self.is_there() || unsafe { self.ring.submit(entry) }.is_err() {
            return AioCancel::NotCanceled;
        }
        let found = loop {
            self.collect();
            match self.answer.take() {
                Some(answer) => break answer == 0,
                None => self.ring.wait(),
            }
        };
        // What was found ends at once, by the hand of the thread that began it.
        while found && self.error(ident) == Some(Err(Errno::EINPROGRESS)) {
            self.ring.wait();
            self.collect();
        }
        match self.error(ident) {
            Some(Err(Errno::EINPROGRESS)) => AioCancel::NotCanceled,
            Some(Err(Errno::ECANCELED)) => AioCancel::Canceled,
            _ => AioCancel::AllDone,
        }
    }

    /// The requests on a descriptor.
    pub(crate) fn of_descriptor(&self, fd: RawFd) -> Vec<usize> {
        self.requests.values().filter(|r| r.fd == fd).map(|r| r.ident).collect()
    }

    /// The queue is over. What a C program began goes on, and it will ask; of a Rust program's
    /// requests nobody can ask any more. None: that is all.
    pub(crate) fn leave_queue(mut self) -> Option<Self> {
        self.left = true;
        let mut idents = Vec::new();
        for request in self.requests.values_mut().filter(|request| !request.named) {
            request.abandoned = true;
            idents.push(request.ident);
        }
        for ident in idents {
            self.cancel(ident);
        }
        self.told.clear();
        self.requests.retain(|_, request| !(request.abandoned && request.is_over()));
        if self.requests.is_empty() {
            return None;
        }
        if registered::take_out(self.set, self.ring.own) {
            self.set = calls::home_set().unwrap_or(-1);
            let event = registered::event(EPOLLIN as u32, Token::Aio, self.ring.own);
            let _ = registered::control(self.set, EPOLL_CTL_ADD, self.ring.own, &event);
        }
        Some(self)
    }

    /// Of a ring without a queue: whether its queue was closed, and nothing is left to be kept.
    pub(crate) fn is_left_over(&self) -> bool {
        self.left && self.requests.is_empty()
    }

    /// Whether there is no room for another request.
    pub(crate) fn is_full(&self) -> bool {
        // One place is for a cancellation.
        self.under_way + 1 >= self.ring.room()
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        registered::close(self.set, self.ring.own);
    }
}

/// A ring, registered in a set.
fn ring_in(set: RawFd) -> Result<Ring> {
    let ring = Ring::new(MOST)?;
    let event = registered::event(EPOLLIN as u32, Token::Aio, ring.own);
    registered::control(set, EPOLL_CTL_ADD, ring.own, &event)
        .inspect_err(|_| registered::close(-1, ring.own))?;
    Ok(ring)
}
