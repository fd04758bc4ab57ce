//! Waits for a timer and for a pipe on one queue.
use std::io::{Write, pipe};
use std::os::fd::AsRawFd;

use kq_core::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (reader, mut writer) = pipe()?;
    let (add, none) = (EvFlags::EV_ADD, FilterFlag::empty());
    let once = add | EvFlags::EV_ONESHOT;
    let kq = Kqueue::new()?;
    let changes = [
        KEvent::new(1, EventFilter::EVFILT_TIMER, once, FilterFlag::NOTE_MSECONDS, 20, 0),
        KEvent::new(reader.as_raw_fd() as usize, EventFilter::EVFILT_READ, add, none, 0, 0),
    ];
    let mut events = [KEvent::default(); 8];
    let n = kq.kevent(&changes, &mut events, None)?;
    println!("{n} event: {:?}", events[0].filter()?);
    writer.write_all(b"hello")?;
    kq.kevent(&[], &mut events, None)?;
    println!("{} bytes to read", events[0].data());
    Ok(())
}
