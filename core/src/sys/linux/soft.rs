//! Knotes that are no registration of epoll's: USER, TIMER, VNODE and their kin.
//!
//! One that has something to report is *active* and stands in a line; the bell makes the queue's
//! descriptor ready while anybody stands there. What it has to report is looked at when its turn
//! comes: a condition that is gone by then is dropped (kqueue's rule of retrieval).

use std::collections::VecDeque;
use std::os::fd::RawFd;

use libc::F_GETFD;
use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::event::{EvFlags, EventFilter, KEvent};
use crate::stats::KnoteInfo;

use super::bell::Bell;
use super::entries::Entries;
use super::raw::{self, Result};
use super::report::Report;
use super::sink::Sink;
use super::source::{Key, OF_DESCRIPTORS, Rest, Shared, Source};
use super::token::Token;

mod processes;
mod requests;

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

    fn event(&self, (filter, ident): Key, report: Report) -> KEvent {
        KEvent {
            ident,
            filter: filter as i16,
            flags: self.flags | report.flags,
            fflags: report.fflags,
            data: report.data,
            udata: self.udata,
            ext: self.ext,
        }
    }

    fn modify(&mut self, key: Key, change: &KEvent, shared: &mut Shared) -> Result<()> {
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        self.source.touch(key, self.flags, change, shared)?;
        if !has(EvFlags::EV_KEEPUDATA) {
            self.udata = change.udata;
        }
        if has(EvFlags::EV_ENABLE) {
            self.disabled = false;
        } else if has(EvFlags::EV_DISABLE) {
            self.disabled = true;
        }
        if has(EvFlags::EV_FORCEONESHOT) {
            self.flags |= EvFlags::EV_ONESHOT.bits();
            self.forced = true;
        }
        Ok(())
    }

    /// Puts it into the line. The report that follows announces it.
    fn activate(&mut self, key: Key, line: &mut VecDeque<Key>) {
        if !self.active && !self.disabled {
            self.active = true;
            line.push_back(key);
        }
    }

    /// After a change or a report: puts it where it belongs, into the line if it has something to
    /// report, to whatever will wake us if it waits, nowhere if it is disabled.
    fn settle(&mut self, key: Key, line: &mut VecDeque<Key>, shared: &mut Shared) -> Result<()> {
        let ready = !self.disabled && (self.forced || self.source.is_ready());
        match (self.active, ready) {
            (false, true) => line.push_back(key),
            (true, false) => line.retain(|other| *other != key),
            _ => {}
        }
        self.active = ready;
        let done = self.rest(key, shared);
        if done.is_err() {
            self.disabled = true;
        }
        done
    }

    fn rest(&mut self, key: Key, shared: &mut Shared) -> Result<()> {
        let how = match (self.disabled, self.active) {
            (true, _) => Rest::Disabled,
            (_, true) => Rest::Active,
            _ => Rest::Waiting,
        };
        self.source.rest(key, how, shared)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Soft {
    knotes: FxHashMap<Key, SoftKnote>,
    line: VecDeque<Key>,
    /// Descriptors' knotes that are to be reported whatever their condition (EV_FORCEONESHOT).
    forced: VecDeque<Key>,
    /// Events that found no room.
    spilt: VecDeque<KEvent>,
    bell: Bell,
    shared: Shared,
    /// How many knotes have a descriptor for their ident.
    of_descriptors: usize,
    /// How many watch a process.
    of_processes: usize,
    /// Nobody sleeps in the queue, and nobody polls it from outside: the bell need not ring.
    pub(crate) hold: bool,
}

impl Soft {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self {
            knotes: FxHashMap::default(),
            line: VecDeque::new(),
            forced: VecDeque::new(),
            spilt: VecDeque::new(),
            bell: Bell::default(),
            shared: Shared::new(kq),
            of_descriptors: 0,
            of_processes: 0,
            hold: false,
        }
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.shared.move_to(kq);
    }

    /// Registers the bell in the set that takes the queue's place.
    pub(crate) fn move_bell_into(&mut self, set: RawFd) -> Result<()> {
        self.bell.move_into(set)
    }

    /// The set has taken the queue's place, with what was registered.
    pub(crate) fn was_moved(&mut self) {
        self.shared.signals.look_again();
        self.announce();
    }

    /// Makes anew what the program has closed of the queue's own descriptors: some close every number
    /// that they find.
    #[cold]
    pub(crate) fn mend(&mut self) {
        let ended: Vec<Key> = self
            .knotes
            .iter_mut()
            .filter_map(|(key, knote)| knote.source.mend(*key, &mut self.shared).then_some(*key))
            .collect();
        ended.into_iter().for_each(|key| self.activate(key));
        self.mend_few();
    }

    /// As [`mend`](Self::mend), but for the processes' descriptors.
    #[cold]
    pub(crate) fn mend_few(&mut self) {
        let _ = self.bell.mend(self.shared.kq);
        let mounts = self.shared.mend();
        self.note_mounts(mounts);
        self.read_inbox();
        self.collect_told();
        self.announce();
    }

    /// Whether processes are watched, each by a descriptor.
    #[inline]
    pub(crate) fn has_processes(&self) -> bool {
        self.of_processes > 0
    }

    /// Whether an epoll descriptor is the queue's own, under another number.
    pub(crate) fn is_set(&mut self, fd: RawFd) -> Result<bool> {
        self.bell.hang(self.shared.kq)?;
        self.bell.mend(self.shared.kq)?;
        self.bell.hangs_in(fd)
    }

    /// As [`is_set`](Self::is_set), where the program may have closed the queue.
    pub(crate) fn has_bell_in(&mut self, fd: RawFd) -> bool {
        self.bell.hangs_in(fd) == Ok(true)
    }

    /// Whether the program has closed the queue.
    pub(crate) fn has_lost_queue(&self) -> bool {
        self.bell.has_lost(self.shared.kq)
    }

    /// Whether there are descriptors of our own.
    pub(crate) fn has_own(&self) -> bool {
        self.bell.is_there()
    }

    pub(crate) fn count(&self) -> usize {
        self.knotes.len()
    }

    /// Calls `f` with each knote.
    pub(crate) fn each(&self, f: &mut impl FnMut(KnoteInfo)) {
        for (&key, knote) in &self.knotes {
            let (fflags, data) = knote.source.asked();
            let event = knote.event(key, Report { flags: 0, fflags, data });
            f(KnoteInfo { event, disabled: knote.disabled, active: knote.active });
        }
    }

    /// Applies one change.
    #[inline(always)]
    pub(crate) fn change(&mut self, filter: EventFilter, change: &KEvent) -> Result<()> {
        let done = self.apply(filter, change);
        self.announce(); // here, for it may be a system call
        done
    }

    #[inline(never)]
    fn apply(&mut self, filter: EventFilter, change: &KEvent) -> Result<()> {
        let key = (filter, change.ident);
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        self.collect_done();
        match self.knotes.get_mut(&key) {
            Some(knote) if !knote.source.is_stale(key) => {
                if has(EvFlags::EV_DELETE) {
                    self.remove(key);
                    Ok(())
                } else {
                    knote.modify(key, change, &mut self.shared)?;
                    let done = knote.settle(key, &mut self.line, &mut self.shared);
                    self.read_inbox();
                    done
                }
            }
            stale => {
                if stale.is_some() {
                    self.close(change.ident);
                }
                if !has(EvFlags::EV_ADD) {
                    if OF_DESCRIPTORS.contains(&filter) {
                        raw::fcntl(descriptor(key)?, F_GETFD, 0)?;
                    }
                    return Err(Errno::ENOENT);
                }
                self.attach(key, change)?;
                let done = self.settle(key);
                if done.is_err() {
                    self.remove(key);
                }
                done
            }
        }
    }

    /// Whether any knote here has a descriptor for its ident.
    #[inline]
    pub(crate) fn has_of_descriptors(&self) -> bool {
        self.of_descriptors > 0
    }

    /// Whether the knote is here. Looks whether its descriptor was closed, where it has one.
    pub(crate) fn holds(&mut self, key: Key) -> bool {
        match self.knotes.get(&key) {
            None => false,
            Some(knote) if knote.source.is_stale(key) => {
                self.close(key.1);
                false
            }
            Some(_) => true,
        }
    }

    fn attach(&mut self, key: Key, change: &KEvent) -> Result<()> {
        if OF_DESCRIPTORS.contains(&key.0) {
            descriptor(key)?;
        }
        // What was told before is not for the new knote.
        match key.0 {
            EventFilter::EVFILT_PROC => self.collect_told(),
            EventFilter::EVFILT_FS => self.hear(Token::Mounts),
            _ => {}
        }
        self.bell.hang(self.shared.kq)?;
        let (source, implied) = Source::attach(key, change, &mut self.shared)?;
        self.of_descriptors += usize::from(OF_DESCRIPTORS.contains(&key.0));
        self.insert(key, change, source, implied);
        Ok(())
    }

    fn insert(&mut self, key: Key, change: &KEvent, source: Source, implied: u16) {
        const KEPT: u16 = EvFlags::EV_CLEAR
            .union(EvFlags::EV_ONESHOT)
            .union(EvFlags::EV_DISPATCH)
            .union(EvFlags::EV_RECEIPT)
            .bits();
        let knote = SoftKnote {
            udata: change.udata,
            ext: change.ext,
            flags: change.flags & KEPT | implied,
            disabled: change.flags & EvFlags::EV_DISABLE.bits() != 0,
            forced: false,
            active: false,
            source,
        };
        self.of_processes += usize::from(is_process(key));
        self.knotes.insert(key, knote);
        // So that a signal handler's trigger needs no memory.
        self.line.reserve(self.knotes.len().saturating_sub(self.line.len()));
    }

    fn settle(&mut self, key: Key) -> Result<()> {
        let Some(knote) = self.knotes.get_mut(&key) else { return Ok(()) };
        let done = knote.settle(key, &mut self.line, &mut self.shared);
        self.read_inbox();
        done
    }

    /// Puts a descriptor's knote into the line, for one report.
    pub(crate) fn force(&mut self, filter: EventFilter, ident: usize) -> Result<()> {
        self.bell.hang(self.shared.kq)?;
        if !self.forced.contains(&(filter, ident)) {
            self.forced.push_back((filter, ident));
        }
        self.announce();
        Ok(())
    }

    /// After a change: leaves in the line those descriptors' knotes that are still to be reported.
    pub(crate) fn retain_forced(&mut self, is_forced: impl FnMut(&Key) -> bool) {
        self.forced.retain(is_forced);
        self.announce();
    }

    pub(crate) fn has_forced(&self) -> bool {
        !self.forced.is_empty()
    }

    /// Keeps an event that found no room in the eventlist for the next scan.
    pub(crate) fn spill(&mut self, event: KEvent) -> Result<()> {
        self.bell.hang(self.shared.kq)?;
        self.spilt.push_back(event);
        self.announce();
        Ok(())
    }

    /// Whether there are such, or descriptors' knotes to be reported whatever their condition.
    #[inline]
    pub(crate) fn has_others_in_line(&self) -> bool {
        !self.spilt.is_empty() || !self.forced.is_empty()
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
    #[inline(always)]
    pub(crate) fn announce(&mut self) {
        if self.shared.signals.take_unlooked() {
            self.collect_signals();
        }
        if !self.is_awaited() {
            self.bell.hush(self.shared.kq);
        } else if !self.hold && self.bell.ring(self.shared.kq) {
            self.mend();
        }
    }

    fn is_awaited(&self) -> bool {
        !(self.line.is_empty() && self.forced.is_empty() && self.spilt.is_empty())
    }

    /// Whether somebody stands in the line, and the kernel was not told.
    pub(crate) fn is_unannounced(&self) -> bool {
        self.is_awaited() && !self.bell.is_rung()
    }

    fn remove(&mut self, key: Key) {
        let Some(mut knote) = self.knotes.remove(&key) else { return };
        knote.source.detach(key, &mut self.shared);
        self.of_descriptors -= usize::from(OF_DESCRIPTORS.contains(&key.0));
        self.of_processes -= usize::from(is_process(key));
        if knote.active {
            self.line.retain(|other| *other != key);
        }
        self.read_inbox();
    }

    /// The number is about to be closed: its knotes go.
    pub(crate) fn close(&mut self, fd: usize) {
        if self.of_descriptors > 0 {
            OF_DESCRIPTORS.iter().for_each(|&filter| self.remove((filter, fd)));
            self.announce();
        }
    }

    /// Whether an event is of a descriptor of our own, of this serial number, that is ours no more.
    pub(crate) fn is_stray(&mut self, token: Token, serial: u32) -> bool {
        let shared = &self.shared;
        let own = match token {
            Token::Clock { realtime } => shared.clocks[usize::from(realtime)].own(),
            Token::Inotify => return !shared.inotify.is_one(serial),
            Token::Mounts => shared.mounts.own(),
            Token::Connector => shared.connector.own(),
            Token::Aio => shared.aio.as_ref().map(|aio| aio.own()),
            Token::Process { ident, by_descriptor, token } => {
                return !self.is_armed(ident, by_descriptor, token);
            }
            // Edges, which do not come again.
            _ => return false,
        };
        own.is_none_or(|own| own.serial() != serial)
    }

    /// One of our own descriptors is ready.
    pub(crate) fn hear(&mut self, token: Token) {
        match token {
            Token::Bell => self.bell.heard(),
            Token::Clock { realtime } => self.collect_due(realtime, true),
            Token::Inotify => {
                self.shared.inotify.hear();
                self.read_inbox();
            }
            Token::Mounts => {
                let what = self.shared.mounts.look(self.shared.kq);
                self.note_mounts(what);
            }
            Token::Process { ident, by_descriptor, token } => {
                self.process_ended(ident, by_descriptor, token);
            }
            Token::Connector => self.collect_told(),
            Token::Aio => self.collect_done(),
            Token::Signals => self.collect_signals(),
            Token::Pending => self.shared.signals.look(),
            Token::Descriptor { .. } | Token::Lane(_) | Token::LowWater | Token::Alarm => {}
        }
    }

    /// Looks for what is due without having been told: a thread that was told may wait for our lock,
    /// and a level knote is for every scan.
    pub(crate) fn look(&mut self) {
        for realtime in [false, true] {
            if self.shared.clock(realtime).has_waiting() {
                self.collect_due(realtime, false);
            }
        }
        self.collect_done();
    }

    /// Looks for timers whose time has come; `fired`: the clock's timerfd says so.
    fn collect_due(&mut self, realtime: bool, fired: bool) {
        let kq = self.shared.kq;
        for ident in self.shared.clock(realtime).expire(kq, fired) {
            self.activate((EventFilter::EVFILT_TIMER, ident));
        }
    }

    /// Hands what inotify told to the knotes.
    #[inline]
    fn read_inbox(&mut self) {
        if self.shared.inotify.has_told() {
            self.hand_out();
        }
    }

    fn hand_out(&mut self) {
        while let Some((key, entry)) = self.shared.inotify.take_name() {
            let entries = self.knotes.get_mut(&key).and_then(|knote| knote.source.entries());
            if let Some(entries) = entries {
                entries.push(entry);
            }
        }
        while let Some((key, note)) = self.shared.inotify.take_note() {
            let Some(knote) = self.knotes.get_mut(&key) else { continue };
            if note.mask & libc::IN_Q_OVERFLOW != 0 {
                // Perhaps the watch is lost too. It comes first: what happens from here on is told.
                let _ = knote.rest(key, &mut self.shared);
            }
            if knote.source.notice(note) {
                knote.activate(key, &mut self.line);
            }
        }
    }

    /// The names that a directory's VNODE knote has gathered.
    pub(crate) fn entries(&mut self, fd: RawFd) -> Option<&mut Entries> {
        let key = (EventFilter::EVFILT_VNODE, usize::try_from(fd).ok()?);
        self.knotes.get_mut(&key)?.source.entries()
    }

    /// Hands something to all knotes of a filter; `notice` says whether one has something to report.
    fn notice_all(&mut self, filter: EventFilter, notice: impl Fn(&mut Source) -> bool) {
        let of_filter = self.knotes.iter_mut().filter(|(key, _)| key.0 == filter);
        let ready: Vec<Key> = of_filter
            .filter_map(|(key, knote)| notice(&mut knote.source).then_some(*key))
            .collect();
        ready.into_iter().for_each(|key| self.activate(key));
    }

    fn note_mounts(&mut self, what: u32) {
        self.notice_all(EventFilter::EVFILT_FS, |source| match source {
            Source::Fs(fs) => fs.notice(what),
            _ => false,
        });
    }

    fn collect_signals(&mut self) {
        for signal in self.shared.signals.signals() {
            let key = (EventFilter::EVFILT_SIGNAL, signal as usize);
            if self.knotes.get(&key).is_some_and(|knote| knote.source.is_ready()) {
                self.activate(key);
            }
        }
    }

    /// Whether there is something to be looked at before a wait: files, since nobody tells of writes
    /// to them, or signals.
    pub(crate) fn has_untold(&self) -> bool {
        !self.shared.untold.is_empty() || self.shared.signals.is_listening()
    }

    /// Whether it has to be looked at again soon.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.shared.signals.is_open
    }

    /// Looks at them.
    pub(crate) fn examine(&mut self) {
        if self.shared.signals.is_listening() {
            self.shared.signals.examine();
        }
        for at in 0..self.shared.untold.len() {
            let key = self.shared.untold[at];
            if self.knotes.get_mut(&key).is_some_and(|knote| knote.source.examine(key)) {
                self.activate(key);
            }
        }
        self.announce();
    }

    fn activate(&mut self, key: Key) {
        if let Some(knote) = self.knotes.get_mut(&key) {
            knote.activate(key, &mut self.line);
        }
    }

    /// Lets those in the line report, each once, at most `budget` of them.
    pub(crate) fn report(&mut self, sink: &mut Sink, budget: usize) {
        let most = sink.len() + budget;
        for _ in 0..self.line.len() {
            if sink.len() == most {
                break;
            }
            let Some(key) = self.line.pop_front() else { break };
            self.offer(key, sink);
        }
        self.announce();
    }

    fn offer(&mut self, key: Key, sink: &mut Sink) {
        let Some(knote) = self.knotes.get_mut(&key) else { return };
        knote.active = false;
        let clear = knote.has(EvFlags::EV_CLEAR);
        let report = match knote.source.take(key, clear, &mut self.shared) {
            Err(_) => return self.remove(key),
            Ok(None) if !knote.forced => None,
            Ok(report) => Some(report.unwrap_or_default()),
        };
        knote.forced = false;
        if let Some(report) = report {
            let event = knote.event(key, report);
            sink.push(event);
            if event.flags & EvFlags::EV_ONESHOT.bits() != 0 {
                return self.remove(key);
            }
            if knote.has(EvFlags::EV_DISPATCH) {
                knote.disabled = true;
            }
        }
        // Fails only for one that was disabled before, which this is not.
        let _ = knote.settle(key, &mut self.line, &mut self.shared);
        self.read_inbox();
    }
}

impl Drop for Soft {
    fn drop(&mut self) {
        let kq = self.shared.kq;
        self.knotes.drain().for_each(|(_, mut knote)| knote.source.close(kq));
        self.bell.close(kq);
        self.shared.close();
    }
}

/// Whether a knote watches a process.
fn is_process(key: Key) -> bool {
    matches!(key.0, EventFilter::EVFILT_PROC | EventFilter::EVFILT_PROCDESC)
}

/// The descriptor of a knote whose ident is one.
fn descriptor(key: Key) -> Result<RawFd> {
    RawFd::try_from(key.1).map_err(|_| Errno::EBADF)
}
