//! The filters that watch a descriptor: READ, WRITE, EXCEPT.
//!
//! The level knotes of a descriptor share one registration. An edge knote needs one of its own, in a
//! lane that holds no other of this descriptor's. So an event of an edge registration is for one
//! knote, and an event of a level one may be for several.

mod moving;

use std::os::fd::RawFd;

use bitflags::bitflags;
use nix::errno::Errno;
use rustc_hash::FxHashMap;

use crate::event::{EvFlags, EventFilter, KEvent};
use crate::stats::KnoteInfo;

use super::data::Kind;
use super::knote::{HUSHED, Knote, Knotes, ONCE, Registration, State};
use super::lanes::{LANES, Lanes};
use super::low_water::LowWater;
use super::raw::{self, Result};
use super::report::{Report, poll_now, report};
use super::sink::Sink;
use super::strays::Addressee;

impl Drop for Descriptors {
    fn drop(&mut self) {
        self.close_own();
    }
}

/// For a number so far beyond the highest that was asked for, room is made only if it is that of a
/// descriptor: a program may ask for any.
const NEAR: usize = 1024;

/// All descriptor knotes of a queue.
#[derive(Debug)]
pub(crate) struct Descriptors {
    lists: Vec<Knotes>,
    pub(crate) lanes: Lanes,
    /// `ext` of the few knotes that have one.
    exts: Exts,
    last_token: u32,
    /// WRITE knotes that have room, but less than their low-water mark.
    pub(crate) low_water: LowWater,
    /// Knotes that are over, to be freed at the next change: a close may come from a signal handler,
    /// where memory cannot be freed.
    dead: Knotes,
    /// How many knotes the program has.
    pub(crate) count: usize,
    /// A private queue in which nobody sleeps: the kernel need not know which level knotes are
    /// disabled (see `queue/private.rs`).
    pub(crate) hold: bool,
    /// How many changes the kernel was not told of.
    pub(crate) unsent: u32,
}

impl Descriptors {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self {
            lists: Vec::new(),
            lanes: Lanes::new(kq),
            exts: FxHashMap::default(),
            last_token: 0,
            dead: Knotes::default(),
            low_water: LowWater::new(),
            count: 0,
            hold: false,
            unsent: 0,
        }
    }

    /// Applies one change to a descriptor's knotes; says whether the knote is to be reported now
    /// whatever its condition (EV_FORCEONESHOT; if it was disabled, once it is enabled).
    #[inline(always)]
    pub(crate) fn change(&mut self, filter: EventFilter, change: &KEvent) -> Result<bool> {
        let fd = RawFd::try_from(change.ident).map_err(|_| Errno::EBADF)?;
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        if !self.dead.is_empty() {
            self.dead = Knotes::default();
        }
        if self.lanes.are_nested() && self.lanes.lost().next().is_some() {
            self.mend();
        }
        if fd as usize >= self.lists.len() + NEAR {
            raw::fcntl(fd, libc::F_GETFD, 0)?;
        }
        let knote = self.list(fd).get_mut(filter);
        let Some(knote) = knote.filter(|k| k.state != State::Ghost || k.serves(change)) else {
            return self.change_none(fd, filter, change);
        };
        let (lane, returns) = (knote.lane, knote.state == State::Ghost);
        if has(EvFlags::EV_DELETE) && !returns {
            let done = self.detach(fd, filter);
            return done.map(|()| false).or_else(|errno| self.fail(errno, fd, filter, change));
        }
        let (fresh, forced) = if returns {
            knote.begin(change);
            self.count += 1;
            self.keep_ext(fd, filter, change.ext);
            (true, false)
        } else {
            let amended = (knote.amend(change), knote.is_forced());
            if self.hold && !has(EvFlags::EV_ADD) && self.leave(fd, lane) {
                return Ok(amended.1);
            }
            amended
        };
        match self.sync(fd, lane, Sync { fresh, ..Sync::ASK }) {
            Ok(()) => Ok(forced),
            Err(errno) => {
                if returns {
                    self.end_again(fd, filter);
                }
                self.fail(errno, fd, filter, change)
            }
        }
    }

    /// A knote that was to return stays a ghost.
    #[cold]
    fn end_again(&mut self, fd: RawFd, filter: EventFilter) {
        if let Some(knote) = self.list(fd).get_mut(filter) {
            knote.state = State::Ghost;
            self.count -= 1;
        }
        self.keep_ext(fd, filter, [0; 4]);
    }

    /// The kernel has refused a change of a knote that was there.
    #[cold]
    fn fail(
        &mut self,
        errno: Errno,
        fd: RawFd,
        filter: EventFilter,
        change: &KEvent,
    ) -> Result<bool> {
        const WHAT: EvFlags = EvFlags::EV_ADD.union(EvFlags::EV_DELETE);
        // The number was closed since, and its knotes with it. (EPERM: it is now that of a file that
        // epoll does not take.)
        if matches!(errno, Errno::ENOENT | Errno::EBADF | Errno::EPERM) {
            self.purge(fd);
            if change.flags & WHAT.bits() == EvFlags::EV_ADD.bits() {
                return self.attach(fd, filter, change).map(|()| false);
            }
        }
        Err(errno)
    }

    /// Applies a change where there is no knote.
    #[inline(never)]
    fn change_none(&mut self, fd: RawFd, filter: EventFilter, change: &KEvent) -> Result<bool> {
        if change.flags & EvFlags::EV_ADD.bits() != 0 {
            return self.attach(fd, filter, change).map(|()| false);
        }
        if raw::fcntl(fd, libc::F_GETFD, 0) == Err(Errno::EBADF) {
            self.purge(fd);
            return Err(Errno::EBADF);
        }
        Err(Errno::ENOENT)
    }

    #[inline(never)]
    fn attach(&mut self, fd: RawFd, filter: EventFilter, change: &KEvent) -> Result<()> {
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        let exclusive = has(EvFlags::EV_WAKEONE);
        let alone = has(EvFlags::EV_CLEAR | EvFlags::EV_WAKEONE);
        if exclusive {
            self.make_way(fd)?;
        }
        // A ghost whose registration does not serve it.
        if let Some(ghost) = self.list(fd).take(|k| k.filter == filter) {
            match self.drop_registration(fd, &ghost) {
                // It was of a file that is gone from this number, and the others too.
                Err(Errno::ENOENT | Errno::EBADF | Errno::EPERM) => self.purge(fd),
                done => done?,
            }
        }
        let first = self.list(fd).is_empty();
        let lane = self.free_lane(fd, alone);
        let mut knote = Knote::new(filter, change, lane);
        if let Some(shares) = self.list(fd).iter().find(|k| k.lane == lane) {
            (knote.armed, knote.token) = (shares.armed, shares.token);
        }
        self.list(fd).push(knote);
        let mut done = self.sync(fd, lane, Sync { first, fresh: first, ask: true });
        if matches!(done, Err(Errno::ENOENT | Errno::EBADF | Errno::EPERM)) && !first {
            // What stood in our list was of a file that is gone from this number.
            let knote = self.list(fd).take(|k| k.filter == filter);
            self.purge(fd);
            if let Some(mut knote) = knote {
                (knote.armed, knote.lane, knote.kind) = (0, 0, Kind::Unknown);
                self.list(fd).push(knote);
            }
            done = self.sync(fd, 0, Sync { first: true, fresh: true, ask: true });
        }
        if let Err(errno) = done {
            self.list(fd).take(|k| k.filter == filter);
            return Err(errno);
        }
        self.count += 1;
        self.keep_ext(fd, filter, change.ext);
        Ok(())
    }

    /// Makes sure that lane 0 has room for an exclusive registration, which only serves in the queue's
    /// own set, where the threads wait. EINVAL: it is taken.
    fn make_way(&mut self, fd: RawFd) -> Result<()> {
        while let Some(ghost) = self.list(fd).take(|k| k.state == State::Ghost) {
            match self.drop_registration(fd, &ghost) {
                // Of a file that is gone from this number.
                Err(Errno::ENOENT | Errno::EBADF | Errno::EPERM) => self.purge(fd),
                done => done?,
            }
        }
        if self.list(fd).iter().any(|k| k.lane == 0) {
            if !self.is_closed(fd) {
                return Err(Errno::EINVAL);
            }
            self.purge(fd);
        }
        Ok(())
    }

    /// The lane for a new knote.
    fn free_lane(&mut self, fd: RawFd, alone: bool) -> u8 {
        let list = self.list(fd);
        if !alone && let Some(level) = list.iter().find(|k| !k.is_alone()) {
            return level.lane;
        }
        // One lane for each filter, so there is a free one.
        (0..LANES as u8).find(|&lane| list.iter().all(|k| k.lane != lane)).unwrap_or(0)
    }

    fn detach(&mut self, fd: RawFd, filter: EventFilter) -> Result<()> {
        let Some(knote) = self.list(fd).take(|k| k.filter == filter) else {
            return Err(Errno::ENOENT);
        };
        self.count -= 1;
        self.keep_ext(fd, filter, [0; 4]);
        if self.list(fd).iter().any(|k| k.lane == knote.lane) {
            return self.sync(fd, knote.lane, Sync::ASK);
        }
        self.drop_registration(fd, &knote)
    }

    /// Takes away the registration of a knote that is gone from the list.
    fn drop_registration(&mut self, fd: RawFd, gone: &Knote) -> Result<()> {
        if self.list(fd).iter().any(|k| k.lane == gone.lane) {
            return Ok(());
        }
        let empty = self.list(fd).is_empty();
        let armed = self.list(fd).iter().find(|k| k.armed != 0).map(|k| k.lane);
        match (gone.armed != 0, armed) {
            (true, None) if !empty => self.move_to_park(gone.lane, fd),
            (true, _) => self.lanes.delete(gone.lane, fd),
            (false, None) if empty => self.lanes.unpark(fd),
            // Nothing changes for the kernel, but it knows whether the number was closed.
            (false, None) => self.lanes.check_parked(fd),
            (false, Some(lane)) => self.lanes.check(lane, fd),
        }
    }

    /// Brings the kernel's registration of a lane to what its knotes want.
    #[inline(always)]
    fn sync(&mut self, fd: RawFd, lane: u8, how: Sync) -> Result<()> {
        let found = self.lists[fd as usize].registration(lane, self.hold);
        let Registration { have, want, mut token, edge, .. } = found;
        if how.fresh || have == 0 {
            self.last_token = self.last_token.wrapping_add(1);
            token = self.last_token;
        }
        if have == 0 || want == 0 {
            self.begin_or_end(fd, lane, how, Registration { token, ..found })?;
        } else if how.ask || how.fresh || have != want {
            self.lanes.modify(lane, fd, token, want, edge)?;
        }
        self.note_armed(fd, lane, want, token);
        Ok(())
    }

    /// As [`sync`](Self::sync), where the lane holds no registration, or shall hold none.
    #[inline(never)]
    fn begin_or_end(&mut self, fd: RawFd, lane: u8, how: Sync, found: Registration) -> Result<()> {
        let Registration { have, want, token, edge, other } = found;
        match (have, want, other) {
            (0, 0, _) if how.first => {
                self.lanes.refuse_itself(fd)?;
                self.lanes.park(fd)
            }
            (0, 0, None) if how.ask => self.lanes.check_parked(fd),
            (0, 0, Some(other)) if how.ask => self.lanes.check(other, fd),
            (0, 0, _) => Ok(()),
            (0, _, _) => {
                if let (Some(other), false) = (other, how.first) {
                    self.lanes.check(other, fd)?;
                }
                self.lanes.add(lane, fd, token, want, edge)?;
                if other.is_none() && !how.first {
                    self.leave_park(lane, fd)?;
                }
                Ok(())
            }
            (_, _, None) => self.move_to_park(lane, fd),
            (_, _, Some(_)) => self.lanes.delete(lane, fd),
        }
    }

    /// From a lane into the park. There first: where that fails, all is as it was.
    fn move_to_park(&mut self, lane: u8, fd: RawFd) -> Result<()> {
        self.lanes.park(fd)?;
        self.lanes.delete(lane, fd).inspect_err(|_| _ = self.lanes.unpark(fd))
    }

    /// A descriptor that was parked is registered in a lane by now. If the number was closed in
    /// between, that is taken back.
    fn leave_park(&mut self, lane: u8, fd: RawFd) -> Result<()> {
        self.lanes.unpark(fd).inspect_err(|_| _ = self.lanes.delete(lane, fd))
    }

    /// Whether the registration of a level lane tells all that its knotes want, and perhaps more: then
    /// a private queue leaves it as it is.
    fn leave(&mut self, fd: RawFd, lane: u8) -> bool {
        let list = &self.lists[fd as usize];
        let (have, want) = (list.armed(lane), list.wanted(lane, true));
        let tells = want == 0 || have & (HUSHED | ONCE) == 0 && want & !have == 0;
        let leave = have != 0 && tells && !list.is_alone(lane);
        self.unsent = self.unsent.wrapping_add(u32::from(leave));
        leave
    }

    #[inline(always)]
    fn note_armed(&mut self, fd: RawFd, lane: u8, armed: u16, token: u32) {
        self.lists[fd as usize].for_each_mut(|knote| {
            if knote.lane == lane {
                (knote.armed, knote.token) = (armed, token);
            }
        });
    }

    /// Hands an event of a lane to the knotes it is for; false: there is none. They report as far as the
    /// sink has room, `ahead` places of which are for others; who finds none does when the kernel says
    /// so again, which it will: they are level.
    #[inline(always)]
    pub(crate) fn dispatch(
        &mut self,
        who: Addressee,
        bits: u32,
        sink: &mut Sink,
        ahead: usize,
    ) -> bool {
        let (fd, token, lane) = who;
        let Some(list) = self.lists.get_mut(fd as usize) else { return false };
        let Some(mut knote) = list.first_mut() else { return false };
        let (mut did, mut alone) = (Did::empty(), true);
        let rests = loop {
            if knote.token == token && knote.lane == lane && knote.armed != 0 {
                did |= if knote.armed & HUSHED == 0 { Did::MET } else { Did::HUSHED };
                if knote.state == State::Enabled && sink.room() > ahead {
                    did |= match report(knote, fd, bits) {
                        Some(what) => fire(knote, fd, what, &self.exts, &mut self.count, sink),
                        None if knote.is_low() => Did::LOW,
                        None => Did::empty(),
                    };
                }
            }
            let rests = knote.rests(self.hold);
            match knote.next_mut() {
                None => break rests,
                Some(next) => (knote, alone) = (next, false),
            }
        };
        // Mostly there is nothing more to do: it has reported, and will again; or it reports once, and
        // the kernel has disarmed it, or a private queue leaves it armed.
        const DONE: Did = Did::MET.union(Did::REPORTED);
        let is_settled = alone && (did == DONE || did == DONE.union(Did::FIRED) && rests);
        is_settled || self.after_dispatch(who, did, sink, ahead)
    }

    /// What else an event leads to: registrations that are to be changed. False: it was for nobody.
    #[inline(never)]
    fn after_dispatch(
        &mut self,
        (fd, token, lane): Addressee,
        did: Did,
        sink: &Sink,
        ahead: usize,
    ) -> bool {
        if did.is_empty() {
            return false; // of a registration that is over
        }
        if did.contains(Did::LOW) {
            self.low_water.hold(self.lanes.set(0), fd);
        }
        let found = self.lists[fd as usize].registration(lane, true);
        let (armed, edge, reported) = (found.have, found.edge, did.contains(Did::REPORTED));
        let mut done = Ok(());
        if did.contains(Did::FIRED) {
            // If it was the only one of its lane that reported, the kernel has disarmed it: that is how
            // it stays until it is enabled, or added, again.
            if armed & ONCE == 0 || found.want != 0 {
                done = self.after_firing(fd, lane, armed);
            }
        } else if !reported && !edge && found.want == 0 {
            // Nobody is enabled: it was left armed (or disarmed itself just now). Disarmed by the next
            // event, which comes at once.
            if armed & ONCE == 0 {
                done = self.lanes.modify(lane, fd, token, armed | ONCE, false);
                self.note_armed(fd, lane, armed | ONCE, token);
            }
        } else if !reported && !edge && self.asks_too_much(fd, lane) {
            done = self.sync(fd, lane, Sync::ASK);
        } else if !reported && armed & HUSHED == 0 && (!edge || armed & ONCE != 0) {
            // Nobody here reports that, and the kernel would say it again. (Not EPOLLONESHOT either:
            // it would disarm itself for the same nothing.)
            let hushed = (armed & !ONCE) | HUSHED;
            done = self.lanes.modify(lane, fd, token, hushed, true);
            self.note_armed(fd, lane, hushed, token);
        } else if reported && armed & HUSHED != 0 {
            done = self.sync(fd, lane, Sync::ASK);
        }
        if matches!(done, Err(Errno::ENOENT | Errno::EBADF)) {
            // The number was closed, and its knotes with it. If a duplicate keeps the registration
            // alive, its next event will be a stray.
            self.purge(fd);
            return true;
        }
        if reported && sink.room() == ahead {
            self.rotate(fd, sink.last_filter());
        }
        true
    }

    /// Whether the registration of a lane tells more than its knotes want.
    fn asks_too_much(&self, fd: RawFd, lane: u8) -> bool {
        let list = &self.lists[fd as usize];
        list.armed(lane) & !(HUSHED | ONCE) & !list.wanted(lane, self.hold) != 0
    }

    /// Has the kernel say again what it says of writers that had less room than they ask for.
    pub(crate) fn look_again(&mut self) {
        for fd in self.low_water.expire(self.lanes.set(0)) {
            let Some(list) = self.lists.get_mut(fd) else { continue };
            let Some(knote) = list.get_mut(EventFilter::EVFILT_WRITE) else { continue };
            if knote.state == State::Enabled && knote.has_low_water() {
                let lane = knote.lane;
                // A number closed meanwhile is found out at the next touch.
                let _ = self.sync(fd as RawFd, lane, Sync::ASK);
            }
        }
    }

    /// Knotes of a lane fired that report once: takes away what they no longer want.
    fn after_firing(&mut self, fd: RawFd, lane: u8, armed: u16) -> Result<()> {
        while let Some(ghost) = self.list(fd).take(|k| k.lane == lane && k.state == State::Ghost) {
            self.drop_registration(fd, &ghost)?;
        }
        if self.list(fd).iter().any(|k| k.lane == lane)
            && !(self.hold && armed != 0 && !self.list(fd).is_alone(lane))
        {
            return self.sync(fd, lane, Sync { first: false, fresh: false, ask: false });
        }
        Ok(())
    }

    /// The knote that reported last is served last next time.
    fn rotate(&mut self, fd: RawFd, last: i16) {
        let list = &mut self.lists[fd as usize];
        if let Some(knote) = list.take(|k| k.filter as i16 == last) {
            list.push(knote);
        }
    }

    /// Reports a knote that EV_FORCEONESHOT was asked of.
    pub(crate) fn force(&mut self, fd: RawFd, filter: EventFilter, sink: &mut Sink) {
        if self.is_closed(fd) {
            return self.purge(fd);
        }
        let Some(list) = self.lists.get_mut(fd as usize) else { return };
        let Some(knote) = list.get_mut(filter).filter(|k| k.is_forced()) else { return };
        let what = report(knote, fd, poll_now(fd)).unwrap_or_default();
        let (lane, armed) = (knote.lane, knote.armed);
        fire(knote, fd, what, &self.exts, &mut self.count, sink);
        let _ = self.after_firing(fd, lane, armed & !ONCE);
    }

    /// Whether a number that has knotes does not mean the file any more that they were added for.
    pub(crate) fn is_closed(&mut self, fd: RawFd) -> bool {
        let armed = self.list(fd).iter().find(|k| k.armed != 0).map(|k| k.lane);
        let asked = match armed {
            Some(lane) => self.lanes.check(lane, fd),
            None => self.lanes.check_parked(fd),
        };
        matches!(asked, Err(Errno::ENOENT | Errno::EBADF | Errno::EPERM))
    }

    /// Whether a knote is to be reported whatever its condition.
    pub(crate) fn is_forced(&mut self, fd: RawFd, filter: EventFilter) -> bool {
        let knote = self.lists.get_mut(fd as usize).and_then(|list| list.get_mut(filter));
        knote.is_some_and(|knote| knote.is_forced())
    }

    /// The number is about to be closed: its knotes go.
    pub(crate) fn close(&mut self, fd: RawFd) {
        let Some(list) = self.lists.get(fd as usize).filter(|list| !list.is_empty()) else {
            return;
        };
        if !list.any_armed() {
            let _ = self.lanes.unpark(fd);
        }
        for lane in 0..LANES as u8 {
            if list.armed(lane) != 0 {
                let _ = self.lanes.delete(lane, fd);
            }
        }
        self.purge(fd);
    }

    /// Calls `f` with each knote of the program's.
    pub(crate) fn each(&self, f: &mut impl FnMut(KnoteInfo)) {
        for (ident, list) in self.lists.iter().enumerate() {
            for knote in list.iter().filter(|knote| knote.state != State::Ghost) {
                let ext = self.exts.get(&(ident as RawFd, knote.filter));
                let event = KEvent {
                    ident,
                    filter: knote.filter as i16,
                    flags: knote.flags,
                    fflags: knote.fflags,
                    data: knote.data,
                    udata: knote.udata,
                    ext: ext.copied().unwrap_or_default(),
                };
                let disabled = knote.state == State::Disabled;
                f(KnoteInfo { event, disabled, active: knote.is_forced() });
            }
        }
    }

    /// Forgets the knotes of a number that was closed.
    fn purge(&mut self, fd: RawFd) {
        let Some(list) = self.lists.get_mut(fd as usize) else { return };
        while let Some(knote) = list.take(|_| true) {
            self.count -= usize::from(knote.state != State::Ghost);
            self.dead.put(knote);
        }
        if !self.exts.is_empty() {
            self.exts.retain(|(of, _), _| *of != fd);
        }
    }

    #[inline]
    fn list(&mut self, fd: RawFd) -> &mut Knotes {
        let at = fd as usize;
        if at >= self.lists.len() {
            self.lists.resize_with(at + 1, Knotes::default);
        }
        &mut self.lists[at]
    }

    fn keep_ext(&mut self, fd: RawFd, filter: EventFilter, ext: [u64; 4]) {
        if ext != [0; 4] {
            self.exts.insert((fd, filter), ext);
        } else if !self.exts.is_empty() {
            self.exts.remove(&(fd, filter));
        }
    }
}

/// How [`Descriptors::sync`] shall go about it.
#[derive(Clone, Copy)]
struct Sync {
    /// The descriptor has no registration anywhere.
    first: bool,
    /// Events that were fetched before now are void.
    fresh: bool,
    /// Ask the kernel even if nothing changes: it knows whether the number was closed.
    ask: bool,
}

impl Sync {
    const ASK: Self = Self { first: false, fresh: false, ask: true };
}

type Exts = FxHashMap<(RawFd, EventFilter), [u64; 4]>;

bitflags! {
    /// What one event led to.
    #[derive(Clone, Copy, PartialEq, Eq)]
    struct Did: u8 {
        /// It is of a registration that there is.
        const MET = 1;
        /// And that is [`HUSHED`].
        const HUSHED = 1 << 1;
        /// A knote has reported.
        const REPORTED = 1 << 2;
        /// And it reports once.
        const FIRED = 1 << 3;
        /// A writer has room, but less than its mark.
        const LOW = 1 << 4;
    }
}

/// Puts a knote's event into the sink; a knote that reports once is disabled, or a ghost and not counted
/// any more, from then.
#[inline(always)]
fn fire(
    knote: &mut Knote,
    fd: RawFd,
    what: Report,
    exts: &Exts,
    count: &mut usize,
    sink: &mut Sink,
) -> Did {
    const ONCE_ONLY: EvFlags = EvFlags::EV_ONESHOT.union(EvFlags::EV_DISPATCH);
    sink.push(KEvent {
        ident: fd as usize,
        filter: knote.filter as i16,
        flags: knote.flags & !EvFlags::EV_FORCEONESHOT.bits() | what.flags,
        fflags: what.fflags,
        data: what.data,
        udata: knote.udata,
        ext: [0; 4],
    });
    if !exts.is_empty() {
        sink.set_last_ext(exts.get(&(fd, knote.filter)));
    }
    if !knote.has(ONCE_ONLY) {
        return Did::REPORTED;
    }
    if knote.has(EvFlags::EV_ONESHOT) {
        knote.state = State::Ghost;
        *count -= 1;
    } else {
        knote.state = State::Disabled;
    }
    Did::REPORTED.union(Did::FIRED)
}
