//! select's form of the caller's memory: three bitmaps of numbers, which the call overwrites.
//!
//! What is remembered are the three bitmaps, one after the other, in the words of the set's table,
//! `stride` words apart. An entry's index is its number.

use std::os::fd::RawFd;

use libc::{c_int, c_void, timespec};
use nix::errno::Errno;

use crate::sys::raw::{self, Result};

use super::bits::{bits_of, is_set, zero};
use super::compare::first_difference;
use super::front::{Delivered, Front, SAMPLES, Time, Update, timespec_for};
use super::policy::Policy;
use super::set::{Kind, Set, State};
use super::wait::{Calls, Wait, ZERO};

/// What each bitmap is registered for, and what it reports: select(2)'s "correspondence between
/// select() and poll() notifications". HUP and ERR are reported unasked.
const ASKS: [u16; 3] = [
    (libc::POLLIN | libc::POLLRDNORM | libc::POLLRDBAND) as u16,
    (libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND) as u16,
    libc::POLLPRI as u16,
];
const MEANS: [u16; 3] =
    [ASKS[0] | (libc::POLLHUP | libc::POLLERR) as u16, ASKS[1] | libc::POLLERR as u16, ASKS[2]];

/// One call of select or pselect.
pub(crate) struct SelectCall<'a, C> {
    pub(crate) nfds: c_int,
    /// Null where the caller has none.
    pub(crate) sets: [*mut u64; 3],
    pub(crate) wait: &'a Wait<'a, C>,
}

impl<C: Calls> SelectCall<'_, C> {
    /// How many words of a bitmap count.
    #[inline]
    fn words(&self) -> usize {
        (self.nfds as usize).div_ceil(64)
    }

    /// Those bits of a word that count: numbers below nfds.
    #[inline]
    fn mask(&self, word: usize) -> u64 {
        let rest = (self.nfds as usize).saturating_sub(word * 64);
        if rest >= 64 { u64::MAX } else { (1 << rest) - 1 }
    }

    /// A word of the caller's, read by value: the memory is the caller's, who promised it (Rust), or
    /// the kernel has accepted it (C, see [`super::thread`]).
    #[inline]
    fn read(&self, set: usize, word: usize) -> u64 {
        if self.sets[set].is_null() || word >= self.words() {
            return 0;
        }
        let at = self.sets[set].wrapping_add(word);
        if self.is_half(word) {
            // SAFETY: see above.
            return u64::from(unsafe { at.cast::<u32>().read_unaligned() }) & self.mask(word);
        }
        // SAFETY: see above.
        unsafe { at.read_unaligned() & self.mask(word) }
    }

    /// Is this the last word, and the caller has half of it? Where an fd_set is made of words of 32
    /// bits.
    #[inline]
    fn is_half(&self, word: usize) -> bool {
        raw::FD_MASK_BITS == 32 && word + 1 == self.words() && matches!(self.nfds % 64, 1..=32)
    }

    #[inline]
    fn write(&self, set: usize, word: usize, value: u64) {
        debug_assert!(word < self.words());
        let at = self.sets[set].wrapping_add(word);
        if self.is_half(word) {
            // SAFETY: as in `read`.
            return unsafe { at.cast::<u32>().write_unaligned(value as u32) };
        }
        // SAFETY: as in `read`.
        unsafe { at.write_unaligned(value) }
    }

    /// All three bitmaps' words, merged: the numbers that are in any of them.
    fn any(&self, word: usize) -> u64 {
        (0..3).fold(0, |any, set| any | self.read(set, word))
    }

    fn remembered(set: &Set, bitmap: usize, word: usize) -> u64 {
        if word >= set.len {
            return 0;
        }
        // SAFETY: three times `stride` words were reserved and filled, of which `len` are in use.
        unsafe { set.watch.table.words().add(bitmap * set.stride + word).read() }
    }

    /// The numbers of a word that are not asked for as remembered.
    fn changed(&self, set: &Set, word: usize) -> u64 {
        (0..3).fold(0, |any, b| any | self.read(b, word) ^ Self::remembered(set, b, word))
    }

    /// How many words either has.
    #[inline]
    fn reach(&self, set: &Set) -> usize {
        self.words().max(set.len)
    }

    /// The first word at or after `from` of which a number is not asked for as remembered;
    /// [`Self::reach`] where there is none.
    #[inline]
    fn next_changed(&self, set: &Set, from: usize) -> usize {
        let reach = self.reach(set);
        // Of the last word some bits may not count.
        let common = self.words().min(set.len).saturating_sub(1);
        let next = |b: usize| {
            if self.sets[b].is_null() && !set.some[b] {
                return reach;
            }
            let mut at = from;
            if from < common && !self.sets[b].is_null() {
                // SAFETY: `common` words of the caller's and of ours, see `remembered`.
                at = unsafe {
                    let ours = set.watch.table.words().add(b * set.stride);
                    first_difference(self.sets[b], ours, from, common)
                };
                if at < common {
                    return at;
                }
            }
            let differs = |&word: &usize| self.read(b, word) != Self::remembered(set, b, word);
            (at..reach).find(differs).unwrap_or(reach)
        };
        next(0).min(next(1)).min(next(2))
    }

    /// Makes room for the caller's words and remembers them.
    fn remember(&self, set: &mut Set) -> bool {
        let words = self.words();
        if words > set.stride {
            let stride = words + words / 8 + 1;
            let slots = set.entries;
            if !set.watch.table.reserve(slots, 3 * stride * 8) {
                return false;
            }
            set.stride = stride;
        }
        set.len = words;
        set.some = [false; 3];
        set.entries = (0..words).map(|word| self.remember_word(set, word)).sum();
        true
    }

    /// How many numbers are in the word.
    fn remember_word(&self, set: &mut Set, word: usize) -> usize {
        let mut any = 0;
        for b in 0..3 {
            let value = self.read(b, word);
            any |= value;
            set.some[b] |= value != 0;
            // SAFETY: see `remembered`.
            unsafe { set.watch.table.words().add(b * set.stride + word).write(value) };
        }
        any.count_ones() as usize
    }

    fn bits(&self, fd: RawFd) -> u16 {
        let (word, bit) = (fd as usize / 64, fd as usize % 64);
        (0..3).filter(|&b| self.read(b, word) >> bit & 1 == 1).fold(0, |bits, b| bits | ASKS[b])
    }

    fn change(&mut self, set: &mut Set) -> Update {
        if !set.watch.may_change() {
            return Update::Failed;
        }
        let mut asked = std::mem::replace(&mut set.asked, super::memory::Array::EMPTY);
        asked.retain(|a| !is_set(self.changed(set, a.fd as usize / 64), a.fd));
        std::mem::swap(&mut set.asked, &mut asked);
        set.asked_changed = true;
        let as_long = self.words() == set.len;
        let mut word = self.next_changed(set, 0);
        while word < self.reach(set) {
            for bit in bits_of(self.changed(set, word)) {
                let fd = (word * 64 + bit) as RawFd;
                let bits = self.bits(fd);
                match set.watch.table.find(fd) {
                    Some(slot) if bits == 0 => set.linger(slot),
                    Some(slot) => set.place(slot, fd as u32, bits),
                    None if bits == 0 => {}
                    None => set.ask_for(fd, fd as u32, bits, State::New),
                }
            }
            if as_long {
                let before = (0..3).fold(0, |any, b| any | Self::remembered(set, b, word));
                set.entries += self.remember_word(set, word);
                set.entries -= before.count_ones() as usize;
            }
            word = self.next_changed(set, word + 1);
        }
        set.broken |= !as_long && !self.remember(set);
        Update::Done
    }

    fn count(&self) -> usize {
        (0..self.words()).map(|word| self.any(word).count_ones() as usize).sum()
    }

    /// The bitmaps for results, then those for the kernel, each of `words` words.
    fn room(set: &mut Set, words: usize) -> bool {
        while set.bitmaps.len() < 6 * words {
            if !set.bitmaps.push(0) {
                return false;
            }
        }
        set.result_words = words;
        true
    }

    fn kernel_select(&self, time: Time) -> Result<usize> {
        let sets = self.sets.map(|set| set.cast::<c_void>());
        match time {
            Time::Now => {
                let mut zero = ZERO;
                // SAFETY: the caller's bitmaps; the timeout is ours.
                unsafe { raw::pselect(self.nfds, sets, &mut zero, std::ptr::null()) }
            }
            // SAFETY: the caller's bitmaps and mask.
            Time::AtMost(_) => unsafe {
                self.wait.calls.pselect(self.nfds, sets, timespec_for(time), self.wait.sigmask)
            },
        }
    }

    /// Sleeps in select: poll would wake for a hang-up that maps to nothing that was asked, again
    /// and again.
    fn ask_select(&self, set: &mut Set, queue: Option<RawFd>, time: Time) -> Result<(usize, bool)> {
        let highest = set.asked.iter().map(|a| a.fd).chain(queue).max().unwrap_or(0);
        let words = highest as usize / 64 + 1;
        let results_end = 3 * set.result_words;
        while set.bitmaps.len() < results_end + 3 * words {
            if !set.bitmaps.push(0) {
                return Err(Errno::ENOMEM);
            }
        }
        let (results, asking) = set.bitmaps.split_at_mut(results_end);
        let asking = &mut asking[..3 * words];
        zero(asking);
        for a in set.asked.iter() {
            for b in (0..3).filter(|&b| a.bits() & ASKS[b] != 0) {
                asking[b * words + a.fd as usize / 64] |= 1 << (a.fd as usize % 64);
            }
        }
        if let Some(fd) = queue {
            asking[fd as usize / 64] |= 1 << (fd as usize % 64);
        }
        let base = asking.as_mut_ptr();
        // SAFETY: three bitmaps of `words` words in `asking`.
        let sets = [0, 1, 2].map(|b| unsafe { base.add(b * words) }.cast::<c_void>());
        match time {
            Time::Now => {
                let mut zero = ZERO;
                // SAFETY: bitmaps of ours.
                unsafe { raw::pselect(highest + 1, sets, &mut zero, std::ptr::null()) }
            }
            // SAFETY: bitmaps of ours; the mask is the caller's, and only read.
            Time::AtMost(_) => unsafe {
                self.wait.calls.pselect(highest + 1, sets, timespec_for(time), self.wait.sigmask)
            },
        }?;
        let has = |b: usize, fd: RawFd| is_set(asking[b * words + fd as usize / 64], fd);
        let queue_has = queue.is_some_and(|fd| has(0, fd));
        let mut found = 0;
        for a in set.asked.iter() {
            for b in (0..3).filter(|&b| a.bits() & ASKS[b] != 0 && has(b, a.fd)) {
                let result = &mut results[b * set.result_words + a.fd as usize / 64];
                // The queue may have told of it, before it was thrown away.
                found += usize::from(!is_set(*result, a.fd));
                *result |= 1 << (a.fd as usize % 64);
            }
        }
        Ok((found, queue_has))
    }
}

impl<C: Calls> Front for SelectCall<'_, C> {
    const KIND: Kind = Kind::Select;

    fn key(&self) -> [usize; 3] {
        self.sets.map(|set| set as usize)
    }

    fn unproven(&self) -> [(usize, usize); 4] {
        if !self.wait.unproven {
            return [(0, 0); 4];
        }
        let bytes = self.words() * 8;
        let range = |set: *mut u64| (set as usize, if set.is_null() { 0 } else { bytes });
        let [r, w, e] = self.sets.map(range);
        [r, w, e, self.wait.mask_range()]
    }

    fn is_small(&self, smallest: usize) -> bool {
        let mut count = 0;
        (0..self.words()).all(|word| {
            count += self.any(word).count_ones() as usize;
            count < smallest
        })
    }

    fn likeness(&self, set: &mut Set) -> usize {
        let (mut used, mut same) = (0, 0);
        for word in 0..self.words().max(set.len) {
            if self.any(word) != 0 || self.changed(set, word) != 0 {
                used += 1;
                same += usize::from(self.changed(set, word).count_ones() < 4);
            }
        }
        SAMPLES * same / used.max(1)
    }

    /// Of some of the words that are in use, so that a set which changes a little at each call is
    /// known again.
    fn sketch(&self) -> u64 {
        let used = || (0..self.words()).filter(|&word| self.any(word) != 0);
        let step = used().count().div_ceil(SAMPLES).max(1);
        used().step_by(step).fold(self.words() as u64, |sum, word| {
            (0..3).fold(sum, |sum, b| {
                (sum ^ self.read(b, word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
            })
        })
    }

    fn fill(&mut self, set: &mut Set) {
        set.entries = self.count();
        if !set.asked.reserve(set.entries) || !self.remember(set) {
            set.broken = true;
            return;
        }
        for word in 0..self.words() {
            for bit in bits_of(self.any(word)) {
                let fd = (word * 64 + bit) as RawFd;
                set.ask_for(fd, fd as u32, self.bits(fd), State::New);
            }
        }
    }

    fn update(&mut self, set: &mut Set, _policy: Policy) -> Update {
        let reach = self.reach(set);
        let mut word = self.next_changed(set, 0);
        let mut changed = 0;
        while word < reach {
            changed += self.changed(set, word).count_ones() as usize;
            if changed > set.entries / 4 + 2 {
                return Update::Another;
            }
            word = self.next_changed(set, word + 1);
        }
        if changed == 0 {
            // Words that are all zero came or went.
            set.broken |= self.words() != set.len && !self.remember(set);
            return Update::Done;
        }
        self.change(set)
    }

    fn begin(&mut self, set: &mut Set) {
        if Self::room(set, self.words()) {
            zero(&mut set.bitmaps[..3 * self.words()]);
        } else {
            set.broken = true;
        }
    }

    fn deliver(&mut self, set: &mut Set, index: u32, bits: u16) -> Delivered {
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        let (mut results, mut again) = (0, false);
        for b in (0..3).filter(|&b| bits & MEANS[b] != 0) {
            if Self::remembered(set, b, word) & bit == 0 {
                continue;
            }
            let result = &mut set.bitmaps[b * set.result_words + word];
            again |= *result & bit != 0;
            results += usize::from(*result & bit == 0);
            *result |= bit;
        }
        match results {
            0 if again => Delivered::Again,
            0 => Delivered::Nothing,
            _ => Delivered::Results(results),
        }
    }

    fn ask(&mut self, set: &mut Set, queue: Option<RawFd>, time: Time) -> Result<(usize, bool)> {
        let known = || set.asked.iter().all(|asked| asked.state() == State::Fired);
        if time == Time::Now || known() {
            set.ask_poll(self, queue, time)
        } else {
            self.ask_select(set, queue, time)
        }
    }

    unsafe fn ppoll(&self, fds: *mut libc::pollfd, nfds: usize, time: Time) -> Result<usize> {
        // SAFETY: the caller's promise; the mask is the program's, and only read.
        unsafe { self.wait.calls.ppoll(fds, nfds, timespec_for(time), self.wait.sigmask) }
    }

    fn whole(&mut self, _set: &mut Set, time: Time) -> Result<usize> {
        self.kernel_select(time)
    }

    fn each_reported(&self, set: &mut Set, f: &mut dyn FnMut(&mut Set, RawFd)) {
        for word in 0..self.words() {
            for bit in bits_of(self.any(word)) {
                f(set, (word * 64 + bit) as RawFd);
            }
        }
    }

    fn is_reported(&self, _set: &Set, index: u32) -> bool {
        is_set(self.any(index as usize / 64), index as RawFd)
    }

    fn restore(&mut self, set: &Set) {
        for b in (0..3).filter(|&b| !self.sets[b].is_null()) {
            for word in 0..self.words() {
                let before = Self::remembered(set, b, word);
                // Where there was nothing, nothing was written.
                if before != 0 {
                    self.write(b, word, before);
                }
            }
        }
    }

    fn end(&mut self, set: &mut Set) {
        let partial = self.nfds % 64 != 0;
        for b in (0..3).filter(|&b| !self.sets[b].is_null()) {
            for word in 0..self.words() {
                // The kernel writes no further than the process ever had descriptors; words that
                // were zero and stay so need not be written. In the last one it clears the bits that
                // do not count.
                let last = partial && word + 1 == self.words();
                if last || Self::remembered(set, b, word) != 0 {
                    self.write(b, word, set.bitmaps[b * set.result_words + word]);
                }
            }
        }
    }

    fn own(&mut self) -> Result<usize> {
        self.wait.calls.own()
    }

    fn timeout(&self) -> (Option<timespec>, bool) {
        (self.wait.timeout, !self.wait.sigmask.is_null())
    }
}
