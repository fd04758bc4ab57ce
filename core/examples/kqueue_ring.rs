//! Two threads read events from a ring in memory. One of them waits in the kernel and fills the ring,
//! the other one is woken for what it does not read itself.

use std::sync::atomic::{AtomicUsize, Ordering};

use kq_core::*;

const EVENTS: usize = 1000;

fn main() -> Result<(), Errno> {
    let ring = Ring::new(Kqueue::new()?, 64)?;
    let user = |ident: usize, flags, fflags| {
        KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0)
    };
    let post = |ident| {
        let add = user(ident, EvFlags::EV_ADD | EvFlags::EV_ONESHOT, FilterFlag::empty());
        let trigger = user(ident, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
        ring.queue().kevent(&[add, trigger], &mut [], None).map(drop)
    };
    let taken = AtomicUsize::new(0);
    let consume = || {
        let mut events = [KEvent::default(); 16];
        loop {
            ring.wait(None)?;
            let n = ring.take(&mut events); // no system call
            let stop = events[..n].iter().any(|event| event.ident() == EVENTS);
            taken.fetch_add(n - usize::from(stop), Ordering::Relaxed);
            if stop {
                return post(EVENTS); // for the other thread
            }
        }
    };
    std::thread::scope(|threads| {
        let consumers = [threads.spawn(consume), threads.spawn(consume)];
        (0..EVENTS).try_for_each(post)?;
        while taken.load(Ordering::Relaxed) < EVENTS {
            std::thread::yield_now();
        }
        post(EVENTS)?;
        consumers.into_iter().try_for_each(|consumer| consumer.join().expect("no panic"))
    })?;
    println!("{} of {EVENTS} events, each taken once", taken.into_inner());
    Ok(())
}
