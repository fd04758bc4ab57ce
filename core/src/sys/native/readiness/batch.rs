//! What a wait fetched, by descriptor; and what becomes of it.

use std::os::fd::RawFd;

use nix::errno::Errno;
use smallvec::SmallVec;

use crate::epoll_abi::{self as e, epoll_event};
use crate::event::EvFlags;

use super::super::layout::Raw;
use super::apply::{Change, apply, event};
use super::bits::{ERR, HUP, IN, OUT, PRI, RDHUP, Seen, poll_bits};
use super::ctl::{adding, disabling, end, is_still_gone};
use super::instance::{Instance, Registration, Registrations};
use super::interest::{EXCEPT, FILTERS, Knote, READ, WRITE, is_complete};
use super::kind::is_gone;
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
    add_gone(registrations, &mut batch, |fd, there| is_still_gone(kq, fd, there));
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
    if let Ok(answers) = apply(kq, &changes) {
        take_back(registrations, kq, &changes, &answers);
    }
    told
}

/// What follows where a change was refused.
fn take_back(
    registrations: &mut Registrations,
    kq: RawFd,
    changes: &[Change],
    answers: &[Result<(), Errno>],
) {
    for (change, answer) in changes.iter().zip(answers) {
        let (Err(errno), fd) = (answer, change.ident as RawFd) else { continue };
        let Some(r) = registrations.by_fd.get_mut(&fd) else { continue };
        if r.serial != change.serial {
            continue;
        }
        let is_added = change.flags.contains(EvFlags::EV_ADD);
        if is_added && change.filter == FILTERS[WRITE] && is_gone(*errno, fd, r.kind) {
            r.knotes[WRITE] = Knote::Off;
            registrations.gone += usize::from(!r.gone);
            r.gone = true;
        } else if matches!(errno, Errno::ENOENT | Errno::EBADF) {
            // The number was closed meanwhile, and may be another file's.
            end(registrations, kq, fd);
        }
    }
}

/// Pipes without a reader that have no knote are always ready. Those that there is no room for stay
/// so, and come first the next time.
fn add_gone(
    registrations: &mut Registrations,
    batch: &mut Batch,
    is_still: impl Fn(RawFd, &Registration) -> bool,
) {
    if registrations.gone == 0 {
        return;
    }
    let is_ready = |(fd, r): (&RawFd, &Registration)| (r.gone && r.armed).then_some((*fd, *r));
    let mut ready: Vec<_> = registrations.by_fd.iter().filter_map(is_ready).collect();
    ready.sort_unstable_by_key(|&(fd, _)| (fd <= registrations.last_gone, fd));
    for (fd, registration) in ready {
        if batch.ready.len() == batch.room {
            break;
        }
        if is_still(fd, &registration) {
            batch.place(fd, registration.serial).seen.write = Some(GONE);
            registrations.last_gone = fd;
        } else {
            // The number was closed.
            registrations.remove(fd);
        }
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
    for (seen, at, other) in [(ready.seen.read, READ, WRITE), (ready.seen.write, WRITE, READ)] {
        if ended(seen) && r.kind.hangs_up_by_both() && r.knotes[other] == Knote::Off {
            replace(ready.fd, r, other, Knote::Edge, changes);
            // That has reached the same file if the first knote is still there after it. (One that
            // tells edges would tell of this one again.)
            if r.knotes[at] == Knote::Level {
                changes.push(r.change(ready.fd, at, EvFlags::EV_ENABLE));
            }
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
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::super::bits::Kind;
    use super::super::{ctl::epoll_ctl, epoll_pwait, instance};
    use super::*;
    use crate::sys::native::layout;

    /// A registration's number is closed, and comes to another file, between the fetching of its event
    /// and what follows from that for its knotes.
    #[test]
    fn what_a_closed_number_had_is_not_the_next_files() {
        let kq = instance::create().unwrap();
        let add = |fd: RawFd, events: u32| {
            let event = epoll_event { events, u64: 7 };
            // SAFETY: the event is ours.
            unsafe { epoll_ctl(kq, e::EPOLL_CTL_ADD, fd, &event) }
        };
        let wait = || {
            let mut events = [epoll_event { events: 0, u64: 0 }; 4];
            // SAFETY: room for four events; no mask.
            let n = unsafe { epoll_pwait(kq, events.as_mut_ptr(), 4, 0, std::ptr::null()) };
            events[..n.unwrap()].iter().map(|event| event.events).collect::<Vec<_>>()
        };
        for interest in [0, IN, RDHUP, PRI] {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (next, _peer) = UnixStream::pair().unwrap();
            let number = ours.as_raw_fd();
            add(number, interest).unwrap();
            drop(theirs);
            let instance = instance::find(kq).unwrap();
            let mut fetched = [Raw::NONE; 4];
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let n = layout::kevent(kq, &[], &mut fetched, Some(&now)).unwrap();
            let mut batch = Batch::new(4);
            assert_eq!(batch.add(&instance.lock(), &fetched[..n]), 1);
            batch.is_all = true;
            // SAFETY: both are ours.
            assert_eq!(unsafe { libc::dup2(next.as_raw_fd(), number) }, number);
            deliver(&instance, kq, batch, |_, _| {});
            assert_eq!(wait(), []);
            add(number, OUT).unwrap();
            assert_eq!((wait(), wait()), (vec![OUT], vec![OUT]));
        }
        instance::forget(kq);
        // SAFETY: made above.
        unsafe { libc::close(kq) };
    }

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
            add_gone(&mut registrations, &mut batch, |_, _| true);
            told.extend(batch.ready.iter().map(|ready| ready.fd));
        }
        assert_eq!(told, [3, 4, 6, 7, 3, 4, 6, 7]);
    }
}
