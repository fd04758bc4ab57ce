//! poll's form of the caller's memory: an array of (descriptor, events, revents).

use std::os::fd::RawFd;

use libc::{pollfd, timespec};

use crate::sys::poll_queue::POLL_BITS;
use crate::sys::raw::{self, Result};

use super::compare::first_difference;
use super::front::{Delivered, Front, SAMPLES, Time, Update, timespec_for};
use super::memory::Array;
use super::policy::Policy;
use super::set::{Kind, Set, State};
use super::table::NOWHERE;
use super::wait::{Calls, Wait};

/// So many entries may have changed before it is asked whether this is another set.
const NOTICE: usize = 16;
/// Entries that are not registered may all change places once in so many calls: to take that over costs
/// some 40 ns an entry, which the kernel's call costs more than twice.
const APART: u32 = 8;

/// An entry as one word; remembered with revents 0.
fn word(entry: pollfd) -> u64 {
    // SAFETY: pollfd is 8 bytes without padding; any bytes are a word.
    unsafe { std::mem::transmute::<pollfd, u64>(pollfd { revents: 0, ..entry }) }
}

fn entry(word: u64) -> pollfd {
    // SAFETY: as above; any bytes are a pollfd.
    unsafe { std::mem::transmute::<u64, pollfd>(word) }
}

/// One call of poll or ppoll.
pub(crate) struct PollCall<'a, C> {
    pub(crate) fds: *mut pollfd,
    pub(crate) len: usize,
    pub(crate) wait: &'a Wait<'a, C>,
}

impl<C: Calls> PollCall<'_, C> {
    /// The caller's entry.
    ///
    /// The pointer is the caller's, who promised `len` entries (Rust), or whose memory the kernel
    /// has accepted (C, see [`super::thread`]). It is read and written by value, never borrowed:
    /// another thread may write there too.
    #[inline]
    fn read(&self, index: usize) -> pollfd {
        debug_assert!(index < self.len);
        // SAFETY: see above.
        unsafe { self.fds.add(index).read_unaligned() }
    }

    #[inline]
    fn report(&self, index: usize, revents: u16) {
        debug_assert!(index < self.len);
        // SAFETY: as in `read`.
        unsafe {
            (&raw mut (*self.fds.add(index)).revents).write_unaligned(revents as i16);
        }
    }

    /// Removes what the last call reported, as this one will whatever it says, so that one pass
    /// tells that nothing has changed.
    #[inline]
    fn forget_told(&self, set: &mut Set) {
        let len = std::mem::take(&mut set.told_len);
        for &index in &set.told[..len] {
            if (index as usize) < self.len {
                self.report(index as usize, 0);
            }
        }
    }

    /// The first entry at or after `from` that is not as remembered.
    #[inline]
    fn difference(&self, set: &Set, from: usize) -> usize {
        let len = self.len.min(set.len);
        // SAFETY: the caller's `len` entries, and the set's, in room reserved by `remember`.
        unsafe { first_difference(self.fds.cast(), set.watch.table.words(), from, len) }
    }

    fn remembered(set: &Set, index: usize) -> pollfd {
        debug_assert!(index < set.len);
        // SAFETY: the set's `len` entries were written.
        entry(unsafe { set.watch.table.words().add(index).read() })
    }

    fn remember(set: &mut Set, index: usize, new: pollfd) {
        // SAFETY: the room was reserved for the caller's number of entries before.
        unsafe { set.watch.table.words().add(index).write(word(new)) };
    }

    /// More entries than RLIMIT_NOFILE are EINVAL: the kernel says it.
    fn is_within_limit(&self) -> bool {
        raw::descriptor_limit().is_ok_and(|limit| self.len as u64 <= limit)
    }

    /// Takes over what changed.
    fn change(&mut self, set: &mut Set, changed: usize) -> Update {
        let kept = self.len.min(set.len);
        if !set.watch.may_change() {
            return Update::Failed;
        }
        set.leaving.clear();
        if !set.watch.table.reserve(self.len, self.len * 8) || !set.leaving.reserve(changed) {
            set.broken = true;
            return Update::Done;
        }
        set.entries = self.len;
        let same = |this: &Self, set: &Set, index: usize| {
            index < kept && word(this.read(index)) == word(Self::remembered(set, index))
        };
        let mut asked = std::mem::replace(&mut set.asked, Array::EMPTY);
        asked.retain(|a| same(self, set, a.index as usize));
        std::mem::swap(&mut set.asked, &mut asked);
        set.asked_changed = true;
        let mut at = self.difference(set, 0);
        while at < kept {
            self.detach(set, at);
            at = self.difference(set, at + 1);
        }
        for index in kept..set.len {
            self.detach(set, index);
        }
        let mut at = self.difference(set, 0);
        while at < kept {
            self.attach(set, at);
            at = self.difference(set, at + 1);
        }
        for index in kept..self.len {
            self.attach(set, index);
        }
        set.len = self.len;
        for at in 0..set.leaving.len() {
            let slot = set.leaving[at];
            // One that found its new place, and was then found to be of another file, is free.
            if set.watch.table.is_live(slot) && set.watch.table.slot(slot).index == NOWHERE {
                set.linger(slot);
            }
        }
        Update::Done
    }

    /// The entry at `index` is not what it was: its registration looks for another place.
    fn detach(&mut self, set: &mut Set, index: usize) {
        let old = Self::remembered(set, index);
        if let Some(slot) = set.watch.table.find(old.fd) {
            let s = set.watch.table.slot(slot);
            if s.index == index as u32 {
                s.index = NOWHERE;
                // There is room: no more than `changed` come here.
                let _ = set.leaving.push(slot);
            }
        }
    }

    /// Remembers the entry at `index` anew. A registration that lost its place to it stays.
    fn attach(&mut self, set: &mut Set, index: usize) {
        let new = self.read(index);
        Self::remember(set, index, new);
        self.report(index, 0);
        if new.fd < 0 {
            return;
        }
        if let Some(slot) = set.watch.table.find(new.fd)
            && set.watch.table.slot(slot).index == NOWHERE
        {
            set.place(slot, index as u32, bits(new));
        } else {
            set.ask_for(new.fd, index as u32, bits(new), State::New);
        }
    }

    /// Are most of a few entries of the set, registered or not? Not asked again soon: to take over that
    /// all have changed places is only worth it where they stay for a while.
    fn knows(&self, set: &mut Set) -> bool {
        let is_known = |fd: RawFd, set: &mut Set| {
            set.watch.table.find(fd).is_some() || set.asked.iter().any(|asked| asked.fd == fd)
        };
        let mut strangers = 0;
        set.calls.wrapping_sub(set.reordered_at) >= APART
            && (0..SAMPLES).all(|sample| {
                let fd = self.read(sample * self.len / SAMPLES).fd;
                strangers += usize::from(!is_known(fd, set));
                strangers <= SAMPLES / 4
            })
    }

    /// Of the entries that changed, how many are of a number that is registered?
    fn moves(&self, set: &mut Set) -> usize {
        let kept = self.len.min(set.len);
        let mut moves = 0;
        let mut at = self.difference(set, 0);
        while at < kept {
            moves += usize::from(set.watch.table.find(self.read(at).fd).is_some());
            at = self.difference(set, at + 1);
        }
        moves
    }
}

/// What an entry is registered for. events is 16 bits, of which only poll's own count: as an int it
/// would be sign-extended into epoll's flags.
fn bits(entry: pollfd) -> u16 {
    entry.events as u16 & POLL_BITS
}

impl<C: Calls> Front for PollCall<'_, C> {
    const KIND: Kind = Kind::Poll;

    fn key(&self) -> [usize; 3] {
        [self.fds as usize, 0, 0]
    }

    fn unproven(&self) -> [(usize, usize); 4] {
        if !self.wait.unproven {
            return [(0, 0); 4];
        }
        let fds = (self.fds as usize, self.len.saturating_mul(size_of::<pollfd>()));
        [fds, self.wait.mask_range(), (0, 0), (0, 0)]
    }

    fn is_small(&self, smallest: usize) -> bool {
        self.len < smallest
    }

    fn likeness(&self, set: &mut Set) -> usize {
        (0..SAMPLES)
            .filter(|sample| {
                let index = sample * self.len / SAMPLES;
                let fd = self.read(index).fd;
                index < set.len && Self::remembered(set, index).fd == fd
                    || set.watch.table.find(fd).is_some()
            })
            .count()
    }

    fn sketch(&self) -> u64 {
        (0..SAMPLES).fold(self.len as u64, |sum, sample| {
            let fd = self.read(sample * self.len / SAMPLES).fd;
            (sum ^ fd as u32 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
        })
    }

    fn fill(&mut self, set: &mut Set) {
        let room = set.watch.table.reserve(self.len, self.len * 8);
        if !room || !set.asked.reserve(self.len) || !self.is_within_limit() {
            set.broken = true;
            return;
        }
        set.len = self.len;
        set.entries = self.len;
        for index in 0..self.len {
            let new = self.read(index);
            Self::remember(set, index, new);
            if new.fd >= 0 {
                set.ask_for(new.fd, index as u32, bits(new), State::New);
            }
            self.report(index, 0);
        }
    }

    fn update(&mut self, set: &mut Set, policy: Policy) -> Update {
        if self.len > set.len && !self.is_within_limit() {
            return Update::Failed;
        }
        self.forget_told(set);
        let mut at = self.difference(set, 0);
        if at == self.len && self.len == set.len {
            return Update::Done;
        }
        let kept = self.len.min(set.len);
        let limit = self.len / 4 + 2;
        let first_sight = policy == Policy::RegisterAtFirstSight;
        let other = if first_sight { limit } else { limit.min(NOTICE) };
        let mut changed = self.len.max(set.len) - kept;
        while at < kept {
            let new = self.read(at);
            if word(new) == word(Self::remembered(set, at)) {
                // Only what was reported last time, or what the kernel's call left.
                self.report(at, 0);
            } else {
                changed += 1;
                // A look at a few entries is enough to tell another set.
                if changed == other + 1
                    && (first_sight || self.likeness(set) < SAMPLES / 2 && !self.knows(set))
                {
                    return Update::Another;
                }
            }
            at = self.difference(set, at + 1);
        }
        if changed == 0 {
            return Update::Done;
        }
        if changed > limit {
            if first_sight || !self.knows(set) && self.moves(set) * 4 < changed * 3 {
                return Update::Another;
            }
            set.reordered_at = set.calls;
        }
        self.change(set, changed)
    }

    fn begin(&mut self, _set: &mut Set) {
        // `update` has left every revents 0.
    }

    #[inline]
    fn deliver(&mut self, set: &mut Set, index: u32, bits: u16) -> Delivered {
        if self.read(index as usize).revents != 0 {
            return Delivered::Again;
        }
        // The entry is registered for what it asks for, no less and no more, so that each event
        // maps to something.
        if bits == 0 {
            return Delivered::Nothing;
        }
        self.report(index as usize, bits);
        if let Some(place) = set.told.get_mut(set.told_len) {
            *place = index;
            set.told_len += 1;
        }
        Delivered::Results(1)
    }

    #[inline]
    fn ask(&mut self, set: &mut Set, queue: Option<RawFd>, time: Time) -> Result<(usize, bool)> {
        set.ask_poll(self, queue, time)
    }

    unsafe fn ppoll(&self, fds: *mut pollfd, nfds: usize, time: Time) -> Result<usize> {
        // SAFETY: the caller's promise; the mask is the program's, and only read.
        unsafe { self.wait.calls.ppoll(fds, nfds, timespec_for(time), self.wait.sigmask) }
    }

    fn whole(&mut self, _set: &mut Set, time: Time) -> Result<usize> {
        match time {
            // SAFETY: the caller's own array and number of entries.
            Time::Now => unsafe { raw::poll(self.fds, self.len, 0) },
            // SAFETY: as above; the mask is the caller's, and only read.
            Time::AtMost(_) => unsafe { Front::ppoll(self, self.fds, self.len, time) },
        }
    }

    fn each_reported(&self, set: &mut Set, f: &mut dyn FnMut(&mut Set, RawFd)) {
        for index in 0..self.len {
            let entry = self.read(index);
            if entry.revents != 0 {
                f(set, entry.fd);
            }
        }
    }

    fn is_reported(&self, _set: &Set, index: u32) -> bool {
        (index as usize) < self.len && self.read(index as usize).revents != 0
    }

    fn restore(&mut self, _set: &Set) {}

    fn end(&mut self, _set: &mut Set) {}

    fn own(&mut self) -> Result<usize> {
        self.wait.calls.own()
    }

    fn timeout(&self) -> (Option<timespec>, bool) {
        (self.wait.timeout, !self.wait.sigmask.is_null())
    }
}
