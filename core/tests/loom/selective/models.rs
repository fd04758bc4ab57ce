//! Who waits, where, and what is handed on.

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::hand_over::{HandOver, SelectiveCounts, Turn};
use crate::ring::sync::Deadline;

/// An event is the number of its place.
type Event = u32;

/// A kernel's queue: events come, and one thread waits for them.
struct Shared {
    events: Mutex<Vec<Event>>,
    came: Condvar,
    hand_over: HandOver<Event>,
}

impl Shared {
    fn new() -> Arc<Self> {
        let (events, came) = (Mutex::new(Vec::new()), Condvar::new());
        Arc::new(Self { events, came, hand_over: HandOver::new() })
    }

    fn comes(&self, event: Event) {
        self.events.lock().unwrap().push(event);
        self.came.notify_one();
    }

    /// kevent(): what is there, or with no time to wait maybe nothing.
    fn kevent(&self, room: usize, until: Option<Deadline>) -> Vec<Event> {
        let mut events = self.events.lock().unwrap();
        while events.is_empty() && until.is_none() {
            events = self.came.wait(events).unwrap();
        }
        let n = events.len().min(room);
        events.drain(..n).collect()
    }

    /// What `Selective::wait` does.
    fn wait(&self, here: u32, room: usize, until: Option<Deadline>) -> Vec<Event> {
        match self.hand_over.wait(here, room, until) {
            Turn::GiveUp => Vec::new(),
            Turn::Given(events) => events,
            Turn::Lead(lead) => loop {
                let mut events = self.kevent(room, until);
                let n = events.len();
                let places: Vec<_> = match lead.has_sleepers() {
                    true => events.iter().copied().map(Some).collect(),
                    false => Vec::new(),
                };
                let kept = lead.hand_on(here, &mut events, &places);
                events.truncate(kept);
                if kept > 0 || n == 0 {
                    return events;
                }
            },
        }
    }
}

fn model(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

/// As many threads as events, each of which takes one: who is left asleep is a deadlock, which loom
/// finds.
fn nobody_is_stranded(places: &'static [u32], events: &'static [Event], preemptions: usize) {
    model(preemptions, move || {
        let shared = Shared::new();
        let waiters: Vec<_> = places
            .iter()
            .map(|&place| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.wait(place, 1, None))
            })
            .collect();
        events.iter().for_each(|&event| shared.comes(event));
        let mut taken: Vec<_> = waiters.into_iter().flat_map(|w| w.join().unwrap()).collect();
        taken.sort_unstable();
        assert_eq!(taken, events);
    });
}

#[test]
fn an_event_for_each_of_two() {
    nobody_is_stranded(&[1, 2], &[1, 2], 3);
}

#[test]
fn two_events_at_one_place() {
    nobody_is_stranded(&[1, 2], &[2, 2], 3);
}

#[test]
fn two_threads_at_one_place_and_an_event_that_is_far_from_both() {
    nobody_is_stranded(&[1, 1], &[1, 3], 3);
}

#[test]
fn who_has_led_calls_the_next() {
    nobody_is_stranded(&[1, 2, 3], &[1, 2, 3], 2);
}

/// A thread whose time runs out takes what it was given meanwhile, and the lead too.
#[test]
fn what_is_handed_to_one_that_gives_up_is_taken() {
    model(3, || {
        let shared = Shared::new();
        let gives_up = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.wait(1, 1, Some(Deadline))
        });
        let waits = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.wait(2, 1, None)
        });
        shared.comes(1);
        let mut taken = gives_up.join().unwrap();
        if !taken.is_empty() {
            shared.comes(2); // for the other one
        }
        taken.extend(waits.join().unwrap());
        assert_eq!(taken[0], 1);
        assert_eq!(shared.hand_over.waiting(), 0);
    });
}

/// Everybody gives up: nobody is counted any more, and the next one leads.
#[test]
fn when_all_have_given_up_the_next_one_leads() {
    model(3, || {
        let shared = Shared::new();
        let waiters: Vec<_> = [1, 2]
            .map(|place| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.wait(place, 1, Some(Deadline)))
            })
            .into_iter()
            .collect();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), []));
        assert_eq!(shared.hand_over.waiting(), 0);
        shared.comes(5);
        assert_eq!(shared.wait(1, 1, None), [5]);
        let counts = SelectiveCounts { anywhere: 1, ..shared.hand_over.counts() };
        assert_eq!(shared.hand_over.counts(), counts);
    });
}
