//! One private queue and its registrations.

use std::os::fd::RawFd;

use crate::hooks::process::{self, Whose};
use crate::hooks::{self, numbers};
use crate::sys::poll_queue::{self, Event, Wanted};
use crate::sys::raw;

use super::cell::{Cell, Notes};
use super::counters::{self, Count};
use super::set::{Asked, State};
use super::table::{Slot, Table};

/// Are registrations to be armed once (see [`super::unhooked`])?
pub(crate) fn once() -> bool {
    poll_queue::ALWAYS_ONCE || !hooks::are_complete()
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watch {
    cell: Option<&'static Cell>,
    epfd: RawFd,
    serial: u32,
    /// Registrations are armed once: no close is told (see [`super::unhooked`]).
    pub(crate) once: bool,
    pub(crate) table: Table,
}

/// What became of a descriptor that was to be registered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Enrolled {
    Yes,
    /// It is to be asked by number for good.
    Unfit,
    /// It has a registration already, for another entry.
    Twice,
    /// A close is under way: another time.
    Later,
    /// It had a registration that fired, and its number is of another file by now.
    Another,
    /// There is no queue to be had.
    NoQueue,
    /// The queue's descriptor is not ours any more.
    Lost,
}

impl Watch {
    pub(crate) const EMPTY: Self =
        Self { cell: None, epfd: -1, serial: 0, once: false, table: Table::EMPTY };

    /// The queue's descriptor, if there is a queue.
    pub(crate) fn queue(&self) -> Option<RawFd> {
        self.cell.map(|_| self.epfd)
    }

    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        self.cell.is_some_and(Cell::has_notes)
    }

    pub(crate) fn take_notes(&self) -> Option<(Notes, bool)> {
        self.cell.map(Cell::take_notes)
    }

    /// Is there a queue, and its descriptor not ours any more? That costs a system call.
    pub(crate) fn is_lost(&self) -> bool {
        self.cell.is_some_and(Cell::is_lost)
    }

    /// May the queue be changed, or made? Not in a vfork child, which has it from its parent
    /// together with our memory, nor where a forked child finds itself in the midst of a call.
    pub(crate) fn may_change(&self) -> bool {
        match process::whose() {
            Whose::Ours => self.cell.is_none_or(Cell::is_current),
            Whose::Shared => false,
            Whose::Fresh => self.cell.is_none(),
        }
    }

    fn open(&mut self) -> bool {
        if self.cell.is_none() {
            let Some((cell, epfd)) = Cell::open() else { return false };
            counters::count(Count::Queues);
            self.cell = Some(cell);
            self.epfd = epfd;
            self.once = once();
        }
        true
    }

    /// Throws the queue away with all its registrations, also those that cannot be addressed any
    /// more.
    pub(crate) fn close(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.let_go();
        }
        self.epfd = -1;
        self.once = false;
        self.table.clear();
    }

    /// The queue's number is not ours any more: forgets it and touches nothing.
    pub(crate) fn abandon(&mut self) {
        if let Some(cell) = &self.cell {
            cell.abandon();
        }
        self.close();
    }

    /// Registers a descriptor, or arms its registration again.
    ///
    /// Between the look at the number's word before and the one after the registration no close can
    /// have passed unseen. Where one did pass, the registration, whichever file it was made on, is
    /// taken back.
    pub(crate) fn enroll(&mut self, asked: &Asked) -> Enrolled {
        let (fd, index, bits) = (asked.fd, asked.index, asked.bits());
        if numbers::get(fd).is_none() {
            return Enrolled::Unfit;
        }
        if self.table.find(fd).is_some() {
            return Enrolled::Twice;
        }
        if !self.open() {
            return Enrolled::NoQueue;
        }
        let Some(cell) = self.cell else { return Enrolled::NoQueue };
        let Some(number) = numbers::take(fd, cell.id()) else { return Enrolled::Later };
        let has_fired = asked.state() == State::Fired;
        if !has_fired && !poll_queue::is_fit(fd, bits) {
            return Enrolled::Unfit;
        }
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let generation = number.generation();
        let Some(slot) = self.table.insert(Slot { fd, index, serial, bits, generation }) else {
            return Enrolled::Unfit;
        };
        let wanted = self.wanted(slot);
        let added = if has_fired {
            poll_queue::arm(self.epfd, &wanted)
        } else {
            poll_queue::add(self.epfd, &wanted)
        };
        if added.is_err() {
            self.table.remove(slot);
            return match has_fired {
                _ if self.is_lost() => Enrolled::Lost,
                true => Enrolled::Another,
                false => Enrolled::Unfit,
            };
        }
        if !self.is_trusted(slot) {
            self.drop(slot);
            return Enrolled::Later;
        }
        if !has_fired {
            counters::count(Count::Registered);
        }
        Enrolled::Yes
    }

    /// A slot's registration, with the slot and its serial as the token.
    fn wanted(&mut self, slot: u32) -> Wanted {
        let once = self.once;
        let s = self.table.slot(slot);
        let token = u64::from(slot) | u64::from(s.serial) << 32;
        Wanted { fd: s.fd, bits: s.bits, token, once }
    }

    /// Was the number neither closed since it was registered, nor is it being closed now?
    pub(crate) fn is_trusted(&mut self, slot: u32) -> bool {
        let slot = *self.table.slot(slot);
        numbers::get(slot.fd).is_some_and(|n| n.is_settled() && n.generation() == slot.generation)
    }

    /// Ends a registration. Where the number means another file by now, what is left of it cannot
    /// be addressed: it is told by its serial if it ever fires.
    pub(crate) fn drop(&mut self, slot: u32) {
        let fd = self.table.slot(slot).fd;
        poll_queue::delete(self.epfd, fd);
        self.forget(slot);
    }

    /// A registration is over for us, and stays in the kernel unarmed or to fire once more.
    pub(crate) fn forget(&mut self, slot: u32) {
        let fd = self.table.slot(slot).fd;
        if let Some(cell) = self.cell {
            numbers::release(fd, cell.id());
        }
        self.table.remove(slot);
    }

    /// Registers a slot for other bits, or the same ones again; false where the number is not
    /// registered any more: it was closed unseen, and may be another file.
    #[must_use]
    pub(crate) fn modify(&mut self, slot: u32, bits: u16) -> bool {
        let before = std::mem::replace(&mut self.table.slot(slot).bits, bits);
        poll_queue::modify(self.epfd, &self.wanted(slot), before).is_ok()
    }

    /// Is the number still the file that was registered?
    #[must_use]
    pub(crate) fn verify(&mut self, slot: u32) -> bool {
        let wanted = self.wanted(slot);
        poll_queue::modify(self.epfd, &wanted, wanted.bits).is_ok()
    }

    /// Takes what is ready, without waiting.
    ///
    /// # Errors
    /// Those which say that the descriptor is not our queue.
    #[inline]
    pub(crate) fn ready<'a>(&self, events: &'a mut [Event]) -> raw::Result<&'a [Event]> {
        poll_queue::ready(self.epfd, events)
    }

    /// The slot that an event is of; None where its registration is over.
    #[inline]
    pub(crate) fn slot_of(&mut self, event: &Event) -> Option<u32> {
        let token = poll_queue::token(event);
        let (number, serial) = (token as u32, (token >> 32) as u32);
        let slot = self.table.get(number)?;
        (slot.fd >= 0 && slot.serial == serial).then_some(number)
    }
}
