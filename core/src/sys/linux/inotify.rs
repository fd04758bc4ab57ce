//! inotify: what happens to the files that knotes watch.
//!
//! One instance a queue, for all its knotes. The kernel's key is the inode: descriptors of one file
//! share a watch, whose mask is what any of their knotes needs. A watch is made through
//! `/proc/self/fd`, so that files without a name have one too.
//!
//! The first instance makes the queue's descriptor ready. Watches that only disabled knotes need lie
//! in a second one that nobody waits on: what happens meanwhile is kept, and wakes nobody. (To drop
//! the watch and compare stats at EV_ENABLE would lose what leaves no trace: opened, closed, read.)

use std::collections::VecDeque;
use std::os::fd::RawFd;

use libc::{EPOLLIN, IN_IGNORED, IN_MASK_ADD, IN_MOVED_FROM, IN_MOVED_TO, c_int};
use nix::errno::Errno;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::entry::Entry;

use super::entries::{self, NAMES};
use super::raw::{self, Result};
use super::registered::Registered;
use super::source::Key;
use super::token::Token;

/// Which instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Half {
    /// Makes the queue's descriptor ready.
    Waking,
    /// Keeps what happens.
    Silent,
}

/// What a watch is to one of its knotes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// That of the file itself.
    Own,
    /// That of the directory which holds the watched directory.
    Parent,
}

/// Something that happened, for one knote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    /// inotify's bits. IN_MOVED_FROM and IN_MOVED_TO together: within one directory.
    pub(crate) mask: u32,
    pub(crate) role: Role,
    /// It is about an entry of the watched directory, not about the directory.
    pub(crate) entry: bool,
}

/// What a knote has of watches.
#[derive(Debug)]
pub(crate) struct Place {
    half: Half,
    /// Of which of that half's instances it is: those before are lost.
    instance: u32,
    mask: u32,
    own: c_int,
    parent: Option<c_int>,
}

/// What a knote needs of watches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) half: Half,
    /// inotify's bits, not 0.
    pub(crate) mask: u32,
    /// The directory above too: that a directory was removed is told there only.
    pub(crate) parent: bool,
}

#[derive(Debug)]
struct Member {
    key: Key,
    role: Role,
    mask: u32,
}

/// One watch of the kernel's.
#[derive(Debug, Default)]
struct Watch {
    mask: u32,
    members: SmallVec<[Member; 1]>,
}

impl Watch {
    fn needed(&self) -> u32 {
        self.members.iter().fold(0, |mask, member| mask | member.mask)
    }
}

#[derive(Debug, Default)]
struct Instance {
    /// The silent one is registered too, for nothing.
    inotify: Option<Registered>,
    /// How many were lost.
    lost: u32,
    watches: FxHashMap<c_int, Watch>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inotify {
    kq: RawFd,
    halves: [Instance; 2],
    /// What was read, and not handed to the knotes yet.
    inbox: VecDeque<(Key, Note)>,
    /// The same of names.
    names: VecDeque<(Key, Entry)>,
    /// To read into.
    buf: Vec<u8>,
}

impl Inotify {
    pub(crate) fn new(kq: RawFd) -> Self {
        Self {
            kq,
            halves: Default::default(),
            inbox: VecDeque::new(),
            names: VecDeque::new(),
            buf: Vec::new(),
        }
    }

    /// The queue has another number from here on.
    pub(crate) fn move_to(&mut self, kq: RawFd) {
        self.kq = kq;
    }

    /// Has a knote's watches be what it needs.
    ///
    /// # Errors
    /// - `ENOSPC`: the user has no more watches (max_user_watches).
    /// - `EMFILE`: the user has no more instances (max_user_instances), or no descriptor.
    /// - `EACCES`: the process may not read the file (or its directory), which inotify asks for.
    /// - `EOPNOTSUPP`: /proc is not mounted.
    pub(crate) fn watch(&mut self, key: Key, place: &mut Option<Place>, want: Want) -> Result<()> {
        if let Some(there) = place
            && there.half == want.half
            && self.has(there)
            && there.mask == want.mask
            && there.parent.is_some() == want.parent
        {
            return Ok(());
        }
        let half = match self.open(want.half) {
            // Then its events wake, once, for nothing: better than to lose them.
            Err(_) if want.half == Half::Silent => {
                self.open(Half::Waking)?;
                Half::Waking
            }
            done => done.map(|()| want.half)?,
        };
        if let Some(there) = place
            && there.half == half
            && self.has(there)
        {
            if there.mask != want.mask {
                there.own = self.join(half, key, Role::Own, want.mask)?;
                there.mask = want.mask;
            }
            match there.parent {
                None if want.parent => there.parent = Some(self.join_parent(half, key)?),
                Some(wd) if !want.parent => {
                    self.leave(half, wd, key, Role::Parent);
                    there.parent = None;
                }
                _ => {}
            }
            return Ok(());
        }
        let own = self.join(half, key, Role::Own, want.mask)?;
        let instance = self.halves[half as usize].lost;
        let mut new = Place { half, instance, mask: want.mask, own, parent: None };
        if want.parent {
            match self.join_parent(half, key) {
                Ok(wd) => new.parent = Some(wd),
                Err(errno) => {
                    self.leave(half, own, key, Role::Own);
                    return Err(errno);
                }
            }
        }
        if let Some(old) = place.replace(new) {
            // Both halves have it now; what the old one holds is not lost.
            if self.look(old.half).is_some() {
                self.drain(old.half);
            }
            self.unwatch(key, old);
        }
        Ok(())
    }

    /// Whether a place is not one of an instance that was lost.
    fn has(&self, place: &Place) -> bool {
        self.halves[place.half as usize].lost == place.instance
    }

    /// Takes a knote's watches away.
    pub(crate) fn unwatch(&mut self, key: Key, place: Place) {
        if self.look(place.half).is_none() || !self.has(&place) {
            return;
        }
        self.leave(place.half, place.own, key, Role::Own);
        if let Some(wd) = place.parent {
            self.leave(place.half, wd, key, Role::Parent);
        }
    }

    /// The directory was moved: finds the one that holds it now.
    pub(crate) fn follow_parent(&mut self, key: Key, place: &mut Place) -> Result<()> {
        let Some(old) = place.parent else { return Ok(()) };
        if self.look(place.half).is_none() || !self.has(place) {
            return Ok(());
        }
        let new = self.join_parent(place.half, key)?;
        if new != old {
            self.leave(place.half, old, key, Role::Parent);
            place.parent = Some(new);
        }
        Ok(())
    }

    fn number(&self, half: Half) -> RawFd {
        self.halves[half as usize].inotify.as_ref().map_or(-1, Registered::number)
    }

    fn join_parent(&mut self, half: Half, key: Key) -> Result<c_int> {
        self.join(half, key, Role::Parent, libc::IN_DELETE | libc::IN_ONLYDIR)
    }

    /// Adds a knote to the watch of its file, or changes what it needs there.
    fn join(&mut self, half: Half, key: Key, role: Role, mask: u32) -> Result<c_int> {
        self.open(half)?;
        let fd = self.number(half);
        let instance = &mut self.halves[half as usize];
        let wd = add_watch(fd, key, role, mask | IN_MASK_ADD)?;
        let watch = instance.watches.entry(wd).or_default();
        watch.mask |= mask;
        match watch.members.iter_mut().find(|m| m.key == key && m.role == role) {
            Some(member) => member.mask = mask,
            None => watch.members.push(Member { key, role, mask }),
        }
        self.narrow(half, wd);
        Ok(wd)
    }

    fn leave(&mut self, half: Half, wd: c_int, key: Key, role: Role) {
        let fd = self.number(half);
        let instance = &mut self.halves[half as usize];
        let Some(watch) = instance.watches.get_mut(&wd) else { return };
        watch.members.retain(|m| m.key != key || m.role != role);
        if watch.members.is_empty() {
            instance.watches.remove(&wd);
            // EINVAL: the kernel has taken it away by itself.
            let _ = raw::inotify_rm_watch(fd, wd);
            // That it is gone is an event too, which must not leave the queue readable.
            self.drain(half);
        } else {
            self.narrow(half, wd);
        }
    }

    /// Takes out of a watch's mask what none of its knotes needs any more.
    fn narrow(&mut self, half: Half, wd: c_int) {
        let fd = self.number(half);
        let instance = &mut self.halves[half as usize];
        let Some(watch) = instance.watches.get_mut(&wd) else { return };
        let needed = watch.needed();
        let Some(any) = watch.members.first().filter(|_| needed != watch.mask) else { return };
        match add_watch(fd, any.key, any.role, needed) {
            Ok(same) if same == wd => watch.mask = needed,
            // The number stands for another file by now, whose watch we have just changed.
            Ok(other) => match instance.watches.get(&other) {
                Some(watch) => drop(add_watch(fd, any_key(watch), Role::Own, watch.mask)),
                None => {
                    let _ = raw::inotify_rm_watch(fd, other);
                    self.drain(half);
                }
            },
            Err(_) => {}
        }
    }

    /// Makes an instance, if there is none.
    fn open(&mut self, half: Half) -> Result<()> {
        if self.look(half).is_none() {
            let events = if half == Half::Waking { EPOLLIN } else { 0 };
            let make = || raw::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
            let made = Registered::new(self.kq, events, Token::Inotify, make)?;
            self.halves[half as usize].inotify = Some(made);
        }
        Ok(())
    }

    /// An instance's number. None: there is none, or none any more.
    fn look(&mut self, half: Half) -> Option<RawFd> {
        let there = self.halves[half as usize].inotify.as_ref()?;
        if there.is_lost(self.kq) {
            self.lose(half);
            return None;
        }
        Some(there.number())
    }

    /// The program has closed an instance, and its watches went with it. To its knotes that is as if
    /// more had happened than the kernel keeps; they watch anew when they are told (`Soft`).
    fn lose(&mut self, half: Half) {
        let instance = &mut self.halves[half as usize];
        instance.inotify = None;
        instance.lost = instance.lost.wrapping_add(1);
        let lost = Event { wd: -1, mask: libc::IN_Q_OVERFLOW, cookie: 0, named: false };
        self.keep_name(half, lost, &[]);
        self.post(half, lost);
        self.halves[half as usize].watches.clear();
    }

    /// Whether one of the instances has this serial number.
    pub(crate) fn is_one(&self, serial: u32) -> bool {
        let mut instances = self.halves.iter().filter_map(|half| half.inotify.as_ref());
        instances.any(|instance| instance.own().serial() == serial)
    }

    /// Finds out whether the program has closed an instance.
    pub(crate) fn mend(&mut self) {
        self.look(Half::Waking);
        self.look(Half::Silent);
    }

    /// The queue is over.
    pub(crate) fn close(&mut self) {
        for inotify in self.halves.iter_mut().filter_map(|half| half.inotify.take()) {
            inotify.close(self.kq);
        }
    }

    /// There is something to be read, as an event says.
    pub(crate) fn hear(&mut self) {
        if self.look(Half::Waking).is_some() {
            self.drain(Half::Waking);
        }
    }

    /// Reads what has happened; [`take_note`](Self::take_note) hands it out. After a
    /// [`look`](Self::look).
    fn drain(&mut self, half: Half) {
        const LONGEST: usize = EVENT + 256;
        let fd = self.number(half);
        let mut buf = std::mem::take(&mut self.buf);
        buf.resize(4096, 0);
        let mut moved = None;
        while let Ok(n) = raw::read(fd, &mut buf) {
            let mut rest = &buf[..n];
            while let Some((event, name, after)) = Event::parse(rest) {
                rest = after;
                self.keep_name(half, event, name);
                self.sort(half, event, &mut moved);
            }
            // Not full: nothing is left.
            if n + LONGEST <= buf.len() {
                break;
            }
        }
        self.buf = buf;
        if let Some(from) = moved {
            self.post(half, from);
        }
    }

    /// Keeps the name that an event tells, for the knotes that want it.
    fn keep_name(&mut self, half: Half, event: Event, name: &[u8]) {
        let Some(entry) = entries::entry(event.mask, name) else { return };
        let watches = &self.halves[half as usize].watches;
        let lost = event.mask & libc::IN_Q_OVERFLOW != 0;
        let all = watches.values().filter(|_| lost).chain(watches.get(&event.wd));
        let wants = all.flat_map(|watch| &watch.members).filter(|m| m.mask & NAMES != 0);
        self.names.extend(wants.map(|member| (member.key, entry.clone())));
    }

    /// Joins the two events of a move within one directory, and posts them.
    fn sort(&mut self, half: Half, mut event: Event, moved: &mut Option<Event>) {
        if let Some(from) = moved.take() {
            let pair = event.mask & IN_MOVED_TO != 0 && from.cookie == event.cookie;
            if pair && from.wd == event.wd {
                event.mask |= IN_MOVED_FROM;
            } else {
                self.post(half, from);
            }
        }
        if event.mask & IN_MOVED_FROM != 0 && event.mask & IN_MOVED_TO == 0 {
            *moved = Some(event);
        } else {
            self.post(half, event);
        }
    }

    fn post(&mut self, half: Half, event: Event) {
        let Event { wd, mask, named: entry, .. } = event;
        let watches = &mut self.halves[half as usize].watches;
        if mask & libc::IN_Q_OVERFLOW != 0 {
            let members = watches.values().flat_map(|watch| &watch.members);
            let note = |m: &Member| (m.key, Note { mask, role: m.role, entry: false });
            self.inbox.extend(members.map(note));
            return;
        }
        let Some(watch) = watches.get(&wd) else { return };
        for Member { key, role, .. } in &watch.members {
            self.inbox.push_back((*key, Note { mask, role: *role, entry }));
        }
        if mask & IN_IGNORED != 0 {
            watches.remove(&wd);
        }
    }

    /// Whether something was read that is to be handed to the knotes.
    #[inline]
    pub(crate) fn has_told(&self) -> bool {
        !self.names.is_empty() || !self.inbox.is_empty()
    }

    /// The first of the names that were read and are to be handed to the knotes.
    pub(crate) fn take_name(&mut self) -> Option<(Key, Entry)> {
        self.names.pop_front()
    }

    /// The first of what was read and is to be handed to the knotes.
    pub(crate) fn take_note(&mut self) -> Option<(Key, Note)> {
        self.inbox.pop_front()
    }
}

fn any_key(watch: &Watch) -> Key {
    watch.members[0].key
}

fn add_watch(instance: RawFd, key: Key, role: Role, mask: u32) -> Result<c_int> {
    let above = if role == Role::Parent { "/.." } else { "" };
    let path = format!("/proc/self/fd/{}{above}\0", key.1);
    let path = std::ffi::CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| Errno::EINVAL)?;
    raw::inotify_add_watch(instance, path, mask & !NAMES).map_err(without_proc)
}

/// What is absent of `/proc/self` is /proc, and not a knote.
pub(crate) fn without_proc(errno: Errno) -> Errno {
    if errno == Errno::ENOENT { Errno::EOPNOTSUPP } else { errno }
}

/// The kernel's struct inotify_event, without the name.
#[derive(Clone, Copy, Debug)]
struct Event {
    wd: c_int,
    mask: u32,
    cookie: u32,
    named: bool,
}

/// Its size, in bytes.
const EVENT: usize = 16;

impl Event {
    /// The first event in the bytes, its name, and the bytes after it.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let word = |at: usize| {
            let word = bytes.get(4 * at..4 * at + 4)?;
            Some(u32::from_ne_bytes(word.try_into().ok()?))
        };
        let len = word(3)? as usize;
        let event =
            Self { wd: word(0)? as c_int, mask: word(1)?, cookie: word(2)?, named: len > 0 };
        Some((event, bytes.get(EVENT..EVENT + len)?, bytes.get(EVENT + len..)?))
    }
}
