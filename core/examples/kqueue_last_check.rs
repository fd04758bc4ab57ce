//! Threads wait on one queue and read from one pipe, which is level-triggered: more than one may be
//! told of the same byte. With `EV_LASTCHECK` a thread is told only if there is still something when
//! its event is handed out, so nearly no read is in vain.

use std::io::{ErrorKind, Read, Write, pipe};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use kq_core::*;

const BYTES: usize = 1000;

fn main() -> std::io::Result<()> {
    let (reader, mut writer) = pipe()?;
    let fd = reader.as_raw_fd();
    // SAFETY: takes no pointer.
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) };
    let queue = Kqueue::new()?;
    let (flags, none) = (EvFlags::EV_ADD | EvFlags::EV_LASTCHECK, FilterFlag::empty());
    let add = KEvent::new(fd as usize, EventFilter::EVFILT_READ, flags, none, 0, 0);
    queue.kevent(&[add], &mut [], None)?;
    let (read, in_vain) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let consume = || -> std::io::Result<()> {
        let mut events = [KEvent::default()];
        loop {
            queue.kevent(&[], &mut events, None)?;
            match (&reader).read(&mut [0]) {
                Ok(0) => return Ok(()), // the writer is gone
                Ok(_) => drop(read.fetch_add(1, Ordering::Relaxed)),
                // Another thread was quicker, between the last check and this read.
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    in_vain.fetch_add(1, Ordering::Relaxed);
                }
                Err(e) => return Err(e),
            }
        }
    };
    std::thread::scope(|threads| {
        let consumers = [threads.spawn(consume), threads.spawn(consume)];
        (0..BYTES).try_for_each(|_| writer.write_all(b"x"))?;
        drop(writer);
        consumers.into_iter().try_for_each(|consumer| consumer.join().expect("no panic"))
    })?;
    println!("{} bytes read", read.into_inner());
    eprintln!("{} reads in vain", in_vain.into_inner());
    Ok(())
}
