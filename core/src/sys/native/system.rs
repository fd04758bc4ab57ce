//! What differs between the systems: the numbers of filters and flags, and what there is of them.
//!
//! The values are those of the systems' sys/event.h. All five tables are compiled everywhere, so
//! that the translations can be tested anywhere; that of the system at hand is compared with the
//! libc crate when it is compiled.

use crate::event::EventFilter;
#[cfg(test)]
use crate::event::FilterFlag;

/// How a timer's unit is written in fflags.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Units {
    /// One value for each of s, ms, us, ns, and a bit for a moment of time.
    Values { s: u32, ms: u32, us: u32, ns: u32, absolute: u32 },
    /// Milliseconds, whatever fflags say.
    OnlyMilliseconds,
}

/// One system's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct System {
    /// The numbers of the filters that there are.
    pub(crate) filters: &'static [(EventFilter, i32)],
    /// EV_FORCEONESHOT and EV_KEEPUDATA. Elsewhere their bits mean something else, or nothing.
    pub(crate) force_and_keep: bool,
    /// EXCEPT: out-of-band data.
    pub(crate) oob: u32,
    /// READ: regular files as poll has them (NOTE_FILE_POLL).
    pub(crate) file_poll: bool,
    /// VNODE: opening, closing and reading are told. Elsewhere their bits mean something else.
    pub(crate) opens_and_reads: bool,
    /// PROC: a bit without which no wait status is told.
    pub(crate) exit_status: u32,
    pub(crate) timer: Units,
}

use EventFilter::*;

/// What all but NetBSD number alike.
const fn common(rest: [(EventFilter, i32); 6]) -> [(EventFilter, i32); 13] {
    let [a, b, c, d, e, f] = rest;
    [
        (EVFILT_READ, -1),
        (EVFILT_WRITE, -2),
        (EVFILT_AIO, -3),
        (EVFILT_VNODE, -4),
        (EVFILT_PROC, -5),
        (EVFILT_SIGNAL, -6),
        (EVFILT_TIMER, -7),
        a,
        b,
        c,
        d,
        e,
        f,
    ]
}

/// FreeBSD, and whatever else has its layout. FreeBSD has no EXCEPT; it refuses the number, which
/// is how the engine finds out.
pub(crate) const FREEBSD: System = System {
    filters: &common([
        (EVFILT_PROCDESC, -8),
        (EVFILT_FS, -9),
        (EVFILT_LIO, -10),
        (EVFILT_USER, -11),
        (EVFILT_EMPTY, -13),
        (EVFILT_EXCEPT, EVFILT_EXCEPT as i32),
    ]),
    force_and_keep: true,
    oob: 2,
    file_poll: true,
    opens_and_reads: true,
    exit_status: 0,
    timer: Units::Values { s: 1, ms: 2, us: 4, ns: 8, absolute: 0x10 },
};

/// NetBSD.
pub(crate) const NETBSD: System = System {
    filters: &[
        (EVFILT_READ, 0),
        (EVFILT_WRITE, 1),
        (EVFILT_AIO, 2),
        (EVFILT_VNODE, 3),
        (EVFILT_PROC, 4),
        (EVFILT_SIGNAL, 5),
        (EVFILT_TIMER, 6),
        (EVFILT_FS, 7),
        (EVFILT_USER, 8),
        (EVFILT_EMPTY, 9),
    ],
    force_and_keep: false,
    oob: 0,
    file_poll: false,
    opens_and_reads: true,
    exit_status: 0,
    timer: Units::Values { s: 1, ms: 0, us: 2, ns: 3, absolute: 0x10 },
};

/// OpenBSD.
pub(crate) const OPENBSD: System = System {
    filters: &[
        (EVFILT_READ, -1),
        (EVFILT_WRITE, -2),
        (EVFILT_AIO, -3),
        (EVFILT_VNODE, -4),
        (EVFILT_PROC, -5),
        (EVFILT_SIGNAL, -6),
        (EVFILT_TIMER, -7),
        (EVFILT_EXCEPT, -9),
        (EVFILT_USER, -10),
    ],
    force_and_keep: false,
    oob: 4,
    file_poll: false,
    opens_and_reads: false,
    exit_status: 0,
    timer: Units::Values { s: 1, ms: 0, us: 2, ns: 3, absolute: 0x10 },
};

/// DragonFly.
pub(crate) const DRAGONFLY: System = System {
    filters: &[
        (EVFILT_READ, -1),
        (EVFILT_WRITE, -2),
        (EVFILT_AIO, -3),
        (EVFILT_VNODE, -4),
        (EVFILT_PROC, -5),
        (EVFILT_SIGNAL, -6),
        (EVFILT_TIMER, -7),
        (EVFILT_EXCEPT, -8),
        (EVFILT_USER, -9),
        (EVFILT_FS, -10),
    ],
    force_and_keep: false,
    oob: 2,
    file_poll: false,
    opens_and_reads: false,
    exit_status: 0,
    timer: Units::OnlyMilliseconds,
};

/// macOS.
pub(crate) const MACOS: System = System {
    filters: &[
        (EVFILT_READ, -1),
        (EVFILT_WRITE, -2),
        (EVFILT_AIO, -3),
        (EVFILT_VNODE, -4),
        (EVFILT_PROC, -5),
        (EVFILT_SIGNAL, -6),
        (EVFILT_TIMER, -7),
        (EVFILT_FS, -9),
        (EVFILT_USER, -10),
        (EVFILT_EXCEPT, -15),
    ],
    force_and_keep: false,
    oob: 2,
    file_poll: false,
    opens_and_reads: false,
    exit_status: 0x0400_0000,
    timer: Units::Values { s: 1, ms: 0, us: 2, ns: 4, absolute: 8 },
};

impl System {
    /// The number of a filter, if there is one.
    pub(crate) const fn number(&self, filter: EventFilter) -> Option<i32> {
        let mut at = 0;
        while at < self.filters.len() {
            if self.filters[at].0 as i8 == filter as i8 {
                return Some(self.filters[at].1);
            }
            at += 1;
        }
        None
    }

    /// The filter of a number.
    pub(crate) fn filter(&self, number: i32) -> Option<EventFilter> {
        self.filters.iter().find(|(_, n)| *n == number).map(|(filter, _)| *filter)
    }
}

/// Compares the table of the system at hand with the libc crate's constants.
#[cfg(not(target_os = "linux"))]
const _: () = {
    use super::layout::HERE;
    use EventFilter::*;

    const fn is(filter: EventFilter, number: i32) {
        assert!(matches!(HERE.number(filter), Some(n) if n == number));
    }
    is(EVFILT_READ, libc::EVFILT_READ as i32);
    is(EVFILT_WRITE, libc::EVFILT_WRITE as i32);
    is(EVFILT_AIO, libc::EVFILT_AIO as i32);
    is(EVFILT_VNODE, libc::EVFILT_VNODE as i32);
    is(EVFILT_PROC, libc::EVFILT_PROC as i32);
    is(EVFILT_SIGNAL, libc::EVFILT_SIGNAL as i32);
    is(EVFILT_TIMER, libc::EVFILT_TIMER as i32);
    is(EVFILT_USER, libc::EVFILT_USER as i32);
    #[cfg(not(target_os = "openbsd"))]
    is(EVFILT_FS, libc::EVFILT_FS as i32);
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    is(EVFILT_EMPTY, libc::EVFILT_EMPTY as i32);
    #[cfg(not(any(target_os = "freebsd", target_os = "netbsd")))]
    {
        is(EVFILT_EXCEPT, libc::EVFILT_EXCEPT as i32);
        assert!(HERE.oob == libc::NOTE_OOB);
    }
    #[cfg(target_os = "freebsd")]
    {
        is(EVFILT_PROCDESC, libc::EVFILT_PROCDESC as i32);
        is(EVFILT_LIO, libc::EVFILT_LIO as i32);
    }
    #[cfg(target_os = "macos")]
    assert!(HERE.exit_status == libc::NOTE_EXITSTATUS);
    #[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
    if let Units::Values { s, ms, us, ns, absolute } = HERE.timer {
        assert!(s == libc::NOTE_SECONDS && ms == libc::NOTE_MSECONDS);
        assert!(us == libc::NOTE_USECONDS && ns == libc::NOTE_NSECONDS);
        assert!(absolute == libc::NOTE_ABSTIME);
    }
    #[cfg(target_os = "macos")]
    if let Units::Values { s, us, ns, absolute, .. } = HERE.timer {
        assert!(s == libc::NOTE_SECONDS && us == libc::NOTE_USECONDS);
        assert!(ns == libc::NOTE_NSECONDS && absolute == libc::NOTE_ABSOLUTE);
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const ALL: [System; 5] = [FREEBSD, NETBSD, OPENBSD, DRAGONFLY, MACOS];

    #[test]
    fn each_number_is_one_filters() {
        for system in ALL {
            for (filter, number) in system.filters {
                assert_eq!(system.number(*filter), Some(*number));
                assert_eq!(system.filter(*number), Some(*filter));
            }
        }
    }

    #[test]
    fn freebsds_are_our_own() {
        for (filter, number) in FREEBSD.filters {
            assert_eq!(*filter as i32, *number);
        }
        let Units::Values { s, ms, us, ns, absolute } = FREEBSD.timer else { panic!() };
        let ours = [
            FilterFlag::NOTE_SECONDS,
            FilterFlag::NOTE_MSECONDS,
            FilterFlag::NOTE_USECONDS,
            FilterFlag::NOTE_NSECONDS,
            FilterFlag::NOTE_ABSTIME,
        ];
        assert_eq!([s, ms, us, ns, absolute], ours.map(|flag| flag.bits()));
        assert_eq!(FREEBSD.oob, FilterFlag::NOTE_OOB.bits());
    }
}
