//! What the queues watch: one of everything.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use kq_core::EventFilter::*;
use kq_core::test_support::{signals, sys};
use kq_core::{AioNotify, AioRequest, Errno, EvFlags, FilterFlag, KEvent, Kqueue};

use crate::kq::*;

const NONE: FilterFlag = FilterFlag::empty();

/// See the module.
pub(crate) struct Things {
    socket: UnixStream,
    _peer: UnixStream,
    reader: OwnedFd,
    /// Full to some extent.
    writer: OwnedFd,
    file: File,
    child: Option<sys::Fork>,
    pid: libc::pid_t,
    pidfd: RawFd,
    /// The child ends when this does.
    end: Option<OwnedFd>,
}

impl Drop for Things {
    fn drop(&mut self) {
        self.end = None;
        if let Some(child) = self.child.take() {
            child.wait();
        }
        let _ = sys::close(self.pidfd);
    }
}

impl Things {
    pub(crate) fn new() -> Self {
        signals::ignore(libc::SIGUSR1);
        let (socket, _peer) = UnixStream::pair().unwrap();
        let (reader, writer) = sys::pipe().unwrap();
        sys::write(writer.as_raw_fd(), &[0; 20_000]).unwrap();
        let (until, end) = sys::pipe().unwrap();
        let child = sys::fork(|| {
            sys::close(end.as_raw_fd()).unwrap();
            sys::poll_for(until.as_raw_fd(), libc::POLLIN, 600_000);
            0
        });
        let pidfd = kq_core::raw::pidfd_open(child.pid()).unwrap();
        let file = File::from(sys::memfd());
        let (pid, child) = (child.pid(), Some(child));
        Self { socket, _peer, reader, writer, file, child, pid, pidfd, end: Some(end) }
    }

    /// A queue with knotes of every filter, and of each kind of descriptor that it may have of its own.
    pub(crate) fn queue(&self) -> Kqueue {
        let kq = Kqueue::new().unwrap();
        let (clear, disable) = (ADD | EvFlags::EV_CLEAR, ADD | EvFlags::EV_DISABLE);
        let [socket, reader, writer, file] = [
            self.socket.as_raw_fd(),
            self.reader.as_raw_fd(),
            self.writer.as_raw_fd(),
            self.file.as_raw_fd(),
        ];
        let low_water = FilterFlag::NOTE_LOWAT;
        let timer = |ident, fflags, data| KEvent::new(ident, EVFILT_TIMER, ADD, fflags, data, 0);
        let absolute = FilterFlag::NOTE_ABSTIME | FilterFlag::NOTE_SECONDS;
        apply(
            &kq,
            &[
                change(socket, EVFILT_WRITE, clear, NONE),
                change(socket, EVFILT_READ, ADD, NONE),
                change(reader, EVFILT_READ, disable, NONE),
                KEvent::new(writer as usize, EVFILT_WRITE, ADD, low_water, 60_000, 0),
                change(file, EVFILT_READ, clear, NONE),
                change(file, EVFILT_VNODE, disable, FilterFlag::NOTE_WRITE),
                change(1, EVFILT_USER, clear, FilterFlag::NOTE_TRIGGER),
                timer(1, FilterFlag::NOTE_MSECONDS, 1),
                timer(2, absolute, isize::MAX),
                change(libc::SIGUSR1, EVFILT_SIGNAL, ADD, NONE),
                change(0, EVFILT_FS, ADD, FilterFlag::VQ_MOUNT),
                change(self.pid, EVFILT_PROC, ADD, FilterFlag::NOTE_EXIT),
                change(self.pidfd, EVFILT_PROCDESC, disable, FilterFlag::NOTE_EXIT),
            ],
        )
        .unwrap();
        let told = FilterFlag::NOTE_EXIT | FilterFlag::NOTE_FORK;
        match apply(&kq, &[change(self.pid, EVFILT_PROC, ADD, told)]) {
            Ok(()) | Err(Errno::EPERM) => {} // no process connector here
            other => panic!("{other:?}"),
        }
        let request = AioRequest::read(self.socket.as_fd(), vec![0; 4], 0);
        match kq.aio_submit(request, AioNotify { flags: EvFlags::empty(), udata: 0 }) {
            Ok(_) => {}
            Err(refused) => assert_eq!(refused.errno, Errno::ENOSYS),
        }
        kq
    }

    /// Something happens to what is watched.
    pub(crate) fn happen(&self) {
        // SAFETY: takes a number.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        (&self.file).write_all(b"x").unwrap();
        sys::poll_for(self.reader.as_raw_fd(), 0, 3);
    }

    /// A queue tells what happens: its own trigger, its timer.
    #[track_caller]
    pub(crate) fn is_well(&self, kq: &Kqueue) {
        apply(kq, &[change(1, EVFILT_USER, EvFlags::empty(), FilterFlag::NOTE_TRIGGER)]).unwrap();
        let (mut user, mut timer, mut write) = (false, false, false);
        apply(kq, &[change(self.socket.as_raw_fd(), EVFILT_WRITE, ADD, NONE)]).unwrap();
        while !(user && timer && write) {
            for event in next(kq) {
                match event.filter() {
                    Ok(EVFILT_USER) => user = true,
                    Ok(EVFILT_TIMER) => timer = true,
                    Ok(EVFILT_WRITE) => write = true,
                    _ => {}
                }
            }
        }
    }
}
