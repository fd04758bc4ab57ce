//! The model: which knotes there are, and which of them must, may or must not be reported.

use std::collections::{BTreeMap, BTreeSet};

use kq_core::EventFilter::{self, EVFILT_EXCEPT, EVFILT_READ, EVFILT_WRITE};
use kq_core::{Errno, EvFlags, FilterFlag, KEvent, Kqueue};
use libc::{POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, timespec};

use super::program::{Op, SLOTS, Slot};
use super::world::{Closing, File, Look, World};

const NOW: Option<timespec> = Some(timespec { tv_sec: 0, tv_nsec: 0 });
const FILTERS: [EventFilter; 3] = [EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT];

/// Whether activity is to be reported by an EV_CLEAR knote.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Edge {
    /// None since the last report.
    No,
    /// The kernel tells of more than happened (a hang-up wakes writers too), or what happened is
    /// undone.
    May,
    Must,
}

#[derive(Clone, Copy, Debug)]
struct Knote {
    /// The file that its number stood for when it was added.
    file: File,
    flags: EvFlags,
    udata: isize,
    enabled: bool,
    edge: Edge,
    /// EV_FORCEONESHOT was asked of it.
    forced: bool,
    /// Its number was closed, nobody told, and a duplicate lives: it may report until the number is
    /// touched (docs/deviations.md).
    ghost: bool,
}

type Key = (Slot, i16);

pub(crate) struct Model {
    kq: Kqueue,
    world: World,
    closing: Closing,
    knotes: BTreeMap<Key, Knote>,
    /// Registrations whose numbers were closed while a duplicate lived. When the queue gets rid of
    /// them, EV_CLEAR knotes may report once more.
    haunted: BTreeSet<(Slot, File)>,
    /// Where an EV_ONESHOT knote has reported: its registration may be left, disarmed.
    spent: BTreeSet<(Slot, File)>,
    /// The queue may tell the kernel later, and nobody looks at it from outside.
    private: bool,
    /// Numbers that were closed and not asked about since: what a private queue answers of their
    /// knotes is told later (see [`Model::change`]).
    unasked: BTreeSet<Slot>,
}

type Done = Result<(), String>;

/// What of poll's bits makes a filter's condition.
fn condition(filter: EventFilter) -> i16 {
    match filter {
        EVFILT_READ => POLLIN | POLLRDHUP | POLLHUP | POLLERR,
        EVFILT_WRITE => POLLOUT | POLLHUP | POLLERR,
        _ => POLLPRI,
    }
}

fn filter(key: Key) -> EventFilter {
    key.1.try_into().unwrap()
}

fn holds(look: &Look, key: Key, knote: &Knote) -> bool {
    look.bits(knote.file) & condition(filter(key)) != 0
}

impl Model {
    pub(crate) fn new(base: i32, closing: Closing, private: bool) -> Self {
        let kq = if private { Kqueue::private() } else { Kqueue::new() }.unwrap();
        Self {
            kq,
            world: World::new(base, closing),
            closing,
            knotes: BTreeMap::new(),
            haunted: BTreeSet::new(),
            spent: BTreeSet::new(),
            private,
            unasked: BTreeSet::new(),
        }
    }

    pub(crate) fn step(&mut self, op: Op) -> Done {
        let before: Vec<_> = self.conditions();
        match op {
            Op::Change { slot, filter, flags, udata } => {
                self.change((slot, filter as i16), flags, udata)?
            }
            Op::Wait { room } => self.wait(room).map(drop)?,
            Op::OneByOne => self.one_by_one()?,
            Op::Write { slot, bytes } => {
                // (A write for which a pipe has no room wakes its readers all the same.)
                let edge = if self.world.write(slot, bytes) { Edge::Must } else { Edge::May };
                self.activity(slot, 1, &[EVFILT_READ], edge);
            }
            Op::Fill { slot } => {
                let mut edge = Edge::May;
                while self.world.write(slot, 4096) {
                    edge = Edge::Must;
                }
                self.activity(slot, 1, &[EVFILT_READ], edge);
            }
            Op::Read { slot, bytes } => {
                if self.world.read(slot, bytes) {
                    self.activity(slot, 1, &[EVFILT_WRITE], Edge::May);
                }
            }
            Op::Drain { slot } => {
                while self.world.read(slot, 5000) {
                    self.activity(slot, 1, &[EVFILT_WRITE], Edge::May);
                }
            }
            Op::Shutdown { slot, how } => {
                self.world.shutdown(slot, how);
                self.activity(slot, 0, &FILTERS, Edge::May);
                self.activity(slot, 1, &FILTERS, Edge::May);
            }
            Op::Close { slot } => self.let_go(&[slot], |world| world.close(slot)),
            Op::Dup { from, to } => {
                if let Some(file) = self.world.file(from).filter(|_| from != to) {
                    self.exorcise(to, file);
                    self.let_go(&[to], |world| world.dup(from, to));
                }
            }
            Op::Pair { slots, pipe } => {
                self.let_go(&[slots.0, slots.1], |world| world.pair(slots, pipe));
            }
        }
        self.note_transitions(&before);
        self.look_from_outside()
    }

    /// When the program is over: what must be reported is, and nothing is left over.
    pub(crate) fn finish(mut self) -> Done {
        self.one_by_one()?;
        for (slot, filter) in self.knotes.keys().copied().collect::<Vec<_>>() {
            let done = self.change((slot, filter), EvFlags::EV_DELETE, 0);
            done.map_err(|why| format!("at the end: {why}"))?;
        }
        // Every number is touched, so that nothing of earlier files is left.
        for (slot, filter) in (0..SLOTS).flat_map(|slot| FILTERS.map(|filter| (slot, filter))) {
            if self.apply((slot, filter as i16), EvFlags::EV_DELETE, 0).is_ok() {
                return Err(format!("a knote of slot {slot} that nobody added"));
            }
        }
        // Registrations that outlived their numbers may take two looks to be found out.
        for _ in 0..3 {
            self.wait(16)?;
        }
        if !self.private && poll(&self.kq) {
            return Err("an empty queue is ready".into());
        }
        match self.kq.counters().knotes {
            0 => Ok(()),
            n => Err(format!("an empty queue counts {n} knotes")),
        }
    }

    /// For each knote whether its condition holds.
    fn conditions(&self) -> Vec<(Key, bool)> {
        let look = self.world.look();
        self.knotes.iter().map(|(&key, knote)| (key, holds(&look, key, knote))).collect()
    }

    /// A condition that came to hold is activity; where it does not, there is nothing to report.
    fn note_transitions(&mut self, before: &[(Key, bool)]) {
        let look = self.world.look();
        for (key, held) in before {
            let Some(knote) = self.knotes.get_mut(key) else { continue };
            knote.edge = match (held, holds(&look, *key, knote)) {
                (false, true) => Edge::Must,
                (_, false) => knote.edge.min(Edge::May),
                _ => knote.edge,
            };
        }
    }

    /// Something happened to the file at a number, or (`turn` is 1) to its peer.
    fn activity(&mut self, slot: Slot, turn: File, filters: &[EventFilter], edge: Edge) {
        if let Some(file) = self.world.file(slot) {
            self.activity_of(file ^ turn, filters, edge);
        }
    }

    fn activity_of(&mut self, file: File, filters: &[EventFilter], edge: Edge) {
        for (key, knote) in &mut self.knotes {
            if knote.file == file && filters.contains(&filter(*key)) {
                knote.edge = knote.edge.max(edge);
            }
        }
    }

    /// Numbers come to stand for other files, or none.
    fn let_go(&mut self, slots: &[Slot], act: impl FnOnce(&mut World)) {
        let old = slots.iter().map(|&slot| (slot, self.world.file(slot))).collect::<Vec<_>>();
        self.unasked.extend(slots);
        act(&mut self.world);
        for (slot, old) in old {
            // (The same file again: without a hook nobody can tell.)
            let hooked = self.closing == Closing::Hooked;
            let gone = |&old: &File| hooked || self.world.file(slot) != Some(old);
            let Some(old) = old.filter(gone) else { continue };
            let lives = self.world.any_slot(old).is_some();
            if !lives {
                self.activity_of(old ^ 1, &FILTERS, Edge::May);
            }
            let stays = lives && !hooked;
            if stays && self.spent.contains(&(slot, old)) {
                self.haunted.insert((slot, old));
            }
            self.knotes.retain(|key, knote| {
                if knote.file != old {
                    return true;
                }
                knote.ghost |= key.0 == slot;
                if knote.ghost {
                    self.haunted.insert((slot, old));
                }
                (key.0 != slot || stays) && lives
            });
        }
    }

    /// Before a file comes back to a number where it had knotes: whether they live again then is left
    /// open, so what there is at that number is taken away.
    fn exorcise(&mut self, slot: Slot, file: File) {
        if self.haunted.contains(&(slot, file)) {
            for filter in FILTERS {
                let _ = self.apply((slot, filter as i16), EvFlags::EV_DELETE, 0);
            }
            self.knotes.retain(|key, _| key.0 != slot);
        }
    }

    fn apply(&self, key: Key, flags: EvFlags, udata: isize) -> Result<(), Errno> {
        let ident = self.world.fd(key.0) as usize;
        let change = KEvent::new(ident, filter(key), flags, FilterFlag::empty(), 0, udata);
        self.kq.kevent(&[change], &mut [], None).map(drop)
    }

    fn change(&mut self, key: Key, mut flags: EvFlags, udata: isize) -> Done {
        const ASKING: EvFlags = EvFlags::EV_ADD.union(EvFlags::EV_DELETE);
        if self.private && self.closing == Closing::Silent && self.unasked.contains(&key.0) {
            // A private queue need not ask the kernel about a number but at EV_ADD, and EV_DELETE of
            // a knote that it has.
            if !flags.intersects(ASKING) {
                flags = (flags - EvFlags::EV_FORCEONESHOT) | EvFlags::EV_ADD;
            }
            let invalid = flags.contains(EvFlags::EV_ENABLE | EvFlags::EV_DISABLE);
            if flags.contains(EvFlags::EV_ADD) && !invalid {
                self.unasked.remove(&key.0);
            }
        }
        let has = |flag| flags.contains(flag);
        let got = self.apply(key, flags, udata);
        let invalid = has(EvFlags::EV_ENABLE | EvFlags::EV_DISABLE);
        let open = self.world.file(key.0);
        let is_ghost = self.knotes.get(&key).is_some_and(|knote| knote.ghost);
        if !invalid && (open.is_none() || has(EvFlags::EV_ADD) || is_ghost) {
            // The number is touched: the kernel was asked about it.
            self.knotes.retain(|other, knote| other.0 != key.0 || !knote.ghost);
        }
        let expected = match (open, self.knotes.contains_key(&key)) {
            _ if invalid => Err(Errno::EINVAL),
            (None, _) => Err(Errno::EBADF),
            (Some(_), false) if !has(EvFlags::EV_ADD) => Err(Errno::ENOENT),
            _ => Ok(()),
        };
        if got != expected {
            return Err(format!("{got:?} instead of {expected:?}"));
        }
        let (Ok(()), Some(file)) = (expected, open) else { return Ok(()) };
        if has(EvFlags::EV_DELETE) {
            self.knotes.remove(&key);
            return Ok(());
        }
        let fresh = Knote {
            file,
            flags: flags & (EvFlags::EV_CLEAR | EvFlags::EV_ONESHOT | EvFlags::EV_DISPATCH),
            udata,
            enabled: true,
            edge: Edge::No,
            forced: false,
            ghost: false,
        };
        let known = self.knotes.contains_key(&key);
        let knote = self.knotes.entry(key).or_insert(fresh);
        if known && !has(EvFlags::EV_KEEPUDATA) {
            knote.udata = udata;
        }
        if has(EvFlags::EV_DISABLE) {
            knote.enabled = false;
        } else if has(EvFlags::EV_ENABLE) {
            knote.enabled = true;
        }
        if has(EvFlags::EV_FORCEONESHOT) {
            knote.flags |= EvFlags::EV_ONESHOT;
            knote.forced = true;
        }
        // The condition is looked at anew.
        knote.edge = Edge::Must;
        Ok(())
    }

    /// The knotes that must be reported, and those that may.
    fn ready(&self) -> (Vec<Key>, Vec<Key>) {
        let (mut must, mut may) = (Vec::new(), Vec::new());
        let look = self.world.look();
        for (&key, knote) in &self.knotes {
            if !knote.enabled {
                continue;
            }
            let holds = holds(&look, key, knote);
            let edge = match knote.flags.contains(EvFlags::EV_CLEAR) {
                true if !self.haunted.is_empty() => knote.edge.max(Edge::May),
                true => knote.edge,
                false => Edge::Must,
            };
            match (holds, edge, knote.ghost) {
                (_, _, false) if knote.forced => must.push(key),
                (true, Edge::Must, false) => must.push(key),
                (true, Edge::Must | Edge::May, _) => may.push(key),
                _ => {}
            }
        }
        (must, may)
    }

    /// The queue's descriptor is readable if something must be reported, and not if nothing may.
    fn look_from_outside(&self) -> Done {
        if self.private {
            return Ok(());
        }
        let (must, may) = self.ready();
        let readable = poll(&self.kq);
        if !readable && !must.is_empty() {
            return Err(format!("the queue is not readable, but {must:?} are ready"));
        }
        // (A registration that outlived its number makes it readable until it is found out.)
        let truthful = self.haunted.is_empty() && !self.hang_up_is_nobodys();
        if readable && must.is_empty() && may.is_empty() && truthful {
            return Err("the queue is readable, but nothing is ready".into());
        }
        Ok(())
    }

    /// epoll cannot mask a hang-up, so it makes the queue readable until a wait has found out that
    /// it concerns no knote (docs/deviations.md).
    fn hang_up_is_nobodys(&self) -> bool {
        let look = self.world.look();
        self.knotes.iter().any(|(&key, knote)| {
            let bits = look.bits(knote.file);
            knote.enabled && bits & (POLLHUP | POLLERR) & !condition(filter(key)) != 0
        })
    }

    /// One kevent(): compares what it returns, and notes it. Returns what was reported.
    fn wait(&mut self, room: usize) -> Result<Vec<Key>, String> {
        let (must, may) = self.ready();
        let forced = self.knotes.values().any(|knote| knote.forced);
        // (What a private queue left armed may take places too.)
        let noisy = self.private || forced || !self.haunted.is_empty() || self.hang_up_is_nobodys();
        let blank = KEvent::new(0, EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        let mut events = vec![blank; room];
        let n = self.kq.kevent(&[], &mut events, NOW).map_err(|errno| errno.to_string())?;
        let mut got = Vec::new();
        for event in &events[..n] {
            let slot = self.world.slot(event.ident()).ok_or("an unknown ident")?;
            let key = (slot, event.filter().map_err(|_| "an unknown filter")? as i16);
            if got.contains(&key) {
                return Err(format!("{key:?} twice in {events:?}"));
            }
            if !must.contains(&key) && !may.contains(&key) {
                let knote = self.knotes.get(&key);
                return Err(format!("{event:?} for {knote:?}; {must:?} must, {may:?} may"));
            }
            self.note_report(key, event)?;
            got.push(key);
        }
        // What turns out to be nobody's takes places, in a wait that returns something all the same.
        let least = if noisy { must.len().min(1) } else { must.len().min(room) };
        let all = noisy || n == room || must.iter().all(|key| got.contains(key));
        if n < least || !all {
            return Err(format!("room for {room}, got {got:?}, but {must:?} are ready"));
        }
        Ok(got)
    }

    fn note_report(&mut self, key: Key, event: &KEvent) -> Done {
        let file = self.knotes[&key].file;
        let bits = self.world.look().bits(file);
        let knote = self.knotes.get_mut(&key).unwrap();
        let eof = match filter(key) {
            EVFILT_READ => POLLRDHUP | POLLHUP | POLLERR,
            EVFILT_WRITE => POLLHUP | POLLERR,
            _ => 0,
        };
        let mut flags = knote.flags;
        // (By an error alone it is told of a pipe; but what has a ghost's number now may be none.)
        let unsure = knote.ghost && bits & eof == POLLERR;
        let is_end = if unsure { event.flags().contains(EvFlags::EV_EOF) } else { bits & eof != 0 };
        flags.set(EvFlags::EV_EOF, is_end);
        if event.udata() != knote.udata || event.flags() != flags {
            return Err(format!("{event:?} of {knote:?}"));
        }
        if key.1 == EVFILT_READ as i16 && bits & POLLIN != 0 && !knote.ghost {
            let unread = self.world.unread(file);
            if event.data() as i64 != unread {
                return Err(format!("{event:?} with {unread} bytes to read"));
            }
        }
        knote.edge = Edge::No;
        knote.forced = false;
        if knote.flags.contains(EvFlags::EV_ONESHOT) {
            self.spent.insert((key.0, file));
            self.knotes.remove(&key);
        } else if knote.flags.contains(EvFlags::EV_DISPATCH) {
            knote.enabled = false;
        }
        Ok(())
    }

    /// With room for one event at a time nothing starves.
    fn one_by_one(&mut self) -> Done {
        let (must, may) = self.ready();
        let mut seen = Vec::new();
        for _ in 0..(must.len() + may.len()) * 6 {
            seen.extend(self.wait(1)?);
            let before = self.conditions();
            self.note_transitions(&before);
        }
        match must.iter().find(|key| !seen.contains(key)) {
            Some(starved) => Err(format!("{starved:?} starved: {seen:?}")),
            None => Ok(()),
        }
    }
}

fn poll(kq: &Kqueue) -> bool {
    use std::os::fd::AsRawFd;
    let mut entry = libc::pollfd { fd: kq.as_raw_fd(), events: POLLIN, revents: 0 };
    // SAFETY: one entry.
    assert!(unsafe { libc::poll(&mut entry, 1, 0) } >= 0);
    entry.revents != 0
}

const _: () = assert!(SLOTS <= 16);
