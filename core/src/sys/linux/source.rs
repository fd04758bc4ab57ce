//! What a knote that is no registration of epoll's does: the same few functions for each filter.
//!
//! To add a filter: a file of its own with its part of the knote, a variant here, and its name in
//! each `match`; a descriptor that it needs is made when first needed, lies in [`Shared`], has a
//! [`Token`], and is looked at by `Soft::hear`.

use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::aio::Aio;
use super::completion::Completion;
use super::connector::Connector;
use super::entries::Entries;
use super::file::File;
use super::inotify::{Inotify, Note};
use super::mounts::{Fs, Mounts};
use super::process::Process;
use super::raw::{self, Result};
use super::report::Report;
use super::signals::knote::{Side, Signal};
use super::timer::{Clock, Timer};
use super::token::Token;
use super::user::User;
use super::vnode::Vnode;

/// A knote is found by its filter and ident.
pub(crate) type Key = (EventFilter, usize);

/// What the knotes of a queue share. Made when first needed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) kq: RawFd,
    /// Monotonic and real-time.
    pub(crate) clocks: [Clock; 2],
    pub(crate) inotify: Inotify,
    pub(crate) mounts: Mounts,
    /// Knotes of files whose writes inotify does not tell of.
    pub(crate) untold: Vec<Key>,
    pub(crate) connector: Connector,
    pub(crate) signals: Side,
    /// The queue's asynchronous requests.
    pub(crate) aio: Option<Box<Aio>>,
    /// Names registrations: the last name given out.
    pub(crate) last_token: u32,
}

impl Shared {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self {
            kq,
            clocks: [Clock::new(false), Clock::new(true)],
            inotify: Inotify::new(kq),
            mounts: Mounts::default(),
            untold: Vec::new(),
            connector: Connector::default(),
            signals: Side::default(),
            aio: None,
            last_token: 0,
        }
    }

    pub(crate) fn clock(&mut self, realtime: bool) -> &mut Clock {
        &mut self.clocks[usize::from(realtime)]
    }

    /// Whether the completion of a request is to wake the queue.
    fn set_quiet(&mut self, (filter, ident): Key, quiet: bool) {
        if filter == EventFilter::EVFILT_AIO
            && let Some(aio) = &mut self.aio
        {
            aio.set_quiet(ident, quiet);
        }
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.kq = kq;
        self.inotify.move_to(kq);
        self.signals.move_to(kq);
        if let Some(aio) = &mut self.aio {
            aio.move_to(kq);
        }
    }

    /// Makes anew what the program has closed. What that lost of the mount table, as VQ_ bits.
    pub(crate) fn mend(&mut self) -> u32 {
        let kq = self.kq;
        self.clocks.iter_mut().for_each(|clock| clock.mend(kq));
        self.inotify.mend();
        self.connector.mend(kq);
        self.signals.mend(kq);
        self.mounts.mend(kq)
    }

    /// The queue is over. Each descriptor is closed by way of its registration in the queue.
    pub(crate) fn close(&mut self) {
        let kq = self.kq;
        self.clocks.iter_mut().for_each(|clock| clock.close(kq));
        self.inotify.close();
        self.mounts.close(kq);
        self.connector.close(kq);
        self.signals.close(kq);
    }

    fn open_clock(&mut self, realtime: bool) -> Result<()> {
        let kq = self.kq;
        self.clock(realtime).open(kq, Token::Clock { realtime })
    }
}

/// What a filter keeps of its knote.
#[derive(Debug)]
pub(crate) enum Source {
    User(User),
    Timer(Timer),
    File(File),
    Vnode(Vnode),
    Fs(Fs),
    /// PROC and PROCDESC.
    Process(Process),
    Signal(Signal),
    /// AIO and LIO.
    Completion(Completion),
}

/// What a knote does while it has nothing to report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rest {
    /// It waits for something to report.
    Waiting,
    /// It stands in the line.
    Active,
    /// It is disabled: what happens meanwhile is kept, but nobody is woken for it.
    Disabled,
}

impl Source {
    /// EV_ADD of a knote that is not there. Says too which flags the filter sets by itself.
    pub(crate) fn attach(key: Key, change: &KEvent, shared: &mut Shared) -> Result<(Self, u16)> {
        let fd = key.1 as RawFd;
        let mut source = match key.0 {
            EventFilter::EVFILT_READ | EventFilter::EVFILT_WRITE | EventFilter::EVFILT_EXCEPT => {
                Self::File(File::new(key, change, &mut shared.inotify)?)
            }
            EventFilter::EVFILT_VNODE => Self::Vnode(Vnode::new(fd, change)?),
            EventFilter::EVFILT_FS => {
                shared.mounts.open(shared.kq)?;
                return Ok((Self::Fs(Fs::new(change)), EvFlags::EV_CLEAR.bits()));
            }
            EventFilter::EVFILT_USER => Self::User(User::new(change)),
            EventFilter::EVFILT_TIMER => {
                let timer = Timer::new(change)?;
                shared.open_clock(timer.realtime)?;
                // A relative timer clears itself; a moment in time stays over (FreeBSD).
                let clear = if timer.realtime { EvFlags::empty() } else { EvFlags::EV_CLEAR };
                return Ok((Self::Timer(timer), clear.bits()));
            }
            EventFilter::EVFILT_PROC | EventFilter::EVFILT_PROCDESC => {
                let process = Process::new(key, change, shared)?;
                return Ok((Self::Process(process), EvFlags::EV_CLEAR.bits()));
            }
            EventFilter::EVFILT_SIGNAL => {
                let signal = Signal::new(key.1, &mut shared.signals, shared.kq)?;
                return Ok((Self::Signal(signal), EvFlags::EV_CLEAR.bits()));
            }
            // Only a request makes one (kqueue(2)).
            EventFilter::EVFILT_AIO | EventFilter::EVFILT_LIO => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        };
        if matches!(source, Self::File(_) | Self::Vnode(_)) && is_memfd(fd) {
            shared.untold.push(key);
            if let Self::Vnode(vnode) = &mut source {
                vnode.is_untold(fd);
            }
        }
        Ok((source, 0))
    }

    /// A change of a knote that is there; `flags` are the knote's.
    pub(crate) fn touch(
        &mut self,
        key: Key,
        flags: u16,
        change: &KEvent,
        shared: &mut Shared,
    ) -> Result<()> {
        match self {
            Self::User(user) => user.touch(change),
            Self::File(file) => file.touch(key, change, &mut shared.inotify)?,
            Self::Vnode(vnode) => vnode.touch(change),
            Self::Fs(fs) => fs.touch(change),
            Self::Timer(timer) => {
                if change.flags & EvFlags::EV_ADD.bits() != 0 {
                    // Starts anew, and what was not delivered is lost (kqueue(2)). Whether it is
                    // oneshot was settled when it was made.
                    let mut anew = *change;
                    anew.flags = (anew.flags & !EvFlags::EV_ONESHOT.bits())
                        | (flags & EvFlags::EV_ONESHOT.bits());
                    let anew = Timer::new(&anew)?;
                    let kq = shared.kq;
                    shared.open_clock(anew.realtime)?;
                    let old = std::mem::replace(timer, anew);
                    shared.clock(old.realtime).remove(kq, old.deadline, key.1);
                }
            }
            Self::Process(process) => process.touch(change, shared)?,
            Self::Signal(_) => {}
            Self::Completion(completion) => completion.touch(),
        }
        Ok(())
    }

    /// What is asked for, in fflags; and how many nanoseconds a timer has left.
    pub(crate) fn asked(&self) -> (u32, i64) {
        match self {
            Self::User(user) => (user.flags, 0),
            Self::Timer(timer) => (FilterFlag::NOTE_NSECONDS.bits(), timer.left()),
            Self::Vnode(vnode) => (vnode.asked, 0),
            Self::Fs(fs) => (fs.asked, 0),
            Self::Process(process) => (process.wanted, 0),
            _ => (0, 0),
        }
    }

    /// Whether there may be something to report.
    pub(crate) fn is_ready(&self) -> bool {
        match self {
            Self::User(user) => user.is_triggered(),
            Self::Timer(timer) => timer.is_due(),
            Self::File(file) => file.is_ready(),
            Self::Vnode(vnode) => vnode.is_ready(),
            Self::Fs(fs) => fs.is_ready(),
            Self::Process(process) => process.is_ready(),
            Self::Signal(signal) => signal.is_ready(),
            Self::Completion(completion) => completion.is_ready(),
        }
    }

    /// What there is to report, looked at now; `clear`: it is reported this once. None: nothing any
    /// more. An error: what the knote watches is gone, and the knote with it.
    pub(crate) fn take(
        &mut self,
        key: Key,
        clear: bool,
        shared: &mut Shared,
    ) -> Result<Option<Report>> {
        let (fflags, data) = match self {
            Self::User(user) => user.take(clear),
            Self::Timer(timer) => (0, timer.take(clear)),
            Self::File(file) => return file.take(key, clear),
            Self::Vnode(vnode) => return vnode.take(key, clear, &mut shared.inotify),
            Self::Fs(fs) => return Ok(fs.take(clear)),
            Self::Process(process) => return process.take().map(Some),
            Self::Signal(signal) => match signal.take() {
                None => return Ok(None),
                Some(count) => (0, count),
            },
            Self::Completion(completion) => return Ok(completion.take(key, clear)),
        };
        Ok(Some(Report { flags: 0, fflags, data }))
    }

    /// After a change or a report: has the system wake us, or not.
    ///
    /// # Errors
    /// It cannot be watched any more; only where the knote was disabled before.
    pub(crate) fn rest(&mut self, key: Key, how: Rest, shared: &mut Shared) -> Result<()> {
        match self {
            Self::User(_) => {}
            Self::Fs(fs) => fs.rest(how != Rest::Disabled, &mut shared.mounts, shared.kq),
            Self::File(file) => file.rest(key, how, &mut shared.inotify)?,
            Self::Vnode(vnode) => vnode.rest(key, how, &mut shared.inotify)?,
            Self::Timer(timer) => {
                let kq = shared.kq;
                let clock = shared.clock(timer.realtime);
                if how == Rest::Waiting {
                    clock.insert(kq, timer.deadline, key.1);
                } else {
                    clock.remove(kq, timer.deadline, key.1);
                }
            }
            Self::Process(process) => process.arm(key, how != Rest::Disabled, shared)?,
            Self::Signal(signal) => {
                signal.rest(how != Rest::Disabled, &mut shared.signals, shared.kq)?;
            }
            Self::Completion(_) => shared.set_quiet(key, how == Rest::Disabled),
        }
        Ok(())
    }

    /// The knote goes.
    pub(crate) fn detach(&mut self, key: Key, shared: &mut Shared) {
        match self {
            Self::User(_) => {}
            Self::Fs(fs) => fs.rest(false, &mut shared.mounts, shared.kq),
            Self::Timer(timer) => {
                let kq = shared.kq;
                shared.clock(timer.realtime).remove(kq, timer.deadline, key.1);
            }
            Self::File(file) => file.detach(key, &mut shared.inotify),
            Self::Vnode(vnode) => vnode.detach(key, &mut shared.inotify),
            Self::Process(process) => process.leave(shared),
            Self::Signal(signal) => signal.leave(&mut shared.signals, shared.kq),
            Self::Completion(_) => shared.set_quiet(key, true),
        }
        if !shared.untold.is_empty() {
            shared.untold.retain(|other| *other != key);
        }
    }

    /// Makes anew what the program has closed of the knote's own. True: there is something to report.
    pub(crate) fn mend(&mut self, key: Key, shared: &mut Shared) -> bool {
        match self {
            Self::Process(process) => process.mend(key, shared),
            _ => false,
        }
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Self::Process(process) = self {
            process.close(kq);
        }
    }

    /// inotify told something of the knote's file; whether there may be something to report.
    pub(crate) fn notice(&mut self, note: Note) -> bool {
        match self {
            Self::File(file) => file.notice(note),
            Self::Vnode(vnode) => vnode.notice(note),
            _ => false,
        }
    }

    /// A directory's: the names that were gathered.
    pub(crate) fn entries(&mut self) -> Option<&mut Entries> {
        match self {
            Self::Vnode(vnode) => Some(&mut vnode.entries),
            _ => None,
        }
    }

    /// Looks for a write that nobody tells of; whether there may be something to report.
    pub(crate) fn examine(&mut self, key: Key) -> bool {
        match self {
            Self::File(file) => file.examine(key.1 as RawFd),
            Self::Vnode(vnode) => vnode.examine(key.1 as RawFd),
            _ => false,
        }
    }

    /// For a knote whose ident is a descriptor: whether the number was closed, or stands for
    /// another file by now.
    pub(crate) fn is_stale(&self, key: Key) -> bool {
        match self {
            Self::File(file) => file.is_stale(key.1 as RawFd),
            Self::Vnode(vnode) => vnode.is_stale(key.1 as RawFd),
            Self::User(_) | Self::Timer(_) | Self::Fs(_) | Self::Signal(_) => false,
            Self::Completion(_) => false,
            Self::Process(process) => process.is_stale(),
        }
    }
}

/// A file in memory, or one that may be: newer kernels do not tell inotify of writes to it.
fn is_memfd(fd: RawFd) -> bool {
    raw::readlink_fd(fd, &mut [0; 8]).map_or(true, |name| name.starts_with(b"/memfd:"))
}

/// The filters whose ident is a descriptor: closing the number drops their knotes.
pub(crate) const OF_DESCRIPTORS: [EventFilter; 5] = [
    EventFilter::EVFILT_READ,
    EventFilter::EVFILT_WRITE,
    EventFilter::EVFILT_EXCEPT,
    EventFilter::EVFILT_VNODE,
    EventFilter::EVFILT_PROCDESC,
];
