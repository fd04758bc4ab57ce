//! Random programs: each answer of the library beside the kernel's own.

use std::cell::RefCell;
use std::ptr::null_mut;

use kq_core::raw;
use kq_core::rules;
use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::harness::Rule;
use kq_core::test_support::preload::{counter, counters, policy};
use kq_core::test_support::sets::{Answer, Place, Program, programs, run};
use kq_core::test_support::sys;
use kq_core::test_support::watched::Ask;
use libc::{c_int, c_void, fd_set, pollfd, timespec};
use nix::errno::Errno;

pub(crate) const RULES: &[Rule<Ask>] = rules![random equals_the_kernel,];

const WORDS: usize = 16;
type Bitmaps = [[u64; WORDS]; 3];

/// poll's array as select's bitmaps: a number that is not open, or POLLPRI, or odd bits of events
/// decide which and whether.
fn bitmaps(fds: &[pollfd]) -> (c_int, Bitmaps) {
    let mut maps = [[0; WORDS]; 3];
    let mut nfds = 0;
    for fd in fds.iter().filter(|fd| fd.fd >= 0) {
        let asks = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI].map(|bit| fd.events & bit != 0);
        // Closed numbers fail the call: only now and then.
        if !sys::is_open(fd.fd) && fd.events & 0x4800 != 0x4800 {
            continue;
        }
        for (map, asked) in maps.iter_mut().zip(asks) {
            map[fd.fd as usize / 64] |= u64::from(asked) << (fd.fd % 64);
        }
        nfds = nfds.max(fd.fd + 1);
    }
    (nfds, maps)
}

fn answer(ready: Result<usize, Errno>, maps: &Bitmaps) -> Answer {
    let bytes = maps.as_flattened().iter().flat_map(|word| word.to_ne_bytes());
    (ready, bytes.map(i16::from).collect())
}

fn kernel(fds: &mut [pollfd]) -> Answer {
    let (nfds, mut maps) = bitmaps(fds);
    let mut zero = timespec { tv_sec: 0, tv_nsec: 0 };
    let sets = maps.each_mut().map(|map| map.as_mut_ptr().cast::<c_void>());
    // SAFETY: bitmaps and timeout are ours.
    let ready = unsafe { raw::pselect(nfds, sets, &mut zero, std::ptr::null()) };
    answer(ready, &maps)
}

thread_local! {
    /// Where the program under test has its sets: at one place, as programs do.
    static MAPS: RefCell<Bitmaps> = const { RefCell::new([[0; WORDS]; 3]) };
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
    let place = Place::new();
    for ask in [select, pselect] {
        let got = RefCell::new(Vec::new());
        let both = |program: &Program| {
            let (expected, answers) = run(program, &place, kernel, ask);
            *got.borrow_mut() = answers;
            expected
        };
        let plan = Plan::from_env(150);
        let steps = compare(plan, programs(), both, |_| got.take());
        println!("{}: {steps} calls, {}", policy(), counters());
    }
    // strict serves nothing where an entry is asked by number, as one mostly is here.
    match policy().as_str() {
        "default" | "register" => assert!(counter("served") > 0 && counter("reused") > 0),
        "off" => assert_eq!(counter("served"), 0),
        _ => {}
    }
}
