//! Programs of two threads that work on one instance at once, each with descriptors of its own. What
//! the instance reports when both are done does not depend on who came first, but for the order.

use std::thread;

use kq_core::test_support::epoll::{Epoll, Event};
use kq_core::test_support::ops::{Amount, Num, Op, Outcome, Payload};
use kq_core::test_support::settle::run_anywhere;
use kq_core::test_support::world::{Ground, World};
use kq_core::test_support::zoo::Kind;
use nix::errno::Errno;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::program::{Ctl, ctl};
use super::steps;

/// What one thread does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Plain(Op),
    Ctl(Ctl),
}

/// What both do at once, again and again.
pub(crate) type Program = Vec<(Vec<Step>, Vec<Step>)>;

#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    Plain(Outcome),
    Ctl(Result<(), Errno>),
    /// What the instance reported when both were done, in the order of the data.
    Ready(Result<Vec<Event>, Errno>),
}

/// The instance, and after it, for each thread, a pipe and a counter.
const INSTANCE: Num = Num::At(0);
const EACH_HAS: u8 = 3;

/// A step of the left thread or the right one, on its own descriptors.
pub(crate) fn step(right: bool) -> BoxedStrategy<Step> {
    let first = 1 + if right { EACH_HAS } else { 0 };
    let own = first..first + EACH_HAS;
    let num = own.prop_map(Num::At);
    let payload = select(&[Payload::Byte, Payload::One, Payload::Page][..]);
    let amount = select(&[Amount::Byte, Amount::Word, Amount::All][..]);
    let ctl = (ctl(), num.clone()).prop_map(|(ctl, fd)| Ctl { ep: INSTANCE, fd, ..ctl });
    prop_oneof![
        8 => ctl.prop_map(Step::Ctl),
        4 => (num.clone(), payload).prop_map(|(n, p)| Step::Plain(Op::Write(n, p))),
        3 => (num.clone(), amount).prop_map(|(n, a)| Step::Plain(Op::Read(n, a))),
        1 => num.clone().prop_map(|n| Step::Plain(Op::Close(n))),
        1 => (num.clone(), num).prop_map(|(n, onto)| Step::Plain(Op::Dup2(n, onto))),
    ]
    .boxed()
}

pub(crate) fn programs() -> impl Strategy<Value = Program> {
    let steps = |right| vec(step(right), 0..30);
    vec((steps(false), steps(true)), 1..4)
}

pub(crate) fn run(ground: &Ground, epoll: Epoll, program: &Program) -> Vec<Came> {
    let world = ground.world();
    let instance = epoll.0.epoll_create1(libc::EPOLL_CLOEXEC).expect("epoll_create1");
    let mut came = vec![Came::Plain(world.admit_queue(instance))];
    for _ in 0..2 {
        for kind in [Kind::Pipe, Kind::Eventfd] {
            came.push(Came::Plain(world.apply(&Op::Open(kind)).1));
        }
    }
    for (left, right) in program {
        thread::scope(|scope| {
            let right = scope.spawn(|| one_thread(&world, epoll, right));
            came.extend(one_thread(&world, epoll, left));
            came.extend(right.join().expect("its panic was reported"));
        });
        let ready = epoll.wait_on(instance, 64, 0).map(|mut events| {
            events.sort_by_key(|event| (event.data, event.events));
            events
        });
        came.push(Came::Ready(ready));
    }
    came
}

fn one_thread(world: &World<'_>, epoll: Epoll, steps: &[Step]) -> Vec<Came> {
    run_anywhere();
    let one = |step: &Step| match step {
        Step::Plain(op) => Came::Plain(world.apply(op).1),
        Step::Ctl(ctl) => {
            Came::Ctl(steps::control(epoll, world.fd(INSTANCE), world.fd(ctl.fd), ctl))
        }
    };
    steps.iter().map(one).collect()
}
