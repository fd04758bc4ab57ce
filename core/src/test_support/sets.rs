//! Random programs of poll and select: arrays of descriptors that change, are polled again and
//! again, and whose numbers are closed and opened; each answer beside the kernel's own.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libc::{c_int, pollfd};
use nix::errno::Errno;
use proptest::prelude::*;
use proptest::sample::select;

use super::compare::{Plan, compare, from_bytes};
use super::ops::{Num, Op};
use super::preload::{counter, counters, policy};
use super::random::{self, kind, op};
use super::sys;
use super::world::Ground;
use crate::raw;

/// An entry of an array: a number of the world, or one that is never open, and what to wait for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// None: -1.
    pub num: Option<Num>,
    /// poll's events.
    pub events: i16,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Something happens to the descriptors.
    World(Op),
    /// An entry of an array is another.
    Set(u8, u8, Entry),
    /// An array has one more, at this place.
    Insert(u8, u8, Entry),
    /// An array has one less.
    Remove(u8, u8),
    /// Each entry of an array goes so many places down, the last ones to the front.
    Turn(u8, u8),
    /// The array is asked about, so many times.
    Ask(u8, u8, How),
}

/// How an array is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// Not waiting.
    Now,
    /// For ever if something is ready, else not waiting.
    Forever,
    /// For at most a millisecond.
    Millisecond,
}

/// A random program.
#[derive(Clone, Debug)]
pub struct Program {
    arrays: Vec<Vec<Entry>>,
    /// How many idle descriptors each array has besides.
    idle: [usize; ARRAYS],
    steps: Vec<Step>,
}

const ARRAYS: usize = 3;
/// Where the idle descriptors begin: above the world's numbers.
const IDLE: RawFd = 60;
/// How many there are.
const IDLE_COUNT: usize = 40;

/// Where programs run: the world's ground, and descriptors that nothing happens to.
#[derive(Debug)]
pub struct Place {
    ground: Ground,
    idle: Vec<OwnedFd>,
}

impl Place {
    /// # Panics
    /// As [`Ground::new`].
    pub fn new() -> Self {
        let high = |n: usize| {
            let fd = sys::eventfd(0).expect("eventfd");
            let fd = sys::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, IDLE + n as RawFd);
            sys::own(fd.expect("F_DUPFD")).expect("it is open")
        };
        Self { idle: (0..IDLE_COUNT).map(high).collect(), ground: Ground::new() }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// What a call said: how many, and each entry's answer.
pub type Answer = (Result<usize, Errno>, Vec<i16>);

fn events() -> impl Strategy<Value = i16> + Clone {
    const BITS: [i16; 6] = [
        libc::POLLIN,
        libc::POLLOUT,
        libc::POLLIN | libc::POLLOUT,
        libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP,
        libc::POLLRDNORM | libc::POLLWRNORM,
        0,
    ];
    prop_oneof![9 => select(&BITS[..]), 1 => any::<i16>()]
}

fn entry() -> impl Strategy<Value = Entry> + Clone {
    let num = prop_oneof![12 => random::place().prop_map(Some), 1 => Just(None)];
    (num, events()).prop_map(|(num, events)| Entry { num, events })
}

fn step() -> BoxedStrategy<Step> {
    let how =
        prop_oneof![4 => Just(How::Now), 4 => Just(How::Forever), 1 => Just(How::Millisecond)];
    let place = || (0_u8..3, 0_u8..32);
    prop_oneof![
        10 => op().prop_map(Step::World),
        3 => (place(), entry()).prop_map(|((a, at), e)| Step::Set(a, at, e)),
        1 => (place(), entry()).prop_map(|((a, at), e)| Step::Insert(a, at, e)),
        1 => place().prop_map(|(a, at)| Step::Remove(a, at)),
        1 => place().prop_map(|(a, by)| Step::Turn(a, by)),
        8 => (0_u8..3, prop_oneof![3 => 1_u8..4, 1 => 4_u8..40], how)
            .prop_map(|(a, times, how)| Step::Ask(a, times, how)),
    ]
    .boxed()
}

/// What programs begin with: some descriptors are opened, each of three arrays is polled for a while so
/// that it is known.
fn beginning() -> BoxedStrategy<Program> {
    use prop::collection::vec;
    let array = || prop_oneof![1 => vec(entry(), 1..8), 3 => vec(entry(), 8..28)];
    let opened = vec(kind(), 3..9);
    let idle = [0..IDLE_COUNT, 0..IDLE_COUNT, 20..IDLE_COUNT];
    let begin = |(arrays, idle, opened): (_, _, Vec<_>)| {
        let opened = opened.into_iter().map(|kind| Step::World(Op::Open(kind)));
        let known = [
            Step::Ask(0, 80, How::Now),
            Step::Ask(1, 12, How::Forever),
            Step::Ask(2, 80, How::Now),
        ];
        Program { arrays, idle, steps: opened.chain(known).collect() }
    };
    (vec(array(), ARRAYS), idle, opened).prop_map(begin).boxed()
}

/// Programs: their beginning, and then anything.
pub fn programs() -> impl Strategy<Value = Program> {
    let steps = prop::collection::vec(step(), 1..50);
    (beginning(), steps).prop_map(|(mut program, steps)| {
        program.steps.extend(steps);
        program
    })
}

/// The program that a fuzzer's bytes stand for: two for its beginning, two for each step. None where
/// there are fewer.
pub fn program_of(bytes: &[u8]) -> Option<Program> {
    thread_local! {
        static MADE_BY: (BoxedStrategy<Program>, BoxedStrategy<Step>) = (beginning(), step());
    }
    let (begin, rest) = bytes.split_at_checked(2)?;
    MADE_BY.with(|(beginning, step)| {
        let mut program = from_bytes(beginning, begin).pop()?;
        program.steps.extend(from_bytes(step, rest));
        Some(program)
    })
}

/// A way to ask about an array, with a timeout in milliseconds; -1: for ever.
pub type Call = fn(&mut [pollfd], c_int) -> Answer;

/// What a call promises that is compared with the kernel's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Promise {
    /// The kernel's answer.
    Exact,
    /// Of a number that was closed where nobody told of it, and is open again: the kernel's answer,
    /// or nothing, and after some time the kernel's.
    Late,
}

impl Promise {
    /// What is promised to a program that tells of its closes. A native kqueue may not tell what poll
    /// would (a socket that was never connected is hung up, to Linux's poll): that is found out like a
    /// close that nobody told of.
    pub const WHERE_CLOSES_ARE_TOLD: Self =
        if cfg!(kqcompat_native) { Self::Late } else { Self::Exact };
}

/// The kernel's call, and the one under test.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Not waiting.
    pub kernel: fn(&mut [pollfd]) -> Answer,
    /// Under test.
    pub ask: Call,
    /// How many results an answer tells of.
    pub count: fn(&[i16]) -> usize,
    /// What is to be the same.
    pub promise: Promise,
}

impl Pair {
    /// Asks both; what the first said, and what the second is to have said.
    fn compare(self, array: &mut [pollfd], how: How) -> (Answer, Answer) {
        let truth = (self.kernel)(&mut array.to_vec());
        let timeout = match (how, &truth.0) {
            (How::Now, _) | (How::Forever, Ok(0)) => 0,
            (How::Forever, _) => -1,
            (How::Millisecond, _) => 1,
        };
        let answer = (self.ask)(array, timeout);
        if truth == answer {
            return (truth, answer);
        }
        // A packet may have come between the two.
        let now = (self.kernel)(&mut array.to_vec());
        if now == answer {
            println!("the kernel's own answer changed: {truth:?} {now:?}");
            return (now, answer);
        }
        let late = |truth| self.may_be_late(truth, &answer, timeout);
        if self.promise == Promise::Late && (late(&truth) || late(&now)) {
            return self.compare_in_the_end(array);
        }
        (truth, answer)
    }

    fn may_be_late(self, truth: &Answer, answer: &Answer, timeout: c_int) -> bool {
        let Ok(ready) = answer.0 else { return false };
        let true_or_nothing = |(&t, &a): (&i16, &i16)| a & !t == 0;
        (timeout >= 0 || ready > 0)
            && ready == (self.count)(&answer.1)
            && (truth.0.is_err() || truth.1.iter().zip(&answer.1).all(true_or_nothing))
    }

    /// It may take a hundredth of a second; on a machine under load more.
    fn compare_in_the_end(self, array: &mut [pollfd]) -> (Answer, Answer) {
        for _ in 0..20_000 {
            std::thread::sleep(std::time::Duration::from_millis(1));
            let truth = (self.kernel)(&mut array.to_vec());
            let answer = (self.ask)(array, 0);
            if truth == answer {
                return (truth, answer);
            }
        }
        ((self.kernel)(&mut array.to_vec()), (self.ask)(array, 0))
    }
}

/// So many random programs, or as many as the environment says, for each pair; prints how many calls
/// there were.
///
/// # Panics
/// At the first program whose results differ.
pub fn compare_programs(cases: u32, pairs: &[Pair]) {
    let place = Place::new();
    for pair in pairs {
        let got = RefCell::new(Vec::new());
        let both = |program: &Program| {
            let (expected, answers) = run(program, &place, *pair);
            *got.borrow_mut() = answers;
            expected
        };
        let plan = Plan::from_env(cases);
        let steps = compare(plan, programs(), both, |_| got.take());
        println!("{}: {steps} calls, {}", policy(), counters());
    }
    // strict serves nothing where an entry is asked by number, as one mostly is here.
    match policy().as_str() {
        "default" | "register" => {
            assert!(counter("served") > 0);
            // Closes were met: by a note or a comparison, or by an event of what nobody knows any more.
            // (Where nobody tells of them that is a matter of time too: `defences::untold` has them met.)
            let told = pairs.iter().all(|pair| pair.promise == Promise::Exact);
            assert!(!told || counter("reused") + counter("stale") > 0);
        }
        "off" => assert_eq!(counter("served"), 0),
        _ => {}
    }
}

/// Runs a program. At each call the kernel is asked first, on a copy. Returns what both said.
pub fn run(program: &Program, place: &Place, pair: Pair) -> (Vec<Answer>, Vec<Answer>) {
    let world = place.ground.world();
    let number = |e: &Entry| e.num.map_or(-1, |n| world.fd(n));
    let to_c = |e: &Entry| pollfd { fd: number(e), events: e.events, revents: 0 };
    let idle = |count: usize| place.idle[..count].iter().map(|fd| readable(fd.as_raw_fd()));
    let mut arrays: Vec<Vec<pollfd>> = program
        .arrays
        .iter()
        .zip(program.idle)
        .map(|(array, count)| array.iter().map(to_c).chain(idle(count)).collect())
        .collect();
    // Arrays stay where they are when they grow.
    arrays.iter_mut().for_each(|array| array.reserve(IDLE_COUNT));
    let (mut expected, mut got) = (Vec::new(), Vec::new());
    for step in &program.steps {
        match step {
            Step::World(op) => {
                world.apply(op);
            }
            Step::Set(a, at, e) => {
                let array = &mut arrays[usize::from(*a)];
                let at = usize::from(*at) % array.len().max(1);
                if let Some(place) = array.get_mut(at) {
                    *place = to_c(e);
                }
            }
            Step::Insert(a, at, e) => {
                let array = &mut arrays[usize::from(*a)];
                if array.len() < array.capacity() {
                    array.insert(usize::from(*at) % (array.len() + 1), to_c(e));
                }
            }
            Step::Remove(a, at) => {
                let array = &mut arrays[usize::from(*a)];
                if !array.is_empty() {
                    array.remove(usize::from(*at) % array.len());
                }
            }
            Step::Turn(a, by) => {
                let array = &mut arrays[usize::from(*a)];
                let by = usize::from(*by) % array.len().max(1);
                array.rotate_right(by);
            }
            Step::Ask(a, times, how) => {
                let array = &mut arrays[usize::from(*a)];
                for _ in 0..*times {
                    let (truth, answer) = pair.compare(array, *how);
                    let same = truth == answer;
                    expected.push(truth);
                    got.push(answer);
                    if !same {
                        return (expected, got);
                    }
                }
            }
        }
    }
    (expected, got)
}

/// The kernel's own poll, not waiting, by a raw system call.
pub fn kernel_poll(fds: &mut [pollfd]) -> Answer {
    let mut zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the slice is borrowed mutably, the timeout is ours.
    let ready = unsafe {
        raw::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, &mut zero, std::ptr::null())
    };
    (ready, answers(fds))
}

/// poll(2) by the C library's symbol, whoever exports it.
pub fn c_poll(fds: &mut [pollfd], timeout: c_int) -> Answer {
    // SAFETY: the slice is borrowed mutably.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

/// ppoll(2), likewise.
pub fn c_ppoll(fds: &mut [pollfd], timeout: c_int) -> Answer {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::from(timeout) * 1_000_000 };
    let time = if timeout < 0 { std::ptr::null() } else { &raw const time };
    // SAFETY: the slice is borrowed mutably; the time is null or ours.
    let ready =
        unsafe { libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, time, std::ptr::null()) };
    (Errno::result(ready).map(|n| n as usize), answers(fds))
}

/// How many entries say something.
pub fn entries(revents: &[i16]) -> usize {
    revents.iter().filter(|&&revents| revents != 0).count()
}

/// What each entry says.
pub fn answers(fds: &[pollfd]) -> Vec<i16> {
    fds.iter().map(|fd| fd.revents).collect()
}

/// An entry that waits for input.
pub fn readable(fd: RawFd) -> pollfd {
    pollfd { fd, events: libc::POLLIN, revents: 0 }
}
