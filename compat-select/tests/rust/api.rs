//! compat_select as the tests call it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use compat_select::FdSet;
use kq_core::test_support::bitmaps::{Bitmaps, answer, bitmaps};
use kq_core::test_support::sets::Answer;
use kq_core::test_support::watched::Watched;
use libc::pollfd;
use nix::sys::time::{TimeSpec, TimeVal, TimeValLike};

/// A set borrows its descriptors; the tests have numbers, also of what is closed.
fn borrowed(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: nothing is done with the number but to select it.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn set_of(fds: impl Iterator<Item = RawFd>) -> FdSet<'static> {
    let mut set = FdSet::new();
    fds.for_each(|fd| set.insert(borrowed(fd)));
    set
}

fn numbers(set: &FdSet<'_>) -> Vec<RawFd> {
    set.fds(None).map(|fd| fd.as_raw_fd()).collect()
}

/// The sets of an array, absent where nobody is in one and nfds is odd.
fn sets_of(maps: &Bitmaps, nfds: i32) -> [Option<FdSet<'static>>; 3] {
    maps.map(|map| {
        let is_set = |fd: &RawFd| map[*fd as usize / 64] >> (fd % 64) & 1 == 1;
        let present = nfds % 2 == 0 || map.iter().any(|&word| word != 0);
        present.then(|| set_of((0..nfds).filter(is_set)))
    })
}

fn maps_of(sets: [Option<FdSet<'_>>; 3]) -> Bitmaps {
    sets.map(|set| {
        let mut map = [0; 16];
        let numbers = set.iter().flat_map(numbers);
        numbers.for_each(|fd| map[fd as usize / 64] |= 1 << (fd % 64));
        map
    })
}

pub(crate) fn select(fds: &mut [pollfd], timeout: i32) -> Answer {
    let (nfds, maps) = bitmaps(fds);
    let mut sets = sets_of(&maps, nfds);
    let mut time = (timeout >= 0).then(|| TimeVal::milliseconds(timeout.into()));
    let [r, w, e] = sets.each_mut().map(Option::as_mut);
    let ready = compat_select::select(nfds, r, w, e, time.as_mut());
    answer(ready.map(|n| n as usize), &maps_of(sets))
}

pub(crate) fn pselect(fds: &mut [pollfd], timeout: i32) -> Answer {
    let (nfds, maps) = bitmaps(fds);
    let mut sets = sets_of(&maps, nfds);
    let time = (timeout >= 0).then(|| TimeSpec::milliseconds(timeout.into()));
    let [r, w, e] = sets.each_mut().map(Option::as_mut);
    let ready = compat_select::pselect(nfds, r, w, e, time.as_ref(), None);
    answer(ready.map(|n| n as usize), &maps_of(sets))
}

pub(crate) fn ask(watched: &mut Watched, timeout: i32) -> Vec<RawFd> {
    let mut set = set_of(watched.array.iter().map(|entry| entry.fd));
    let mut time = (timeout >= 0).then(|| TimeVal::milliseconds(timeout.into()));
    let ready = compat_select::select(None, &mut set, None, None, time.as_mut());
    watched.found(ready.map(|n| n as usize), numbers(&set))
}
