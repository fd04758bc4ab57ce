//! A remembered set: the queue with what is registered, and what is asked by number.

use std::os::fd::RawFd;

use crate::sys::poll_queue::POLL_BITS;

use super::cell::Notes;
use super::counters::{Count, count};
use super::linger::LINGER;
use super::memory::{Array, Zeroed};
use super::policy::Policy;
use super::table::NOWHERE;
use super::unhooked::QUIET;
use super::wait::Nanos;
use super::watch::{Enrolled, Watch};

/// Calls that an entry must have been there for before it is registered: one that is new at each
/// call never is.
const AGE: u16 = 2;

/// See [`Set::told`].
pub(crate) const TOLD: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Set {
    /// The system had no memory for some part of the set: it is not to be relied on.
    pub(crate) broken: bool,
    pub(crate) kind: Kind,
    /// Where the caller has the entries: the array, or the three bitmaps. A hint, not a promise.
    pub(crate) key: [usize; 3],
    /// poll: how many entries. select: how many words the bitmaps have.
    pub(crate) len: usize,
    /// select: how far the remembered bitmaps lie apart; and those for results.
    pub(crate) stride: usize,
    pub(crate) result_words: usize,
    /// select: does the remembered bitmap hold any number? True also for some that do not.
    pub(crate) some: [bool; 3],
    /// How many descriptors are in it, negative ones not counted (select) or counted (poll).
    pub(crate) entries: usize,
    pub(crate) watch: Watch,
    /// Descriptors that the kernel's own call is asked about.
    pub(crate) asked: Array<Asked>,
    /// `asked` has changed since the array or the bitmaps for the kernel were made of it.
    pub(crate) asked_changed: bool,
    /// poll: the array for the kernel. Place 0 is the queue.
    pub(crate) pollfds: Array<libc::pollfd>,
    /// poll: places in the caller's array where the last call left something, the first few.
    pub(crate) told: [u32; TOLD],
    pub(crate) told_len: usize,
    /// select: bitmaps (see there).
    pub(crate) bitmaps: Array<u64>,
    /// Slots whose entry is being looked for.
    pub(crate) leaving: Array<u32>,
    /// The slots whose entry left last, in a ring, and how many have left.
    pub(crate) lingering: [u32; LINGER],
    pub(crate) left: u32,
    pub(crate) calls: u32,
    /// poll: the call at which most entries last changed places.
    pub(crate) reordered_at: u32,
    pub(crate) used_at: u32,
    /// Calls for which the kernel serves, since a large part was ready.
    pub(crate) dense: u32,
    /// How many results the queue had when it was last asked.
    pub(crate) expected: usize,
    /// Each registration is to be compared with its file before the queue serves again (see
    /// [`super::unhooked`]).
    pub(crate) doubted: bool,
    /// No queue is tried for until so many calls were made.
    retry_at: u32,
    /// Where registering goes on.
    cursor: usize,
    /// When the kernel was last asked about all entries, and what that costs.
    pub(crate) checked_at: Nanos,
    pub(crate) check_cost: Nanos,
    /// When those that could not be registered were last looked at again.
    reconsidered_at: Nanos,
}

/// Whose set it is: poll's and select's are kept apart, also for the same descriptors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    None,
    Poll,
    Select,
}

/// A descriptor that is asked by number. 12 bytes: before a set is registered, all of it is asked.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Asked {
    pub(crate) fd: RawFd,
    pub(crate) index: u32,
    /// poll's bits, and the state in two that poll does not use.
    bits: u16,
    /// The call that it came with, or was last ready in; the lower bits of its number.
    seen: u16,
}

/// Why a descriptor is asked by number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// It is new, or its number has just been closed and opened: it will be registered if it stays.
    New,
    /// It is not of a kind that can be registered, or stands twice in the set, or what it reports
    /// maps to nothing that was asked. Looked at again once per T.
    Unfit,
    /// It is registered, and no longer armed (see [`super::unhooked`]).
    Fired,
}

impl Asked {
    const UNFIT: u16 = 0x1000;
    const FIRED: u16 = 0x8000;

    pub(crate) fn bits(&self) -> u16 {
        self.bits & POLL_BITS
    }

    pub(crate) fn state(&self) -> State {
        match self.bits & (Self::UNFIT | Self::FIRED) {
            0 => State::New,
            Self::UNFIT => State::Unfit,
            _ => State::Fired,
        }
    }

    pub(crate) fn set_state(&mut self, state: State) {
        self.bits = self.bits()
            | match state {
                State::New => 0,
                State::Unfit => Self::UNFIT,
                State::Fired => Self::FIRED,
            };
    }

    /// It will be registered if it stays from this call on.
    fn is_new_at(&mut self, call: u32) {
        self.set_state(State::New);
        self.is_seen_at(call);
    }

    pub(crate) fn is_seen_at(&mut self, call: u32) {
        self.seen = call as u16;
    }

    /// Shall it be registered, or armed again?
    fn is_ripe_at(&self, call: u32) -> bool {
        let stayed = (call as u16).wrapping_sub(self.seen);
        match self.state() {
            State::New => stayed >= AGE,
            State::Fired => stayed >= QUIET,
            State::Unfit => false,
        }
    }
}

const _: () = assert!(POLL_BITS & (Asked::UNFIT | Asked::FIRED) == 0);

// SAFETY: integers.
unsafe impl Zeroed for Asked {}

impl Set {
    pub(crate) const EMPTY: Self = Self {
        broken: false,
        kind: Kind::None,
        key: [0; 3],
        len: 0,
        stride: 0,
        result_words: 0,
        some: [false; 3],
        entries: 0,
        watch: Watch::EMPTY,
        asked: Array::EMPTY,
        asked_changed: false,
        pollfds: Array::EMPTY,
        told: [0; TOLD],
        told_len: 0,
        bitmaps: Array::EMPTY,
        leaving: Array::EMPTY,
        lingering: [NOWHERE; LINGER],
        left: 0,
        calls: 0,
        reordered_at: 0,
        used_at: 0,
        dense: 0,
        expected: 0,
        doubted: false,
        retry_at: 0,
        cursor: 0,
        checked_at: 0,
        check_cost: 0,
        reconsidered_at: 0,
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.kind == Kind::None
    }

    /// Gives everything back.
    pub(crate) fn free(&mut self) {
        self.watch.close();
        self.watch.table.free();
        self.asked.free();
        self.pollfds.free();
        self.bitmaps.free();
        self.leaving.free();
        *self = Self::EMPTY;
    }

    /// T: how long the kernel may go without being asked about all entries. At most a hundredth of
    /// the time goes into asking.
    #[inline]
    pub(crate) fn patience(&self) -> Nanos {
        // Before it was measured: 100 ns an entry.
        let cost = if self.check_cost > 0 { self.check_cost } else { 100 * self.entries as u64 };
        (100 * cost).max(10_000_000)
    }

    /// A descriptor is to be asked by number from now on.
    pub(crate) fn ask_for(&mut self, fd: RawFd, index: u32, bits: u16, state: State) {
        self.asked_changed = true;
        let mut asked = Asked { fd, index, bits, seen: self.calls as u16 };
        asked.set_state(state);
        self.broken |= !self.asked.push(asked);
    }

    /// What is registered in this slot is no more, or is of another file: asks by number until the
    /// number has proved itself again.
    pub(crate) fn distrust(&mut self, slot: u32, state: State) {
        let s = *self.watch.table.slot(slot);
        self.watch.drop(slot);
        if s.index != NOWHERE {
            self.ask_for(s.fd, s.index, s.bits, state);
        }
    }

    /// Hears of the closes there were since the last call, and of readiness that woke nobody.
    pub(crate) fn heed_notes(&mut self) {
        let Some((closes, silent)) = self.watch.take_notes() else { return };
        if silent {
            // A full check is due.
            self.checked_at = 0;
        }
        match closes {
            Notes::Lost => self.rebuild(true),
            Notes::Closed { numbers, len } => {
                numbers[..len].iter().for_each(|&fd| self.heed(fd));
            }
            Notes::TooMany => self.heed_any(),
        }
    }

    fn heed(&mut self, fd: RawFd) {
        if let Some(slot) = self.watch.table.find(fd) {
            count(Count::Reused);
            self.distrust(slot, State::New);
        }
        let calls = self.calls;
        self.asked.iter_mut().filter(|asked| asked.fd == fd).for_each(|a| a.is_new_at(calls));
    }

    fn heed_any(&mut self) {
        for slot in 0..self.watch.table.reached() {
            if self.watch.table.slot(slot).fd >= 0 && !self.watch.is_trusted(slot) {
                count(Count::Reused);
                self.distrust(slot, State::New);
            }
        }
        self.reconsider();
    }

    /// Gives those a chance that could not be registered.
    pub(crate) fn reconsider(&mut self) {
        let calls = self.calls;
        let unfit = self.asked.iter_mut().filter(|asked| asked.state() == State::Unfit);
        unfit.for_each(|asked| asked.is_new_at(calls));
    }

    /// Once per T, also where the kernel serves all calls.
    pub(crate) fn reconsider_sometimes(&mut self, now: Nanos) {
        if now.saturating_sub(self.reconsidered_at) >= self.patience() {
            self.reconsidered_at = now;
            self.reconsider();
        }
    }

    /// Throws the queue away and begins anew: what was registered is asked by number, and
    /// registered again bit by bit. If `lost`, its descriptor is not ours to close.
    pub(crate) fn rebuild(&mut self, lost: bool) {
        count(Count::Rebuilt);
        let calls = self.calls;
        self.asked.iter_mut().for_each(|asked| asked.is_new_at(calls));
        for slot in 0..self.watch.table.reached() {
            let s = *self.watch.table.slot(slot);
            if s.fd >= 0 && s.index != NOWHERE {
                self.ask_for(s.fd, s.index, s.bits, State::New);
            }
        }
        if lost {
            self.watch.abandon();
        } else {
            self.watch.close();
        }
    }

    /// Registers some of those that are asked by number: all under
    /// [`Policy::RegisterAtFirstSight`], else so few that a call costs little more for it.
    ///
    /// A registration costs as much as asking some ten times by number. Where few are asked, they
    /// are registered as soon as they have stayed for some calls; where many are, a 64th at a call,
    /// so that a program whose sets never stay pays at most some hundredths.
    pub(crate) fn enroll_some(&mut self, policy: Policy) {
        let all = policy == Policy::RegisterAtFirstSight;
        let asked = self.asked.len();
        if asked == 0 || (self.calls.wrapping_sub(self.retry_at) as i32) < 0 {
            return;
        }
        let mut budget = if all { asked } else { 1 + asked / 64 };
        let mut looked = false;
        for _ in 0..if all { asked } else { asked.min(4 * budget) } {
            if self.cursor >= self.asked.len() {
                self.cursor = 0;
            }
            let a = self.asked[self.cursor];
            let ripe = if all { a.state() != State::Unfit } else { a.is_ripe_at(self.calls) };
            if !ripe {
                self.cursor += 1;
                continue;
            }
            if !std::mem::replace(&mut looked, true) {
                if !self.watch.may_change() {
                    return;
                }
                if self.watch.is_lost() {
                    return self.rebuild(true);
                }
            }
            match self.watch.enroll(&a) {
                Enrolled::Yes => {
                    self.asked.swap_remove(self.cursor);
                    self.asked_changed = true;
                }
                Enrolled::Unfit | Enrolled::Twice => {
                    self.asked[self.cursor].set_state(State::Unfit);
                    self.cursor += 1;
                }
                not_yet @ (Enrolled::Another | Enrolled::Later) => {
                    if not_yet == Enrolled::Another {
                        count(Count::Reused);
                    }
                    self.asked[self.cursor].is_new_at(self.calls);
                    self.cursor += 1;
                }
                Enrolled::Lost => return self.rebuild(true),
                Enrolled::NoQueue => {
                    self.retry_at = self.calls.wrapping_add(256);
                    return;
                }
            }
            budget -= 1;
            if budget == 0 {
                break;
            }
        }
        if self.asked_changed {
            self.pollfds.clear(); // to be made anew in any case
            self.pollfds.shrink_to(self.asked.len() + 1);
        }
        self.asked.shrink_to(self.asked.len());
    }
}
