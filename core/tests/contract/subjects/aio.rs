//! AIO: a request to read a pipe.

use std::io::Write;
use std::os::fd::AsRawFd;

use kq_core::abi::aio::{self, Deed, Request, Told};
use kq_core::{Errno, EvFlags, EventFilter, KEvent, Kqueue};

use crate::fixture::apply;
use crate::subject::Subject;

/// A request is named by an address that is ours, as a C program's by its aiocb.
struct Read {
    byte: Box<u8>,
    reader: std::io::PipeReader,
    writer: std::io::PipeWriter,
    /// The list that a queue is told of, instead of the request.
    listed: bool,
}

fn subject(listed: bool) -> Result<Box<dyn Subject>, String> {
    let (reader, writer) = std::io::pipe().unwrap();
    let read = Read { byte: Box::new(0), reader, writer, listed };
    let kq = Kqueue::new().unwrap();
    match read.begin(&kq, EvFlags::empty(), 0) {
        Err(Errno::ENOSYS) => Err("there is no io_uring".to_owned()),
        begun => {
            begun.unwrap();
            read.end();
            Ok(Box::new(read))
        }
    }
}

pub(crate) fn aio() -> Result<Box<dyn Subject>, String> {
    subject(false)
}

pub(crate) fn lio() -> Result<Box<dyn Subject>, String> {
    subject(true)
}

impl Read {
    fn name(&self) -> usize {
        &raw const *self.byte as usize
    }

    fn begin(&self, kq: &Kqueue, flags: EvFlags, udata: isize) -> Result<(), Errno> {
        let told = Told { kq: kq.as_raw_fd(), flags: flags.bits(), udata: udata as usize };
        let (fd, buffer) = (self.reader.as_raw_fd(), (&raw const *self.byte).cast_mut());
        let (ident, list) = (self.name(), self.listed.then_some((self.ident(), told.kq)));
        if self.listed {
            aio::open_list(self.ident(), told)?;
        }
        let told = (!self.listed).then_some(told);
        let request = Request { ident, fd, buffer, len: 1, offset: 0, told, list };
        // SAFETY: the byte is boxed, nobody looks at it, and `drop` ends the request.
        unsafe { aio::begin(Deed::Read, request) }?;
        if let Some((at, kq)) = list {
            aio::close_list(at, kq)?;
        }
        Ok(())
    }

    /// Takes the request, whether or not it is over.
    fn end(&self) {
        let _ = aio::cancel(self.reader.as_raw_fd(), None);
        let _ = aio::give_back(self.name());
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.end();
    }
}

impl Subject for Read {
    fn filter(&self) -> EventFilter {
        if self.listed { EventFilter::EVFILT_LIO } else { EventFilter::EVFILT_AIO }
    }

    fn ident(&self) -> usize {
        self.name() + usize::from(self.listed)
    }

    /// A knote that is there is changed; a new one comes with a request.
    fn apply(&self, kq: &Kqueue, change: &KEvent) -> Result<(), Errno> {
        match apply(kq, &[*change]) {
            Err(Errno::EPERM) => {}
            done => return done,
        }
        self.end(); // one that is over, and whose knote is gone
        let kept = EvFlags::EV_CLEAR | EvFlags::EV_ONESHOT | EvFlags::EV_DISPATCH;
        let (flags, disable) = (change.flags() & kept, EvFlags::EV_DISABLE);
        self.begin(kq, if self.listed { EvFlags::empty() } else { flags }, change.udata())?;
        if change.flags().contains(disable) {
            let (filter, udata) = (self.filter(), change.udata());
            let none = kq_core::FilterFlag::empty();
            apply(kq, &[KEvent::new(self.ident(), filter, disable, none, 0, udata)])?;
        }
        Ok(())
    }

    /// More than any contract reads.
    fn trigger(&mut self, queues: &[&Kqueue]) {
        self.writer.write_all(&[7; 1000]).unwrap();
        while aio::error(self.name()) == Some(Err(Errno::EINPROGRESS)) && !queues.is_empty() {
            std::thread::yield_now();
        }
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.data(), 0);
        assert_eq!(event.ext()[0], u64::from(!self.listed));
        assert_eq!(event.flags().contains(EvFlags::EV_EOF), !self.listed);
    }
}
