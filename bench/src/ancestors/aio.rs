//! Network AIO: messages sent and received whole, and files sent, beside a program that does the same
//! on plain epoll.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kq_core::{AioNotify, AioRequest, Errno, EvFlags, KEvent, Kqueue};

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::{Kind, Stream, read_some, streams};
use crate::iface::capi::EpollApi;
use crate::measure::{Row, in_turns};
use crate::model::{Bench, Case};

/// Streams that carry a message each at the same time.
const STREAMS: usize = 16;
const FOR_EVER: i32 = -1;

/// Where a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    /// aio_send; natively send(2).
    Memory,
    /// aio_sendfile; natively sendfile(2).
    File,
}

struct Work<'a> {
    streams: &'a [Stream],
    file: &'a File,
    from: From,
    bytes: usize,
}

/// Messages a second, of two sizes and from a file.
pub(super) fn run(ctx: &Ctx, args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    for (from, bytes) in [(From::Memory, 4096), (From::Memory, 262_144), (From::File, 262_144)] {
        ctx.case("network AIO");
        match row(ctx, args, from, bytes) {
            Err(e) if e.downcast_ref() == Some(&Errno::ENOSYS) => {
                bench.note("network AIO: there is no io_uring here");
            }
            case => bench.cases.push(case?),
        }
        ctx.done();
    }
    Ok(())
}

fn row(ctx: &Ctx, args: &AncestorsArgs, from: From, bytes: usize) -> Result<Case> {
    let rounds = ctx.plan.rounds.min(9);
    let slice = Duration::from_secs_f64(ctx.plan.seconds(args.time) / rounds as f64);
    let streams = streams(Kind::Inet, STREAMS)?;
    let mut file = tempfile::tempfile()?;
    file.write_all(&vec![b'x'; bytes])?;
    let work = Work { streams: &streams, file: &file, from, bytes };
    let values = in_turns(rounds, 2, |lane| match lane {
        0 => work.on_epoll(ctx.interfaces.epoll, slice),
        _ => work.on_aio(slice),
    })?;
    let group = match from {
        From::Memory => "network AIO, send and receive, bytes",
        From::File => "network AIO, file to socket, bytes",
    };
    let lanes = ["epoll", "kqueue, aio"].map(|name| (name.to_owned(), None)).to_vec();
    Ok(Row::rate(group, "messages").at(bytes).case(lanes, &values))
}

/// How far a stream's message is.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    sent: usize,
    received: usize,
}

impl Work<'_> {
    /// A loop on edges, as a program without AIO has it. Messages a second.
    fn on_epoll(&self, api: EpollApi, time: Duration) -> Result<f64> {
        let ep = api.create()?;
        for (at, stream) in self.streams.iter().enumerate() {
            let ends = [(stream.write_fd(), libc::EPOLLOUT), (stream.read_fd(), libc::EPOLLIN)];
            for (fd, events) in ends {
                let events = (events | libc::EPOLLET) as u32;
                api.ctl(ep, libc::EPOLL_CTL_ADD, fd, events, at as u64)?;
            }
        }
        let message = vec![b'x'; self.bytes];
        let mut room = vec![0; self.bytes];
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2 * STREAMS];
        let (began, mut messages) = (Instant::now(), 0);
        while began.elapsed() < time {
            let mut progress = [Progress::default(); STREAMS];
            for (at, progress) in progress.iter_mut().enumerate() {
                self.send_some(at, &mut progress.sent, &message)?;
            }
            let mut left = STREAMS;
            while left > 0 {
                let n = api.wait(ep, &mut events, FOR_EVER)?;
                for event in &events[..n] {
                    let at = event.u64 as usize;
                    let progress = &mut progress[at];
                    self.send_some(at, &mut progress.sent, &message)?;
                    if progress.received < self.bytes
                        && self.receive_some(at, progress, &mut room)?
                    {
                        left -= 1;
                    }
                }
            }
            messages += STREAMS;
        }
        let took = began.elapsed();
        // SAFETY: the queue's own number, closed once.
        unsafe { libc::close(ep) };
        Ok(messages as f64 / took.as_secs_f64())
    }

    /// Sends what finds room.
    fn send_some(&self, at: usize, sent: &mut usize, message: &[u8]) -> io::Result<()> {
        let fd = self.streams[at].write_fd();
        while *sent < self.bytes {
            let rest = self.bytes - *sent;
            let n = match self.from {
                // SAFETY: the kernel reads the rest of the message.
                From::Memory => unsafe {
                    libc::send(fd, message[*sent..].as_ptr().cast(), rest, libc::MSG_NOSIGNAL)
                },
                From::File => {
                    let mut offset = *sent as libc::off_t;
                    let file = std::os::fd::AsRawFd::as_raw_fd(self.file);
                    // SAFETY: the kernel reads and writes the offset.
                    unsafe { libc::sendfile(fd, file, &mut offset, rest) }
                }
            };
            match n {
                1.. => *sent += n as usize,
                _ => return unless_full(io::Error::last_os_error()),
            }
        }
        Ok(())
    }

    /// Receives what there is; whether that was all of the message.
    fn receive_some(
        &self,
        at: usize,
        progress: &mut Progress,
        room: &mut [u8],
    ) -> io::Result<bool> {
        while progress.received < self.bytes {
            match read_some(self.streams[at].read_fd(), &mut room[progress.received..]) {
                Ok(n) => progress.received += n,
                Err(e) => return unless_full(e).map(|()| false),
            }
        }
        Ok(true)
    }

    /// Two requests a message. Messages a second.
    fn on_aio(&self, time: Duration) -> Result<f64> {
        let kq = Kqueue::new()?;
        let (began, mut messages) = (Instant::now(), 0);
        let mut events = [KEvent::default(); 2 * STREAMS];
        let mut buffers: Vec<Vec<u8>> = Vec::new();
        while began.elapsed() < time {
            for stream in self.streams {
                let mut buffer = || buffers.pop().unwrap_or_else(|| vec![b'x'; self.bytes]);
                let receive = AioRequest::recv(borrow(stream.read_fd()), buffer(), 0);
                let out = borrow(stream.write_fd());
                let send = match self.from {
                    From::Memory => AioRequest::send(out, buffer(), 0),
                    From::File => {
                        AioRequest::sendfile(out, self.file.as_fd(), 0, self.bytes as u64)
                    }
                };
                let notify = AioNotify { flags: EvFlags::EV_ONESHOT, udata: 0 };
                for request in [receive, send] {
                    kq.aio_submit(request, notify).map_err(Errno::from)?;
                }
            }
            let mut left = 2 * STREAMS;
            while left > 0 {
                let n = kq.kevent(&[], &mut events, None)?;
                for event in &events[..n] {
                    let done = kq.aio_return(event.ident())?;
                    ensure!(done.moved == self.bytes, "{} of {}", done.moved, self.bytes);
                    if done.buffer.len() == self.bytes {
                        buffers.push(done.buffer);
                    }
                }
                left -= n;
            }
            messages += STREAMS;
        }
        Ok(messages as f64 / began.elapsed().as_secs_f64())
    }
}

fn unless_full(e: io::Error) -> io::Result<()> {
    if e.kind() == io::ErrorKind::WouldBlock { Ok(()) } else { Err(e) }
}

fn borrow<'a>(fd: RawFd) -> BorrowedFd<'a> {
    // SAFETY: the streams live as long as the work on them.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
