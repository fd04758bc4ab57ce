//! compat_select as the tests call it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use compat_select::FdSet;
use kq_core::test_support::bitmaps::{Bitmaps, answer, bitmaps};
use kq_core::test_support::select_rules::{SelectApi, WORDS};
use kq_core::test_support::sets::Answer;
use kq_core::test_support::watched::Watched;
use libc::pollfd;
use nix::sys::signal::SigSet;
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

/// The sets of a test's bitmaps; what the call leaves in them goes back there.
fn with_sets<T>(
    maps: [*mut u64; 3],
    call: impl FnOnce([Option<&mut FdSet<'static>>; 3]) -> nix::Result<T>,
) -> nix::Result<T> {
    let words = |map: *mut u64| {
        // SAFETY: null, or a bitmap of the test's, which nobody else touches meanwhile.
        (!map.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(map, WORDS) })
    };
    let mut maps = maps.map(words);
    let mut sets = maps.each_ref().map(|map| {
        let map = map.as_ref()?;
        let is_set = |fd: &RawFd| map[*fd as usize / 64] >> (fd % 64) & 1 == 1;
        Some(set_of((0..64 * WORDS as RawFd).filter(is_set)))
    });
    let result = call(sets.each_mut().map(Option::as_mut));
    for (map, set) in maps.iter_mut().zip(&sets) {
        if let (Some(map), Some(set)) = (map, set) {
            map.fill(0);
            numbers(set).iter().for_each(|fd| map[*fd as usize / 64] |= 1 << (fd % 64));
        }
    }
    result
}

/// As the rules call it.
pub(crate) const API: SelectApi = SelectApi {
    select: |nfds, maps, timeout| {
        // SAFETY: null, or the test's.
        let timeout = unsafe { timeout.as_mut() };
        let mut time = timeout.as_ref().map(|time| TimeVal::from(**time));
        let result =
            with_sets(maps, |[r, w, e]| compat_select::select(nfds, r, w, e, time.as_mut()));
        if let (Some(timeout), Some(time)) = (timeout, time) {
            *timeout = *time.as_ref();
        }
        result.map(|n| n as usize)
    },
    pselect: |nfds, maps, time, mask| {
        // SAFETY: null, or the test's; a sigset_t of the test's is one that libc made.
        let (time, mask) = unsafe { (time.as_ref(), mask.as_ref()) };
        let time = time.map(|time| TimeSpec::from_timespec(*time));
        // SAFETY: as above.
        let mask = mask.map(|mask| unsafe { SigSet::from_sigset_t_unchecked(*mask) });
        with_sets(maps, |[r, w, e]| {
            compat_select::pselect(nfds, r, w, e, time.as_ref(), mask.as_ref())
        })
        .map(|n| n as usize)
    },
    takes_pointers: false,
};
