//! From our events to the system's and back. Pure: no system call is made here.

use nix::errno::Errno;

use crate::event::{EV_SYSFLAGS, EvFlags, EventFilter, FilterFlag, KEvent};

use super::system::{System, Units};

/// An event in the system's values, whatever the widths of its fields there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Plain {
    pub(crate) ident: usize,
    pub(crate) filter: i32,
    pub(crate) flags: u32,
    pub(crate) fflags: u32,
    pub(crate) data: i64,
    pub(crate) udata: usize,
    pub(crate) ext: [u64; 4],
}

const FORCE_AND_KEEP: u16 = EvFlags::EV_FORCEONESHOT.bits() | EvFlags::EV_KEEPUDATA.bits();
const TIMER_UNITS: u32 = FilterFlag::NOTE_SECONDS.bits()
    | FilterFlag::NOTE_MSECONDS.bits()
    | FilterFlag::NOTE_USECONDS.bits()
    | FilterFlag::NOTE_NSECONDS.bits();
const ABSTIME: u32 = FilterFlag::NOTE_ABSTIME.bits();
const OPENS_AND_READS: u32 = FilterFlag::NOTE_OPEN.bits()
    | FilterFlag::NOTE_CLOSE.bits()
    | FilterFlag::NOTE_CLOSE_WRITE.bits()
    | FilterFlag::NOTE_READ.bits();

/// A change, as the system has it.
///
/// # Errors
/// - `EINVAL`: no such filter here; two units of a timer.
/// - `ENOTSUP`: the system lacks a flag. Its bit would say something else there.
pub(crate) fn change(system: &System, event: &KEvent) -> Result<Plain, Errno> {
    let filter = EventFilter::try_from(event.filter)?;
    let number = system.number(filter).ok_or(Errno::EINVAL)?;
    if event.flags & FORCE_AND_KEEP != 0 && !system.force_and_keep {
        return Err(Errno::ENOTSUP);
    }
    let (fflags, data) = notes(system, filter, event.fflags, event.data)?;
    Ok(Plain {
        ident: event.ident,
        filter: number,
        flags: u32::from(event.flags & !EV_SYSFLAGS),
        fflags,
        data,
        udata: event.udata,
        ext: event.ext,
    })
}

/// The same change without what only a parent may ask for: macOS tells nobody else the status.
pub(crate) fn less(system: &System, plain: &Plain) -> Option<Plain> {
    let asks = Some(plain.filter) == system.number(EventFilter::EVFILT_PROC)
        && plain.fflags & system.exit_status != 0;
    asks.then_some(Plain { fflags: plain.fflags & !system.exit_status, ..*plain })
}

/// fflags and data of a change.
fn notes(
    system: &System,
    filter: EventFilter,
    fflags: u32,
    data: i64,
) -> Result<(u32, i64), Errno> {
    let needs = |bits: u32, there: bool| {
        if fflags & bits != 0 && !there { Err(Errno::ENOTSUP) } else { Ok(()) }
    };
    let fflags = match filter {
        EventFilter::EVFILT_READ | EventFilter::EVFILT_WRITE => {
            needs(FilterFlag::NOTE_FILE_POLL.bits(), system.file_poll)?;
            // Ours alone: data comes all the same.
            fflags & !FilterFlag::NOTE_NODATA.bits()
        }
        EventFilter::EVFILT_EXCEPT => swap(fflags, FilterFlag::NOTE_OOB.bits(), system.oob),
        EventFilter::EVFILT_VNODE => {
            needs(OPENS_AND_READS, system.opens_and_reads)?;
            fflags
        }
        EventFilter::EVFILT_PROC if fflags & FilterFlag::NOTE_EXIT.bits() != 0 => {
            fflags | system.exit_status
        }
        EventFilter::EVFILT_TIMER => return timer(system, fflags, data),
        _ => fflags,
    };
    Ok((fflags, data))
}

/// A timer's unit, and its time in it.
fn timer(system: &System, fflags: u32, data: i64) -> Result<(u32, i64), Errno> {
    let unit = fflags & TIMER_UNITS;
    if unit.count_ones() > 1 {
        return Err(Errno::EINVAL);
    }
    let unit = FilterFlag::from_bits_retain(unit);
    match system.timer {
        Units::Values { s, ms, us, ns, absolute } => {
            let value = match unit {
                FilterFlag::NOTE_SECONDS => s,
                FilterFlag::NOTE_USECONDS => us,
                FilterFlag::NOTE_NSECONDS => ns,
                FilterFlag::NOTE_MSECONDS => ms,
                // Milliseconds, everywhere.
                _ => 0,
            };
            Ok((value | if fflags & ABSTIME != 0 { absolute } else { 0 }, data))
        }
        Units::OnlyMilliseconds if fflags & ABSTIME != 0 => Err(Errno::ENOTSUP),
        // Rounded up: never early.
        Units::OnlyMilliseconds => Ok((
            0,
            match unit {
                FilterFlag::NOTE_SECONDS => data.saturating_mul(1000),
                FilterFlag::NOTE_USECONDS => round_up(data, 1000),
                FilterFlag::NOTE_NSECONDS => round_up(data, 1_000_000),
                _ => data,
            },
        )),
    }
}

fn round_up(value: i64, by: i64) -> i64 {
    value.div_euclid(by) + i64::from(value.rem_euclid(by) != 0)
}

/// Exchanges a bit for another.
fn swap(bits: u32, from: u32, to: u32) -> u32 {
    if bits & from != 0 { bits & !from | to } else { bits }
}

/// An event, as we have it. None for a filter that we have no name for.
pub(crate) fn event(system: &System, plain: &Plain) -> Option<KEvent> {
    let filter = system.filter(plain.filter)?;
    let fflags = match filter {
        EventFilter::EVFILT_EXCEPT => swap(plain.fflags, system.oob, FilterFlag::NOTE_OOB.bits()),
        EventFilter::EVFILT_PROC => plain.fflags & !system.exit_status,
        EventFilter::EVFILT_TIMER => timer_flags(system, plain.fflags),
        _ => plain.fflags,
    };
    Some(KEvent {
        ident: plain.ident,
        filter: filter as i16,
        flags: plain.flags as u16,
        fflags,
        data: plain.data,
        udata: plain.udata,
        ext: plain.ext,
    })
}

/// A timer's fflags, as it was asked for.
fn timer_flags(system: &System, fflags: u32) -> u32 {
    let Units::Values { s, ms, us, ns, absolute } = system.timer else { return 0 };
    let unit = match fflags & !absolute {
        0 => 0,
        value if value == s => FilterFlag::NOTE_SECONDS.bits(),
        value if value == ms => FilterFlag::NOTE_MSECONDS.bits(),
        value if value == us => FilterFlag::NOTE_USECONDS.bits(),
        value if value == ns => FilterFlag::NOTE_NSECONDS.bits(),
        _ => 0,
    };
    unit | if fflags & absolute != 0 { ABSTIME } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::system::{DRAGONFLY, FREEBSD, MACOS, NETBSD, OPENBSD};
    use super::*;

    const ALL: [System; 5] = [FREEBSD, NETBSD, OPENBSD, DRAGONFLY, MACOS];

    fn asked(filter: EventFilter, fflags: FilterFlag, data: isize) -> KEvent {
        KEvent::new(7, filter, EvFlags::EV_ADD, fflags, data, 9)
    }

    fn translated(system: &System, filter: EventFilter, fflags: FilterFlag) -> (u32, i64) {
        let plain = change(system, &asked(filter, fflags, 1500)).unwrap();
        (plain.fflags, plain.data)
    }

    #[test]
    fn what_comes_back_is_what_was_asked() {
        for system in &ALL {
            for (filter, _) in system.filters {
                let there = asked(*filter, FilterFlag::empty(), 5).with_ext([1, 2, 3, 4]);
                let plain = change(system, &there).unwrap();
                assert_eq!(event(system, &plain), Some(there), "{filter:?}");
            }
        }
    }

    #[test]
    fn timers_have_units_of_the_systems_own() {
        use FilterFlag as F;
        let of = |system, unit| translated(system, EventFilter::EVFILT_TIMER, unit);
        assert_eq!(of(&FREEBSD, F::NOTE_MSECONDS), (2, 1500));
        assert_eq!(of(&NETBSD, F::NOTE_MSECONDS), (0, 1500));
        assert_eq!(of(&NETBSD, F::NOTE_NSECONDS | F::NOTE_ABSTIME), (0x13, 1500));
        assert_eq!(of(&OPENBSD, F::NOTE_USECONDS), (2, 1500));
        assert_eq!(of(&MACOS, F::NOTE_NSECONDS), (4, 1500));
        assert_eq!(of(&MACOS, F::NOTE_SECONDS | F::NOTE_ABSTIME), (9, 1500));
        assert_eq!(of(&DRAGONFLY, F::NOTE_SECONDS), (0, 1_500_000));
        assert_eq!(of(&DRAGONFLY, F::NOTE_USECONDS), (0, 2));
        assert_eq!(of(&DRAGONFLY, F::NOTE_NSECONDS), (0, 1));
        for system in [FREEBSD, NETBSD, OPENBSD, MACOS] {
            for unit in [F::NOTE_SECONDS, F::NOTE_USECONDS, F::NOTE_NSECONDS, F::empty()] {
                let there = asked(EventFilter::EVFILT_TIMER, unit | F::NOTE_ABSTIME, 3);
                let back = event(&system, &change(&system, &there).unwrap()).unwrap();
                assert_eq!((back.fflags(), back.data()), (unit | F::NOTE_ABSTIME, 3));
            }
        }
        let two = asked(EventFilter::EVFILT_TIMER, F::NOTE_SECONDS | F::NOTE_USECONDS, 1);
        assert_eq!(change(&FREEBSD, &two), Err(Errno::EINVAL));
        let moment = asked(EventFilter::EVFILT_TIMER, F::NOTE_ABSTIME, 1);
        assert_eq!(change(&DRAGONFLY, &moment), Err(Errno::ENOTSUP));
    }

    #[test]
    fn bits_that_mean_something_else_are_refused() {
        use EventFilter::{EVFILT_READ, EVFILT_VNODE};
        let keep = KEvent::new(
            1,
            EVFILT_READ,
            EvFlags::EV_ADD | EvFlags::EV_KEEPUDATA,
            FilterFlag::empty(),
            0,
            0,
        );
        let opens = asked(EVFILT_VNODE, FilterFlag::NOTE_OPEN, 0);
        let polls = asked(EVFILT_READ, FilterFlag::NOTE_FILE_POLL, 0);
        for system in &ALL {
            assert_eq!(change(system, &keep).is_ok(), system.force_and_keep);
            assert_eq!(change(system, &opens).is_ok(), system.opens_and_reads);
            assert_eq!(change(system, &polls).is_ok(), system.file_poll);
        }
    }

    #[test]
    fn out_of_band_data_and_wait_statuses_have_bits_of_the_systems_own() {
        let oob = asked(EventFilter::EVFILT_EXCEPT, FilterFlag::NOTE_OOB, 0);
        for (system, bit) in [(&OPENBSD, 4), (&DRAGONFLY, 2), (&MACOS, 2)] {
            let plain = change(system, &oob).unwrap();
            assert_eq!(plain.fflags, bit);
            assert_eq!(event(system, &plain).unwrap().fflags(), FilterFlag::NOTE_OOB);
        }
        assert_eq!(change(&NETBSD, &oob), Err(Errno::EINVAL));
        let exit = asked(EventFilter::EVFILT_PROC, FilterFlag::NOTE_EXIT, 0);
        let plain = change(&MACOS, &exit).unwrap();
        assert_eq!(plain.fflags, 0x8400_0000);
        assert_eq!(event(&MACOS, &plain).unwrap().fflags(), FilterFlag::NOTE_EXIT);
        let of_a_stranger = less(&MACOS, &plain).unwrap();
        assert_eq!((of_a_stranger.fflags, of_a_stranger.ident), (0x8000_0000, plain.ident));
        assert_eq!(less(&MACOS, &of_a_stranger), None);
        assert_eq!(less(&FREEBSD, &change(&FREEBSD, &exit).unwrap()), None);
    }

    #[test]
    fn what_only_the_system_sets_is_not_handed_on_and_our_own_neither() {
        let flags = EvFlags::EV_ADD | EvFlags::EV_EOF | EvFlags::EV_ERROR;
        let there = KEvent::new(1, EventFilter::EVFILT_READ, flags, FilterFlag::NOTE_NODATA, 0, 0);
        for system in &ALL {
            let plain = change(system, &there).unwrap();
            assert_eq!((plain.flags, plain.fflags), (1, 0));
        }
    }

    #[test]
    fn an_unknown_filter_is_einval() {
        let mut there = asked(EventFilter::EVFILT_READ, FilterFlag::empty(), 0);
        there.filter = -99;
        assert_eq!(change(&FREEBSD, &there), Err(Errno::EINVAL));
        assert_eq!(event(&FREEBSD, &Plain { filter: -99, ..Plain::default() }), None);
    }
}
