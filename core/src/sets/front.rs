//! What differs between poll and select: the form of the caller's memory.

use std::os::fd::RawFd;

use libc::timespec;

use crate::sys::raw::Result;

use super::policy::Policy;
use super::set::{Kind, Set};
use super::wait::{Nanos, ZERO, timespec_of};

/// One call of poll or select, as the engine sees it.
pub(crate) trait Front {
    const KIND: Kind;

    /// Where the caller's memory is.
    fn key(&self) -> [usize; 3];

    /// Memory that a C program says is there, as (address, length); empty where Rust says so.
    fn unproven(&self) -> [(usize, usize); 4];

    /// Are there fewer descriptors than `smallest`? The memory is proven.
    fn is_small(&self, smallest: usize) -> bool;

    /// How many of [`SAMPLES`] entries spread over the caller's are in the set.
    fn likeness(&self, set: &mut Set) -> usize;

    /// A number that sets which differ hardly share.
    fn sketch(&self) -> u64;

    /// Fills an empty set with the caller's entries.
    fn fill(&mut self, set: &mut Set);

    /// Compares the caller's entries with the remembered ones, and brings the set up to date.
    fn update(&mut self, set: &mut Set, policy: Policy) -> Update;

    /// Empties what the caller will be given.
    fn begin(&mut self, set: &mut Set);

    /// Gives the caller an event, or what was asked by number.
    fn deliver(&mut self, set: &mut Set, index: u32, bits: u16) -> Delivered;

    /// Asks by number, and sleeps on the queue where one is given. How many results that made, and
    /// whether the queue has something.
    fn ask(&mut self, set: &mut Set, queue: Option<RawFd>, time: Time) -> Result<(usize, bool)>;

    /// ppoll as the caller blocks, with the caller's mask.
    ///
    /// # Safety
    /// As for [`crate::sys::raw::ppoll`].
    unsafe fn ppoll(&self, fds: *mut libc::pollfd, nfds: usize, time: Time) -> Result<usize>;

    /// The kernel's call over all entries with another timeout than the caller's. It writes the
    /// results where the caller wants them.
    fn whole(&mut self, set: &mut Set, time: Time) -> Result<usize>;

    /// Calls `f` with the number of each entry that the kernel's call reported.
    fn each_reported(&self, set: &mut Set, f: &mut dyn FnMut(&mut Set, RawFd));

    /// Did the kernel's call report this entry?
    fn is_reported(&self, set: &Set, index: u32) -> bool;

    /// Undoes what [`Front::whole`] wrote, when it found nothing.
    fn restore(&mut self, set: &Set);

    /// Everything was delivered: hands it to the caller.
    fn end(&mut self, set: &mut Set);

    /// The call as the program made it.
    fn own(&mut self) -> Result<usize>;

    /// The caller's timeout, and whether a signal mask comes with it.
    fn timeout(&self) -> (Option<timespec>, bool);
}

/// See [`Front::likeness`].
pub(crate) const SAMPLES: usize = 8;

/// How long to wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Time {
    /// Not at all, and not with the caller's mask.
    Now,
    /// So long, with the caller's mask; None: for ever.
    AtMost(Option<Nanos>),
}

/// What became of the comparison.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Update {
    /// The set is what the caller asks for.
    Done,
    /// This is another set.
    Another,
    /// The queue may not be changed here. Nothing was.
    Failed,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Delivered {
    /// So many new results.
    Results(usize),
    /// It was delivered before.
    Again,
    /// It maps to nothing that was asked.
    Nothing,
}

/// A time to hand to a system call.
pub(crate) fn timespec_for(time: Time) -> Option<timespec> {
    match time {
        Time::Now => Some(ZERO),
        Time::AtMost(left) => left.map(timespec_of),
    }
}
