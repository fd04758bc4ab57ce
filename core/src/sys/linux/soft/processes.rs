//! The queue's PROC knotes, and what the kernel tells of their processes.

use libc::pid_t;

use crate::event::{EventFilter, FilterFlag};

use super::{Soft, SoftKnote};
use crate::sys::linux::connector::Told;
use crate::sys::linux::process::Process;
use crate::sys::linux::source::{Key, Source};

fn key_of(pid: pid_t) -> Key {
    (EventFilter::EVFILT_PROC, pid as usize)
}

/// The knote that a token names.
fn key(ident: u32, by_descriptor: bool) -> Key {
    if by_descriptor {
        (EventFilter::EVFILT_PROCDESC, ident as usize)
    } else {
        key_of(ident as pid_t)
    }
}

impl Soft {
    fn process(&mut self, key: Key) -> Option<&mut Process> {
        match &mut self.knotes.get_mut(&key)?.source {
            Source::Process(process) => Some(process),
            _ => None,
        }
    }

    /// Whether a pidfd is registered by this token.
    pub(super) fn is_armed(&mut self, ident: u32, by_descriptor: bool, token: u32) -> bool {
        self.process(key(ident, by_descriptor)).is_some_and(|process| process.is_armed_as(token))
    }

    /// A pidfd became readable.
    pub(super) fn process_ended(&mut self, ident: u32, by_descriptor: bool, token: u32) {
        // All that it did before its end has been told by now, and is to be known first.
        self.collect_told();
        let (key, kq) = (key(ident, by_descriptor), self.shared.kq);
        if let Some(process) = self.process(key).filter(|process| process.is_armed_as(token)) {
            process.note_end(kq);
            self.activate(key);
        }
    }

    /// Takes what the connector has to tell.
    pub(super) fn collect_told(&mut self) {
        self.shared.connector.mend(self.shared.kq);
        while let Some(told) = self.shared.connector.next() {
            match told {
                Told::Fork { parent, child } => {
                    self.note(parent, FilterFlag::NOTE_FORK);
                    self.follow(parent, child);
                }
                Told::Exec { pid } => self.note(pid, FilterFlag::NOTE_EXEC),
                Told::Exit { pid, status } => {
                    if let Some(process) = self.process(key_of(pid)) {
                        process.note_end_as_told(Some(status));
                        self.activate(key_of(pid));
                    }
                }
                Told::Lost => self.note_loss(),
            }
        }
    }

    fn note(&mut self, pid: pid_t, what: FilterFlag) {
        if let Some(process) = self.process(key_of(pid)) {
            process.note(what.bits());
            // What was not asked for is nothing to report.
            if process.is_ready() {
                self.activate(key_of(pid));
            }
        }
    }

    /// Nobody knows what has been missed: all that ask are told so.
    fn note_loss(&mut self) {
        for pid in self.shared.connector.asked().collect::<Vec<_>>() {
            self.note(pid, FilterFlag::NOTE_TRACKERR);
            if let Some(process) = self.process(key_of(pid)) {
                process.note_end_as_told(None);
                self.activate(key_of(pid));
            }
        }
    }

    /// If the parent is followed, its child gets a knote like the parent's.
    fn follow(&mut self, parent: pid_t, child: pid_t) {
        let Some(like) = self.knotes.get(&key_of(parent)) else { return };
        let Source::Process(process) = &like.source else { return };
        if process.wanted() & FilterFlag::NOTE_TRACK.bits() == 0 {
            return;
        }
        let (wanted, flags, udata, ext) = (process.wanted(), like.flags, like.udata, like.ext);
        self.retire(child);
        let attached = if let Some(known) = self.process(key_of(child)) {
            known.becomes_child(parent);
            Ok(())
        } else {
            Process::child(child, parent).and_then(|mut process| {
                if let Err(errno) = process.ask(wanted, &mut self.shared) {
                    process.close(self.shared.kq);
                    return Err(errno);
                }
                let source = Source::Process(process);
                let (disabled, forced, active) = (false, false, false);
                let knote = SoftKnote { udata, ext, flags, disabled, forced, active, source };
                self.of_processes += 1;
                self.knotes.insert(key_of(child), knote);
                self.settle(key_of(child))
            })
        };
        match attached {
            Ok(()) => self.activate(key_of(child)),
            Err(_) => {
                self.remove(key_of(child));
                self.note(parent, FilterFlag::NOTE_TRACKERR);
            }
        }
    }

    /// A number that has a new owner may still have a knote of the last one, whose end was not
    /// fetched yet. That is kept as an event.
    fn retire(&mut self, pid: pid_t) {
        let key = key_of(pid);
        let Some(knote) = self.knotes.get_mut(&key) else { return };
        let Source::Process(process) = &knote.source else { return };
        if !process.has_ended() {
            return;
        }
        let mut last = Vec::new();
        while !knote.disabled
            && knote.source.is_ready()
            && let Ok(Some(report)) = knote.source.take(key, true, &mut self.shared)
        {
            last.push(knote.event(key, report));
        }
        self.remove(key);
        for event in last {
            // The bell hangs since the first knote.
            let _ = self.spill(event);
        }
    }
}
