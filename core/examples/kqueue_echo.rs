//! A small echo server on one kqueue.
//!
//! Run it with an address or none (127.0.0.1 and any port): it says where it listens, and serves
//! until it is ended. The same server on epoll, poll and select is in the examples of compat-epoll,
//! compat-poll and compat-select; `echo/mod.rs` has what they share.

mod echo;

use std::collections::HashMap;
use std::io;
use std::os::fd::AsRawFd;

use kq_core::*;

/// A change of the knote that says when a descriptor can be read, or written.
fn knote(of: &impl AsRawFd, filter: EventFilter, flags: EvFlags) -> KEvent {
    KEvent::new(of.as_raw_fd() as usize, filter, flags, FilterFlag::empty(), 0, 0)
}

fn main() -> io::Result<()> {
    let listener = echo::listen()?;
    let kq = Kqueue::new()?;
    let mut changes = vec![knote(&listener, EventFilter::EVFILT_READ, EvFlags::EV_ADD)];
    let mut connections = HashMap::new();
    let mut events = [KEvent::default(); 64];
    loop {
        // What the last events changed goes in with the next wait.
        let count = match kq.kevent(&changes, &mut events, None) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        changes.clear();
        for event in &events[..count] {
            if event.ident() == listener.as_raw_fd() as usize {
                while let Some(connection) = echo::accept(&listener)? {
                    // Both at once: what a connection cannot do yet waits disabled.
                    let (stream, off) = (&connection.stream, EvFlags::EV_ADD | EvFlags::EV_DISABLE);
                    changes.push(knote(stream, EventFilter::EVFILT_READ, EvFlags::EV_ADD));
                    changes.push(knote(stream, EventFilter::EVFILT_WRITE, off));
                    connections.insert(stream.as_raw_fd() as usize, connection);
                }
            } else if let Some(connection) = connections.get_mut(&event.ident()) {
                if connection.echo() {
                    changes.extend(interest(connection));
                } else {
                    // Changes of this connection must not reach who gets its number next.
                    changes.retain(|change| change.ident() != event.ident());
                    connections.remove(&event.ident());
                }
            }
        }
    }
}

fn interest(connection: &echo::Connection) -> [KEvent; 2] {
    let [read, write] = match connection.waits_to_send() {
        false => [EvFlags::EV_ENABLE, EvFlags::EV_DISABLE],
        true => [EvFlags::EV_DISABLE, EvFlags::EV_ENABLE],
    };
    [
        knote(&connection.stream, EventFilter::EVFILT_READ, read),
        knote(&connection.stream, EventFilter::EVFILT_WRITE, write),
    ]
}
