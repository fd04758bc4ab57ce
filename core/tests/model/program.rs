//! What a random program may do.

use kq_core::EvFlags;
use kq_core::EventFilter::{self, EVFILT_EXCEPT, EVFILT_READ, EVFILT_WRITE};
use proptest::prelude::*;

/// How many numbers a program has for its descriptors.
pub(crate) const SLOTS: usize = 6;

/// A number of the program's, counted from its first.
pub(crate) type Slot = usize;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// kevent() with one change.
    Change {
        slot: Slot,
        filter: EventFilter,
        flags: EvFlags,
        udata: isize,
    },
    /// kevent() with room for so many events, without waiting.
    Wait {
        room: usize,
    },
    /// kevent() with room for one event, again and again, until every ready knote had its turn.
    OneByOne,
    Write {
        slot: Slot,
        bytes: usize,
    },
    Read {
        slot: Slot,
        bytes: usize,
    },
    /// Writes until there is no room.
    Fill {
        slot: Slot,
    },
    /// Reads until there is nothing.
    Drain {
        slot: Slot,
    },
    Shutdown {
        slot: Slot,
        how: i32,
    },
    Close {
        slot: Slot,
    },
    Dup {
        from: Slot,
        to: Slot,
    },
    Pair {
        slots: (Slot, Slot),
        pipe: bool,
    },
}

fn flags() -> impl Strategy<Value = EvFlags> {
    const ADD: EvFlags = EvFlags::EV_ADD;
    let kind = prop_oneof![
        4 => Just(EvFlags::empty()),
        4 => Just(EvFlags::EV_CLEAR),
        2 => Just(EvFlags::EV_ONESHOT),
        2 => Just(EvFlags::EV_DISPATCH),
        1 => Just(EvFlags::EV_CLEAR | EvFlags::EV_DISPATCH),
        1 => Just(EvFlags::EV_CLEAR | EvFlags::EV_ONESHOT),
        1 => Just(EvFlags::EV_DISPATCH | EvFlags::EV_ONESHOT),
    ];
    let able = prop_oneof![
        6 => Just(EvFlags::empty()),
        1 => Just(EvFlags::EV_DISABLE),
        1 => Just(EvFlags::EV_ENABLE),
        1 => Just(EvFlags::EV_KEEPUDATA),
    ];
    let add = (kind, able).prop_map(|(kind, able)| ADD | kind | able);
    prop_oneof![
        8 => add,
        3 => Just(EvFlags::EV_DELETE),
        3 => Just(EvFlags::EV_ENABLE),
        3 => Just(EvFlags::EV_DISABLE),
        1 => Just(EvFlags::EV_ENABLE | EvFlags::EV_DISABLE),
        1 => Just(EvFlags::EV_FORCEONESHOT),
        1 => Just(EvFlags::empty()),
    ]
}

/// Any step.
pub(crate) fn op() -> BoxedStrategy<Op> {
    let slot = 0..SLOTS;
    let filter =
        prop_oneof![4 => Just(EVFILT_READ), 4 => Just(EVFILT_WRITE), 1 => Just(EVFILT_EXCEPT)];
    let change = (slot.clone(), filter, flags(), 1..1000_isize)
        .prop_map(|(slot, filter, flags, udata)| Op::Change { slot, filter, flags, udata });
    let pair = (slot.clone(), 1..SLOTS, any::<bool>())
        .prop_map(|(a, n, pipe)| Op::Pair { slots: (a, (a + n) % SLOTS), pipe });
    prop_oneof![
        10 => change,
        6 => (1..5_usize).prop_map(|room| Op::Wait { room }),
        3 => Just(Op::Wait { room: 16 }),
        1 => Just(Op::Wait { room: 1000 }),
        1 => Just(Op::OneByOne),
        4 => (slot.clone(), 1..3000_usize).prop_map(|(slot, bytes)| Op::Write { slot, bytes }),
        3 => (slot.clone(), 1..5000_usize).prop_map(|(slot, bytes)| Op::Read { slot, bytes }),
        2 => slot.clone().prop_map(|slot| Op::Fill { slot }),
        2 => slot.clone().prop_map(|slot| Op::Drain { slot }),
        1 => (slot.clone(), 0..3).prop_map(|(slot, how)| Op::Shutdown { slot, how }),
        2 => slot.clone().prop_map(|slot| Op::Close { slot }),
        2 => (slot.clone(), slot).prop_map(|(from, to)| Op::Dup { from, to }),
        2 => pair,
    ]
    .boxed()
}

/// What programs begin with: something to work on.
pub(crate) fn beginning(pipe: bool) -> Vec<Op> {
    vec![Op::Pair { slots: (0, 1), pipe: false }, Op::Pair { slots: (2, 3), pipe }]
}

/// A program.
pub(crate) fn program() -> impl Strategy<Value = Vec<Op>> {
    (any::<bool>(), proptest::collection::vec(op(), 1..60))
        .prop_map(|(pipe, ops)| [beginning(pipe), ops].concat())
}
