//! A queue and a subject, and the questions that contracts ask of them.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use kq_core::{Errno, EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use libc::timespec;

use super::subject::Subject;

/// Does not wait.
pub(crate) const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
/// Longer than anything takes: only a failure waits that long.
pub(crate) const LONG: Option<timespec> = Some(timespec { tv_sec: 20, tv_nsec: 0 });

pub(crate) const ADD: EvFlags = EvFlags::EV_ADD;
pub(crate) const DELETE: EvFlags = EvFlags::EV_DELETE;
pub(crate) const ENABLE: EvFlags = EvFlags::EV_ENABLE;
pub(crate) const DISABLE: EvFlags = EvFlags::EV_DISABLE;
pub(crate) const ONESHOT: EvFlags = EvFlags::EV_ONESHOT;
pub(crate) const CLEAR: EvFlags = EvFlags::EV_CLEAR;
pub(crate) const DISPATCH: EvFlags = EvFlags::EV_DISPATCH;

/// The udata of changes that do not say another.
pub(crate) const UDATA: isize = 0x5EED;

/// See the module.
pub(crate) struct Fixture {
    pub(crate) kq: Arc<Kqueue>,
    pub(crate) subject: Box<dyn Subject>,
}

impl Fixture {
    pub(crate) fn new(subject: Box<dyn Subject>) -> Self {
        Self { kq: Arc::new(Kqueue::new().unwrap()), subject }
    }

    /// A change of the subject's knote.
    pub(crate) fn change(&self, flags: EvFlags, udata: isize) -> KEvent {
        let (fflags, data) = self.subject.terms(flags.contains(ADD));
        KEvent::new(self.subject.ident(), self.subject.filter(), flags, fflags, data, udata)
    }

    /// Applies one change, with the usual udata.
    pub(crate) fn apply(&self, flags: EvFlags) -> Result<(), Errno> {
        self.apply_with(flags, UDATA)
    }

    /// Applies one change.
    pub(crate) fn apply_with(&self, flags: EvFlags, udata: isize) -> Result<(), Errno> {
        self.subject.apply(&self.kq, &self.change(flags, udata))
    }

    pub(crate) fn trigger(&mut self) {
        self.subject.trigger(&[&*self.kq]);
    }

    pub(crate) fn quench(&mut self) {
        self.subject.quench(&[&*self.kq]);
    }

    /// The one event that there is, looked at in every respect. It was seen from outside before it
    /// was taken.
    #[track_caller]
    pub(crate) fn one(&self) -> KEvent {
        self.one_of(&self.kq)
    }

    #[track_caller]
    pub(crate) fn one_of(&self, kq: &Kqueue) -> KEvent {
        assert!(poll(kq, 20_000), "the queue's descriptor is not ready");
        let events = take(kq, 4, NOW);
        assert_eq!(events.len(), 1, "{events:?}");
        self.check(&events[0]);
        events[0]
    }

    /// Whether an event is this subject's, and says the right things.
    #[track_caller]
    pub(crate) fn check(&self, event: &KEvent) {
        assert_eq!(event.ident(), self.subject.ident());
        assert_eq!(event.filter(), Ok(self.subject.filter()));
        assert!(!event.flags().intersects(EvFlags::EV_ERROR | ADD | ENABLE), "{event:?}");
        self.subject.check(event);
    }

    /// That nothing is reported, and the queue's descriptor does not say that something would be.
    #[track_caller]
    pub(crate) fn silent(&self) {
        silent(&self.kq);
    }
}

#[track_caller]
pub(crate) fn silent(kq: &Kqueue) {
    assert!(!poll(kq, 0), "the queue's descriptor is ready");
    assert_eq!(take(kq, 4, NOW), []);
}

pub(crate) fn apply(kq: &Kqueue, changes: &[KEvent]) -> Result<(), Errno> {
    kq.kevent(changes, &mut [], None).map(drop)
}

pub(crate) fn blank() -> KEvent {
    KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0)
}

#[track_caller]
pub(crate) fn take(kq: &Kqueue, room: usize, timeout: Option<timespec>) -> Vec<KEvent> {
    let mut events = vec![blank(); room];
    let n = kq.kevent(&[], &mut events, timeout).expect("kevent");
    events.truncate(n);
    events
}

/// Milliseconds, for kevent().
pub(crate) fn millis(n: i64) -> Option<timespec> {
    Some(timespec { tv_sec: n / 1000, tv_nsec: n % 1000 * 1_000_000 })
}

/// Whether poll(2) finds a descriptor readable within some milliseconds.
pub(crate) fn poll(fd: &impl AsRawFd, timeout: i32) -> bool {
    ready(fd, libc::POLLIN, timeout) != 0
}

/// What of `events` poll(2) finds within some milliseconds.
pub(crate) fn ready(fd: &impl AsRawFd, events: i16, timeout: i32) -> i16 {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 };
    loop {
        // SAFETY: one entry.
        if unsafe { libc::poll(&mut entry, 1, timeout) } >= 0 {
            return entry.revents;
        }
        assert_eq!(Errno::last(), Errno::EINTR);
    }
}

/// A number that nobody else in this process takes: new descriptors get the lowest free one.
pub(crate) fn free_number() -> RawFd {
    static LAST: AtomicI32 = AtomicI32::new(600);
    LAST.fetch_add(1, Ordering::Relaxed)
}
