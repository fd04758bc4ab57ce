//! Waiting for at least so many events (`Kqueue::wait_min`).

mod common;

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use common::*;
use kq_core::EventFilter::*;
use kq_core::test_support::signals;
use kq_core::test_support::threads::{Background, start};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue, WaitFlags, abi};
use libc::timespec;

const LEVEL: EvFlags = EvFlags::empty();
const PLAIN: WaitFlags = WaitFlags::empty();
/// Long enough to see that a wait does not end.
const A_LITTLE: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 30_000_000 });

/// A queue that watches pipes.
struct Pipes {
    kq: Kqueue,
    ends: Vec<(PipeReader, PipeWriter)>,
}

impl Pipes {
    fn new(n: usize, flags: EvFlags) -> Arc<Self> {
        let kq = Kqueue::new().unwrap();
        let ends: Vec<_> = (0..n).map(|_| pipe().unwrap()).collect();
        for (reader, _) in &ends {
            apply(&kq, &[change(reader, EVFILT_READ, ADD | flags, NONE, 0)]).unwrap();
        }
        Arc::new(Self { kq, ends })
    }

    fn fd(&self, at: usize) -> RawFd {
        self.ends[at].0.as_raw_fd()
    }

    fn send(&self, at: usize) {
        (&self.ends[at].1).write_all(b"x").unwrap();
    }

    fn drain(&self, at: usize) {
        (&self.ends[at].0).read_exact(&mut [0]).unwrap();
    }

    /// The pipes whose events a wait returns, sorted.
    fn wait(
        &self,
        min: usize,
        room: usize,
        timeout: Option<timespec>,
    ) -> Result<Vec<usize>, Errno> {
        let mut events = vec![KEvent::default(); room];
        let n = self.kq.wait_min(&[], &mut events, min, timeout, PLAIN)?;
        let at = |event: &KEvent| {
            self.ends.iter().position(|(r, _)| r.as_raw_fd() as usize == event.ident()).unwrap()
        };
        let mut at: Vec<usize> = events[..n].iter().map(at).collect();
        at.sort_unstable();
        Ok(at)
    }

    /// A thread that sleeps in a wait.
    fn waiter(self: &Arc<Self>, min: usize) -> Background<Result<Vec<usize>, Errno>> {
        let this = Arc::clone(self);
        let waiter = start(move || this.wait(min, 8, SOON));
        assert!(waiter.wait_until_asleep());
        waiter
    }
}

fn user(ident: usize, flags: EvFlags, fflags: FilterFlag) -> KEvent {
    KEvent::new(ident, EVFILT_USER, flags, fflags, 0, 0)
}

#[test]
fn edges_are_gathered_over_several_waits() {
    let pipes = Pipes::new(3, CLEAR);
    let waiter = pipes.waiter(3);
    for at in 0..3 {
        pipes.send(at);
        assert_eq!(waiter.wait_until_asleep(), at < 2);
    }
    assert_eq!(waiter.join(), Ok(vec![0, 1, 2]));
    assert_eq!(take(&pipes.kq, NOW), [], "each was taken once");
}

#[test]
fn a_level_knote_counts_once() {
    let pipes = Pipes::new(2, LEVEL);
    pipes.send(0);
    assert_eq!(pipes.wait(2, 8, A_LITTLE), Ok(vec![0]), "at the end of the time what is there");
    let waiter = pipes.waiter(2);
    pipes.send(1);
    assert_eq!(waiter.join(), Ok(vec![0, 1]));
    assert_eq!(take(&pipes.kq, NOW).len(), 2, "they are level still");
}

#[test]
fn a_level_knote_must_hold_when_the_call_returns() {
    let pipes = Pipes::new(3, LEVEL);
    pipes.send(0);
    let waiter = pipes.waiter(2);
    pipes.drain(0);
    pipes.send(1);
    pipes.send(2);
    assert_eq!(waiter.join(), Ok(vec![1, 2]));
}

#[test]
fn edge_and_level_together() {
    let pipes = Pipes::new(2, LEVEL);
    let (reader, writer) = pipe().unwrap();
    apply(&pipes.kq, &[change(&reader, EVFILT_READ, ADD | CLEAR, NONE, 0)]).unwrap();
    (&writer).write_all(b"x").unwrap();
    pipes.send(0);
    let waiter = start({
        let pipes = Arc::clone(&pipes);
        move || {
            let mut events = [KEvent::default(); 3];
            let n = pipes.kq.wait_min(&[], &mut events, 3, SOON, PLAIN)?;
            let mut idents: Vec<_> = events[..n].iter().map(|e| e.ident() as RawFd).collect();
            idents.sort_unstable();
            Ok::<_, Errno>(idents)
        }
    });
    assert!(waiter.wait_until_asleep());
    pipes.send(1);
    let mut all = vec![pipes.fd(0), pipes.fd(1), reader.as_raw_fd()];
    all.sort_unstable();
    assert_eq!(waiter.join(), Ok(all));
}

#[test]
fn no_more_than_max() {
    for flags in [LEVEL, CLEAR] {
        let pipes = Pipes::new(4, flags);
        (0..4).for_each(|at| pipes.send(at));
        assert_eq!(pipes.wait(2, 2, SOON).unwrap().len(), 2);
        assert_eq!(pipes.wait(2, 4, SOON).unwrap().len(), if flags == CLEAR { 2 } else { 4 });
    }
}

#[test]
fn a_signal_ends_the_wait_with_what_was_taken() {
    for (flags, ready) in [(CLEAR, 0), (CLEAR, 1), (LEVEL, 1)] {
        let pipes = Pipes::new(2, flags);
        (0..ready).for_each(|at| pipes.send(at));
        signals::catch(libc::SIGUSR1, 0);
        let waiter = pipes.waiter(2);
        waiter.signal(libc::SIGUSR1);
        assert_eq!(waiter.join(), if ready == 0 { Err(Errno::EINTR) } else { Ok(vec![0]) });
    }
}

#[test]
fn time_and_flags() {
    let pipes = Pipes::new(2, CLEAR);
    let mut events = [KEvent::default(); 2];
    let mut wait = |min, timeout, flags| pipes.kq.wait_min(&[], &mut events, min, timeout, flags);
    let never = Some(timespec { tv_sec: 0, tv_nsec: 1_000_000_000 });
    assert_eq!(wait(3, NOW, PLAIN), Err(Errno::EINVAL), "no room for so many");
    assert_eq!(wait(1, never, PLAIN), Err(Errno::EINVAL));
    assert_eq!(wait(1, NOW, WaitFlags::from_bits_retain(2)), Err(Errno::EINVAL));
    assert_eq!(wait(0, None, PLAIN), Ok(0), "none at least is what there is now");
    assert_eq!(wait(2, None, WaitFlags::KEVENT_FLAG_IMMEDIATE), Ok(0));
    // The clock began long ago.
    for min in [1, 2] {
        assert_eq!(wait(min, A_LITTLE, WaitFlags::KEVENT_FLAG_ABSTIME), Ok(0));
    }
    pipes.send(0);
    assert_eq!(wait(2, None, WaitFlags::KEVENT_FLAG_IMMEDIATE), Ok(1));
    pipes.send(0);
    assert_eq!(wait(2, NOW, PLAIN), Ok(1));
}

#[test]
fn answers_to_changes_end_the_call() {
    let kq = Kqueue::new().unwrap();
    let mut events = [KEvent::default(); 4];
    let receipt = user(1, ADD | EvFlags::EV_RECEIPT, NONE);
    let n = kq.wait_min(&[receipt], &mut events, 2, None, PLAIN);
    assert_eq!((n, events[0].flags()), (Ok(1), EvFlags::EV_ERROR));
    let absent = user(7, EvFlags::EV_DELETE, NONE);
    let n = kq.wait_min(&[absent], &mut events, 2, None, PLAIN);
    assert_eq!((n, events[0].data()), (Ok(1), Errno::ENOENT as isize));
}

#[test]
fn a_triggered_user_event_does_not_spin() {
    let kq = Kqueue::new().unwrap();
    let mut events = [KEvent::default(); 4];
    let changes = [user(1, ADD, NONE), user(1, LEVEL, FilterFlag::NOTE_TRIGGER)];
    let before = kq.counters().waits;
    assert_eq!(kq.wait_min(&changes, &mut events, 2, A_LITTLE, PLAIN), Ok(1));
    let waits = kq.counters().waits - before;
    assert!(waits < 60, "{waits} looks in 30 ms");
}

#[test]
fn another_threads_trigger_is_seen_beside_a_level_one() {
    let kq = Arc::new(Kqueue::new().unwrap());
    let trigger = |ident| user(ident, LEVEL, FilterFlag::NOTE_TRIGGER);
    apply(&kq, &[user(1, ADD, NONE), user(2, ADD, NONE), trigger(1)]).unwrap();
    let waiter = start({
        let kq = Arc::clone(&kq);
        move || kq.wait_min(&[], &mut [KEvent::default(); 4], 2, SOON, PLAIN)
    });
    assert!(waiter.wait_until_asleep());
    apply(&kq, &[trigger(2)]).unwrap();
    assert_eq!(waiter.join(), Ok(2));
}

#[test]
fn closing_the_queue_wakes() {
    let (reader, mut writer) = pipe().unwrap();
    writer.write_all(b"x").unwrap();
    for level in [true, false] {
        let kq = abi::kqueue(0).unwrap();
        let add = change(&reader, EVFILT_READ, if level { ADD } else { ADD | CLEAR }, NONE, 0);
        let call = move |changes: &[KEvent], min| {
            let mut events = [KEvent::default(); 4];
            let (n, at) = (changes.len() as i32, events.as_mut_ptr());
            let time = std::ptr::null();
            // SAFETY: arrays as long as said.
            unsafe {
                abi::kevent_min::<abi::RawWait>(kq, changes.as_ptr(), n, at, 4, min, time, PLAIN)
            }
        };
        assert_eq!(call(&[add], 0), Ok(1));
        let waiter = start(move || call(&[], 2));
        assert!(waiter.wait_until_asleep());
        abi::closing(kq);
        kq_core::raw::close(kq).unwrap();
        assert_eq!(waiter.join(), Err(Errno::EBADF));
    }
}
