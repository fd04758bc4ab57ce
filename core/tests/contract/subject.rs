//! What a filter has to offer to be put through the contracts.

use kq_core::{Errno, EventFilter, FilterFlag, KEvent, Kqueue};

use super::fixture::apply;
use super::subjects::{aio, descriptor, file, process, system, timer, user};

/// One source of events, fresh and quiet.
pub(crate) trait Subject: Send {
    /// The filter that watches it.
    fn filter(&self) -> EventFilter;

    /// What names it.
    fn ident(&self) -> usize;

    /// `fflags` and `data` of a change; `adding` if it is an EV_ADD.
    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::empty(), 0)
    }

    /// Applies a change of its knote.
    fn apply(&self, kq: &Kqueue, change: &KEvent) -> Result<(), Errno> {
        apply(kq, &[*change])
    }

    /// Brings new activity, after which the condition holds. The kernel knows of it on return.
    /// `queues` are those that have, or may have, a knote of it: for sources that live in a queue.
    fn trigger(&mut self, queues: &[&Kqueue]);

    /// Ends the condition.
    fn quench(&mut self, _queues: &[&Kqueue]) {
        unreachable!("a subject that lacks Need::Quench")
    }

    /// Checks what an event says beside ident, filter, flags and udata.
    fn check(&self, event: &KEvent);
}

/// What a contract may ask of a subject.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Need {
    /// A knote can be added while its condition does not hold.
    Idle,
    /// The condition can hold before there is a knote.
    Before,
    /// Without EV_CLEAR the condition is reported as long as it holds.
    Level,
    /// The condition can be ended.
    Quench,
    /// There can be new activity after the first.
    Again,
    /// Activity that was reported does not go on by itself.
    Rest,
    /// The kernel wakes once for each activity.
    OneWake,
    /// The ident is a descriptor.
    Descriptor,
    /// A knote can be added by kevent(), in any queue.
    Adding,
    /// A knote can be given any flags when it is added.
    Flags,
    /// A knote stays after its event.
    Stays,
    /// Its events have no flag of the system's.
    Plain,
}

/// A kind of subject.
#[derive(Debug)]
pub(crate) struct Kind {
    /// The filter, and what of.
    pub(crate) name: &'static str,
    /// Makes one; an error says what this machine lacks.
    pub(crate) make: fn() -> Result<Box<dyn Subject>, String>,
    /// What it cannot offer, and why.
    pub(crate) lacks: &'static [(Need, &'static str)],
}

impl Kind {
    /// Whether each contract is to be run in a process of its own.
    pub(crate) fn is_of_the_process(&self) -> bool {
        matches!(self.name, "SIGNAL" | "FS")
    }

    pub(crate) fn reason(&self, need: Need) -> Option<&'static str> {
        self.lacks.iter().find(|(lack, _)| *lack == need).map(|(_, why)| *why)
    }
}

const NOT_BY_NUMBER: (Need, &str) = (Need::Descriptor, "its ident is not a descriptor");

const EXIT_ONCE: &str = "the exit is told once, with EV_EOF and EV_ONESHOT, and the knote goes";
const CLEARS: &str = "it clears itself (EV_CLEAR is implied)";
const BY_REQUEST: &str =
    "a knote comes with its request, and belongs to one queue; kevent() says EPERM";

/// PROC: a process ends.
const ENDS: &[(Need, &str)] = &[
    NOT_BY_NUMBER,
    (Need::Level, EXIT_ONCE),
    (Need::Quench, "what has happened has happened"),
    (Need::Again, "a process ends once"),
    (Need::Flags, EXIT_ONCE),
    (Need::Plain, EXIT_ONCE),
    (Need::Stays, EXIT_ONCE),
];

/// SIGNAL and FS: something happens, is told, and is over.
const HAPPENINGS: &[(Need, &str)] = &[
    NOT_BY_NUMBER,
    (Need::Before, "what happened before there was a knote is not told"),
    (Need::Level, CLEARS),
    (Need::Quench, "what has happened has happened"),
];

/// Every filter, on every kind of source that differs.
pub(crate) const SUBJECTS: &[Kind] = &[
    Kind { name: "READ socket", make: descriptor::read_socket, lacks: &[] },
    Kind { name: "READ tcp", make: descriptor::read_tcp, lacks: &[] },
    Kind { name: "READ pipe", make: descriptor::read_pipe, lacks: &[] },
    Kind { name: "READ kqueue", make: descriptor::read_kqueue, lacks: &[] },
    Kind { name: "READ file", make: file::read_file, lacks: &[] },
    Kind {
        name: "READ null",
        make: file::read_null,
        lacks: &[
            (Need::Idle, "the device is always ready"),
            (Need::Quench, "the device is always ready"),
            (Need::Again, "nothing ever happens to it"),
        ],
    },
    Kind { name: "WRITE socket", make: descriptor::write_socket, lacks: &[] },
    Kind { name: "WRITE pipe", make: descriptor::write_pipe, lacks: &[] },
    Kind {
        name: "EXCEPT tcp",
        make: descriptor::except_tcp,
        lacks: &[(Need::OneWake, "tcp wakes for the urgent mark and for the byte: two edges")],
    },
    Kind {
        name: "VNODE file",
        make: file::vnode,
        lacks: &[
            (Need::Before, "what happened before there was a knote is not told"),
            (Need::Quench, "what has happened has happened"),
        ],
    },
    Kind { name: "PROC", make: process::proc, lacks: ENDS },
    // The same, but that its ident is a descriptor.
    Kind { name: "PROCDESC", make: process::procdesc, lacks: ENDS.split_at(1).1 },
    Kind { name: "SIGNAL", make: system::signal, lacks: HAPPENINGS },
    Kind { name: "FS", make: system::mounts, lacks: HAPPENINGS },
    Kind {
        name: "AIO",
        make: aio::aio,
        lacks: &[
            NOT_BY_NUMBER,
            (Need::Adding, BY_REQUEST),
            (Need::Quench, "what is over is over; aio_return takes the knote too"),
            (Need::Again, "a request is over once"),
            (Need::Plain, "EV_EOF says that the request is over, as on FreeBSD"),
        ],
    },
    Kind {
        name: "LIO",
        make: aio::lio,
        lacks: &[
            NOT_BY_NUMBER,
            (Need::Adding, BY_REQUEST),
            (Need::Flags, "the knote of a list begins without flags, as on FreeBSD"),
            (Need::Quench, "what is over is over; aio_return takes the knote too"),
            (Need::Again, "a request is over once"),
        ],
    },
    Kind { name: "USER", make: user::user, lacks: &[NOT_BY_NUMBER] },
    Kind { name: "TIMER absolute", make: timer::absolute, lacks: &[NOT_BY_NUMBER] },
    Kind {
        name: "TIMER periodic",
        make: timer::periodic,
        lacks: &[
            NOT_BY_NUMBER,
            (Need::Idle, "it starts to count when it is added"),
            (Need::Before, "there is no timer before it is added"),
            (Need::Level, "a relative timer clears itself (EV_CLEAR is implied)"),
            (Need::Quench, "it expires again and again"),
            (Need::Rest, "it expires again and again"),
        ],
    },
];
