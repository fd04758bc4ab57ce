//! Descriptors that are closed, duplicated and reused.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use kq_core::{Errno, EvFlags, KEvent, abi, raw};

use super::changes::user_trigger;

use crate::fixture::*;

/// The subject's open file at another number, and its change for that number.
fn at_number(fx: &Fixture, flags: EvFlags) -> (OwnedFd, KEvent) {
    let number = free_number();
    // SAFETY: puts a duplicate at a number of ours.
    assert_eq!(unsafe { libc::dup2(fx.subject.ident() as RawFd, number) }, number);
    // SAFETY: as above.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    let (fflags, data) = fx.subject.terms(true);
    let change = KEvent::new(number as usize, fx.subject.filter(), flags, fflags, data, 1);
    (fd, change)
}

fn with_flags(change: &KEvent, flags: EvFlags) -> KEvent {
    let filter = change.filter().unwrap();
    KEvent::new(change.ident(), filter, flags, change.fflags(), change.data(), change.udata())
}

pub(super) fn close_drops_the_knote(fx: &mut Fixture) {
    for flags in [ADD, ADD | CLEAR, ADD | DISPATCH, ADD | DISABLE] {
        let (fd, add) = at_number(fx, flags);
        apply(&fx.kq, &[add]).unwrap();
        abi::closing(fd.as_raw_fd());
        drop(fd);
        fx.trigger(); // the file lives on at the subject's own number
        fx.silent();
        assert_eq!(fx.kq.counters().knotes, 0);
        assert_eq!(apply(&fx.kq, &[with_flags(&add, DELETE)]), Err(Errno::EBADF));
    }
}

pub(super) fn reused_number(fx: &mut Fixture) {
    for flags in [ADD, ADD | CLEAR, ADD | DISPATCH, ADD | DISABLE] {
        let (fd, add) = at_number(fx, flags);
        // A file of which this number is the only name, so that it ends with it.
        let (unwatched, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        // SAFETY: replaces the file at our number.
        unsafe { libc::dup2(unwatched.as_raw_fd(), fd.as_raw_fd()) };
        drop(unwatched);
        let watch = KEvent::new(
            add.ident(),
            kq_core::EventFilter::EVFILT_READ,
            flags,
            kq_core::FilterFlag::empty(),
            0,
            1,
        );
        apply(&fx.kq, &[watch]).unwrap();
        // Another file comes to the number, and nobody tells.
        // SAFETY: as above.
        unsafe { libc::dup2(fx.subject.ident() as RawFd, fd.as_raw_fd()) };
        for change in [DELETE, ENABLE, DISABLE] {
            let done = apply(&fx.kq, &[with_flags(&watch, change)]);
            assert_eq!(done, Err(Errno::ENOENT), "{flags:?} {change:?}");
        }
        fx.trigger();
        fx.silent();
        apply(&fx.kq, &[with_flags(&add, ADD)]).unwrap();
        let events = take(&fx.kq, 4, LONG);
        assert_eq!((events.len(), events[0].ident()), (1, add.ident()));
        apply(&fx.kq, &[with_flags(&add, DELETE)]).unwrap();
    }
}

pub(super) fn raw_close_does_not_spin(fx: &mut Fixture) {
    fx.trigger();
    let (fd, add) = at_number(fx, ADD);
    apply(&fx.kq, &[add]).unwrap();
    let number = fd.as_raw_fd();
    raw::close(fd.into_raw_fd()).unwrap();
    // The registration lives, since the file does; the number is touched, so the knote is gone.
    assert_eq!(apply(&fx.kq, &[with_flags(&add, DELETE)]), Err(Errno::EBADF));
    assert_eq!(fx.kq.counters().knotes, 0);
    assert_eq!(take(&fx.kq, 4, millis(20)), []);
    fx.silent();
    // Everything else goes on, the number too.
    apply(&fx.kq, &[user_trigger(), fx.change(ADD, UDATA)]).unwrap();
    assert_eq!(take(&fx.kq, 4, LONG).len(), 2);
    // SAFETY: puts a duplicate at our number.
    assert_eq!(unsafe { libc::dup2(fx.subject.ident() as RawFd, number) }, number);
    apply(&fx.kq, &[add]).unwrap();
    assert_eq!(take(&fx.kq, 4, LONG).len(), 3);
    raw::close(number).unwrap();
}
