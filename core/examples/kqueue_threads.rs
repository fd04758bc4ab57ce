//! Several threads scan one queue at once, and trigger each other's events: no lock is held while
//! they wait, and each `EV_CLEAR` event is one thread's.

use std::sync::atomic::{AtomicUsize, Ordering};

use kq_core::*;

const THREADS: usize = 4;
/// How often the tokens are passed on, in all.
const STEPS: usize = 10_000;

fn main() -> Result<(), Errno> {
    let queue = Kqueue::new()?;
    let user = |ident: usize, flags, fflags| {
        KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0)
    };
    let trigger = |ident| {
        let trigger = user(ident, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
        queue.kevent(&[trigger], &mut [], None).map(drop)
    };
    // A token stands at each second place; whoever is told of it passes it on to the next.
    const PLACES: usize = 2 * THREADS;
    for ident in 0..PLACES {
        let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
        queue.kevent(&[user(ident, flags, FilterFlag::empty())], &mut [], None)?;
    }
    let stop = user(PLACES, EvFlags::EV_ADD, FilterFlag::empty()); // a level one: for every thread
    queue.kevent(&[stop], &mut [], None)?;
    let steps = AtomicUsize::new(0);
    let work = || -> Result<(), Errno> {
        let mut event = [KEvent::default()];
        loop {
            queue.kevent(&[], &mut event, None)?;
            let place = event[0].ident();
            if place == PLACES {
                return Ok(());
            }
            if steps.fetch_add(1, Ordering::Relaxed) + 1 == STEPS {
                trigger(PLACES)?;
            }
            trigger((place + 2) % PLACES)?;
        }
    };
    (0..PLACES).step_by(2).try_for_each(trigger)?;
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..THREADS).map(|_| threads.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("no panic"))
    })?;
    println!("{THREADS} threads, at least {STEPS} events");
    Ok(())
}
