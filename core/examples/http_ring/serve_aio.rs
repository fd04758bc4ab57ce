//! The worker again, with a request for each answer: aio_sendfile sends all of it, however slow the
//! client is, and tells as an event when it is through.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, RawFd};

use kq_core::{
    AioNotify, AioRequest, Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue, Ring,
};

use super::serve::{Conn, accept};

/// An answer as a file in memory: its header, and the page.
#[derive(Debug)]
pub(crate) struct Answer {
    file: File,
    len: u64,
}

impl Answer {
    /// The answer that serves a file.
    pub(crate) fn open(path: impl AsRef<std::path::Path>) -> io::Result<Self> {
        let page = std::fs::read(path)?;
        // SAFETY: the name ends in a NUL.
        let fd = unsafe { libc::memfd_create(c"answer".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: new, and nobody else's.
        let mut file = unsafe { File::from_raw_fd(fd) };
        write!(file, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len())?;
        file.write_all(&page)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

/// Whether there is io_uring.
pub(crate) fn has_requests() -> io::Result<bool> {
    let file = File::open("/proc/self/exe")?;
    let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata: 0 };
    match Kqueue::new()?.aio_submit(AioRequest::read(file.as_fd(), vec![0], 0), notify) {
        Err(refused) if refused.errno == Errno::ENOSYS => Ok(false),
        begun => Ok(begun.map(|_| true).map_err(Errno::from)?),
    }
}

/// A connection, kept until the request that sends its answer is through.
struct Client {
    conn: Conn,
    sending: bool,
    over: bool,
}

impl Client {
    /// Begins to send the next answer that is owed.
    fn go_on(&mut self, queue: &Kqueue, answer: &Answer) -> Result<(), Errno> {
        if self.sending || self.conn.owed == 0 {
            return Ok(());
        }
        let (socket, file) = (self.conn.as_fd(), answer.file.as_fd());
        let udata = self.conn.fd() as isize;
        let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata };
        queue.aio_submit(AioRequest::sendfile(socket, file, 0, answer.len), notify)?;
        self.sending = true;
        Ok(())
    }
}

/// Serves until `stop` is readable; how many requests it answered.
///
/// # Errors
/// - `ENOSYS`: there is no io_uring, as soon as the first answer is owed.
pub(crate) fn worker(listener: &TcpListener, answer: &Answer, stop: RawFd) -> io::Result<u64> {
    let add = |fd: RawFd, flags| {
        let (filter, flags) = (EventFilter::EVFILT_READ, EvFlags::EV_ADD | flags);
        KEvent::new(fd as usize, filter, flags, FilterFlag::NOTE_NODATA, 0, 0)
    };
    listener.set_nonblocking(true)?;
    let ring = Ring::new(Kqueue::new()?, 1024)?;
    let first = [add(listener.as_raw_fd(), EvFlags::EV_WAKEONE), add(stop, EvFlags::EV_CLEAR)];
    ring.queue().kevent(&first, &mut [], None)?;
    let mut clients: HashMap<RawFd, Client> = HashMap::new();
    let mut events = [KEvent::default(); 64];
    let (mut served, mut stopping) = (0, false);
    // What is under way at the end is seen to.
    while !stopping || clients.values().any(|client| client.sending) {
        ring.wait(None)?;
        let n = ring.take(&mut events);
        for event in &events[..n] {
            let of_request = event.filter() == Ok(EventFilter::EVFILT_AIO);
            let fd = if of_request { event.udata() as RawFd } else { event.ident() as RawFd };
            if fd == stop {
                stopping = true;
                continue;
            }
            if fd == listener.as_raw_fd() {
                accept(listener, |conn| {
                    let fd = conn.fd();
                    ring.queue().kevent(&[add(fd, EvFlags::EV_CLEAR)], &mut [], None)?;
                    clients.insert(fd, Client { conn, sending: false, over: false });
                    Ok(())
                })?;
                continue;
            }
            let Some(client) = clients.get_mut(&fd) else { continue };
            if of_request {
                let done = ring.queue().aio_return(event.ident())?;
                client.sending = false;
                if done.moved as u64 == answer.len {
                    client.conn.owed -= 1;
                    served += 1;
                } else {
                    client.over = true;
                }
            } else {
                // (It may have ended while its answer is under way.)
                client.over |= loop {
                    match client.conn.read() {
                        Ok(true) => {}
                        Ok(false) => break false,
                        Err(_) => break true,
                    }
                };
            }
            if !client.over {
                client.go_on(ring.queue(), answer)?;
            } else if !client.sending {
                clients.remove(&fd);
            }
        }
    }
    Ok(served)
}
