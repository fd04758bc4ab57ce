//! Knotes that are no descriptor's: USER and TIMER.
//!
//! One that has something to report is *active* and stands in a line; the bell makes the queue's
//! descriptor ready while anybody stands there.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::event::{EvFlags, EventFilter, KEvent};

use super::bell::Bell;
use super::raw::Result;
use super::sink::Sink;
use super::timer::{Clock, Timer};
use super::user::User;

/// A knote is found by its filter and ident.
pub(crate) type Key = (EventFilter, usize);

/// What a filter keeps of its knote.
#[derive(Debug)]
enum Source {
    User(User),
    Timer(Timer),
}

#[derive(Debug)]
struct SoftKnote {
    udata: usize,
    ext: [u64; 4],
    flags: u16,
    disabled: bool,
    /// To be reported whatever its condition (EV_FORCEONESHOT).
    forced: bool,
    /// Stands in the line.
    active: bool,
    source: Source,
}

impl SoftKnote {
    fn has(&self, flag: EvFlags) -> bool {
        self.flags & flag.bits() != 0
    }

    /// Whether there is something to report.
    fn is_ready(&self) -> bool {
        self.forced
            || match &self.source {
                Source::User(user) => user.is_triggered(),
                Source::Timer(timer) => timer.is_due(),
            }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Soft {
    kq: RawFd,
    knotes: FxHashMap<Key, SoftKnote>,
    line: VecDeque<Key>,
    /// Descriptors' knotes that are to be reported whatever their condition (EV_FORCEONESHOT).
    forced: VecDeque<Key>,
    /// Events that found no room.
    spilt: VecDeque<KEvent>,
    pub(crate) bell: Bell,
    clocks: [Clock; 2],
}

impl Soft {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self {
            kq,
            knotes: FxHashMap::default(),
            line: VecDeque::new(),
            forced: VecDeque::new(),
            spilt: VecDeque::new(),
            bell: Bell::default(),
            clocks: [Clock::new(false), Clock::new(true)],
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.knotes.len()
    }

    /// Applies one change.
    pub(crate) fn change(&mut self, filter: EventFilter, change: &KEvent) -> Result<()> {
        let key = (filter, change.ident);
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        if !self.knotes.contains_key(&key) {
            if !has(EvFlags::EV_ADD) {
                return Err(Errno::ENOENT);
            }
            let knote = self.attach(filter, change)?;
            self.knotes.insert(key, knote);
        } else if has(EvFlags::EV_DELETE) {
            self.remove(key);
            return Ok(());
        } else {
            self.modify(key, change)?;
        }
        self.settle(key);
        Ok(())
    }

    fn attach(&mut self, filter: EventFilter, change: &KEvent) -> Result<SoftKnote> {
        let mut flags = change.flags;
        let source = match filter {
            EventFilter::EVFILT_USER => Source::User(User::new(change)),
            EventFilter::EVFILT_TIMER => {
                let timer = Timer::new(change)?;
                self.clocks[usize::from(timer.realtime)].open(self.kq)?;
                if !timer.realtime {
                    // A relative timer clears itself; a moment in time stays over (FreeBSD).
                    flags |= EvFlags::EV_CLEAR.bits();
                }
                Source::Timer(timer)
            }
            _ => return Err(Errno::EINVAL),
        };
        self.bell.hang(self.kq)?;
        const KEPT: u16 = EvFlags::EV_CLEAR
            .union(EvFlags::EV_ONESHOT)
            .union(EvFlags::EV_DISPATCH)
            .union(EvFlags::EV_RECEIPT)
            .bits();
        Ok(SoftKnote {
            udata: change.udata,
            ext: change.ext,
            flags: flags & KEPT,
            disabled: change.flags & EvFlags::EV_DISABLE.bits() != 0,
            forced: false,
            active: false,
            source,
        })
    }

    fn modify(&mut self, key: Key, change: &KEvent) -> Result<()> {
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        let Some(knote) = self.knotes.get_mut(&key) else { return Ok(()) };
        match &mut knote.source {
            Source::User(user) => user.touch(change),
            Source::Timer(timer) => {
                if has(EvFlags::EV_ADD) {
                    // Starts anew, and what was not delivered is lost (kqueue(2)). Whether it is
                    // oneshot was settled when it was made.
                    let mut anew = *change;
                    anew.flags = (anew.flags & !EvFlags::EV_ONESHOT.bits())
                        | (knote.flags & EvFlags::EV_ONESHOT.bits());
                    let anew = Timer::new(&anew)?;
                    self.clocks[usize::from(anew.realtime)].open(self.kq)?;
                    let old = std::mem::replace(timer, anew);
                    self.clocks[usize::from(old.realtime)].remove(old.deadline, key.1);
                }
            }
        }
        if !has(EvFlags::EV_KEEPUDATA) {
            knote.udata = change.udata;
        }
        knote.ext = change.ext;
        if has(EvFlags::EV_ENABLE) {
            knote.disabled = false;
        } else if has(EvFlags::EV_DISABLE) {
            knote.disabled = true;
        }
        if has(EvFlags::EV_FORCEONESHOT) {
            knote.flags |= EvFlags::EV_ONESHOT.bits();
            knote.forced = true;
        }
        Ok(())
    }

    /// After a change or a report: puts a knote where it belongs, into the line if it has something
    /// to report, to its clock if its time will come, nowhere if it is disabled.
    fn settle(&mut self, key: Key) {
        let Some(knote) = self.knotes.get_mut(&key) else { return };
        let ready = !knote.disabled && knote.is_ready();
        if let Source::Timer(timer) = &knote.source {
            let clock = &mut self.clocks[usize::from(timer.realtime)];
            if knote.disabled || ready {
                clock.remove(timer.deadline, key.1);
            } else {
                clock.insert(timer.deadline, key.1);
            }
        }
        match (knote.active, ready) {
            (false, true) => {
                knote.active = true;
                self.line.push_back(key);
            }
            (true, false) => {
                knote.active = false;
                self.line.retain(|other| *other != key);
            }
            _ => {}
        }
        self.announce();
    }

    /// Puts a descriptor's knote into the line, for one report.
    pub(crate) fn force(&mut self, filter: EventFilter, ident: usize) -> Result<()> {
        self.bell.hang(self.kq)?;
        self.forced.push_back((filter, ident));
        self.announce();
        Ok(())
    }

    /// Keeps an event that found no room in the eventlist for the next scan.
    pub(crate) fn spill(&mut self, event: KEvent) -> Result<()> {
        self.bell.hang(self.kq)?;
        self.spilt.push_back(event);
        self.announce();
        Ok(())
    }

    /// The next event that found no room before.
    pub(crate) fn take_spilt(&mut self) -> Option<KEvent> {
        self.spilt.pop_front()
    }

    /// The next descriptor's knote that was forced.
    pub(crate) fn take_forced(&mut self) -> Option<Key> {
        self.forced.pop_front()
    }

    /// Makes the queue's descriptor ready if, and only if, somebody stands in the line.
    fn announce(&mut self) {
        if self.line.is_empty() && self.forced.is_empty() && self.spilt.is_empty() {
            self.bell.hush()
        } else {
            self.bell.ring()
        }
    }

    fn remove(&mut self, key: Key) {
        let Some(knote) = self.knotes.remove(&key) else { return };
        if let Source::Timer(timer) = &knote.source {
            self.clocks[usize::from(timer.realtime)].remove(timer.deadline, key.1);
        }
        if knote.active {
            self.line.retain(|other| *other != key);
            self.announce();
        }
    }

    /// Looks for timers whose time has come; `fired`: that clock's timerfd says so.
    pub(crate) fn collect_due(&mut self, fired: Option<bool>) {
        for realtime in [false, true] {
            let due = self.clocks[usize::from(realtime)].expire(fired == Some(realtime));
            for ident in due {
                let key = (EventFilter::EVFILT_TIMER, ident);
                if let Some(knote) = self.knotes.get_mut(&key)
                    && !knote.active
                {
                    knote.active = true;
                    self.line.push_back(key);
                }
            }
        }
    }

    /// Lets those in the line report, each once, at most `budget` of them.
    pub(crate) fn report(&mut self, sink: &mut Sink, budget: usize) {
        for _ in 0..self.line.len().min(budget) {
            let Some(key) = self.line.pop_front() else { break };
            let Some(knote) = self.knotes.get_mut(&key) else { continue };
            knote.active = false;
            let clear = knote.has(EvFlags::EV_CLEAR);
            let (fflags, data) = match &mut knote.source {
                Source::User(user) => user.take(clear),
                Source::Timer(timer) => (0, timer.take(clear)),
            };
            knote.forced = false;
            sink.push(KEvent {
                ident: key.1,
                filter: key.0 as i16,
                flags: knote.flags,
                fflags,
                data,
                udata: knote.udata,
                ext: knote.ext,
            });
            if knote.has(EvFlags::EV_ONESHOT) {
                self.knotes.remove(&key);
                continue;
            }
            if knote.has(EvFlags::EV_DISPATCH) {
                knote.disabled = true;
            }
            self.settle(key);
        }
        self.announce();
    }
}
