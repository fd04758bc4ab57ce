//! What all filters say of some descriptors at this moment: asked of a queue that is thrown away.
//!
//! (A queue kept for this would be a number that a program may close, and that somebody else then
//! has. It is needed only where something has ended, or where edges of two directions meet.)

use std::os::fd::RawFd;

use nix::errno::Errno;
use smallvec::SmallVec;

use crate::event::{EvFlags, EventFilter};

use super::super::layout::{self, Raw};
use super::apply::{Change, apply, event};
use super::bits::{Kind, Said, Seen};
use super::interest::FILTERS;
use super::kind::is_gone;

/// A descriptor to ask about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) fd: RawFd,
    pub(crate) kind: Kind,
    pub(crate) seen: Seen,
}

/// Asks. Where there is no queue to be had, what was seen before stands.
pub(crate) fn ask(asked: &mut [Asked]) {
    if asked.is_empty() {
        return;
    }
    let Ok(kq) = layout::kqueue() else { return };
    // Where it fails the rest is as it was.
    let _ = ask_by(kq, asked);
    // SAFETY: made above, and known to nobody else.
    unsafe { libc::close(kq) };
}

fn ask_by(kq: RawFd, asked: &mut [Asked]) -> Result<(), Errno> {
    let mut changes = Vec::with_capacity(3 * asked.len());
    for (at, one) in asked.iter().enumerate() {
        for filter in FILTERS {
            let useless = match filter {
                EventFilter::EVFILT_EXCEPT => one.kind != Kind::Stream,
                EventFilter::EVFILT_READ => one.kind == Kind::PipeWrite,
                _ => matches!(one.kind, Kind::PipeRead | Kind::Listener | Kind::Queue),
            };
            if !useless {
                let ident = one.fd as usize;
                let flags = EvFlags::EV_ADD;
                changes.push(Change { ident, filter, flags, serial: at, quiet: false });
            }
        }
    }
    let answers = apply(kq, &changes)?;
    let mut fresh: SmallVec<[Seen; 8]> = SmallVec::from_elem(Seen::default(), asked.len());
    for (change, answer) in changes.iter().zip(&answers) {
        let (Err(errno), EventFilter::EVFILT_WRITE) = (answer, change.filter) else { continue };
        if is_gone(*errno, change.ident as RawFd, asked[change.serial].kind) {
            fresh[change.serial].write = Some(GONE);
        }
    }
    let mut events = vec![Raw::default(); changes.len()];
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let n = layout::kevent(kq, &[], &mut events, Some(&now))?;
    for event in events[..n].iter().filter_map(event) {
        if let Some(seen) = fresh.get_mut(event.serial) {
            seen.note(event.filter, event.said);
        }
    }
    for (one, seen) in asked.iter_mut().zip(fresh) {
        one.seen = seen;
    }
    Ok(())
}

/// A pipe that nobody reads.
pub(crate) const GONE: Said = Said { data: 0, eof: true, error: false };

impl Seen {
    /// One filter's word.
    pub(crate) fn note(&mut self, filter: EventFilter, said: Said) {
        match filter {
            EventFilter::EVFILT_READ => self.read = Some(said),
            EventFilter::EVFILT_WRITE => self.write = Some(said),
            _ => self.except = true,
        }
    }
}
