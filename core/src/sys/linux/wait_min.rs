//! Waiting for at least so many events.
//!
//! The kernel's wait ends at the first event, so events are gathered over several. Those that do not
//! come again (edge, oneshot, dispatch) are kept as they come. Those that do (level) are taken anew at
//! each look: so each counts once, and only if its condition holds when the call returns.
//!
//! While level events are there the queue is always ready, and would not let anyone sleep: then the
//! sleep is in a [`Gate`], which tells of what is new.

use libc::timespec;
use nix::errno::Errno;

use crate::event::{EvFlags, KEvent};
use crate::wait::WaitFlags;

use super::abi::Wait;
use super::gate::Gate;
use super::kevent::{self, Caller, or_abort};
use super::raw::{self, Result};
use super::timer;

/// After so many looks in a row that brought nothing more, the next comes a millisecond later: a level
/// knote that is no descriptor's, a descriptor that gets more of what it has, or (before Linux 5.10)
/// any level knote wakes the gate each time.
const FRUITLESS: u32 = 8;
/// In nanoseconds.
const PACE: u64 = 1_000_000;
/// What nobody tells of is looked at so often, in nanoseconds (as a plain wait does).
const UNTOLD: u64 = 10_000_000;

const NOW: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// See [`Kqueue::wait_min`](crate::Kqueue::wait_min).
///
/// # Safety
/// `changes` holds `nchanges` changes, and `events` has room for `nevents`; they may be the same
/// memory.
#[allow(clippy::too_many_arguments, reason = "those of the C function")]
pub(crate) unsafe fn kevent_min<W: Wait>(
    caller: Caller,
    changes: *const KEvent,
    nchanges: usize,
    events: *mut KEvent,
    nevents: usize,
    min: usize,
    timeout: Option<&timespec>,
    flags: WaitFlags,
) -> Result<usize> {
    if min > nevents || !WaitFlags::all().contains(flags) {
        return Err(Errno::EINVAL);
    }
    if timeout.is_some_and(|t| t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec)) {
        return Err(Errno::EINVAL);
    }
    let until = Until::new(timeout, flags);
    let at_once = min == 0 || flags.contains(WaitFlags::KEVENT_FLAG_IMMEDIATE);
    // One is what the kernel's wait waits for.
    let first = if at_once {
        Some(NOW)
    } else if min == 1 {
        until.left()
    } else {
        Some(NOW)
    };
    // SAFETY: the caller's promise.
    let n = unsafe {
        kevent::kevent::<W>(&caller, changes, nchanges, events, nevents, first.as_ref())?
    };
    if at_once || n >= min {
        return Ok(n);
    }
    // SAFETY: `n` events were written.
    if (0..n).any(|at| unsafe { read(events, at) }.flags & EvFlags::EV_ERROR.bits() != 0) {
        return Ok(n); // answers to the changes
    }
    let mut gathered = Gathered { caller, events, nevents, kept: 0, there: n, gate: None };
    gathered.sort();
    let done = gathered.gather::<W>(min, &until);
    if let Some(gate) = gathered.gate {
        gate.close();
    }
    done
}

/// When a wait ends.
struct Until(Option<timer::Moment>);

impl Until {
    fn new(timeout: Option<&timespec>, flags: WaitFlags) -> Self {
        Self(timeout.map(|t| {
            let nanos = (t.tv_sec as u64).saturating_mul(1_000_000_000);
            let nanos = nanos.saturating_add(t.tv_nsec as u64);
            let absolute = flags.contains(WaitFlags::KEVENT_FLAG_ABSTIME);
            if absolute { nanos } else { timer::now(false).saturating_add(nanos) }
        }))
    }

    /// How long that is from now; None: there is no end.
    fn left(&self) -> Option<timespec> {
        self.0.map(|end| timer::timespec(end.saturating_sub(timer::now(false))))
    }

    fn is_over(&self) -> bool {
        self.0.is_some_and(|end| end <= timer::now(false))
    }

    /// The time that is left, or less.
    fn at_most(&self, nanos: u64) -> timespec {
        let left = self.0.map_or(u64::MAX, |end| end.saturating_sub(timer::now(false)));
        timer::timespec(left.min(nanos))
    }
}

/// What was gathered so far, in the caller's eventlist. Nothing of it is to be dropped: the thread may
/// be cancelled while it waits.
struct Gathered {
    caller: Caller,
    events: *mut KEvent,
    nevents: usize,
    /// So many at the front do not come again.
    kept: usize,
    /// So many there are; those after the first `kept` held at the last look.
    there: usize,
    gate: Option<Gate>,
}

impl Gathered {
    fn gather<W: Wait>(&mut self, min: usize, until: &Until) -> Result<usize> {
        let mut fruitless = 0;
        while self.there < min && !until.is_over() {
            let before = self.there;
            // Where nothing that was taken comes again, the queue itself tells of what is new.
            let done = match self.kept == before {
                true => self.look::<W>(until.left()),
                false => self.rest::<W>(until, fruitless).and_then(|()| self.look::<W>(Some(NOW))),
            };
            match (done, self.there) {
                (Err(errno), 0) => return Err(errno),
                (Err(_), _) => break, // what was taken would be lost
                _ => {}
            }
            fruitless = if self.there > before { 0 } else { fruitless + 1 };
        }
        Ok(self.there)
    }

    /// Sleeps until there may be more than there was.
    fn rest<W: Wait>(&mut self, until: &Until, fruitless: u32) -> Result<()> {
        if let Some(old) = self.gate.filter(|gate| !gate.is_current(self.caller)) {
            old.close();
            self.gate = None;
        }
        if self.gate.is_none() {
            self.gate = Gate::open(self.caller).ok();
        }
        match &self.gate {
            Some(gate) if fruitless <= FRUITLESS => {
                let soon = or_abort!(kevent::look_at_all(&self.caller))?;
                let untold = self.caller.queue.has_untold();
                let time = if soon || untold { Some(until.at_most(UNTOLD)) } else { until.left() };
                gate.wait::<W>(self.caller, time.as_ref())
            }
            _ => {
                let mut pace = until.at_most(PACE);
                // SAFETY: no entries, and a timespec of ours.
                unsafe { raw::ppoll(std::ptr::null_mut(), 0, &mut pace, std::ptr::null()) }
                    .map(drop)
            }
        }
    }

    /// Takes what is ready, in the place of what comes again.
    fn look<W: Wait>(&mut self, timeout: Option<timespec>) -> Result<()> {
        // SAFETY: within the caller's eventlist.
        let n = unsafe {
            let (at, room) = (self.events.add(self.kept), self.nevents - self.kept);
            let (none, timeout) = (std::ptr::null(), timeout.as_ref());
            kevent::kevent::<W>(&self.caller, none, 0, at, room, timeout)
        };
        self.there = self.kept + *n.as_ref().unwrap_or(&0);
        self.sort();
        n.map(drop)
    }

    /// Moves what does not come again to the front.
    fn sort(&mut self) {
        const ONCE: u16 =
            EvFlags::EV_CLEAR.union(EvFlags::EV_ONESHOT).union(EvFlags::EV_DISPATCH).bits();
        for at in self.kept..self.there {
            // SAFETY: both were written by kevent().
            unsafe {
                let event = read(self.events, at);
                if event.flags & ONCE != 0 {
                    let other = read(self.events, self.kept);
                    self.events.add(at).write_unaligned(other);
                    self.events.add(self.kept).write_unaligned(event);
                    self.kept += 1;
                }
            }
        }
    }
}

/// An event of the caller's list, which may lie at any address.
///
/// # Safety
/// It was written.
unsafe fn read(events: *const KEvent, at: usize) -> KEvent {
    // SAFETY: the caller's promise.
    unsafe { events.add(at).read_unaligned() }
}
