//! A kqueue among the sources of a mio program: a timer and a file beside mio's own.

use std::io;
use std::os::fd::AsRawFd;

use kq_core::*;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

const QUEUE: Token = Token(0);
const WAKER: Token = Token(1);
const AT_ONCE: Option<libc::timespec> = Some(libc::timespec { tv_sec: 0, tv_nsec: 0 });

fn main() -> io::Result<()> {
    let queue = Kqueue::new()?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut SourceFd(&queue.as_raw_fd()), QUEUE, Interest::READABLE)?;
    let waker = Waker::new(poll.registry(), WAKER)?;

    let timer = KEvent::new(
        7,
        EventFilter::EVFILT_TIMER,
        EvFlags::EV_ADD,
        FilterFlag::NOTE_MSECONDS,
        20,
        0,
    );
    queue.kevent(&[timer], &mut [], AT_ONCE)?;

    let (mut ready, mut events) = (Events::with_capacity(16), [KEvent::default(); 16]);
    let mut ticks = 0;
    loop {
        match poll.poll(&mut ready, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            done => done?,
        }
        for source in &ready {
            if source.token() == WAKER {
                println!("woken after {ticks} ticks or more");
                return Ok(());
            }
            // mio tells of the queue once (edge): it has to be emptied.
            loop {
                let count = queue.kevent(&[], &mut events, AT_ONCE)?;
                if count == 0 {
                    break;
                }
                ticks += events[..count].iter().map(|event| event.data()).sum::<isize>();
            }
            if ticks >= 3 {
                waker.wake()?;
            }
        }
    }
}
