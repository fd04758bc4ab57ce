//! One private queue and its registrations.

use std::os::fd::RawFd;
use std::ptr::null;

use nix::errno::Errno;

use crate::hooks::process::{self, Whose};
use crate::hooks::{self, numbers};
use crate::sys::linux::raw;

use super::cell::{self, Cell, Notes};
use super::counters::{self, Count};
use super::fit::is_fit;
use super::set::{Asked, State};
use super::table::{Slot, Table};

/// poll's own bits (POLLNVAL is the kernel's alone to set): others must not reach a registration,
/// where they would mean something else. 0x2000 is POLLRDHUP.
pub(crate) const POLL_BITS: u16 = 0x27df;

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
            self.once = !hooks::are_complete();
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
        if !has_fired && !is_fit(fd) {
            return Enrolled::Unfit;
        }
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let generation = number.generation();
        let Some(slot) = self.table.insert(Slot { fd, index, serial, bits, generation }) else {
            return Enrolled::Unfit;
        };
        let added = if has_fired {
            self.control(libc::EPOLL_CTL_MOD, slot)
        } else {
            match self.control(libc::EPOLL_CTL_ADD, slot) {
                // A registration of ours that is not armed, or could not be deleted, of the same
                // file.
                Err(Errno::EEXIST) => self.control(libc::EPOLL_CTL_MOD, slot),
                other => other,
            }
        };
        if added.is_err() {
            self.table.remove(slot);
            return match has_fired {
                _ if !cell::is_queue(self.epfd) => Enrolled::Lost,
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

    /// epoll_ctl on a slot's descriptor, with the slot and its serial as the token.
    fn control(&mut self, op: i32, slot: u32) -> raw::Result<()> {
        let s = self.table.slot(slot);
        let once = if self.once { libc::EPOLLONESHOT as u32 } else { 0 };
        let event = libc::epoll_event {
            events: u32::from(s.bits & POLL_BITS) | once,
            u64: u64::from(slot) | u64::from(s.serial) << 32,
        };
        raw::epoll_ctl(self.epfd, op, s.fd, &event)
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
        let _ = raw::epoll_ctl(self.epfd, libc::EPOLL_CTL_DEL, fd, null());
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
        self.table.slot(slot).bits = bits;
        self.control(libc::EPOLL_CTL_MOD, slot).is_ok()
    }

    /// Is the number still the file that was registered?
    #[must_use]
    pub(crate) fn verify(&mut self, slot: u32) -> bool {
        self.control(libc::EPOLL_CTL_MOD, slot).is_ok()
    }

    /// Takes what is ready, without waiting.
    ///
    /// # Errors
    /// Those of epoll_wait(2), which say that the descriptor is not our queue.
    #[inline]
    pub(crate) fn ready<'a>(
        &self,
        events: &'a mut [libc::epoll_event],
    ) -> raw::Result<&'a [libc::epoll_event]> {
        let room = events.len() as i32;
        // SAFETY: `events` is borrowed mutably and has `room` places.
        let count = unsafe { raw::epoll_wait(self.epfd, events.as_mut_ptr(), room, 0) }?;
        Ok(&events[..count])
    }

    /// The slot that an event is of; None where its registration is over.
    #[inline]
    pub(crate) fn slot_of(&mut self, event: &libc::epoll_event) -> Option<u32> {
        let token = event.u64;
        let (number, serial) = (token as u32, (token >> 32) as u32);
        let slot = self.table.get(number)?;
        (slot.fd >= 0 && slot.serial == serial).then_some(number)
    }
}
