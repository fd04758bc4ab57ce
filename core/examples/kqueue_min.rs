//! Work is gathered: the wait ends when at least three of the pipes have something, or the time is
//! over, so that one pass serves several.

use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsRawFd;

use kq_core::*;
use libc::timespec;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let queue = Kqueue::new()?;
    let pipes = (0..8).map(|_| pipe()).collect::<Result<Vec<(PipeReader, PipeWriter)>, _>>()?;
    for (reader, _) in &pipes {
        let (flags, none) = (EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty());
        let fd = reader.as_raw_fd() as usize;
        queue.kevent(
            &[KEvent::new(fd, EventFilter::EVFILT_READ, flags, none, 0, 0)],
            &mut [],
            None,
        )?;
    }
    let mut events = [KEvent::default(); 8];
    std::thread::scope(|threads| {
        let writer = threads
            .spawn(|| pipes[..3].iter().try_for_each(|(_, writer)| (&*writer).write_all(b"x")));
        let n = queue.wait_min(&[], &mut events, 3, None, WaitFlags::empty())?;
        println!("{n} are ready");
        writer.join().expect("it does not panic")?;
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;

    // One more, and the time is over.
    (&pipes[7].1).write_all(b"x")?;
    let soon = timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let n = queue.wait_min(&[], &mut events, 3, Some(soon), WaitFlags::empty())?;
    println!("{n} is ready, and no more came in time");
    Ok(())
}
