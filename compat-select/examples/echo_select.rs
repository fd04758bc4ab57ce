//! A small echo server on select, with as many connections as the process may have: the sets grow.
//!
//! Run it with an address or none (127.0.0.1 and any port): it says where it listens, and serves
//! until it is ended. With `nix::sys::select` in the place of `compat_select` it is the kernel's
//! select: each call costs what is watched, and number 1024 is too high.

mod echo;

use std::io;
use std::os::fd::AsFd;

use compat_select::*;

fn main() -> io::Result<()> {
    let listener = echo::listen()?;
    let mut connections: Vec<echo::Connection> = Vec::new();
    loop {
        let (mut readable, mut writable) = (FdSet::new(), FdSet::new());
        readable.insert(listener.as_fd());
        for connection in &connections {
            let set = if connection.waits_to_send() { &mut writable } else { &mut readable };
            set.insert(connection.stream.as_fd());
        }
        match select(None, &mut readable, &mut writable, None, None) {
            Err(nix::errno::Errno::EINTR) => continue,
            count => count?,
        };
        let is_ready = |fd| readable.contains(fd) || writable.contains(fd);
        let more = is_ready(listener.as_fd());
        let ready: Vec<_> = connections.iter().map(|c| is_ready(c.stream.as_fd())).collect();
        let mut ready = ready.iter();
        connections.retain_mut(|connection| ready.next() == Some(&false) || connection.echo());
        if more {
            while let Some(connection) = echo::accept(&listener)? {
                connections.push(connection);
            }
        }
    }
}
