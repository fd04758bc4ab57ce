//! EVFILT_FS: file systems come and go.
//!
//! `/proc/self/mountinfo` wakes its poller when the mount table of our namespace has changed. Asking
//! is what consumes the change, and a poll of the queue's descriptor from outside asks too: so the
//! file lies EPOLLET in an epoll set of its own, where each wake-up is kept until it is fetched.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use libc::{EPOLL_CTL_ADD, EPOLLET, EPOLLIN, epoll_event};

use crate::event::{FilterFlag, KEvent};

use super::hidden::Own;
use super::inotify::without_proc;
use super::raw::{self, Result};
use super::registered::{self, Registered};
use super::report::Report;
use super::roll;
use super::token::Token;

/// The filter's part of an FS knote.
#[derive(Debug)]
pub(crate) struct Fs {
    pub(crate) asked: u32,
    noted: u32,
    /// It is to wake the queue.
    awake: bool,
}

impl Fs {
    pub(crate) fn new(change: &KEvent) -> Self {
        Self { asked: change.fflags, noted: 0, awake: false }
    }

    pub(crate) fn touch(&mut self, change: &KEvent) {
        self.asked = change.fflags;
    }

    /// Has the mount table wake the queue, or not.
    pub(crate) fn rest(&mut self, awake: bool, mounts: &mut Mounts, kq: RawFd) {
        match (self.awake, awake) {
            (false, true) => mounts.add_awake(kq),
            (true, false) => mounts.remove_awake(kq),
            _ => {}
        }
        self.awake = awake;
    }

    /// Something happened, as VQ_ bits; whether there is something to report.
    pub(crate) fn notice(&mut self, what: u32) -> bool {
        self.noted |= self.asked & what;
        self.is_ready()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.noted != 0
    }

    /// See [`Source::take`](super::source::Source::take).
    pub(crate) fn take(&mut self, clear: bool) -> Option<Report> {
        let fflags = self.noted;
        if clear {
            self.noted = 0;
        }
        (fflags != 0).then_some(Report { fflags, ..Report::default() })
    }
}

/// The mount table, and what tells of its changes.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    /// The epoll set, in the queue's.
    set: Option<Registered>,
    /// The file, in the set.
    file: Option<Own>,
    table: Table,
    /// How many knotes are not disabled.
    awake: usize,
}

impl Mounts {
    /// Begins to watch, if it does not yet.
    ///
    /// # Errors
    /// - `EOPNOTSUPP`: /proc is not mounted.
    /// - `EMFILE`, `ENFILE`, `ENOMEM`: no descriptor.
    pub(crate) fn open(&mut self, kq: RawFd) -> Result<()> {
        if self.set.is_some() {
            return Ok(());
        }
        let make = || raw::open_read(c"/proc/self/mountinfo");
        let file = roll::hidden(make).map_err(without_proc)?;
        self.file = Some(file);
        self.begin(kq, file).inspect_err(|_| self.close(kq))
    }

    fn begin(&mut self, kq: RawFd, file: Own) -> Result<()> {
        let events = if self.awake > 0 { EPOLLIN } else { 0 };
        let set = self.set.insert(Registered::set(kq, events, Token::Mounts)?).number();
        let edge = epoll_event { events: (EPOLLIN | EPOLLET) as u32, u64: 0 };
        raw::epoll_ctl(set, EPOLL_CTL_ADD, file.number(), &edge)?;
        self.fetch(kq);
        self.table = Table::read(file.number())?;
        Ok(())
    }

    /// Opens both anew if the program has closed one of them. What the table has become meanwhile, as
    /// VQ_ bits.
    pub(crate) fn mend(&mut self, kq: RawFd) -> u32 {
        if self.set.is_none() || self.file(kq).is_some() {
            return 0;
        }
        let before = std::mem::take(&mut self.table);
        self.close(kq);
        if self.open(kq).is_err() {
            self.table = before;
            return 0;
        }
        if before == self.table { 0 } else { before.changes(&self.table) }
    }

    /// The set.
    pub(crate) fn own(&self) -> Option<Own> {
        self.set.as_ref().map(Registered::own)
    }

    /// The set's number, if the program has not closed it.
    fn set(&self, kq: RawFd) -> Option<RawFd> {
        self.set.as_ref().filter(|set| !set.is_lost(kq)).map(Registered::number)
    }

    /// The file's number, likewise.
    fn file(&self, kq: RawFd) -> Option<RawFd> {
        let (set, file) = (self.set(kq)?, self.file?);
        registered::check(set, file).ok().map(|()| file.number())
    }

    fn add_awake(&mut self, kq: RawFd) {
        self.awake += 1;
        self.wake(kq, self.awake == 1, EPOLLIN);
    }

    fn remove_awake(&mut self, kq: RawFd) {
        self.awake -= 1;
        self.wake(kq, self.awake == 0, 0);
    }

    /// Changes whether the queue is woken. What happens while it is not is kept.
    fn wake(&mut self, kq: RawFd, changes: bool, events: i32) {
        if let Some(set) = self.set.as_mut().filter(|_| changes) {
            let _ = set.listen(kq, events);
        }
    }

    /// Takes the wake-up; whether there was one, and no other thread took it.
    fn fetch(&self, kq: RawFd) -> bool {
        let Some(set) = self.set(kq) else { return false };
        let mut event = epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for one event.
        unsafe { raw::epoll_pwait(set, &mut event, 1, 0, std::ptr::null()) == Ok(1) }
    }

    /// What happened since the last look, as VQ_ bits.
    pub(crate) fn look(&mut self, kq: RawFd) -> u32 {
        let lost = self.mend(kq);
        if !self.fetch(kq) {
            return lost;
        }
        let Some(Ok(now)) = self.file(kq).map(Table::read) else { return lost };
        let what = self.table.changes(&now);
        self.table = now;
        what | lost
    }

    /// The queue is over.
    pub(crate) fn close(&mut self, kq: RawFd) {
        if let Some(file) = self.file.take() {
            registered::close(self.set(kq).unwrap_or(-1), file);
        }
        if let Some(set) = self.set.take() {
            set.close(kq);
        }
    }
}

/// What is mounted where, and the options of it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Table(BTreeMap<Vec<u8>, Vec<u8>>);

impl Table {
    fn read(file: RawFd) -> Result<Self> {
        let (mut text, mut buf) = (Vec::new(), [0; 4096]);
        raw::rewind(file)?;
        loop {
            match raw::read(file, &mut buf)? {
                0 => return Ok(Self::parse(&text)),
                n => text.extend_from_slice(&buf[..n]),
            }
        }
    }

    /// proc(5): mount, parent, device, root and mount point; what follows may change.
    fn parse(text: &[u8]) -> Self {
        let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        let entry = |line: &[u8]| {
            let end = line.iter().enumerate().filter(|&(_, &b)| b == b' ').nth(4);
            let (mount, options) = line.split_at(end.map_or(line.len(), |(at, _)| at));
            (mount.to_vec(), options.to_vec())
        };
        Self(lines.map(entry).collect())
    }

    /// What has changed, as VQ_ bits.
    fn changes(&self, now: &Self) -> u32 {
        let mount = FilterFlag::VQ_MOUNT.bits();
        let unmount = FilterFlag::VQ_UNMOUNT.bits();
        if self == now {
            // Woken, and all is as before: something came and went, or went and came.
            return mount | unmount;
        }
        let has_other = |one: &Self, other: &Self| one.0.keys().any(|k| !other.0.contains_key(k));
        let mut what = 0;
        what |= if has_other(now, self) { mount } else { 0 };
        what |= if has_other(self, now) { unmount } else { 0 };
        what
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_compared_by_mount_not_by_option() {
        let mount = FilterFlag::VQ_MOUNT.bits();
        let unmount = FilterFlag::VQ_UNMOUNT.bits();
        let one = Table::parse(b"1 0 8:1 / / rw - ext4 sda rw\n2 1 0:3 / /proc rw - proc p rw\n");
        let remounted =
            Table::parse(b"1 0 8:1 / / ro - ext4 sda ro\n2 1 0:3 / /proc rw - proc p rw\n");
        let less = Table::parse(b"1 0 8:1 / / rw - ext4 sda rw\n");
        let other = Table::parse(b"1 0 8:1 / / rw - ext4 sda rw\n2 1 0:9 / /tmp rw - tmpfs t rw\n");
        assert_eq!(one.0.len(), 2);
        assert_eq!(one.changes(&remounted), 0);
        assert_eq!(one.changes(&less), unmount);
        assert_eq!(less.changes(&one), mount);
        assert_eq!(one.changes(&other), mount | unmount);
        assert_eq!(one.changes(&Table::parse(b"")), unmount);
    }
}
