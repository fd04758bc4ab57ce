//! The registrations of one queue: slots, and how to find one by descriptor.
//!
//! 16 bytes a slot and 4.5 bytes a descriptor to find it by; with the 8 that the caller's entry is
//! remembered in, 28.5 bytes a descriptor. One mapping for all three, so that rounding to pages is
//! paid once. (A table indexed by the number would need no search, and 16 bytes for each number that
//! the *process* has.)

use std::os::fd::RawFd;

use super::memory::{PAGE, Region};

/// In [`Slot::index`]: the caller's entry is gone, or will be found at another place.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// One descriptor that is registered in the queue.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Slot {
    /// -1 in a free slot.
    pub(crate) fd: RawFd,
    /// Where the caller has it: poll's array index; select's descriptor number. In a free slot, the
    /// next free one.
    pub(crate) index: u32,
    /// Unlike that of every other registration of this queue, so that an event of one that is over
    /// is told from an event of this.
    pub(crate) serial: u32,
    /// What it is registered for: poll's bits.
    pub(crate) bits: u16,
    /// The number's generation when it was registered.
    pub(crate) generation: u16,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    region: Region,
    capacity: usize,
    /// Places in the index of descriptors: each 0 or a slot's number plus one. Where a descriptor
    /// begins to be looked for is its number modulo `places`: numbers are dense, so that most sit
    /// where they belong.
    places: usize,
    /// Slots that were ever in use, from the first on.
    reached: usize,
    free: u32,
    live: usize,
    /// Bytes after the slots and places, for the caller's entries.
    room: usize,
}

impl Table {
    pub(crate) const EMPTY: Self = Self {
        region: Region::EMPTY,
        capacity: 0,
        places: 0,
        reached: 0,
        free: NOWHERE,
        live: 0,
        room: 0,
    };

    /// How many descriptors are registered.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// Makes room for `slots` slots and `room` bytes more; false where the system has no memory.
    /// Numbers of slots, and the first bytes of the room, stay.
    #[must_use]
    pub(crate) fn reserve(&mut self, slots: usize, room: usize) -> bool {
        if slots <= self.capacity && room <= self.room {
            return true;
        }
        let mut capacity = slots.max(self.capacity);
        let mut room = room.max(self.room).next_multiple_of(8);
        let bytes = |capacity: usize, room: usize| {
            capacity * size_of::<Slot>() + places_for(capacity) * 4 + room + 8
        };
        // Some growth for nothing: a sixteenth, and what rounding to a page leaves over.
        if self.capacity > 0 {
            capacity += capacity / 16;
            room += (room / 16).next_multiple_of(8);
        }
        let spare = bytes(capacity, room).next_multiple_of(PAGE) - bytes(capacity, room);
        capacity += spare / 32;
        let Some(region) = Region::map(bytes(capacity, room)) else { return false };
        let mut grown = Self {
            region,
            capacity,
            places: places_for(capacity),
            reached: self.reached,
            free: self.free,
            live: self.live,
            room,
        };
        // SAFETY: the new mapping has at least the old one's slots and room, at these places.
        unsafe {
            let slots = self.reached;
            std::ptr::copy_nonoverlapping(self.slots(), grown.slots(), slots);
            std::ptr::copy_nonoverlapping(self.room(), grown.room(), self.room);
        }
        for at in 0..grown.reached {
            let fd = grown.slot(at as u32).fd;
            if fd >= 0 {
                grown.index(fd, at as u32);
            }
        }
        std::mem::swap(self, &mut grown);
        grown.region.free();
        true
    }

    fn slots(&self) -> *mut Slot {
        self.region.base().cast()
    }

    fn room(&self) -> *mut u8 {
        // SAFETY: inside the mapping, by the layout in `reserve`.
        unsafe {
            let after = self.capacity * size_of::<Slot>() + self.places * 4;
            self.region.base().add(after.next_multiple_of(8))
        }
    }

    /// The bytes for the caller's entries, as words.
    #[inline]
    pub(crate) fn words(&self) -> *mut u64 {
        self.room().cast()
    }

    /// # Panics
    /// If there was never such a slot.
    #[inline]
    pub(crate) fn slot(&mut self, number: u32) -> &mut Slot {
        assert!((number as usize) < self.reached);
        // SAFETY: slots below `reached` are inside the mapping and were written.
        unsafe { &mut *self.slots().add(number as usize) }
    }

    /// The slot, if there ever was one.
    #[inline]
    pub(crate) fn get(&mut self, number: u32) -> Option<&mut Slot> {
        ((number as usize) < self.reached).then(|| self.slot(number))
    }

    /// Is it in use?
    #[inline]
    pub(crate) fn is_live(&mut self, number: u32) -> bool {
        self.get(number).is_some_and(|slot| slot.fd >= 0)
    }

    /// How many slots were ever in use: their numbers lie below it.
    pub(crate) fn reached(&self) -> u32 {
        self.reached as u32
    }

    #[inline]
    fn place(&mut self, at: usize) -> &mut u32 {
        debug_assert!(at < self.places);
        // SAFETY: places follow the slots in the mapping, and `at` is below their number.
        unsafe { &mut *self.slots().add(self.capacity).cast::<u32>().add(at) }
    }

    /// Where a descriptor is looked for first.
    #[inline]
    fn home(&self, fd: RawFd) -> usize {
        (fd as u32 % self.places as u32) as usize
    }

    /// How many places after its home a descriptor that is at `at` lies.
    #[inline]
    fn distance(&self, fd: RawFd, at: usize) -> usize {
        let home = self.home(fd);
        if at >= home { at - home } else { at + self.places - home }
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places { 0 } else { at + 1 }
    }

    /// The place of `fd`; if it is nowhere, that where it would go.
    ///
    /// Places are in the order of homes, as far as they are taken: one whose descriptor is nearer to
    /// its home than `fd` would be ends the search. (Without that order, a number that is not there
    /// would be looked for through all those that are, since numbers are dense.)
    #[inline]
    fn seek(&mut self, fd: RawFd) -> Result<usize, usize> {
        let (mut at, mut distance) = (self.home(fd), 0);
        loop {
            let there = *self.place(at);
            if there == 0 {
                return Err(at);
            }
            let other = self.slot(there - 1).fd;
            if other == fd {
                return Ok(at);
            }
            if self.distance(other, at) < distance {
                return Err(at);
            }
            (at, distance) = (self.after(at), distance + 1);
        }
    }

    /// The slot of a descriptor.
    #[inline]
    pub(crate) fn find(&mut self, fd: RawFd) -> Option<u32> {
        if self.live == 0 || fd < 0 {
            return None;
        }
        let at = self.seek(fd).ok()?;
        Some(*self.place(at) - 1)
    }

    /// Puts a descriptor into its place; those that are there move on.
    fn index(&mut self, fd: RawFd, slot: u32) {
        let (Ok(mut at) | Err(mut at)) = self.seek(fd);
        let mut moving = slot + 1;
        while moving != 0 {
            moving = std::mem::replace(self.place(at), moving);
            at = self.after(at);
        }
    }

    /// Takes a slot for a descriptor that has none; None where the system has no memory.
    pub(crate) fn insert(&mut self, new: Slot) -> Option<u32> {
        let number = if self.free != NOWHERE {
            let number = self.free;
            self.free = self.slot(number).index;
            number
        } else {
            if self.reached == self.capacity && !self.reserve(self.capacity + 16, self.room) {
                return None;
            }
            self.reached += 1;
            self.reached as u32 - 1
        };
        // SAFETY: below `reached`, inside the mapping.
        unsafe { self.slots().add(number as usize).write(new) };
        self.live += 1;
        self.index(new.fd, number);
        Some(number)
    }

    /// Frees a slot in use.
    pub(crate) fn remove(&mut self, number: u32) {
        let fd = self.slot(number).fd;
        debug_assert!(fd >= 0);
        self.unindex(fd);
        let free = self.free;
        let slot = self.slot(number);
        slot.fd = -1;
        slot.index = free;
        self.free = number;
        self.live -= 1;
    }

    /// Empties the descriptor's place: those behind it that are not at home move up (no tombstones:
    /// they would have to be swept).
    fn unindex(&mut self, fd: RawFd) {
        let Ok(mut hole) = self.seek(fd) else { return };
        loop {
            let next = self.after(hole);
            let there = *self.place(next);
            let stays = there == 0 || {
                let other = self.slot(there - 1).fd;
                self.distance(other, next) == 0
            };
            *self.place(hole) = if stays { 0 } else { there };
            if stays {
                return;
            }
            hole = next;
        }
    }

    /// Frees all slots, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        for at in 0..self.places {
            *self.place(at) = 0;
        }
        self.reached = 0;
        self.free = NOWHERE;
        self.live = 0;
    }

    pub(crate) fn free(&mut self) {
        self.region.free();
        *self = Self::EMPTY;
    }
}

/// An eighth more than there are slots, so that a search ends soon.
fn places_for(capacity: usize) -> usize {
    capacity + capacity / 8 + 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn slot(fd: RawFd, serial: u32) -> Slot {
        Slot { fd, index: 0, serial, bits: 0, generation: 0 }
    }

    /// Against a HashMap, with numbers dense and far apart, through growth and reuse.
    #[test]
    fn finds_what_a_map_finds() {
        let mut random = 1_u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) % below
        };
        for spread in [1, 1, 7, 64, 4096] {
            let (mut table, mut model) = (Table::EMPTY, HashMap::new());
            assert!(table.reserve(8, 64));
            // SAFETY: 8 words were reserved.
            unsafe { table.words().write(0x1234) };
            for step in 0..20_000 {
                let fd = (next(200) * spread) as RawFd;
                match model.get(&fd).copied() {
                    Some((number, serial)) => {
                        assert_eq!(table.find(fd), Some(number));
                        assert_eq!(table.slot(number).serial, serial);
                        if next(2) == 0 {
                            table.remove(number);
                            model.remove(&fd);
                        }
                    }
                    None => {
                        assert_eq!(table.find(fd), None);
                        let number = table.insert(slot(fd, step)).unwrap();
                        model.insert(fd, (number, step));
                    }
                }
                assert_eq!(table.len(), model.len());
            }
            // SAFETY: as above.
            assert_eq!(unsafe { table.words().read() }, 0x1234);
            table.clear();
            assert!(model.keys().all(|&fd| table.find(fd).is_none()));
            table.free();
        }
    }

    /// Every second number, so many that they wrap around: all places but a few are taken.
    #[test]
    fn a_number_that_is_not_there_is_not_searched_for_long() {
        let mut table = Table::EMPTY;
        assert!(table.reserve(1000, 0));
        let count = table.capacity as RawFd;
        for n in 0..count {
            table.insert(slot(2 * n, 0)).unwrap();
        }
        for fd in (0..4 * count).filter(|fd| fd % 2 == 1 || *fd >= 2 * count) {
            let (Ok(end) | Err(end)) = table.seek(fd);
            assert!(table.distance(fd, end) <= 4, "{fd}");
            assert_eq!(table.find(fd), None);
        }
        table.free();
    }

    #[test]
    fn costs_at_most_32_bytes_a_descriptor() {
        for entries in [1000, 4000, 9000] {
            let mut table = Table::EMPTY;
            assert!(table.reserve(entries, entries * 8));
            assert!(table.region.len() <= 32 * entries, "{} for {entries}", table.region.len());
            table.free();
        }
    }
}
