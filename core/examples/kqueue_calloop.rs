//! A kqueue as a source of calloop's loop, which is level-triggered: the source need not be emptied.

use std::os::fd::AsRawFd;

use calloop::generic::Generic;
use calloop::{EventLoop, Interest, Mode, PostAction};
use kq_core::*;

const AT_ONCE: Option<libc::timespec> = Some(libc::timespec { tv_sec: 0, tv_nsec: 0 });

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut event_loop = EventLoop::<Vec<usize>>::try_new()?;
    let signal = event_loop.get_signal();
    let (reader, writer) = std::io::pipe()?;

    let queue = Kqueue::new()?;
    let none = FilterFlag::empty();
    let ident = reader.as_raw_fd() as usize;
    let changes = [
        KEvent::new(ident, EventFilter::EVFILT_READ, EvFlags::EV_ADD, none, 0, 0),
        KEvent::new(
            1,
            EventFilter::EVFILT_USER,
            EvFlags::EV_ADD | EvFlags::EV_CLEAR,
            FilterFlag::NOTE_TRIGGER,
            0,
            0,
        ),
    ];
    queue.kevent(&changes, &mut [], AT_ONCE)?;

    let source = Generic::new(queue, Interest::READ, Mode::Level);
    event_loop.handle().insert_source(source, move |_, queue, seen| {
        // One at a time: the loop comes again for what is left.
        let mut event = [KEvent::default()];
        if queue.kevent(&[], &mut event, AT_ONCE)? == 1 {
            seen.push(event[0].ident());
        }
        if seen.len() < 2 { Ok(PostAction::Continue) } else { Ok(PostAction::Remove) }
    })?;

    drop(writer);
    let mut seen = Vec::new();
    event_loop.run(None, &mut seen, |seen| {
        if seen.len() == 2 {
            signal.stop();
        }
    })?;
    seen.sort_unstable();
    println!("{}", if seen == [1, ident] { "both were told" } else { "something else" });
    Ok(())
}
