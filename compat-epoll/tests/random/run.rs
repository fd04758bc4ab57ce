//! Running a program with one backend.

use std::os::fd::RawFd;

use kq_core::test_support::epoll::{Epoll, Event};
use kq_core::test_support::ops::{Num, Op, Outcome};
use kq_core::test_support::settle::run_patiently;
use kq_core::test_support::world::{Ground, NUMBERS, World};
use kq_core::test_support::{sys, threads};
use nix::errno::Errno;

use super::program::{How, Pointer, Program, Step, Wait};
use super::steps;

/// What came of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Came {
    Plain(Op, Outcome),
    Create(Outcome),
    /// With the numbers of the instance and the descriptor.
    Ctl(RawFd, RawFd, Result<(), Errno>),
    Wait(RawFd, Option<Result<Vec<Event>, Errno>>),
    NoSleeper,
    /// What came of each step, with whether the sleeper slept on; and what it woke up with.
    Sleeper(Vec<(Came, bool)>, Result<Vec<Event>, Errno>),
}

/// How many events the results hold.
pub(crate) fn events_in(results: &[Came]) -> u64 {
    let count = |came: &Came| match came {
        Came::Wait(_, Some(Ok(events))) | Came::Sleeper(_, Ok(events)) => events.len() as u64,
        _ => 0,
    };
    results.iter().map(count).sum()
}

/// Runs a program; at its end, asks each number what it is ready for, as an instance and as a
/// descriptor.
pub(crate) fn run(ground: &Ground, epoll: Epoll, program: &Program) -> Vec<Came> {
    let world = ground.world();
    let mut came: Vec<Came> = program.0.iter().map(|s| step(&world, epoll, s)).collect();
    for n in (0..NUMBERS).map(Num::At) {
        came.push(step(&world, epoll, &Step::Plain(Op::Poll(n, i16::MAX))));
        if world.is_queue(n) {
            let all = Wait { ep: n, maxevents: 64, how: How::Wait, events: Pointer::To(()) };
            came.push(step(&world, epoll, &Step::Wait(all)));
        }
    }
    came
}

fn step(world: &World<'_>, epoll: Epoll, step: &Step) -> Came {
    match step {
        Step::Plain(op) => {
            let (op, outcome) = world.apply(op);
            Came::Plain(op, outcome)
        }
        Step::Create(flags) => {
            let made = match flags {
                None => epoll.0.epoll_create(1),
                Some(flags) => epoll.0.epoll_create1(*flags),
            };
            Came::Create(made.map_or_else(Outcome::Failed, |fd| world.admit_queue(fd)))
        }
        Step::Ctl(ctl) => {
            let (ep, fd) = (world.fd(ctl.ep), world.fd(ctl.fd));
            Came::Ctl(ep, fd, steps::control(epoll, ep, fd, ctl))
        }
        Step::Wait(wait) => {
            let ep = world.fd(wait.ep);
            Came::Wait(ep, steps::wait(epoll, ep, wait))
        }
        Step::Sleeper(ep, max, while_it_sleeps) => {
            sleeper(world, epoll, *ep, *max, while_it_sleeps)
        }
    }
}

fn sleeper(world: &World<'_>, epoll: Epoll, ep: Num, max: usize, meanwhile: &[Step]) -> Came {
    // With INET sockets one step is several events some time apart, and what the sleeper finds when
    // it wakes depends on when it comes to run.
    let epfd = world.fd(ep);
    // A number that is not open would be that of the file that tells us of the sleeper's state, for
    // as long as that is being read.
    if world.has_inet() || !sys::is_open(epfd) {
        return Came::NoSleeper;
    }
    let sleeper = threads::start(move || {
        run_patiently();
        epoll.wait_on(epfd, max, -1)
    });
    sleeper.wait_until_asleep();
    let one = |s: &Step| (step(world, epoll, s), sleeper.wait_until_asleep());
    let came = meanwhile.iter().map(one).collect();
    if sleeper.wait_until_asleep() {
        sleeper.signal(libc::SIGUSR1);
    }
    Came::Sleeper(came, sleeper.join())
}
