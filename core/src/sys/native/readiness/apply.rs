//! Changes to a queue, each with its own answer (EV_RECEIPT).

use std::os::fd::RawFd;

use nix::errno::Errno;
use smallvec::SmallVec;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::super::layout::{self, HERE, Raw};
use super::super::translate::{self, Plain};
use super::bits::Said;

/// A change of a descriptor's knote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) ident: usize,
    pub(crate) filter: EventFilter,
    pub(crate) flags: EvFlags,
    pub(crate) serial: usize,
    /// READ: data is of no interest, only the end.
    pub(crate) quiet: bool,
}

/// READ: more than there ever is. An end is told all the same.
const NEVER: isize = i32::MAX as isize;

pub(crate) type Answers = SmallVec<[Result<(), Errno>; 6]>;

/// Applies changes, and returns what became of each.
///
/// # Errors
/// The call's own: `EBADF` where there is no queue.
pub(crate) fn apply(kq: RawFd, changes: &[Change]) -> Result<Answers, Errno> {
    let mut answers: Answers = SmallVec::from_elem(Ok(()), changes.len());
    let mut asked: SmallVec<[Raw; 6]> = SmallVec::new();
    let mut places: SmallVec<[usize; 6]> = SmallVec::new();
    for (at, change) in changes.iter().enumerate() {
        match raw(change) {
            Ok(raw) => {
                asked.push(raw);
                places.push(at);
            }
            Err(errno) => answers[at] = Err(errno),
        }
    }
    if asked.is_empty() {
        return Ok(answers);
    }
    let mut receipts: SmallVec<[Raw; 6]> = SmallVec::from_elem(Raw::default(), asked.len());
    let n = layout::kevent(kq, &asked, &mut receipts, None)?;
    for (receipt, at) in receipts[..n].iter().zip(places) {
        match Plain::from(*receipt).data {
            0 => {}
            errno => answers[at] = Err(Errno::from_raw(errno as i32)),
        }
    }
    Ok(answers)
}

fn raw(change: &Change) -> Result<Raw, Errno> {
    let (fflags, data) = match change.filter {
        EventFilter::EVFILT_EXCEPT => (FilterFlag::NOTE_OOB, 0),
        EventFilter::EVFILT_READ if change.quiet => (FilterFlag::NOTE_LOWAT, NEVER),
        _ => (FilterFlag::empty(), 0),
    };
    let event = KEvent::new(
        change.ident,
        change.filter,
        change.flags | EvFlags::EV_RECEIPT,
        fflags,
        data,
        change.serial as isize,
    );
    translate::change(&HERE, &event).map(Raw::from)
}

/// An event that a queue reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) ident: usize,
    pub(crate) filter: EventFilter,
    pub(crate) serial: usize,
    pub(crate) said: Said,
}

/// Reads an event; None for what is no filter of ours.
pub(crate) fn event(raw: &Raw) -> Option<Event> {
    let event = translate::event(&HERE, &Plain::from(*raw))?;
    let filter = event.filter().ok()?;
    let eof = event.flags().contains(EvFlags::EV_EOF);
    // fflags are an errno only where something has ended.
    let error = eof && event.fflags().bits() != 0 && filter != EventFilter::EVFILT_EXCEPT;
    let said = Said { data: event.data() as i64, eof, error };
    Some(Event { ident: event.ident(), filter, serial: event.udata() as usize, said })
}
