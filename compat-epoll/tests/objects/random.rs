//! Random programs, on the kernel's own calls and on ours.

use std::os::fd::{AsRawFd, OwnedFd};

use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::epoll::{ADD, DEL, Event, IN, MOD, ONESHOT, event};
use kq_core::test_support::harness::Suite;
use kq_core::test_support::isolate::tell;
use kq_core::test_support::sys::Result;
use kq_core::test_support::{signals, sys, threads};
use libc::{POLLIN, TFD_TIMER_ABSTIME, c_int};
use nix::errno::Errno;
use proptest::prelude::*;

use super::calls::{Calls, KERNEL, OURS, times};

pub(crate) fn add(suite: &mut Suite<'_>) {
    suite.add("compat::random_eventfds", || run(20_000, event_step(), events));
    suite.add("compat::random_timerfds", || run(3000, timer_step(), timers));
    suite.add("compat::random_signalfds", || run(3000, signal_step(), sent));
}

fn run<S: std::fmt::Debug, R: PartialEq + std::fmt::Debug>(
    cases: u32,
    step: impl Strategy<Value = S>,
    run: fn(Calls, &[S]) -> Vec<R>,
) {
    let plan = Plan::from_env(cases);
    let programs = prop::collection::vec(step, 1..30);
    let steps = compare(plan, programs, |p| run(KERNEL, p), |p| run(OURS, p));
    tell(&format!("{} programs, {steps} steps compared", plan.cases));
}

/// What came of a step.
#[derive(Debug, PartialEq)]
enum Came {
    Nothing,
    Number(Result<u64>),
    Bytes(Result<usize>),
    Done(Result<()>),
    Ready(bool),
    Events(Vec<Event>),
    /// Hours that are left, and of the interval.
    Left(i64, i64),
    /// Signals, and what came with them.
    Signals(Result<Vec<(u32, i32, i32)>>),
}

#[derive(Clone, Copy, Debug)]
enum EventStep {
    Make(u32, c_int),
    Add(usize, u64),
    Take(usize),
    Short(usize, usize),
    Poll(usize),
    Duplicate(usize),
    Close(usize),
    Control(usize, c_int, u32),
    Wait,
}

fn event_step() -> impl Strategy<Value = EventStep> {
    use EventStep as E;
    let at = || 0..4_usize;
    let numbers = [0, 1, 2, 3, u64::MAX - 3, u64::MAX - 2, u64::MAX - 1, u64::MAX];
    // Edges: rules, since the library beneath tells fewer.
    let bits = prop::sample::select(vec![IN, IN | ONESHOT, 0]);
    prop_oneof![
        2 => (0..3_u32, prop::sample::select(vec![0, libc::EFD_SEMAPHORE, 0x10]))
            .prop_map(|(initval, flags)| E::Make(initval, flags)),
        6 => (at(), prop::sample::select(numbers.to_vec())).prop_map(|(at, n)| E::Add(at, n)),
        5 => at().prop_map(E::Take),
        1 => (at(), 0..8_usize).prop_map(|(at, len)| E::Short(at, len)),
        3 => at().prop_map(E::Poll),
        1 => at().prop_map(E::Duplicate),
        1 => at().prop_map(E::Close),
        4 => (at(), prop::sample::select(vec![ADD, ADD, MOD, DEL]), bits)
            .prop_map(|(at, op, bits)| E::Control(at, op, bits)),
        6 => Just(E::Wait),
    ]
}

fn events(calls: Calls, program: &[EventStep]) -> Vec<Came> {
    let ep = calls.epoll.create();
    let mut all: Vec<OwnedFd> = Vec::new();
    let control = |fd: &OwnedFd, op, bits| {
        let what = Some(event(bits, fd.as_raw_fd() as u64));
        calls.epoll.ctl(ep.as_raw_fd(), op, fd.as_raw_fd(), what)
    };
    let mut one = |step: &EventStep| match *step {
        EventStep::Make(initval, flags) => {
            let made = calls.eventfd(initval, flags | libc::EFD_NONBLOCK);
            Came::Done(made.map(|fd| all.push(fd)))
        }
        EventStep::Duplicate(at) => match all.get(at) {
            Some(fd) => Came::Done(sys::dup(fd.as_raw_fd()).map(|fd| {
                // One that was never used is none after the other number is closed.
                calls.fcntl(fd.as_raw_fd(), libc::F_GETFL, 0).unwrap();
                all.push(fd);
            })),
            None => Came::Nothing,
        },
        EventStep::Close(at) if at < all.len() => {
            // A closed number that has a duplicate is where the two are known to differ.
            let fd = all.remove(at);
            Came::Done(control(&fd, DEL, 0))
        }
        EventStep::Wait => {
            let mut events = calls.epoll.wait(&ep, 16, 0).unwrap();
            events.sort_unstable();
            Came::Events(events)
        }
        EventStep::Add(at, _)
        | EventStep::Take(at)
        | EventStep::Short(at, _)
        | EventStep::Poll(at)
        | EventStep::Control(at, ..)
        | EventStep::Close(at) => {
            let Some(fd) = all.get(at) else { return Came::Nothing };
            match *step {
                EventStep::Add(_, number) => Came::Bytes(calls.add(fd, number)),
                EventStep::Short(_, len) => {
                    Came::Bytes(calls.read(fd.as_raw_fd(), &mut vec![0; len]))
                }
                EventStep::Poll(_) => Came::Ready(sys::poll(fd.as_raw_fd(), POLLIN) == POLLIN),
                EventStep::Control(_, op, bits) => Came::Done(control(fd, op, bits)),
                _ => Came::Number(calls.number(fd)),
            }
        }
    };
    program.iter().map(&mut one).collect()
}

const HOUR: i64 = 3600;

#[derive(Clone, Copy, Debug)]
enum TimerStep {
    /// The clock.
    Make(c_int),
    /// Hours from now, half an hour less, and the interval.
    At(i64, i64),
    After(i64, i64),
    /// It is set to no time: value or interval.
    Bad(bool, i64, i64),
    Unset(i64),
    Get,
    Take,
    Poll,
}

fn timer_step() -> impl Strategy<Value = TimerStep> {
    use TimerStep as T;
    let clocks = vec![libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME, libc::CLOCK_BOOTTIME, 2];
    let bad = vec![(-1, 0), (0, -1), (1, 1_000_000_000), (i64::MIN, 5)];
    prop_oneof![
        1 => prop::sample::select(clocks).prop_map(T::Make),
        3 => (-5..3_i64, 0..3_i64).prop_map(|(value, interval)| T::At(value, interval)),
        2 => (1..4_i64, 0..3_i64).prop_map(|(value, interval)| T::After(value, interval)),
        1 => (any::<bool>(), prop::sample::select(bad))
            .prop_map(|(value, (s, ns))| T::Bad(value, s, ns)),
        1 => (0..3_i64).prop_map(T::Unset),
        4 => Just(T::Get),
        4 => Just(T::Take),
        3 => Just(T::Poll),
    ]
}

fn now(clock: c_int) -> i64 {
    // SAFETY: plain data, which the call fills.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(clock, &mut time);
        time.tv_sec
    }
}

/// To the next whole hour: what is left of an hour and a half is two.
fn hours(seconds: i64) -> i64 {
    (seconds + HOUR - 1) / HOUR
}

fn timers(calls: Calls, program: &[TimerStep]) -> Vec<Came> {
    let mut clock = libc::CLOCK_MONOTONIC;
    let mut fd = calls.timerfd(clock, libc::TFD_NONBLOCK).unwrap();
    let left = |of: Result<libc::itimerspec>| match of {
        Ok(of) => Came::Left(hours(of.it_value.tv_sec), of.it_interval.tv_sec / HOUR),
        Err(errno) => Came::Done(Err(errno)),
    };
    let mut one = |step: &TimerStep| match *step {
        TimerStep::Make(of) => Came::Done(calls.timerfd(of, libc::TFD_NONBLOCK).map(|new| {
            (clock, fd) = (of, new);
        })),
        TimerStep::At(value, interval) => {
            // A machine that was started just now has no hours behind it.
            let began = clock != libc::CLOCK_REALTIME && value <= 0;
            let at = if began { 1 } else { now(clock) + value * HOUR - HOUR / 2 };
            let interval = if began { 0 } else { interval };
            let new = times((at, 0), (interval * HOUR, 0));
            let came = left(calls.set(fd.as_raw_fd(), TFD_TIMER_ABSTIME, Some(new)));
            if value <= 0 {
                // The kernel's comes a moment later.
                threads::wait_until_ready(fd.as_raw_fd(), POLLIN);
            }
            came
        }
        TimerStep::After(value, interval) => {
            let new = times((value * HOUR - HOUR / 2, 0), (interval * HOUR, 0));
            left(calls.set(fd.as_raw_fd(), 0, Some(new)))
        }
        TimerStep::Bad(value, s, ns) => {
            let new = if value { times((s, ns), (0, 0)) } else { times((1, 0), (s, ns)) };
            left(calls.set(fd.as_raw_fd(), 0, Some(new)))
        }
        TimerStep::Unset(interval) => {
            left(calls.set(fd.as_raw_fd(), 0, Some(times((0, 0), (interval * HOUR, 0)))))
        }
        TimerStep::Get => left(calls.get(fd.as_raw_fd())),
        TimerStep::Take => Came::Number(calls.number(&fd)),
        TimerStep::Poll => Came::Ready(sys::poll(fd.as_raw_fd(), POLLIN) == POLLIN),
    };
    program.iter().map(&mut one).collect()
}

#[derive(Clone, Copy, Debug)]
enum SignalStep {
    ToProcess(usize),
    ToSelf(usize),
    Queue(usize, i32),
    /// Room for so many.
    Read(usize),
    Poll,
    /// Which of them are read.
    Mask(u8),
    Take(usize),
}

/// Two that are ignored by default, two of real time.
fn numbers() -> [c_int; 6] {
    let realtime = libc::SIGRTMIN() + 2;
    [libc::SIGUSR1, libc::SIGTERM, libc::SIGCHLD, libc::SIGURG, realtime, realtime + 1]
}

fn signal_step() -> impl Strategy<Value = SignalStep> {
    use SignalStep as S;
    let at = || 0..6_usize;
    prop_oneof![
        3 => at().prop_map(S::ToProcess),
        3 => at().prop_map(S::ToSelf),
        3 => (at(), any::<i32>()).prop_map(|(at, value)| S::Queue(at, value)),
        4 => (0..4_usize).prop_map(S::Read),
        4 => Just(S::Poll),
        1 => any::<u8>().prop_map(S::Mask),
        1 => at().prop_map(S::Take),
    ]
}

fn take(signal: c_int) -> bool {
    let (set, now) = (signals::set_of(&[signal]), libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: a set and a time, ours.
    unsafe { libc::sigtimedwait(&set, std::ptr::null_mut(), &now) == signal }
}

fn sent(calls: Calls, program: &[SignalStep]) -> Vec<Came> {
    let numbers = numbers();
    signals::block(&numbers);
    let fd = calls.signalfd(&signals::set_of(&numbers[..4]), libc::SFD_NONBLOCK).unwrap();
    // A queue may tell once of what was taken otherwise.
    let mut taken = false;
    let mut one = |step: &SignalStep| match *step {
        SignalStep::ToProcess(at) => {
            signals::send_to_process(numbers[at]);
            Came::Nothing
        }
        SignalStep::ToSelf(at) => {
            signals::send_to_self(numbers[at]);
            Came::Nothing
        }
        SignalStep::Queue(at, value) => {
            let value = libc::sigval { sival_ptr: value as usize as *mut libc::c_void };
            // SAFETY: takes no pointer that is followed.
            let sent = unsafe { libc::sigqueue(libc::getpid(), numbers[at], value) };
            Came::Done(Errno::result(sent).map(drop))
        }
        SignalStep::Read(room) => {
            taken = taken && room == 0;
            let mut bytes = vec![0_u8; room * 128];
            let read = calls.read(fd.as_raw_fd(), &mut bytes);
            Came::Signals(read.map(|n| bytes[..n].chunks(128).map(told).collect()))
        }
        SignalStep::Poll if taken => Came::Nothing,
        SignalStep::Poll => Came::Ready(sys::poll(fd.as_raw_fd(), POLLIN) == POLLIN),
        SignalStep::Mask(bits) => {
            taken = false;
            let of = |(at, signal): (usize, &c_int)| (bits >> at & 1 == 1).then_some(*signal);
            let set: Vec<c_int> = numbers.iter().enumerate().filter_map(of).collect();
            let set = signals::set_of(&set);
            Came::Done(calls.set_mask(fd.as_raw_fd(), Some(&set), 0).map(drop))
        }
        SignalStep::Take(at) => {
            taken = true;
            Came::Ready(take(numbers[at]))
        }
    };
    let came = program.iter().map(&mut one).collect();
    for signal in numbers {
        while take(signal) {}
    }
    came
}

fn told(bytes: &[u8]) -> (u32, i32, i32) {
    // SAFETY: plain data, of the size of a chunk.
    let info = unsafe { bytes.as_ptr().cast::<libc::signalfd_siginfo>().read_unaligned() };
    // libc, which ours are read by, calls both so.
    let code = if info.ssi_code == libc::SI_TKILL { libc::SI_USER } else { info.ssi_code };
    (info.ssi_signo, code, info.ssi_int)
}
