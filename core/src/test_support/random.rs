//! Generators (proptest) of random steps. They shrink: a failing program is cut down to what fails.
//!
//! They are boxed: a value of a nested choice holds all of its branches, and to move those about costs
//! more than what they are tried for.

use proptest::prelude::*;
use proptest::sample::select;

use super::ops::{Amount, Num, Op, Payload, When};
use super::world::NUMBERS;
use super::zoo::Kind;

/// A number, open or not: those that are mostly in use more often.
pub fn place() -> BoxedStrategy<Num> {
    prop_oneof![4 => 0_u8..6, 1 => 0..NUMBERS].prop_map(Num::At).boxed()
}

/// A number: mostly one that the step can do something with.
pub fn num() -> BoxedStrategy<Num> {
    prop_oneof![
        8 => any::<u8>().prop_map(Num::Fit),
        3 => any::<u8>().prop_map(Num::Open),
        1 => (0..NUMBERS).prop_map(Num::At),
    ]
    .boxed()
}

/// A number: mostly that of a queue.
pub fn queue() -> BoxedStrategy<Num> {
    prop_oneof![9 => any::<u8>().prop_map(Num::Queue), 1 => num()].boxed()
}

/// A kind of descriptor; those whose readiness changes in many ways more often.
pub fn kind() -> BoxedStrategy<Kind> {
    prop_oneof![
        4 => Just(Kind::Pipe),
        4 => Just(Kind::UnixStream),
        3 => Just(Kind::Eventfd),
        3 => Just(Kind::TcpPair),
        2 => Just(Kind::Timerfd),
        12 => select(&super::zoo::ALL[..]),
    ]
    .boxed()
}

fn payload() -> BoxedStrategy<Payload> {
    prop_oneof![
        1 => Just(Payload::Nothing),
        4 => Just(Payload::Byte),
        4 => Just(Payload::One),
        1 => Just(Payload::Most),
        2 => Just(Payload::Page),
    ]
    .boxed()
}

fn amount() -> BoxedStrategy<Amount> {
    prop_oneof![
        2 => Just(Amount::Byte),
        1 => Just(Amount::Word),
        1 => Just(Amount::NearlyPage),
        4 => Just(Amount::All),
    ]
    .boxed()
}

fn when() -> BoxedStrategy<When> {
    prop_oneof![3 => Just(When::Now), 1 => Just(When::Later), 1 => Just(When::Never)].boxed()
}

fn poll_events() -> BoxedStrategy<i16> {
    const BITS: [i16; 5] =
        [0, libc::POLLIN, libc::POLLOUT, libc::POLLIN | libc::POLLPRI, libc::POLLRDHUP];
    prop_oneof![select(&BITS[..]), any::<i16>()].boxed()
}

/// A step that moves data or states, and neither makes nor ends descriptors: two threads may do such
/// steps at once.
pub fn traffic() -> BoxedStrategy<Op> {
    let how = select(&[libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR][..]);
    prop_oneof![
        24 => (num(), payload()).prop_map(|(n, p)| Op::Write(n, p)),
        20 => (num(), amount()).prop_map(|(n, a)| Op::Read(n, a)),
        4 => num().prop_map(Op::Fill),
        4 => (num(), how).prop_map(|(n, how)| Op::Shutdown(n, how)),
        6 => (num(), when()).prop_map(|(n, when)| Op::Arm(n, when)),
        1 => Just(Op::Raise),
        1 => Just(Op::Touch),
    ]
    .boxed()
}

/// Any step.
pub fn op() -> BoxedStrategy<Op> {
    prop_oneof![
        40 => traffic(),
        8 => kind().prop_map(Op::Open),
        6 => num().prop_map(Op::Close),
        3 => num().prop_map(Op::Dup),
        3 => (num(), num()).prop_map(|(n, onto)| Op::Dup2(n, onto)),
        3 => (num(), poll_events()).prop_map(|(n, events)| Op::Poll(n, events)),
        12 => socket_op(),
    ]
    .boxed()
}

/// A step for sockets alone.
fn socket_op() -> BoxedStrategy<Op> {
    prop_oneof![
        3 => num().prop_map(Op::SendOob),
        2 => num().prop_map(Op::RecvOob),
        1 => num().prop_map(Op::OobInline),
        1 => num().prop_map(Op::LowWater),
        3 => (num(), num()).prop_map(|(n, to)| Op::Connect(n, to)),
        1 => num().prop_map(Op::ConnectNowhere),
        1 => num().prop_map(Op::Listen),
        3 => num().prop_map(Op::Accept),
        1 => num().prop_map(Op::TakeError),
        1 => num().prop_map(Op::ResetAtClose),
        2 => (num(), num()).prop_map(|(over, n)| Op::Pass(over, n)),
        2 => num().prop_map(Op::Receive),
    ]
    .boxed()
}
