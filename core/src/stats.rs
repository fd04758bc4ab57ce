//! Seeing the engine at work: what each queue and each thread does, and the knotes of a live queue.
//!
//! Nothing here is on the way of a call; looking allocates nothing (but for [`knotes`] and
//! [`registrations`], which return lists) and waits for nobody: a queue that another thread is
//! changing at the moment is shown without its knotes. docs/seeing.md has the user's side, with the
//! environment variable that prints [`write_summary`] when a program ends.

use std::fmt::{self, Write};
use std::os::fd::RawFd;

use nix::errno::Errno;

use crate::counters::Counters;
use crate::event::{EvFlags, EventFilter, KEvent};
use crate::sets::{Policy, SetCounters, policy, set_counters};
use crate::sys::linux::inspect;

pub use crate::sets::facts::{SetKind, SetStats, ThreadStats, threads};
pub use crate::sys::linux::inspect::{Registration, knotes, queues, registrations};

/// One open queue.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct QueueStats {
    /// Its descriptor.
    pub fd: RawFd,
    /// Whether it keeps epoll's rules for close, dup and fork (`epoll_create`), not kqueue's.
    pub is_epoll: bool,
    /// What it did so far.
    pub counters: Counters,
    /// Its knotes, by filter; None under epoll's rules, where registrations have no filter
    /// (`counters.knotes` says how many there are), and where another thread holds the queue just now.
    pub knotes: Option<ByFilter>,
}

/// A number for each filter.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ByFilter([usize; EventFilter::ALL.len()]);

impl ByFilter {
    /// How many there are of a filter.
    pub fn of(&self, filter: EventFilter) -> usize {
        self.iter().find(|(other, _)| *other == filter).map_or(0, |(_, n)| n)
    }

    /// Each filter with its number.
    pub fn iter(&self) -> impl Iterator<Item = (EventFilter, usize)> {
        EventFilter::ALL.iter().copied().zip(self.0)
    }

    pub(crate) fn count(&mut self, filter: EventFilter) {
        if let Some(at) = EventFilter::ALL.iter().position(|other| *other == filter) {
            self.0[at] += 1;
        }
    }
}

impl fmt::Display for ByFilter {
    /// `READ 12, TIMER 1`; nothing for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let there = self.iter().filter(|(_, n)| *n > 0);
        for (at, (filter, n)) in there.enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            write!(f, "{comma}{} {n}", short_name(filter))?;
        }
        Ok(())
    }
}

impl fmt::Display for QueueStats {
    /// One line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters { knotes, changes, waits, events, .. } = self.counters;
        let (kind, what) =
            if self.is_epoll { ("epoll", "registrations") } else { ("kqueue", "knotes") };
        write!(f, "queue {} ({kind}): {knotes} {what}", self.fd)?;
        match self.knotes {
            Some(by_filter) if knotes > 0 => write!(f, " ({by_filter})")?,
            None if !self.is_epoll => f.write_str(" (in use: not looked at)")?,
            _ => {}
        }
        write!(f, ", {changes} changes, {waits} waits, {events} events")
    }
}

impl fmt::Display for ThreadStats {
    /// One line for the thread and one for each set, without the end of the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tid, served, handed, results, .. } = self;
        write!(
            f,
            "thread {tid}: {served} calls by the engine with {results} results, {handed} by the \
             kernel"
        )?;
        for set in self.sets() {
            write!(f, "\n  {set}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SetStats {
    /// One line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, registered, by_number, queue, calls, .. } = self;
        let kind = match self.kind {
            SetKind::Poll => "poll",
            SetKind::Select => "select",
        };
        write!(f, "{kind} of {entries} descriptors: {registered} registered")?;
        if let Some(queue) = queue {
            write!(f, " with queue {queue}")?;
        }
        write!(f, ", {by_number} asked by number, {calls} calls")
    }
}

/// One knote of a queue under kqueue's rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct KnoteInfo {
    /// Who it is: ident and filter; the flags that it keeps; what fflags ask for; its udata and ext.
    /// The data is a low-water mark (READ, WRITE) or the nanoseconds until it is due (TIMER).
    pub event: KEvent,
    /// It does not report now.
    pub disabled: bool,
    /// It has something to report that no kevent() has fetched yet. Never set for a descriptor that
    /// the kernel watches: what is ready there only a wait can tell.
    pub active: bool,
}

impl fmt::Display for KnoteInfo {
    /// One line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = &self.event;
        match event.filter() {
            Ok(filter) => f.write_str(short_name(filter))?,
            Err(_) => write!(f, "filter {}", event.filter)?,
        }
        write!(f, " {}", event.ident)?;
        let flags = EvFlags::from_bits_retain(event.flags);
        if !flags.is_empty() {
            f.write_char(' ')?;
            bitflags::parser::to_writer(&flags, &mut *f)?;
        }
        let KEvent { fflags, data, udata, .. } = event;
        write!(f, " fflags {fflags:#x} data {data} udata {udata:#x}")?;
        f.write_str(if self.disabled { " disabled" } else { "" })?;
        f.write_str(if self.active { " active" } else { "" })
    }
}

/// The name without `EVFILT_`.
fn short_name(filter: EventFilter) -> &'static str {
    filter.name().trim_start_matches("EVFILT_")
}

/// What poll and select did so far, in all threads together.
///
/// # Examples
/// ```
/// let before = kq_core::stats::sets();
/// // ... polls, by compat_poll::poll ...
/// let calls = kq_core::stats::sets().served - before.served;
/// assert_eq!(calls, 0);
/// ```
pub fn sets() -> SetCounters {
    set_counters()
}

/// Has the numbers of poll and select and of closed queues begin at 0 again: in a forked child they
/// are its parent's.
pub fn begin_anew() {
    inspect::forget_closed();
    crate::sets::forget_counters();
}

/// Whether nothing was done so far.
pub fn is_idle() -> bool {
    let mut counted = inspect::closed();
    queues(|queue| counted += queue.counters);
    counted == Counters::default() && set_counters() == SetCounters::default()
}

/// Writes what all queues and threads of this process did: a line for each, none of which is very
/// long, and nothing of what did not happen.
///
/// # Errors
/// What `out` says.
///
/// # Examples
/// ```
/// let queue = kq_core::Kqueue::new()?;
/// let mut text = String::new();
/// kq_core::stats::write_summary(&mut text)?;
/// assert!(text.contains(" (kqueue): 0 knotes, 0 changes, 0 waits, 0 events\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_summary(out: &mut dyn Write) -> fmt::Result {
    let mut done = Ok(());
    queues(|queue| {
        if done.is_ok() {
            done = writeln!(out, "{queue}");
        }
    });
    done?;
    let closed = inspect::closed();
    if closed != Counters::default() {
        let Counters { changes, waits, events, .. } = closed;
        writeln!(out, "closed queues: {changes} changes, {waits} waits, {events} events")?;
    }
    let sets = set_counters();
    if sets == SetCounters::default() {
        return Ok(());
    }
    let name = match policy() {
        Policy::Default => "default",
        Policy::RegisterAtFirstSight => "register",
        Policy::Strict => "strict",
        Policy::Off => "off",
    };
    let SetCounters { served, handed, registered, queues, rebuilt, stale, reused, .. } = sets;
    let SetCounters { full_checks, changed_over, .. } = sets;
    writeln!(
        out,
        "poll and select (policy {name}): {served} calls by the engine, {handed} by the kernel; \
         {registered} registrations in {queues} queues, {rebuilt} rebuilt; {reused} numbers reused, \
         {stale} stale; {full_checks} sweeps, {changed_over} waits that became the kernel's"
    )?;
    let mut done = Ok(());
    threads(|thread| {
        if done.is_ok() {
            done = writeln!(out, "{thread}");
        }
    });
    done
}

/// Writes the knotes of a queue, or the registrations of one under epoll's rules, a line for each.
///
/// # Errors
/// - `EBADF`: `fd` is no queue of this process.
/// - `EBUSY`: the queue is in use by the very call that this one interrupted.
/// - `EIO`: `out` took no more.
/// - `ENOENT` and the like: under epoll's rules, where /proc is not mounted.
///
/// # Examples
/// ```
/// use std::os::fd::AsRawFd;
///
/// let queue = kq_core::Kqueue::new()?;
/// let mut text = String::new();
/// kq_core::stats::write_queue(queue.as_raw_fd(), &mut text)?;
/// assert!(text.ends_with(" (kqueue): 0 knotes, 0 changes, 0 waits, 0 events\n"));
/// # Ok::<(), kq_core::Errno>(())
/// ```
pub fn write_queue(fd: RawFd, out: &mut dyn Write) -> Result<(), Errno> {
    let stats = inspect::queue(fd).ok_or(Errno::EBADF)?;
    let failed = |fmt::Error| Errno::EIO;
    writeln!(out, "{stats}").map_err(failed)?;
    if stats.is_epoll {
        for Registration { fd, events, data } in registrations(fd)? {
            writeln!(out, "  {fd} events {events:#x} data {data:#x}").map_err(failed)?;
        }
        return Ok(());
    }
    knotes(fd)?.iter().try_for_each(|knote| writeln!(out, "  {knote}")).map_err(failed)
}

/// Tells the summary to `tracing`: at INFO, with the target `kq_core::stats`, one event for each open
/// queue, one for poll and select together, and one for each thread that polls or selects.
#[cfg(feature = "tracing")]
pub fn trace_summary() {
    use tracing::info;
    queues(|queue| {
        let QueueStats { fd, is_epoll, counters, .. } = *queue;
        let Counters { knotes, changes, waits, events, .. } = counters;
        info!(target: "kq_core::stats", queue = fd, is_epoll, knotes, changes, waits, events);
    });
    let SetCounters { served, handed, registered, reused, stale, .. } = set_counters();
    let SetCounters { full_checks, changed_over, rebuilt, .. } = set_counters();
    info!(
        target: "kq_core::stats",
        served, handed, registered, reused, stale, full_checks, changed_over, rebuilt,
        "poll and select"
    );
    threads(|thread| {
        let ThreadStats { tid, served, results, handed, .. } = *thread;
        let sets = thread.sets().count();
        info!(target: "kq_core::stats", thread = tid, served, results, handed, sets);
    });
}
