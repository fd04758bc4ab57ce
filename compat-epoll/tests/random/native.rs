//! Random programs of what a kqueue and epoll have in common, on the kernel's epoll and on ours over a
//! native kqueue. docs/deviations.md has what is left out, and why:
//! - duplicates, and descriptors that are passed: a closed number loses its knotes;
//! - ERR of a socket: the library beneath tells no errors (data.rs: `a_socket_error_is_left_to_the_program`);
//! - what an instance says that watches another: a registration for a hang-up may make it readable
//!   for nothing;
//! - the order of events, and which come first where there is not room for all;
//! - edges: two filters have two;
//! - the bands (RDNORM and its kin), which not every descriptor has;
//! - sockets that listen or were never connected, datagram sockets with an error, and what is no socket, pipe or
//!   counter.

use std::collections::HashSet;
use std::os::fd::RawFd;

use kq_core::test_support::compare::{Plan, compare};
use kq_core::test_support::epoll::{ERR, Epoll, Event, IN, KERNEL, ONESHOT, OUT, RDHUP};
use kq_core::test_support::isolate::tell;
use kq_core::test_support::ops::{Num, Op, Outcome};
use kq_core::test_support::world::Ground;
use kq_core::test_support::zoo::Kind;
use proptest::prelude::*;

use crate::suite::program::{Ctl, How, Pointer, Program, Step, Wait, programs};
use crate::suite::run::{Came, run};

/// One thread.
pub(crate) fn sequences(tested: Epoll) {
    let ground = Ground::new();
    let first = ground.world().fd(Num::At(0));
    let plan = Plan::from_env(1500);
    let steps = compare(
        plan,
        programs().prop_map(tame),
        |program| told(first, run(&ground, KERNEL, program)),
        |program| told(first, run(&ground, tested, program)),
    );
    tell(&format!("{} programs, {steps} steps compared", plan.cases));
    assert!(steps > u64::from(plan.cases), "programs in which hardly anything happens");
}

/// What is in common of a program.
fn tame(program: Program) -> Program {
    Program(program.0.into_iter().filter_map(tame_step).collect())
}

fn tame_step(step: Step) -> Option<Step> {
    match step {
        Step::Plain(op) if is_common(&op) => Some(Step::Plain(op)),
        Step::Create(None | Some(0 | libc::EPOLL_CLOEXEC)) => Some(step),
        Step::Ctl(Ctl { ep, op, fd, event: Pointer::To(event) }) => {
            let events = event.events & (IN | OUT | RDHUP | ONESHOT);
            Some(Step::Ctl(Ctl { ep, op, fd, event: Pointer::To(Event { events, ..event }) }))
        }
        Step::Wait(Wait { ep, how: How::Wait | How::Briefly | How::IfReady, .. }) => {
            let wait = Wait { ep, maxevents: 64, how: How::Wait, events: Pointer::To(()) };
            Some(Step::Wait(wait))
        }
        _ => None,
    }
}

fn is_common(op: &Op) -> bool {
    match op {
        Op::Open(kind) => matches!(
            kind,
            Kind::Pipe
                | Kind::UnixStream
                | Kind::UnixSeqpacket
                | Kind::TcpPair
                | Kind::Eventfd
                | Kind::File
                | Kind::Directory
                | Kind::DevNull
        ),
        Op::Close(_) | Op::Write(..) | Op::Read(..) | Op::Fill(_) | Op::Shutdown(..) => true,
        _ => false,
    }
}

/// What came, as far as both tell it.
fn told(first: RawFd, came: Vec<Came>) -> Vec<Came> {
    // Instances by number, and those that have watched one.
    let (mut instances, mut outer) = (HashSet::new(), HashSet::new());
    let mut one = |came| match came {
        Came::Create(Outcome::Opened(numbers)) => {
            instances.extend(numbers.iter().map(|n| n + first));
            Came::Create(Outcome::Opened(numbers))
        }
        Came::Ctl(ep, fd, result) => {
            if instances.contains(&fd) {
                outer.insert(ep);
            }
            Came::Ctl(ep, fd, result)
        }
        Came::Wait(ep, Some(Ok(events))) if !outer.contains(&ep) => {
            let mut events: Vec<Event> = events
                .into_iter()
                .map(|event| Event { events: event.events & !ERR, ..event })
                .filter(|event| event.events != 0)
                .collect();
            events.sort_unstable_by_key(|event| (event.data, event.events));
            Came::Wait(ep, Some(Ok(events)))
        }
        Came::Wait(ep, Some(Ok(_))) => Came::Wait(ep, None),
        came => came,
    };
    // What the kernel's poll says of a descriptor is no matter here.
    came.into_iter()
        .map(&mut one)
        .filter(|came| !matches!(came, Came::Plain(Op::Poll(..), _)))
        .collect()
}
