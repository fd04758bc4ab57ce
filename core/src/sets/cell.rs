//! What other threads may know of a thread's queue: its descriptor, for as long as they hold it,
//! and a box for notes about closed numbers.
//!
//! Cells are static and never freed, so that a hook in any thread, or in a signal handler, can look
//! at one without a lock. A hook holds the cell (a count) while it uses the descriptor: the last one
//! to let go closes it, so that nobody ever deletes from a descriptor that is meanwhile another's.
//!
//! States of a cell, by `generation`: [`FREE`]; [`CLAIMING`]; the generation of a process
//! ([`fork::generation`]): in use by that process. A cell in use by another process than ours was
//! inherited through fork and is as good as free.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};

use crate::hooks::numbers::{self, MANY, Number};
use crate::hooks::process::{self, Whose};
use crate::sys::{fork, poll_queue, raw};

/// How many queues the threads of a process may have together; those beyond go to the kernel.
const CELLS: usize = 4096;
/// Notes that a cell has room for; more and the owner looks at each number it has.
const NOTES: usize = 11;

const FREE: u32 = 0;
const CLAIMING: u32 = u32::MAX;
/// In `notes`: the queue's descriptor is gone.
const LOST: u32 = 1 << 31;
/// In `notes`: something may have become ready that the queue does not know of.
const SILENT: u32 = 1 << 30;
/// In `notes`: how many there are.
const COUNT: u32 = 0xffff;
/// In `notes`: counted up each time the owner takes them. A note carries it, so that one which was
/// written late, or for an earlier queue, is not taken for one of this round.
const ROUND: u32 = 0x3ff << ROUND_SHIFT;
const ROUND_SHIFT: u32 = 16;
/// In a note: where the round is; the number plus one is below.
const TAG_SHIFT: u32 = 21;
const _: () = assert!(numbers::NUMBERS < 1 << TAG_SHIFT);

/// See the module. One cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Cell {
    generation: AtomicU32,
    /// The owner, and each hook that uses `epfd` now.
    holders: AtomicU32,
    epfd: AtomicI32,
    /// By which it is known.
    serial: AtomicU32,
    /// How many notes were left since the owner looked: may exceed [`NOTES`]. And [`ROUND`], [`LOST`],
    /// [`SILENT`].
    notes: AtomicU32,
    /// The closed numbers, each plus one, with the round; of another round where the note is not
    /// written yet.
    numbers: [AtomicU32; NOTES],
}

static ALL: [Cell; CELLS] = [const {
    Cell {
        generation: AtomicU32::new(FREE),
        holders: AtomicU32::new(0),
        epfd: AtomicI32::new(-1),
        serial: AtomicU32::new(0),
        notes: AtomicU32::new(0),
        numbers: [const { AtomicU32::new(0) }; NOTES],
    }
}; CELLS];
/// One more than the highest cell that was ever in use.
static USED: AtomicUsize = AtomicUsize::new(0);

/// What the notes say of closes.
#[derive(Debug)]
pub(crate) enum Notes {
    /// These numbers were closed.
    Closed { numbers: [RawFd; NOTES], len: usize },
    /// There were too many: any number may have been closed.
    TooMany,
    /// The queue's own descriptor was closed or replaced.
    Lost,
}

impl Cell {
    /// Makes a queue and a cell for it. None where there is no room for one.
    pub(crate) fn open() -> Option<(&'static Cell, RawFd)> {
        process::has_queues();
        let cell = Self::claim()?;
        let (epfd, serial) = match poll_queue::open() {
            Ok(made) => made,
            Err(_) => {
                cell.generation.store(FREE, SeqCst);
                return None;
            }
        };
        for fd in poll_queue::standing().into_iter().chain([epfd]) {
            numbers::set_hidden(fd, true);
        }
        cell.next_round();
        cell.serial.store(serial, SeqCst);
        cell.epfd.store(epfd, SeqCst);
        cell.holders.store(1, SeqCst);
        cell.generation.store(fork::generation(), SeqCst);
        Some((cell, epfd))
    }

    fn claim() -> Option<&'static Cell> {
        let ours = fork::generation();
        for (at, cell) in ALL.iter().enumerate() {
            let generation = cell.generation.load(SeqCst);
            if generation == ours || generation == CLAIMING {
                continue;
            }
            if cell.generation.compare_exchange(generation, CLAIMING, SeqCst, SeqCst).is_err() {
                continue;
            }
            if generation != FREE {
                cell.close_inherited();
            }
            USED.fetch_max(at + 1, SeqCst);
            return Some(cell);
        }
        None
    }

    /// Is it this process's, not its parent's?
    pub(crate) fn is_current(&self) -> bool {
        self.generation.load(SeqCst) == fork::generation()
    }

    /// The name by which numbers know this cell: never 0, never [`MANY`].
    pub(crate) fn id(&self) -> u16 {
        let at = (std::ptr::from_ref(self) as usize - ALL.as_ptr() as usize) / size_of::<Self>();
        at as u16 + 1
    }

    /// Is there a note? All that a call without news pays.
    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        self.notes.load(SeqCst) & !ROUND != 0
    }

    /// Takes the notes out; for the owner. And whether something may be ready of which the queue
    /// does not know.
    pub(crate) fn take_notes(&self) -> (Notes, bool) {
        let notes = self.next_round();
        (self.closes(notes), notes & SILENT != 0)
    }

    /// Only the owner of the cell counts rounds.
    fn next_round(&self) -> u32 {
        let round = self.notes.load(SeqCst) & ROUND;
        self.notes.swap(round.wrapping_add(1 << ROUND_SHIFT) & ROUND, SeqCst)
    }

    fn closes(&self, notes: u32) -> Notes {
        if notes & LOST != 0 {
            return Notes::Lost;
        }
        let count = (notes & COUNT) as usize;
        let mut numbers = [0; NOTES];
        for (number, note) in numbers.iter_mut().zip(&self.numbers).take(count) {
            // Counted but not written yet? The generation of its number already tells.
            match note.load(SeqCst) ^ tag(notes) {
                note @ 1..=TAG_LIMIT => *number = note as RawFd - 1,
                _ => return Notes::TooMany,
            }
        }
        if count > NOTES { Notes::TooMany } else { Notes::Closed { numbers, len: count } }
    }

    fn note(&self, fd: RawFd) {
        // Enough to say that there are too many: the owner looks at every number it has, and this one
        // is being closed already.
        if self.notes.load(SeqCst) & COUNT > NOTES as u32 {
            return;
        }
        let notes = self.notes.fetch_add(1, SeqCst);
        if let Some(note) = self.numbers.get((notes & COUNT) as usize) {
            note.store((fd as u32 + 1) | tag(notes), SeqCst);
        }
    }

    /// Takes hold of the cell if it is in use by this process.
    fn hold(&self) -> Option<RawFd> {
        let ours = fork::generation();
        if self.generation.load(SeqCst) != ours {
            return None;
        }
        let more = |holders: u32| (holders > 0).then_some(holders + 1);
        self.holders.fetch_update(SeqCst, SeqCst, more).ok()?;
        // If it was let go and taken anew meanwhile, then it is another queue of ours that we hold:
        // what is done to it below does no harm.
        let epfd = self.epfd.load(SeqCst);
        if epfd < 0 {
            self.let_go();
            return None;
        }
        Some(epfd)
    }

    /// The owner's last word, or a hook's: the last holder closes the queue.
    pub(crate) fn let_go(&self) {
        if self.holders.fetch_sub(1, SeqCst) == 1 {
            self.close();
            self.generation.store(FREE, SeqCst);
        }
    }

    fn close(&self) {
        let epfd = self.epfd.swap(-1, SeqCst);
        if epfd >= 0 {
            numbers::set_hidden(epfd, false);
            // A program that closed our number by a raw system call and put something else there shall
            // keep that.
            if poll_queue::is_ours(epfd, self.serial.load(SeqCst)) {
                let _ = raw::close(epfd);
            }
        }
    }

    /// In a forked child: closes our copy of a parent's queue. The registrations in it are the parent's
    /// and stay.
    fn close_inherited(&self) {
        let is_hidden = numbers::get(self.epfd.load(SeqCst)).is_some_and(Number::is_hidden);
        if is_hidden { self.close() } else { self.epfd.store(-1, SeqCst) }
    }

    /// Has the program closed the queue's number by a raw system call?
    pub(crate) fn is_lost(&self) -> bool {
        let (epfd, serial) = (self.epfd.load(SeqCst), self.serial.load(SeqCst));
        epfd < 0 || !poll_queue::is_ours(epfd, serial)
    }

    /// The queue's descriptor is not ours any more: whoever has the number now keeps it.
    pub(crate) fn abandon(&self) {
        let epfd = self.epfd.swap(-1, SeqCst);
        if epfd >= 0 {
            numbers::set_hidden(epfd, false);
        }
    }

    fn strike(&self, fd: RawFd, delete: bool) {
        let Some(epfd) = self.hold() else { return };
        self.note(fd);
        if delete {
            poll_queue::delete(epfd, fd);
        }
        self.let_go();
    }
}

const TAG_LIMIT: u32 = (1 << TAG_SHIFT) - 1;

/// The round of `notes`, where a note has it.
fn tag(notes: u32) -> u32 {
    (notes & ROUND) >> ROUND_SHIFT << TAG_SHIFT
}

/// Readiness has changed where nobody was woken: each queue's owner asks the kernel at its next call.
pub(crate) fn changed_silently() {
    for cell in ALL[..USED.load(SeqCst)].iter().filter(|cell| cell.is_current()) {
        cell.notes.fetch_or(SILENT, SeqCst);
    }
}

/// `fd` is about to be closed: whoever has registered it is told, and no queue keeps it.
pub(crate) fn closing(fd: RawFd, number: Number, whose: Whose) {
    if whose == Whose::Fresh {
        return;
    }
    let used = USED.load(SeqCst);
    if number.is_hidden() && whose == Whose::Ours {
        for cell in &ALL[..used] {
            if cell.generation.load(SeqCst) == fork::generation() && cell.epfd.load(SeqCst) == fd {
                cell.abandon();
                cell.notes.fetch_or(LOST, SeqCst);
            }
        }
    }
    let delete = whose == Whose::Ours;
    match number.owner() {
        0 => {}
        MANY => ALL[..used].iter().for_each(|cell| cell.strike(fd, delete)),
        id => ALL[usize::from(id) - 1].strike(fd, delete),
    }
}

/// Is the hidden number `fd` still ours, of this process and not of its parent?
pub(crate) fn is_ours(fd: RawFd) -> bool {
    let is_queue =
        |cell: &Cell| cell.is_current() && cell.epfd.load(SeqCst) == fd && !cell.is_lost();
    process::whose() == Whose::Ours
        && (ALL[..USED.load(SeqCst)].iter().any(is_queue) || poll_queue::standing().contains(&fd))
}

/// In a forked child: closes the copies it inherited of its parent's queues.
pub(crate) fn close_inherited_queues() {
    let ours = fork::generation();
    for cell in &ALL[..USED.load(SeqCst)] {
        let generation = cell.generation.load(SeqCst);
        if generation != ours
            && generation != FREE
            && generation != CLAIMING
            && cell.generation.compare_exchange(generation, CLAIMING, SeqCst, SeqCst).is_ok()
        {
            cell.close_inherited();
            cell.generation.store(FREE, SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell() -> Cell {
        Cell {
            generation: AtomicU32::new(FREE),
            holders: AtomicU32::new(0),
            epfd: AtomicI32::new(-1),
            serial: AtomicU32::new(0),
            notes: AtomicU32::new(0),
            numbers: [const { AtomicU32::new(0) }; NOTES],
        }
    }

    fn numbers(cell: &Cell) -> Option<Vec<RawFd>> {
        match cell.take_notes().0 {
            Notes::Closed { numbers, len } => Some(numbers[..len].to_vec()),
            Notes::TooMany => None,
            Notes::Lost => panic!("nothing was lost"),
        }
    }

    #[test]
    fn notes_come_out_as_they_went_in() {
        let cell = cell();
        for round in 0..3000 {
            assert!(!cell.has_notes());
            let many = [0, 1, round, numbers::NUMBERS as RawFd - 1];
            many.iter().for_each(|&fd| cell.note(fd));
            assert!(cell.has_notes());
            assert_eq!(numbers(&cell), Some(many.to_vec()));
        }
        (0..=NOTES as RawFd).for_each(|fd| cell.note(fd));
        assert_eq!(numbers(&cell), None);
        (0..200_000).for_each(|fd| cell.note(fd));
        assert!(cell.has_notes());
        assert_eq!(numbers(&cell), None);
        assert!(!cell.has_notes());
    }

    #[test]
    fn a_note_of_an_earlier_round_is_none_of_this() {
        let cell = cell();
        [4, 5, 6].iter().for_each(|&fd| cell.note(fd));
        assert!(numbers(&cell).is_some());
        // Counted, and not written yet.
        cell.notes.fetch_add(1, SeqCst);
        assert_eq!(numbers(&cell), None);
    }

    #[test]
    fn silent_changes_are_told_beside_the_closes() {
        let cell = cell();
        cell.notes.fetch_or(SILENT, SeqCst);
        cell.note(7);
        assert!(cell.has_notes());
        let (notes, silent) = cell.take_notes();
        assert!(silent && matches!(notes, Notes::Closed { len: 1, numbers } if numbers[0] == 7));
        assert!(!cell.take_notes().1 && !cell.has_notes());
    }
}
