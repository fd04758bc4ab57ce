//! Who waits, where, and what is handed on to whom.
//!
//! Of the threads that wait one *leads*: it waits in the kernel for all. The others sleep, each in a
//! *seat* that says at which place its thread is. The leader hands on what belongs to a sleeper's
//! place and keeps the rest. When it goes it calls a sleeper to lead.
//!
//! Nobody is stranded, and nothing is lost:
//!
//! - *Somebody leads while anybody sleeps.* A thread sits down only while somebody leads, and who has
//!   led hands the lead over, under the same lock, to one that still sleeps.
//! - *What was handed on is taken.* It is put, under the lock, into the seat of a thread that has not
//!   looked there yet; and a thread looks into its seat, under the lock, before it gives up. So one
//!   whose time runs out meanwhile takes what it was given, or leads.

use std::sync::Arc;

use super::sync::{Condvar, Deadline, Mutex, is_over, lock, wait};

#[derive(Debug)]
pub(crate) struct HandOver<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    /// Somebody leads, or was called to.
    is_led: bool,
    seats: Vec<Seat<T>>,
    counts: SelectiveCounts,
}

#[derive(Debug)]
struct Seat<T> {
    bell: Arc<Condvar>,
    /// None: the seat is free.
    sitter: Option<Sitter<T>>,
}

#[derive(Debug)]
struct Sitter<T> {
    place: u32,
    /// How many more events it has room for.
    room: usize,
    called: Called<T>,
}

/// What the leader has told a thread that sits.
#[derive(Debug)]
enum Called<T> {
    /// Nothing: it sleeps.
    Not,
    /// These are its events.
    Given(Vec<T>),
    ToLead,
}

/// Where events went ([`Selective::counts`](super::Selective::counts)).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SelectiveCounts {
    /// Kept by the thread that fetched them, at whose place their data was.
    pub near: u64,
    /// Handed on to a thread at the place of their data.
    pub handed_on: u64,
    /// Kept, since nobody slept at the place of their data.
    pub far: u64,
    /// Kept, since their data has no place, or nobody else waited.
    pub anywhere: u64,
}

/// What a thread is to do.
#[derive(Debug)]
pub(crate) enum Turn<'a, T> {
    /// These were handed on to it.
    Given(Vec<T>),
    Lead(Lead<'a, T>),
    /// The time is over.
    GiveUp,
}

impl<T> HandOver<T> {
    pub(crate) fn new() -> Self {
        let counts = SelectiveCounts::default();
        Self { state: Mutex::new(State { is_led: false, seats: Vec::new(), counts }) }
    }

    /// Waits at a place until this thread is given something (at most `room`), or is to lead, or the
    /// time is over.
    pub(crate) fn wait(&self, place: u32, room: usize, until: Option<Deadline>) -> Turn<'_, T> {
        let mut state = lock(&self.state);
        if !state.is_led {
            state.is_led = true;
            return Turn::Lead(Lead { hand_over: self });
        }
        let at = state.sit_down(Sitter { place, room, called: Called::Not });
        let bell = Arc::clone(&state.seats[at].bell);
        loop {
            state = wait(&self.state, &bell, state, until);
            // (The time is looked at last: who is called when it runs out acts on that.)
            if !state.seats[at].sleeps() || is_over(until) {
                break;
            }
        }
        match state.seats[at].sitter.take().map(|sitter| sitter.called) {
            Some(Called::Given(events)) => Turn::Given(events),
            Some(Called::ToLead) => Turn::Lead(Lead { hand_over: self }),
            Some(Called::Not) => Turn::GiveUp,
            None => unreachable!("only who sits in a seat leaves it"),
        }
    }

    /// How many threads wait: the leader, and those that sleep.
    pub(crate) fn waiting(&self) -> usize {
        let state = lock(&self.state);
        usize::from(state.is_led) + state.seats.iter().filter(|seat| seat.sleeps()).count()
    }

    pub(crate) fn counts(&self) -> SelectiveCounts {
        lock(&self.state).counts
    }
}

impl<T> State<T> {
    fn sit_down(&mut self, sitter: Sitter<T>) -> usize {
        let free = self.seats.iter().position(|seat| seat.sitter.is_none());
        let at = free.unwrap_or_else(|| {
            self.seats.push(Seat { bell: Arc::new(Condvar::new()), sitter: None });
            self.seats.len() - 1
        });
        self.seats[at].sitter = Some(sitter);
        at
    }

    /// Gives an event to a thread that sits at its place and has room for it; else it comes back. The
    /// bell that is to be rung.
    fn give(&mut self, place: u32, event: T) -> Result<Option<Arc<Condvar>>, T> {
        for seat in &mut self.seats {
            let Some(sitter) = &mut seat.sitter else { continue };
            if sitter.place != place || sitter.room == 0 {
                continue;
            }
            match &mut sitter.called {
                Called::ToLead => continue,
                Called::Given(events) => events.push(event),
                called @ Called::Not => *called = Called::Given(vec![event]),
            }
            sitter.room -= 1;
            let is_first = matches!(&sitter.called, Called::Given(events) if events.len() == 1);
            return Ok(is_first.then(|| Arc::clone(&seat.bell)));
        }
        Err(event)
    }
}

impl<T> Seat<T> {
    fn sleeps(&self) -> bool {
        self.sitter.as_ref().is_some_and(|sitter| matches!(sitter.called, Called::Not))
    }
}

/// The lead; dropped, it is another's.
#[derive(Debug)]
pub(crate) struct Lead<'a, T> {
    hand_over: &'a HandOver<T>,
}

impl<T: Copy> Lead<'_, T> {
    /// Whether there is anybody to hand something on to.
    pub(crate) fn has_sleepers(&self) -> bool {
        lock(&self.hand_over.state).seats.iter().any(Seat::sleeps)
    }

    /// Hands on what belongs to the places of others; the rest, which is the leader's, moves to the
    /// front; how many those are. Events that `places` says nothing of belong nowhere.
    pub(crate) fn hand_on(&self, here: u32, events: &mut [T], places: &[Option<u32>]) -> usize {
        let mut bells = Vec::new();
        let mut state = lock(&self.hand_over.state);
        let mut kept = 0;
        for at in 0..events.len() {
            let event = events[at];
            let count = match places.get(at).copied().flatten() {
                None => &mut state.counts.anywhere,
                Some(place) if place == here => &mut state.counts.near,
                Some(place) => match state.give(place, event) {
                    Ok(bell) => {
                        bells.extend(bell);
                        state.counts.handed_on += 1;
                        continue;
                    }
                    Err(_) => &mut state.counts.far,
                },
            };
            *count += 1;
            events[kept] = event;
            kept += 1;
        }
        drop(state);
        // (A seat that its thread has left meanwhile may be another's: that one looks, and sleeps on.)
        bells.iter().for_each(|bell| bell.notify_one());
        kept
    }
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        let mut state = lock(&self.hand_over.state);
        let next = state.seats.iter_mut().find(|seat| seat.sleeps());
        let Some((sitter, bell)) =
            next.and_then(|seat| Some((seat.sitter.as_mut()?, Arc::clone(&seat.bell))))
        else {
            state.is_led = false;
            return;
        };
        sitter.called = Called::ToLead;
        drop(state);
        bell.notify_one();
    }
}
