//! Whose turn it is to wait in the queue: one thread *leads*, the others follow.
//!
//! The leader holds the token, waits in the kernel, and fills the ring. When it is done it puts the
//! token back and wakes one follower, who finds something to read, or leads. A follower who finds
//! something to read wakes the next one if nobody leads. So:
//!
//! - one event wakes one thread, whatever knote it is of;
//! - while anybody sleeps here, somebody leads or is on the way: nobody is stranded.

use super::sync::{Condvar, Deadline, Mutex, is_over, lock, wait};

#[derive(Debug)]
pub(crate) struct Turns<T> {
    state: Mutex<State<T>>,
    turn: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// None while somebody leads.
    token: Option<T>,
    followers: usize,
}

/// What a thread is to do.
#[derive(Debug)]
pub(crate) enum Turn<'a, T> {
    /// There is something to read.
    Read,
    Lead(Lead<'a, T>),
    /// The time is over.
    GiveUp,
}

impl<T> Turns<T> {
    pub(crate) fn new(token: T) -> Self {
        let state = State { token: Some(token), followers: 0 };
        Self { state: Mutex::new(state), turn: Condvar::new() }
    }

    /// Waits until there is something to read, or this thread is to lead, or the time is over.
    pub(crate) fn wait(
        &self,
        is_readable: impl Fn() -> bool,
        until: Option<Deadline>,
    ) -> Turn<'_, T> {
        let mut state = lock(&self.state);
        loop {
            if is_readable() {
                if state.token.is_some() && state.followers > 0 {
                    self.turn.notify_one();
                }
                return Turn::Read;
            }
            if let Some(token) = state.token.take() {
                return Turn::Lead(Lead { turns: self, token: Some(token) });
            }
            // (Looked at last: who was notified when its time ran out acts on it.)
            if is_over(until) {
                return Turn::GiveUp;
            }
            state.followers += 1;
            state = wait(&self.state, &self.turn, state, until);
            state.followers -= 1;
        }
    }

    /// Leads, if nobody does.
    pub(crate) fn try_lead(&self) -> Option<Lead<'_, T>> {
        let token = lock(&self.state).token.take()?;
        Some(Lead { turns: self, token: Some(token) })
    }
}

/// The leader's token; dropped, it is the next one's.
#[derive(Debug)]
pub(crate) struct Lead<'a, T> {
    turns: &'a Turns<T>,
    token: Option<T>,
}

impl<T> Lead<'_, T> {
    pub(crate) fn token(&mut self) -> &mut T {
        self.token.as_mut().expect("held until it is dropped")
    }
}

impl<T> Drop for Lead<'_, T> {
    fn drop(&mut self) {
        let mut state = lock(&self.turns.state);
        state.token = self.token.take();
        if state.followers > 0 {
            self.turns.turn.notify_one();
        }
    }
}
