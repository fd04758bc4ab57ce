//! Which knotes a registration needs, and how they report.

use crate::epoll_abi as e;
use crate::event::EventFilter;

use super::bits::{IN, Kind, OUT, PRI, RDHUP, Seen};

/// A knote of a registration.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Knote {
    /// There is none.
    #[default]
    Off,
    /// It reports as long as the condition holds.
    Level,
    /// It reports each activity (EV_CLEAR): what is edge-triggered, and what shall not wake for ever
    /// because it is there for a hang-up only.
    Edge,
}

/// The filters, in the order of a registration's knotes.
pub(crate) const FILTERS: [EventFilter; 3] =
    [EventFilter::EVFILT_READ, EventFilter::EVFILT_WRITE, EventFilter::EVFILT_EXCEPT];
pub(crate) const READ: usize = 0;
pub(crate) const WRITE: usize = 1;
pub(crate) const EXCEPT: usize = 2;

/// The knotes for an interest.
///
/// Hang-ups and errors are told unasked, so there is always one knote by which they show.
pub(crate) fn knotes(kind: Kind, want: u32) -> [Knote; 3] {
    let asked = if want & e::EPOLLET as u32 != 0 { Knote::Edge } else { Knote::Level };
    let kind = kind.used_for(want);
    let on = |wanted: bool| if wanted { asked } else { Knote::Off };
    let mut read = on(want & IN != 0);
    let mut write = on(want & OUT != 0);
    match kind {
        Kind::PipeWrite => {
            read = Knote::Off;
            if write == Knote::Off {
                write = Knote::Edge;
            }
        }
        Kind::PipeRead | Kind::Listener | Kind::Queue => write = Knote::Off,
        Kind::PipeBoth | Kind::Stream | Kind::Datagram | Kind::Terminal => {}
    }
    // A writer's socket tells its hang-up itself; a terminal does not.
    let shows = write != Knote::Off && kind != Kind::Terminal && want & RDHUP == 0;
    if read == Knote::Off && kind != Kind::PipeWrite && !shows {
        read = Knote::Edge;
    }
    [read, write, on(want & PRI != 0 && kind == Kind::Stream)]
}

/// Is it known what all filters say, that matter for the bits? What is not among the events of a
/// batch is not ready, if it is level-triggered and the batch held all that there was.
pub(crate) fn is_complete(
    kind: Kind,
    want: u32,
    knotes: &[Knote; 3],
    seen: &Seen,
    all: bool,
) -> bool {
    let silent = |at: usize| all && knotes[at] == Knote::Level;
    let ended = [seen.read, seen.write].iter().flatten().any(|said| said.eof);
    let both = ended && kind.hangs_up_by_both();
    let read = seen.read.is_some() || silent(READ) || !(both || want & (IN | RDHUP) != 0);
    let write = seen.write.is_some() || silent(WRITE) || !(both || want & OUT != 0);
    let except = seen.except || silent(EXCEPT) || knotes[EXCEPT] == Knote::Off;
    match kind.used_for(want) {
        Kind::PipeRead | Kind::Listener | Kind::Queue => read,
        Kind::PipeWrite => write,
        Kind::PipeBoth | Kind::Terminal => read && write,
        Kind::Stream | Kind::Datagram => read && write && except,
    }
}

#[cfg(test)]
mod tests {
    use super::super::bits::{ERR, HUP, Said};
    use super::*;
    use Knote::{Edge, Level, Off};

    const ET: u32 = e::EPOLLET as u32;

    #[test]
    fn what_is_wanted_is_level_or_edge() {
        assert_eq!(knotes(Kind::Stream, IN), [Level, Off, Off]);
        assert_eq!(knotes(Kind::Stream, IN | OUT | PRI), [Level, Level, Level]);
        assert_eq!(knotes(Kind::Stream, IN | OUT | ET), [Edge, Edge, Off]);
        assert_eq!(knotes(Kind::Stream, OUT), [Off, Level, Off]);
    }

    #[test]
    fn a_hang_up_always_has_a_knote() {
        let kinds = [
            Kind::PipeRead,
            Kind::PipeWrite,
            Kind::PipeBoth,
            Kind::Stream,
            Kind::Datagram,
            Kind::Listener,
            Kind::Terminal,
            Kind::Queue,
        ];
        for kind in kinds {
            for want in [0, ERR, HUP, PRI, RDHUP, IN, OUT, IN | OUT] {
                let [read, write, _] = knotes(kind, want);
                assert!(read != Off || write != Off, "{kind:?} {want:x}");
            }
        }
        assert_eq!(knotes(Kind::Stream, 0), [Edge, Off, Off]);
        assert_eq!(knotes(Kind::PipeWrite, IN), [Off, Edge, Off]);
        assert_eq!(knotes(Kind::PipeRead, OUT), [Edge, Off, Off]);
        assert_eq!(knotes(Kind::Terminal, OUT), [Edge, Level, Off]);
        assert_eq!(knotes(Kind::Stream, OUT | RDHUP), [Edge, Level, Off]);
    }

    #[test]
    fn an_end_has_the_other_direction_asked() {
        let end = Seen { read: Some(Said { eof: true, ..Said::default() }), ..Seen::default() };
        let data = Seen { read: Some(Said::default()), ..Seen::default() };
        let complete = |want, seen, all| {
            is_complete(Kind::Stream, want, &knotes(Kind::Stream, want), seen, all)
        };
        assert!(complete(IN, &data, false));
        assert!(!complete(IN, &end, true));
        assert!(complete(IN | OUT, &end, true));
        assert!(!complete(IN | OUT, &end, false));
        assert!(!complete(IN | OUT | ET, &data, true));
        let pipe = knotes(Kind::PipeRead, IN);
        assert!(is_complete(Kind::PipeRead, IN, &pipe, &end, false));
    }
}
