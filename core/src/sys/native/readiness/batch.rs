//! What a wait fetched, by descriptor; and what becomes of it.

use std::os::fd::RawFd;

use smallvec::SmallVec;

use crate::epoll_abi::{self as e, epoll_event};
use crate::event::EvFlags;

use super::super::layout::Raw;
use super::apply::{Change, apply, event};
use super::bits::{ERR, HUP, IN, OUT, PRI, RDHUP, Seen, poll_bits};
use super::ctl::{adding, disabling};
use super::instance::{Instance, Registration, Registrations};
use super::interest::{EXCEPT, FILTERS, Knote, READ, WRITE, is_complete};
use super::probe::{self, Asked, GONE};

/// The descriptors that something was fetched of, in that order.
#[derive(Debug)]
pub(crate) struct Batch {
    ready: Vec<Ready>,
    /// How many there may be.
    room: usize,
    /// There was no more to be fetched.
    pub(crate) is_all: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    fd: RawFd,
    serial: usize,
    seen: Seen,
    /// Whose events were fetched.
    fired: [bool; 3],
}

impl Batch {
    /// Empty, for so many descriptors.
    pub(crate) fn new(room: usize) -> Self {
        Self { ready: Vec::new(), room, is_all: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Adds what was fetched; returns how many descriptors came new. Events of a registration that
    /// is over, or that was told once and is not to be told again, are dropped.
    pub(crate) fn add(&mut self, registrations: &Registrations, fetched: &[Raw]) -> usize {
        let before = self.ready.len();
        for event in fetched.iter().filter_map(event) {
            let fd = event.ident as RawFd;
            let current = registrations.by_fd.get(&fd).is_some_and(|r| r.serial == event.serial);
            let Some(at) = FILTERS.iter().position(|filter| *filter == event.filter) else {
                continue;
            };
            if !current {
                continue;
            }
            let place = self.place(fd, event.serial);
            place.seen.note(event.filter, event.said);
            place.fired[at] = true;
        }
        self.ready.len() - before
    }

    fn place(&mut self, fd: RawFd, serial: usize) -> &mut Ready {
        let at = self.ready.iter().position(|ready| ready.fd == fd).unwrap_or_else(|| {
            let (seen, fired) = (Seen::default(), [false; 3]);
            self.ready.push(Ready { fd, serial, seen, fired });
            self.ready.len() - 1
        });
        &mut self.ready[at]
    }
}

/// Writes an event for each descriptor of the batch that has one; returns how many, which is no more
/// than there is room for.
pub(crate) fn deliver(
    instance: &Instance,
    kq: RawFd,
    mut batch: Batch,
    mut write: impl FnMut(usize, epoll_event),
) -> usize {
    let mut registrations = instance.lock();
    let registrations = &mut *registrations;
    add_gone(registrations, &mut batch);
    complete(registrations, &mut batch);
    let mut changes: Vec<Change> = Vec::new();
    let mut told = 0;
    for ready in &batch.ready {
        let Some(registration) = registrations.by_fd.get_mut(&ready.fd) else { continue };
        if registration.serial != ready.serial || !registration.armed {
            continue;
        }
        let bits = bits_to_tell(registration, ready);
        if bits != 0 {
            write(told, epoll_event { events: bits, u64: registration.data });
            told += 1;
        }
        let was_gone = registration.gone;
        settle(registration, ready, bits, &mut changes);
        registrations.gone -= usize::from(was_gone && !registration.gone);
    }
    // Of a number that was closed meanwhile there is nothing left to change.
    let _ = apply(kq, &changes);
    told
}

/// Pipes without a reader that have no knote are always ready. Those that there is no room for stay
/// so, and come first the next time.
fn add_gone(registrations: &mut Registrations, batch: &mut Batch) {
    if registrations.gone == 0 {
        return;
    }
    let is_ready =
        |(fd, r): (&RawFd, &Registration)| (r.gone && r.armed).then_some((*fd, r.serial));
    let mut ready: Vec<_> = registrations.by_fd.iter().filter_map(is_ready).collect();
    ready.sort_unstable_by_key(|&(fd, _)| (fd <= registrations.last_gone, fd));
    for (fd, serial) in ready.into_iter().take(batch.room - batch.ready.len()) {
        batch.place(fd, serial).seen.write = Some(GONE);
        registrations.last_gone = fd;
    }
}

/// Asks what the batch does not tell: where something has ended the other direction, and where edges
/// meet all of them.
fn complete(registrations: &Registrations, batch: &mut Batch) {
    let all = batch.is_all;
    let mut asked: SmallVec<[Asked; 8]> = SmallVec::new();
    let mut places: SmallVec<[usize; 8]> = SmallVec::new();
    for (at, ready) in batch.ready.iter().enumerate() {
        let Some(r) = registrations.by_fd.get(&ready.fd) else { continue };
        if !r.gone && !is_complete(r.kind, r.events, &r.knotes, &ready.seen, all) {
            asked.push(Asked { fd: ready.fd, kind: r.kind, seen: ready.seen });
            places.push(at);
        }
    }
    probe::ask(&mut asked);
    for (one, at) in asked.iter().zip(places) {
        batch.ready[at].seen = one.seen;
    }
}

/// What was asked for of a filter's knote.
const OF_FILTER: [u32; 3] = [IN, OUT, PRI];

/// The bits to tell; 0 where there is nothing of interest.
fn bits_to_tell(registration: &Registration, ready: &Ready) -> u32 {
    let want = registration.events;
    let all = poll_bits(registration.kind.used_for(want), ready.seen);
    let bits = all & (want | ERR | HUP);
    // The edge of a filter that is there for hang-ups only is news where there is one.
    let edge = want & e::EPOLLET as u32 != 0;
    let asked = (0..3).any(|at| ready.fired[at] && want & OF_FILTER[at] != 0);
    let news = bits & (HUP | ERR | RDHUP) & !registration.told;
    if edge && !asked && !registration.gone && news == 0 { 0 } else { bits }
}

/// What follows for the knotes.
fn settle(r: &mut Registration, ready: &Ready, bits: u32, changes: &mut Vec<Change>) {
    let has = |bit: i32| r.events & bit as u32 != 0;
    let (oneshot, edge) = (has(e::EPOLLONESHOT), has(e::EPOLLET));
    r.told |= bits;
    if bits != 0 && (oneshot || edge) {
        r.gone = false;
    }
    if bits != 0 && oneshot {
        // Nothing is left that would report, not even a hang-up.
        r.armed = false;
        changes.extend(disabling(ready.fd, r));
        return;
    }
    let level = |at: usize| ready.fired[at] && r.knotes[at] == Knote::Level;
    let has_level = [READ, WRITE, EXCEPT].into_iter().any(level);
    for at in [READ, WRITE, EXCEPT] {
        if edge || !ready.fired[at] {
            continue;
        }
        let knote = match (bits, r.knotes[at]) {
            // It wakes for what nobody asked for: it would for ever.
            (0, Knote::Level) => Knote::Edge,
            // It tells what holds from now on.
            (1.., Knote::Edge) if !has_level => Knote::Level,
            _ => continue,
        };
        replace(ready.fd, r, at, knote, changes);
    }
    // One direction has ended: from here on the other's end is a hang-up.
    let ended = |said: Option<super::bits::Said>| said.is_some_and(|said| said.eof);
    for (seen, other) in [(ready.seen.read, WRITE), (ready.seen.write, READ)] {
        if ended(seen) && r.kind.hangs_up_by_both() && r.knotes[other] == Knote::Off {
            replace(ready.fd, r, other, Knote::Edge, changes);
        }
    }
}

/// Makes a knote one of another sort. (No system changes EV_CLEAR of a knote that is there.)
fn replace(
    fd: RawFd,
    registration: &mut Registration,
    at: usize,
    knote: Knote,
    changes: &mut Vec<Change>,
) {
    if registration.knotes[at] != Knote::Off {
        changes.push(registration.change(fd, at, EvFlags::EV_DELETE));
    }
    changes.push(registration.change(fd, at, adding(knote)));
    registration.knotes[at] = knote;
}

#[cfg(test)]
mod tests {
    use super::super::bits::Kind;
    use super::*;

    #[test]
    fn pipes_without_a_reader_take_turns() {
        let mut registrations = Registrations::default();
        for fd in 3..8 {
            let registration = Registration {
                events: 0,
                data: 0,
                serial: 1,
                kind: Kind::PipeWrite,
                target: None,
                knotes: [Knote::Off; 3],
                armed: fd != 5,
                told: 0,
                gone: true,
            };
            registrations.set(fd, registration);
        }
        let mut told = Vec::new();
        for _ in 0..4 {
            let mut batch = Batch::new(2);
            add_gone(&mut registrations, &mut batch);
            told.extend(batch.ready.iter().map(|ready| ready.fd));
        }
        assert_eq!(told, [3, 4, 6, 7, 3, 4, 6, 7]);
    }
}
