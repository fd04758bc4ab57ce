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

use nix::errno::Errno;

use crate::hooks::numbers::{self, MANY, Number};
use crate::hooks::process::{self, Whose};
use crate::sys::linux::{fork, hidden, raw};

/// How many queues the threads of a process may have together; those beyond go to the kernel.
const CELLS: usize = 4096;
/// Notes that a cell has room for; more and the owner looks at each number it has.
const NOTES: usize = 11;

const FREE: u32 = 0;
const CLAIMING: u32 = u32::MAX;
/// In `notes`: the queue's descriptor is gone.
const LOST: u32 = 1 << 31;

/// See the module. One cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Cell {
    generation: AtomicU32,
    /// The owner, and each hook that uses `epfd` now.
    holders: AtomicU32,
    epfd: AtomicI32,
    /// How many notes were left since the owner looked: may exceed [`NOTES`]. And [`LOST`].
    notes: AtomicU32,
    /// The closed numbers, plus one; 0 where the note is not written yet.
    numbers: [AtomicI32; NOTES],
}

static ALL: [Cell; CELLS] = [const {
    Cell {
        generation: AtomicU32::new(FREE),
        holders: AtomicU32::new(0),
        epfd: AtomicI32::new(-1),
        notes: AtomicU32::new(0),
        numbers: [const { AtomicI32::new(0) }; NOTES],
    }
}; CELLS];
/// One more than the highest cell that was ever in use.
static USED: AtomicUsize = AtomicUsize::new(0);

/// What the notes say.
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
        let epfd = match hidden::hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC)) {
            Ok(epfd) => epfd,
            Err(_) => {
                cell.generation.store(FREE, SeqCst);
                return None;
            }
        };
        numbers::set_hidden(epfd, true);
        cell.notes.store(0, SeqCst);
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
                close_inherited(cell.epfd.swap(-1, SeqCst));
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
        self.notes.load(SeqCst) != 0
    }

    /// Takes the notes out; for the owner.
    pub(crate) fn take_notes(&self) -> Notes {
        let count = self.notes.swap(0, SeqCst);
        let mut numbers = [0; NOTES];
        if count & LOST != 0 {
            return Notes::Lost;
        }
        let mut len = 0;
        let mut missing = count as usize > NOTES;
        for note in &self.numbers[..(count as usize).min(NOTES)] {
            // 0: counted but not written yet. The generation of its number already tells.
            match note.swap(0, SeqCst) {
                0 => missing = true,
                number => {
                    numbers[len] = number - 1;
                    len += 1;
                }
            }
        }
        if missing { Notes::TooMany } else { Notes::Closed { numbers, len } }
    }

    fn note(&self, fd: RawFd) {
        let at = self.notes.fetch_add(1, SeqCst);
        if let Some(note) = self.numbers.get(at as usize) {
            note.store(fd + 1, SeqCst);
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
            let epfd = self.epfd.swap(-1, SeqCst);
            if epfd >= 0 {
                numbers::set_hidden(epfd, false);
                // Ours alone: that it is still our queue is what the hidden mark says.
                let _ = raw::close(epfd);
            }
            self.generation.store(FREE, SeqCst);
        }
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
            // ENOENT and EBADF say that it is not there: all the same to us.
            let _ = raw::epoll_ctl(epfd, libc::EPOLL_CTL_DEL, fd, std::ptr::null());
        }
        self.let_go();
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

/// Is the hidden number `fd` a queue of this process, not of its parent?
pub(crate) fn is_ours(fd: RawFd) -> bool {
    process::whose() == Whose::Ours
        && ALL[..USED.load(SeqCst)].iter().any(|cell| {
            cell.generation.load(SeqCst) == fork::generation() && cell.epfd.load(SeqCst) == fd
        })
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
            close_inherited(cell.epfd.swap(-1, SeqCst));
            cell.generation.store(FREE, SeqCst);
        }
    }
}

/// Closes our copy of a parent's queue. The registrations in it are the parent's and stay.
fn close_inherited(epfd: RawFd) {
    if epfd < 0 || !numbers::get(epfd).is_some_and(Number::is_hidden) {
        return;
    }
    numbers::set_hidden(epfd, false);
    // A wait into memory that is not there disturbs nothing: an epoll descriptor says 0 or EFAULT,
    // anything else EINVAL or EBADF. A program that closed our number by a raw system call and put
    // something else there shall keep that.
    let nowhere = std::ptr::without_provenance_mut(1);
    // SAFETY: the kernel checks the pointer; nothing of ours lies at address 1.
    let asked = unsafe { raw::epoll_pwait(epfd, nowhere, 1, 0, std::ptr::null()) };
    if matches!(asked, Ok(_) | Err(Errno::EFAULT)) {
        let _ = raw::close(epfd);
    }
}
