//! The ring of a queue that is known by number: what the C library and [`Ring`](super::Ring) share.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use libc::timespec;
use nix::errno::Errno;

use crate::event::KEvent;
use crate::sys::linux::kevent::{self, Caller, RawWait};
use crate::sys::linux::queue::{self, duplicates};
use crate::sys::linux::raw;

use super::buffer::{Buffer, Copied};
use super::turns::{Turn, Turns};

/// The words of an entry.
pub(super) const WORDS: usize = size_of::<KEvent>() / 8;

/// At most so many events are fetched at once.
const BATCH: usize = 512;

const NOW: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// See the module.
#[derive(Debug)]
pub struct RawRing {
    caller: Caller,
    buffer: Buffer<WORDS>,
    /// The token is where the leader's events come to.
    turns: Turns<Box<[KEvent]>>,
    overflows: AtomicU64,
}

impl RawRing {
    /// The ring of the queue at a number.
    ///
    /// # Errors
    /// - `EBADF`: the number is no queue of this process.
    /// - `EINVAL`: a capacity of 0, or of more than 2^30; the queue has a ring.
    pub fn open(kq: RawFd, capacity: usize) -> Result<Self, Errno> {
        let queue = queue::find(kq).or_else(|| duplicates::find(kq)).ok_or(Errno::EBADF)?;
        Self::new(Caller { queue, life: queue.life(), kq }, capacity)
    }

    pub(super) fn new(caller: Caller, capacity: usize) -> Result<Self, Errno> {
        if !(1..=1 << 30).contains(&capacity) || !caller.queue.take_ring(caller.life) {
            return Err(Errno::EINVAL);
        }
        let room = vec![KEvent::default(); capacity.min(BATCH)].into_boxed_slice();
        Ok(Self {
            caller,
            buffer: Buffer::new(capacity),
            turns: Turns::new(room),
            overflows: AtomicU64::new(0),
        })
    }

    /// See [`Ring::capacity`](super::Ring::capacity).
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// See [`Ring::unread`](super::Ring::unread).
    pub fn unread(&self) -> usize {
        self.buffer.unread()
    }

    /// See [`Ring::overflows`](super::Ring::overflows).
    pub fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    /// See [`Ring::wait`](super::Ring::wait).
    ///
    /// # Errors
    /// Those of [`Ring::wait`](super::Ring::wait).
    pub fn wait(&self, timeout: Option<timespec>) -> Result<usize, Errno> {
        if timeout.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
            return Err(Errno::EINVAL);
        }
        // A child has no queue, and what it inherited may be locked for ever.
        if !self.caller.queue.is_of_this_process() {
            return Err(Errno::EBADF);
        }
        // (None too where the time is so long that it has no end.)
        let until = timeout.and_then(|t| {
            Instant::now().checked_add(Duration::new(t.tv_sec as u64, t.tv_nsec as u32))
        });
        loop {
            match self.turns.wait(|| self.unread() > 0, until) {
                Turn::Read => return Ok(self.unread().max(1)),
                Turn::GiveUp => return Ok(0),
                Turn::Lead(mut lead) => {
                    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                    let left = left.map(|left| timespec {
                        tv_sec: left.as_secs() as libc::time_t,
                        tv_nsec: left.subsec_nanos().into(),
                    });
                    let moved = self.fetch(lead.token(), left.as_ref())?;
                    if moved > 0 || left.is_some_and(|left| left.tv_sec == 0 && left.tv_nsec == 0) {
                        return Ok(moved);
                    }
                }
            }
        }
    }

    /// See [`Ring::fill`](super::Ring::fill).
    ///
    /// # Errors
    /// Those of [`Ring::fill`](super::Ring::fill).
    pub fn fill(&self) -> Result<usize, Errno> {
        if !self.caller.queue.is_of_this_process() {
            return Err(Errno::EBADF);
        }
        match self.turns.try_lead() {
            Some(mut lead) => self.fetch(lead.token(), Some(&NOW)),
            // Who waits in the queue moves whatever comes.
            None => Ok(0),
        }
    }

    /// Moves events into the ring; how many.
    fn fetch(&self, events: &mut [KEvent], timeout: Option<&timespec>) -> Result<usize, Errno> {
        let room = self.buffer.room();
        let most = room.min(events.len());
        let mut n = 0;
        if most > 0 {
            // SAFETY: the slice has room for `most`.
            n = unsafe {
                let (none, at) = (std::ptr::null(), events.as_mut_ptr());
                kevent::kevent::<RawWait>(&self.caller, none, 0, at, most, timeout)?
            };
            self.buffer.publish(events[..n].iter().map(to_words));
        }
        if n == room && self.is_ready() {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        Ok(n)
    }

    /// Whether the queue has events.
    fn is_ready(&self) -> bool {
        let mut entry = libc::pollfd { fd: self.caller.kq, events: libc::POLLIN, revents: 0 };
        let mut now = NOW;
        // SAFETY: one entry and one timespec, both ours.
        let ready = unsafe { raw::ppoll(&mut entry, 1, &mut now, std::ptr::null()) };
        ready == Ok(1)
    }

    /// Copies unread events; how many, and the position that [`commit`](Self::commit) wants.
    pub fn read(&self, into: &mut [KEvent]) -> (usize, u64) {
        let most = into.len();
        let Copied { from, n } = self.buffer.copy(most, |at, words| into[at] = from_words(words));
        (n, from)
    }

    /// Takes `n` events that were read at a position; false: another thread has taken some of them.
    pub fn commit(&self, position: u64, n: usize) -> bool {
        self.buffer.commit(Copied { from: position, n })
    }

    /// See [`Ring::take`](super::Ring::take).
    pub fn take(&self, into: &mut [KEvent]) -> usize {
        loop {
            let (n, position) = self.read(into);
            if n == 0 || self.commit(position, n) {
                return n;
            }
        }
    }
}

impl Drop for RawRing {
    fn drop(&mut self) {
        self.caller.queue.drop_ring(self.caller.life);
    }
}

fn to_words(event: &KEvent) -> [u64; WORDS] {
    let bits = u64::from(event.filter as u16)
        | u64::from(event.flags) << 16
        | u64::from(event.fflags) << 32;
    let [a, b, c, d] = event.ext;
    [event.ident as u64, bits, event.data as u64, event.udata as u64, a, b, c, d]
}

fn from_words([ident, bits, data, udata, a, b, c, d]: [u64; WORDS]) -> KEvent {
    KEvent {
        ident: ident as usize,
        filter: bits as i16,
        flags: (bits >> 16) as u16,
        fflags: (bits >> 32) as u32,
        data: data as i64,
        udata: udata as usize,
        ext: [a, b, c, d],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_as_words() {
        let event = KEvent {
            ident: usize::MAX - 1,
            filter: -3,
            flags: 0xABCD,
            fflags: 0x8765_4321,
            data: -7,
            udata: 1 << 30,
            ext: [1, u64::MAX, 3, 4],
        };
        assert_eq!(from_words(to_words(&event)), event);
    }
}
