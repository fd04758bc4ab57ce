//! What a random program is made of, and the generators.

use std::fmt;

use kq_core::test_support::epoll::{
    ADD, DEL, ET, EXCLUSIVE, Event, IN, MOD, ONESHOT, OUT, PRI, RDHUP, event,
};
use kq_core::test_support::ops::{Num, Op};
use kq_core::test_support::random::{kind, num, op, queue, traffic};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// What is no call of epoll's.
    Plain(Op),
    /// epoll_create(1) or epoll_create1(flags)
    Create(Option<i32>),
    /// epoll_ctl
    Ctl(Ctl),
    /// epoll_wait or its kin, without sleeping (or hardly)
    Wait(Wait),
    /// A second thread sleeps in epoll_wait while these steps are done, one after the other.
    Sleeper(Num, usize, Vec<Step>),
}

/// epoll_ctl's arguments.
#[derive(Clone, Debug)]
pub(crate) struct Ctl {
    pub(crate) ep: Num,
    pub(crate) op: i32,
    pub(crate) fd: Num,
    pub(crate) event: Pointer<Event>,
}

/// What a pointer points to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pointer<T> {
    /// Memory with this in it.
    To(T),
    Null,
    /// Mapped, but not to be touched.
    Unreadable,
    /// Mapped, and only to be read.
    ReadOnly,
    /// The kernel's half.
    Kernels,
}

/// Which call, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    Wait,
    /// With an empty mask, or none.
    Pwait(Pointer<()>),
    /// With a time of zero, or of these seconds and nanoseconds, if that is no time at all.
    Pwait2(Pointer<(i64, i64)>),
    /// epoll_wait for one millisecond.
    Briefly,
    /// epoll_wait for seconds, if poll says that something is ready.
    IfReady,
}

/// epoll_wait's arguments.
#[derive(Clone, Debug)]
pub(crate) struct Wait {
    pub(crate) ep: Num,
    pub(crate) maxevents: i32,
    pub(crate) how: How,
    pub(crate) events: Pointer<()>,
}

fn bits() -> BoxedStrategy<u32> {
    let interest = select(&[IN, OUT, IN | OUT, IN | RDHUP, IN | OUT | PRI | RDHUP, 0][..]);
    let options = select(&[0, 0, 0, 0, ET, ET, ET, ONESHOT, ET | ONESHOT, EXCLUSIVE][..]);
    prop_oneof![
        12 => (interest, options).prop_map(|(interest, options)| interest | options),
        1 => any::<u32>(),
    ]
    .boxed()
}

fn one_event() -> BoxedStrategy<Event> {
    (bits(), prop_oneof![3 => 0..100_u64, 1 => any::<u64>()])
        .prop_map(|(b, data)| event(b, data))
        .boxed()
}

fn bad<T: Clone + std::fmt::Debug>() -> impl Strategy<Value = Pointer<T>> + Clone {
    prop_oneof![Just(Pointer::Null), Just(Pointer::Unreadable), Just(Pointer::Kernels)]
}

fn operation() -> BoxedStrategy<i32> {
    prop_oneof![10 => Just(ADD), 5 => Just(MOD), 2 => Just(DEL), 1 => -1..6_i32].boxed()
}

pub(crate) fn ctl() -> BoxedStrategy<Ctl> {
    let event = prop_oneof![20 => one_event().prop_map(Pointer::To), 1 => bad()];
    (queue(), operation(), num(), event)
        .prop_map(|(ep, op, fd, event)| Ctl { ep, op, fd, event })
        .boxed()
}

fn how() -> BoxedStrategy<How> {
    let pwait = prop_oneof![2 => Just(Pointer::To(())), 3 => Just(Pointer::Null), 1 => bad()];
    let no_time = select(&[(0, 0), (0, 0), (0, 1000), (-1, 0), (0, -1), (0, 1_000_000_000)][..]);
    let pwait2 = prop_oneof![
        5 => no_time.prop_map(Pointer::To),
        1 => Just(Pointer::Unreadable),
        1 => Just(Pointer::Kernels),
    ];
    prop_oneof![
        20 => Just(How::Wait),
        3 => pwait.prop_map(How::Pwait),
        3 => pwait2.prop_map(How::Pwait2),
        1 => Just(How::Briefly),
        6 => Just(How::IfReady),
    ]
    .boxed()
}

fn wait() -> BoxedStrategy<Wait> {
    const MOST: i32 = i32::MAX / 12;
    let maxevents = prop_oneof![
        6 => Just(64),
        4 => 1..4_i32,
        1 => select(&[0, -1, i32::MIN, MOST, MOST + 1, i32::MAX][..]),
    ];
    let events = prop_oneof![20 => Just(Pointer::To(())), 1 => bad(), 1 => Just(Pointer::ReadOnly)];
    (queue(), maxevents, how(), events)
        .prop_map(|(ep, maxevents, how, events)| Wait { ep, maxevents, how, events })
        .boxed()
}

/// A step that is one event, or none, for whoever sleeps.
fn step_for_a_sleeper() -> BoxedStrategy<Step> {
    let one_event = traffic().prop_filter("one system call", |op| !matches!(op, Op::Fill(_)));
    prop_oneof![
        10 => one_event.prop_map(Step::Plain),
        2 => num().prop_map(|n| Step::Plain(Op::Close(n))),
        1 => (num(), num()).prop_map(|(n, onto)| Step::Plain(Op::Dup2(n, onto))),
        8 => ctl().prop_map(Step::Ctl),
    ]
    .boxed()
}

/// Any step.
pub(crate) fn step() -> BoxedStrategy<Step> {
    let flags = select(&[0, libc::EPOLL_CLOEXEC, 1, libc::O_NONBLOCK][..]);
    prop_oneof![
        30 => op().prop_map(Step::Plain),
        2 => proptest::option::of(flags).prop_map(Step::Create),
        24 => ctl().prop_map(Step::Ctl),
        20 => wait().prop_map(Step::Wait),
        1 => (queue(), 1..4_usize, vec(step_for_a_sleeper(), 0..6))
            .prop_map(|(ep, max, steps)| Step::Sleeper(ep, max, steps)),
    ]
    .boxed()
}

/// Steps, one after the other; printed one on a line.
#[derive(Clone)]
pub(crate) struct Program(pub(crate) Vec<Step>);

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, step)| writeln!(f, "{n:3} {step:?}"))
    }
}

/// What programs begin with: two instances and a few descriptors.
pub(crate) fn beginning() -> BoxedStrategy<Vec<Step>> {
    let opens = vec(kind().prop_map(|kind| Step::Plain(Op::Open(kind))), 1..5);
    let adds = vec(ctl().prop_map(|ctl| Step::Ctl(Ctl { op: ADD, ..ctl })), 0..6);
    let begin = |(opens, adds)| {
        let instances = [Step::Create(Some(libc::EPOLL_CLOEXEC)), Step::Create(None)];
        instances.into_iter().chain::<Vec<Step>>(opens).chain::<Vec<Step>>(adds).collect()
    };
    (opens, adds).prop_map(begin).boxed()
}

/// A program: its beginning, and then anything.
pub(crate) fn programs() -> impl Strategy<Value = Program> {
    (beginning(), vec(step(), 1..40)).prop_map(|(begin, steps)| Program([begin, steps].concat()))
}
