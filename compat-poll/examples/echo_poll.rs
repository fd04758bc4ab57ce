//! A small echo server on poll, as it has always been written: the array is made anew for each call.
//!
//! Run it with an address or none (127.0.0.1 and any port): it says where it listens, and serves
//! until it is ended. With `nix::poll` in the place of `compat_poll` it is the kernel's poll, and each
//! call costs what is watched.

mod echo;

use std::io;
use std::os::fd::AsFd;

use compat_poll::*;

fn main() -> io::Result<()> {
    let listener = echo::listen()?;
    let mut connections = Vec::new();
    loop {
        let mut fds = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        fds.extend(connections.iter().map(interest));
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count?,
        };
        let ready: Vec<_> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        let mut of_connections = ready[1..].iter();
        connections
            .retain_mut(|connection| of_connections.next() == Some(&false) || connection.echo());
        if ready[0] {
            while let Some(connection) = echo::accept(&listener)? {
                connections.push(connection);
            }
        }
    }
}

fn interest(connection: &echo::Connection) -> PollFd<'_> {
    let events = match connection.waits_to_send() {
        true => PollFlags::POLLOUT,
        false => PollFlags::POLLIN,
    };
    PollFd::new(connection.stream.as_fd(), events)
}
