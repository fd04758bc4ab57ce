//! Random programs: each answer of the library beside the kernel's own.

use std::cell::RefCell;
use std::ptr::null_mut;

use kq_core::rules;
use kq_core::test_support::bitmaps::{Bitmaps, answer, bitmaps, bits, kernel_select};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::sets::{Answer, Call, Pair, Promise, compare_programs};
use kq_core::test_support::watched::Ask;
use libc::{c_int, fd_set, pollfd, timespec};
use nix::errno::Errno;

pub(crate) const RULES: &[Rule<Ask>] = rules![random equals_the_kernel,];

thread_local! {
    /// Where the program under test has its sets: at one place, as programs do.
    static MAPS: RefCell<Bitmaps> = const { RefCell::new([[0; 16]; 3]) };
}

fn under_test(fds: &[pollfd], call: impl Fn(c_int, [*mut fd_set; 3]) -> c_int) -> Answer {
    let (nfds, maps) = bitmaps(fds);
    MAPS.with_borrow_mut(|here| {
        *here = maps;
        let sets = here.each_mut().map(|map| map.as_mut_ptr().cast::<fd_set>());
        // A set that nobody is in may as well be absent.
        let absent = |at: usize| nfds % 2 == 1 && maps[at].iter().all(|&word| word == 0);
        let sets = [0, 1, 2].map(|at| if absent(at) { null_mut() } else { sets[at] });
        let ready = Errno::result(call(nfds, sets)).map(|n| n as usize);
        answer(ready, here)
    })
}

fn select(fds: &mut [pollfd], timeout: i32) -> Answer {
    under_test(fds, |nfds, [r, w, e]| {
        let mut time = libc::timeval { tv_sec: 0, tv_usec: i64::from(timeout) * 1000 };
        let time = if timeout < 0 { null_mut() } else { &raw mut time };
        // SAFETY: bitmaps and timeout are ours.
        unsafe { libc::select(nfds, r, w, e, time) }
    })
}

fn pselect(fds: &mut [pollfd], timeout: i32) -> Answer {
    under_test(fds, |nfds, [r, w, e]| {
        let time = timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
        let time = if timeout < 0 { std::ptr::null() } else { &raw const time };
        // SAFETY: bitmaps and timeout are ours.
        unsafe { libc::pselect(nfds, r, w, e, time, std::ptr::null()) }
    })
}

fn equals_the_kernel(_: Ask) {
    let kernel = kernel_select;
    let pair =
        |ask: Call| Pair { kernel, ask, count: bits, promise: Promise::WHERE_CLOSES_ARE_TOLD };
    // What is late is waited for.
    let cases = if cfg!(kqcompat_native) { 20 } else { 150 };
    compare_programs(cases, &[pair(select), pair(pselect)]);
}
