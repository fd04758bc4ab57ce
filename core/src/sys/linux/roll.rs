//! The roll: an epoll set of our own in which each hidden descriptor is registered, for nothing, from
//! when it is made until it is closed. Nobody waits on it.
//!
//! It is for the end of a queue. A hidden descriptor is closed only where it is known that its number
//! still means it ([`registered`](super::registered)), and the queue's own set may be gone by then: the
//! program has closed it where no hook is in the way, and may have a file of its own at that number too.
//! The roll's key is number and open file, as any set's, and it outlives every queue.
//!
//! A forked child shares it with its parent. Neither is in the other's way: each enters and strikes
//! files of its own, which the other has not got at that number or has not got at all.
//!
//! Epoll sets are not entered: each wake-up in one would come here too, and the kernel counts the
//! paths from a file through sets in sets (500 from one file). They are known by what is in them
//! ([`known_set`](super::known_set)). So is the roll itself, by the alarm.
//!
//! (To have the alarm for the bell of every queue would leave fewer descriptors to be known; but the
//! same count of paths allows 500 such queues in other sets, and a queue's duplicates are known by its
//! bell. A link in /proc/self/fd tells the kind only.)

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, epoll_event};
use nix::errno::Errno;

use super::hidden::{Own, hidden as hide};
use super::raw::{self, Result};
use super::registered;

/// What a descriptor is entered with: /proc/self/fdinfo shows by it which set is the roll.
const ENTRY: epoll_event = epoll_event { events: 0, u64: u64::from_be_bytes(*b"the roll") };

/// The [`Roll`], as bits; 0 before there is one.
static ROLL: AtomicU64 = AtomicU64::new(0);

/// The serial number of the set ([`Own`]; its low bits will do), its number, and the alarm's: in one word,
/// so that no thread ever sees one half of it beside another's. (Numbers above 2^20 are not hidden.)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Roll(u64);

const BITS: u32 = 21;
const FIELD: u64 = (1 << BITS) - 1;

impl Roll {
    fn new(set: Own, alarm: RawFd) -> Option<Self> {
        let [set_at, alarm] = [set.number(), alarm].map(|fd| fd as u64);
        let fits = set_at <= FIELD && alarm <= FIELD;
        fits.then_some(Self(
            (u64::from(set.serial()) & FIELD) << (2 * BITS) | set_at << BITS | alarm,
        ))
    }

    fn set(self) -> RawFd {
        (self.0 >> BITS & FIELD) as RawFd
    }

    fn alarm(self) -> RawFd {
        (self.0 & FIELD) as RawFd
    }

    /// Whether both numbers still mean what they did: the alarm is in the set, and none of our other
    /// sets was hidden at the number since.
    fn is_there(self) -> bool {
        self.0 != 0
            && u64::from(Own::at(self.set()).serial()) & FIELD == self.0 >> (2 * BITS)
            && raw::epoll_ctl(self.set(), EPOLL_CTL_MOD, self.alarm(), &ENTRY).is_ok()
    }

    fn make() -> Result<Self> {
        let set = hide(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        let alarm = hide(|| raw::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        let made = alarm.and_then(|alarm| {
            add(set, alarm)?;
            Self::new(Own::at(set), alarm).ok_or(Errno::EMFILE)
        });
        if made.is_err() {
            alarm.into_iter().chain([set]).for_each(|fd| _ = raw::close(fd));
        }
        made
    }

    fn close(self) {
        let _ = (raw::close(self.set()), raw::close(self.alarm()));
    }
}

/// The roll; made anew if the program has closed it (some close every number they find).
fn roll() -> Result<Roll> {
    let there = Roll(ROLL.load(Ordering::Acquire));
    if there.is_there() {
        return Ok(there);
    }
    let made = Roll::make()?;
    match ROLL.compare_exchange(there.0, made.0, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(made),
        Err(other) => {
            made.close();
            Ok(Roll(other))
        }
    }
}

/// The number of the alarm, which is always readable.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`, `ENOSPC`: no descriptor, or no memory for the registration.
pub(crate) fn alarm() -> Result<RawFd> {
    roll().map(Roll::alarm)
}

/// The number of the alarm, if there is one.
pub(crate) fn present_alarm() -> Option<RawFd> {
    let there = Roll(ROLL.load(Ordering::Acquire));
    (there.0 != 0).then(|| there.alarm())
}

/// The numbers of the roll and of the alarm; -1 where they are not ours.
pub(crate) fn numbers() -> [RawFd; 2] {
    let there = Roll(ROLL.load(Ordering::Acquire));
    if there.is_there() { [there.set(), there.alarm()] } else { [-1; 2] }
}

/// Whether a number is closed, or that of something else than an epoll set. False where there is no
/// roll. (Nothing is done to a set: it is asked for the roll, which is in none.)
pub(crate) fn is_no_set(fd: RawFd) -> bool {
    let [roll, _] = numbers();
    let asked = || raw::epoll_ctl(fd, EPOLL_CTL_MOD, roll, &ENTRY);
    roll >= 0 && matches!(asked(), Err(Errno::EBADF | Errno::EINVAL))
}

/// Makes a descriptor with `make`, hides it and enters it. Async-signal-safe, if `make` is.
///
/// # Errors
/// What `make` says, and as for [`alarm`].
pub(crate) fn hidden(make: impl FnOnce() -> Result<RawFd>) -> Result<Own> {
    let roll = roll()?;
    let fd = hide(make)?;
    match add(roll.set(), fd) {
        Ok(()) => Ok(Own::at(fd)),
        Err(errno) => {
            let _ = raw::close(fd);
            Err(errno)
        }
    }
}

/// Whether a hidden descriptor's number still means it. False where nobody knows, since the program has
/// closed the roll.
pub(crate) fn holds(own: Own) -> bool {
    let roll = Roll(ROLL.load(Ordering::Acquire));
    own.is_last() && roll.is_there() && registered::check_number(roll.set(), own.number()).is_ok()
}

/// Strikes a hidden descriptor, which is about to be closed. Whether its number still meant it, as
/// [`holds`] says.
pub(crate) fn strike(own: Own) -> bool {
    let roll = Roll(ROLL.load(Ordering::Acquire));
    let del = || raw::epoll_ctl(roll.set(), EPOLL_CTL_DEL, own.number(), std::ptr::null());
    own.is_last() && roll.is_there() && del().is_ok()
}

fn add(set: RawFd, fd: RawFd) -> Result<()> {
    raw::epoll_ctl(set, EPOLL_CTL_ADD, fd, &ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_until_the_program_has_closed_it() {
        let made = || hidden(|| raw::eventfd(0, EFD_CLOEXEC)).unwrap();
        let (one, other) = (made(), made());
        assert!(holds(one) && holds(other));
        // The program's, by dup2.
        raw::dup3(other.number(), one.number(), libc::O_CLOEXEC).unwrap();
        assert!(!holds(one) && !strike(one));
        assert!(strike(other) && !holds(other));
        for own in [one, other] {
            raw::close(own.number()).unwrap();
        }
    }
}
