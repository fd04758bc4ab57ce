//! A descriptor's knotes: a short list, one entry a filter.
//!
//! There may be very many, so a knote is small (40 bytes): what few knotes have lies elsewhere, and
//! what belongs to a whole registration is repeated in each of its knotes.

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::data::Kind;
use super::last_check::LOOK_AGAIN;

/// The registration was made EPOLLET although its knotes are level: its last wake-up was for a
/// condition that none of them reports (a hang-up that the kernel cannot mask), and would repeat.
pub(crate) const HUSHED: u16 = 0x4000;
/// The registration is EPOLLEXCLUSIVE: it is made anew where it would be modified, and may not be
/// EPOLLONESHOT.
pub(crate) const EXCLUSIVE: u16 = 0x1000;
/// The registration is EPOLLONESHOT: its only knote is disabled or gone after one report.
pub(crate) const ONCE: u16 = 0x8000;

/// What a change says of data.
const OF_DATA: u32 = FilterFlag::NOTE_NODATA.union(FilterFlag::NOTE_LOWAT).bits();

const IN: u16 = libc::EPOLLIN as u16;
const PRI: u16 = libc::EPOLLPRI as u16;
const OUT: u16 = libc::EPOLLOUT as u16;
const RDHUP: u16 = libc::EPOLLRDHUP as u16;

/// One knote of a descriptor.
#[derive(Debug)]
pub(crate) struct Knote {
    next: Option<Box<Knote>>,
    pub(crate) udata: usize,
    /// What the change asked for in `data`: a low-water mark.
    pub(crate) data: i64,
    /// Names the lane's registration; an event that carries another is of an earlier one.
    pub(crate) token: u32,
    pub(crate) fflags: u32,
    /// What the lane's registration asks of the kernel, with [`HUSHED`] and [`ONCE`]; 0: there is no
    /// registration.
    pub(crate) armed: u16,
    /// As given at EV_ADD, without the bits that are orders; but EV_FORCEONESHOT stands here from
    /// when it was asked for until the report.
    pub(crate) flags: u16,
    pub(crate) filter: EventFilter,
    /// Which of the queue's epoll sets holds the registration.
    pub(crate) lane: u8,
    pub(crate) state: State,
    pub(crate) kind: Kind,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Knote>() == 40);

/// Whether a knote reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum State {
    Enabled,
    Disabled,
    /// A oneshot knote that has fired. For the program it is gone; the kernel's registration, which
    /// disarmed itself, waits for the knote to be added again, which saves two calls.
    Ghost,
}

/// A lane's registration: what it asks of the kernel, and what it should.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Registration {
    /// As [`Knote::armed`]; 0 where there is none.
    pub(crate) have: u16,
    /// What it should ask for; 0 where no knote of the lane reports.
    pub(crate) want: u16,
    /// See [`Knote::token`].
    pub(crate) token: u32,
    /// It is an edge knote's.
    pub(crate) edge: bool,
    /// Another lane in which the descriptor is registered.
    pub(crate) other: Option<u8>,
}

impl Knote {
    pub(crate) fn new(filter: EventFilter, change: &KEvent, lane: u8) -> Box<Self> {
        let mut knote = Box::new(Self {
            next: None,
            udata: 0,
            data: 0,
            token: 0,
            fflags: 0,
            armed: 0,
            flags: 0,
            filter,
            lane,
            state: State::Ghost,
            kind: Kind::Unknown,
        });
        knote.begin(change);
        knote
    }

    /// Whether a ghost's registration serves for what the change adds.
    #[inline]
    pub(crate) fn serves(&self, change: &KEvent) -> bool {
        const KIND: u16 =
            EvFlags::EV_ADD.union(EvFlags::EV_DELETE).union(EvFlags::EV_WAKEONE).bits();
        change.flags & KIND == EvFlags::EV_ADD.bits()
            && !self.is_exclusive()
            && self.is_edge() == (change.flags & EvFlags::EV_CLEAR.bits() != 0)
    }

    /// Is what the change asks for.
    pub(crate) fn begin(&mut self, change: &KEvent) {
        const ORDERS: EvFlags = EvFlags::EV_ADD
            .union(EvFlags::EV_DELETE)
            .union(EvFlags::EV_ENABLE)
            .union(EvFlags::EV_DISABLE)
            .union(EvFlags::EV_KEEPUDATA)
            .union(EvFlags::EV_FORCEONESHOT);
        let disabled = change.flags & EvFlags::EV_DISABLE.bits() != 0;
        self.udata = change.udata;
        self.data = change.data;
        self.fflags = change.fflags;
        self.flags = change.flags & !ORDERS.bits();
        self.state = if disabled { State::Disabled } else { State::Enabled };
    }

    /// Takes a change that does not add it. True: it reports from now on, or does not any more.
    #[inline(always)]
    pub(crate) fn amend(&mut self, change: &KEvent) -> bool {
        let has = |flag: EvFlags| change.flags & flag.bits() != 0;
        self.fflags = change.fflags;
        self.data = change.data;
        if !has(EvFlags::EV_KEEPUDATA) {
            self.udata = change.udata;
        }
        let was = self.state;
        if has(EvFlags::EV_ENABLE) {
            self.state = State::Enabled;
        } else if has(EvFlags::EV_DISABLE) {
            self.state = State::Disabled;
        }
        if has(EvFlags::EV_FORCEONESHOT) {
            self.flags |= (EvFlags::EV_ONESHOT | EvFlags::EV_FORCEONESHOT).bits();
        }
        was != self.state
    }

    pub(crate) fn has(&self, flag: EvFlags) -> bool {
        self.flags & flag.bits() != 0
    }

    /// Whether poll's bits are all that it reports by.
    #[inline]
    pub(crate) fn wants_bits_only(&self) -> bool {
        self.wants_no_data() && !self.has(LOOK_AGAIN) && self.filter != EventFilter::EVFILT_EXCEPT
    }

    /// Data is not wanted, not even to be compared with a low-water mark.
    #[inline]
    pub(crate) fn wants_no_data(&self) -> bool {
        self.fflags & OF_DATA == FilterFlag::NOTE_NODATA.bits()
    }

    /// Whether it reports how much there is to read, and nothing else has to be asked for.
    #[inline]
    pub(crate) fn wants_amount_only(&self) -> bool {
        self.filter == EventFilter::EVFILT_READ
            && self.kind != Kind::Unknown
            && self.fflags & OF_DATA == 0
            && !self.has(LOOK_AGAIN)
    }

    /// Is to be reported whatever its condition.
    pub(crate) fn is_forced(&self) -> bool {
        self.has(EvFlags::EV_FORCEONESHOT) && self.state == State::Enabled
    }

    /// Reports each activity once, so it cannot share a registration: an input edge brings up
    /// output again.
    pub(crate) fn is_edge(&self) -> bool {
        self.has(EvFlags::EV_CLEAR)
    }

    /// Is EPOLLEXCLUSIVE.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.has(EvFlags::EV_WAKEONE)
    }

    /// Shares its registration with no other knote.
    pub(crate) fn is_alone(&self) -> bool {
        self.is_edge() || self.is_exclusive()
    }

    /// Reports only from so many bytes on.
    pub(crate) fn has_low_water(&self) -> bool {
        self.fflags & FilterFlag::NOTE_LOWAT.bits() != 0
    }

    /// May have room, but less than its mark.
    pub(crate) fn is_low(&self) -> bool {
        self.filter == EventFilter::EVFILT_WRITE && self.has_low_water()
    }

    /// Whether its registration, which is its alone, may stay as it is when it has reported for once.
    #[inline]
    pub(crate) fn rests(&self, lasting: bool) -> bool {
        self.armed & ONCE != 0 || lasting && self.state == State::Disabled && !self.is_alone()
    }

    /// Whether the kernel is to disarm its registration, if it is the only one that reports there.
    fn is_disarmed_once(&self, lasting: bool) -> bool {
        self.has(EvFlags::EV_ONESHOT | EvFlags::EV_DISPATCH)
            && !self.is_exclusive()
            && !(lasting && !self.is_alone() && !self.has(EvFlags::EV_ONESHOT))
    }

    /// The registration of its lane, in which no other knote is.
    #[inline(always)]
    fn registration(&self, lasting: bool) -> Registration {
        let want = match self.state == State::Enabled {
            true if self.is_disarmed_once(lasting) => self.interest() | ONCE,
            true => self.interest(),
            false => 0,
        };
        let (have, token, edge) = (self.armed, self.token, self.is_edge());
        Registration { have, want, token, edge, other: None }
    }

    pub(crate) fn next_mut(&mut self) -> Option<&mut Self> {
        self.next.as_deref_mut()
    }

    /// What this filter asks epoll for. Hang-ups and errors come unasked.
    pub(crate) fn interest(&self) -> u16 {
        match self.filter {
            // (The kernel takes no RDHUP there.)
            EventFilter::EVFILT_READ if self.is_exclusive() => IN | EXCLUSIVE,
            EventFilter::EVFILT_WRITE if self.is_exclusive() => OUT | EXCLUSIVE,
            EventFilter::EVFILT_READ => IN | RDHUP,
            EventFilter::EVFILT_WRITE => OUT,
            _ => PRI,
        }
    }
}

/// The knotes of one descriptor, in the order in which they are served.
#[derive(Debug, Default)]
pub(crate) struct Knotes(Option<Box<Knote>>);

impl Knotes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn first_mut(&mut self) -> Option<&mut Knote> {
        self.0.as_deref_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Knote> {
        std::iter::successors(self.0.as_deref(), |knote| knote.next.as_deref())
    }

    pub(crate) fn for_each_mut(&mut self, mut f: impl FnMut(&mut Knote)) {
        let mut at = self.0.as_deref_mut();
        while let Some(knote) = at {
            f(knote);
            at = knote.next.as_deref_mut();
        }
    }

    /// The knote of a filter, ghosts included.
    pub(crate) fn get_mut(&mut self, filter: EventFilter) -> Option<&mut Knote> {
        let mut at = self.0.as_deref_mut();
        while let Some(knote) = at {
            if knote.filter == filter {
                return Some(knote);
            }
            at = knote.next.as_deref_mut();
        }
        None
    }

    /// Adds one at the front.
    pub(crate) fn put(&mut self, mut knote: Box<Knote>) {
        knote.next = self.0.take();
        self.0 = Some(knote);
    }

    /// Adds one, to be served last.
    pub(crate) fn push(&mut self, knote: Box<Knote>) {
        let mut at = &mut self.0;
        while let Some(there) = at {
            at = &mut there.next;
        }
        *at = Some(knote);
    }

    /// Takes the first one out that `which` holds for.
    pub(crate) fn take(&mut self, mut which: impl FnMut(&Knote) -> bool) -> Option<Box<Knote>> {
        let mut at = &mut self.0;
        while at.as_ref().is_some_and(|knote| !which(knote)) {
            at = &mut at.as_mut().expect("looked at just above").next;
        }
        let mut taken = at.take()?;
        *at = taken.next.take();
        Some(taken)
    }

    /// What the registration of a lane asks of the kernel now; 0 without one.
    pub(crate) fn armed(&self, lane: u8) -> u16 {
        self.iter().find(|k| k.lane == lane).map_or(0, |k| k.armed)
    }

    /// A lane's registration. `lasting`: a level EV_DISPATCH knote stays armed when it has reported.
    #[inline(always)]
    pub(crate) fn registration(&self, lane: u8, lasting: bool) -> Registration {
        match self.0.as_deref() {
            Some(only) if only.next.is_none() && only.lane == lane => only.registration(lasting),
            _ => self.registration_of_some(lane, lasting),
        }
    }

    #[inline(never)]
    fn registration_of_some(&self, lane: u8, lasting: bool) -> Registration {
        let (mut found, mut enabled, mut once) = (Registration::default(), 0, false);
        for knote in self.iter() {
            if knote.lane != lane {
                if knote.armed != 0 {
                    found.other = found.other.or(Some(knote.lane));
                }
                continue;
            }
            (found.have, found.token) = (knote.armed, knote.token);
            found.edge |= knote.is_edge();
            if knote.state == State::Enabled {
                enabled += 1;
                found.want |= knote.interest();
                once = knote.is_disarmed_once(lasting);
            }
        }
        if enabled == 1 && once {
            found.want |= ONCE;
        }
        found
    }

    /// What the registration of a lane should ask for; 0 where no knote of it reports.
    pub(crate) fn wanted(&self, lane: u8, lasting: bool) -> u16 {
        self.registration(lane, lasting).want
    }

    /// Whether a lane's registration is one knote's alone.
    pub(crate) fn is_alone(&self, lane: u8) -> bool {
        self.iter().any(|k| k.lane == lane && k.is_alone())
    }

    /// Whether any lane has a registration.
    pub(crate) fn any_armed(&self) -> bool {
        self.iter().any(|k| k.armed != 0)
    }
}

impl Drop for Knotes {
    /// Without recursion, though the list is short: four filters.
    fn drop(&mut self) {
        while self.take(|_| true).is_some() {}
    }
}
