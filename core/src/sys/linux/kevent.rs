//! kevent(): applies the changes, then waits for events.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};

use libc::{c_int, timespec};
use nix::errno::Errno;

use crate::counters::count_locked;
use crate::event::{EV_SYSFLAGS, EvFlags, EventFilter, FilterFlag, KEvent};

use super::abi::Wait;
use super::aio::calls::may_interrupt;
use super::both_rules;
use super::lanes::LANES;
use super::queue::{Queue, QueueKnotes, Rules, closes, duplicates, handlers};
use super::raw::{self, Result};
use super::report::poll_now;
use super::sink::Sink;
use super::source::OF_DESCRIPTORS;
use super::timer;
use super::token::Token;

/// How many of the kernel's events a wait takes at once. They lie on the stack, where nothing has to
/// be freed if the waiting thread is cancelled.
const BATCH: usize = 512;

/// For whom these are enough, they lie in the frame of [`kevent`] itself, which may be a signal handler's
/// call, on a small stack.
const FEW: usize = 64;

/// How often a call that shall not wait asks again if what came was for nobody: each such event is
/// silenced when it has come once or twice.
const FRUITLESS: u32 = 64;

/// Who calls: the queue and its descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) queue: &'static Queue,
    pub(crate) life: u32,
    pub(crate) kq: RawFd,
}

/// The engine's own [`Wait`]: the bare system calls.
#[derive(Debug)]
pub struct RawWait;

impl Wait for RawWait {
    #[inline(always)]
    unsafe fn wait(
        kq: RawFd,
        events: *mut libc::epoll_event,
        maxevents: c_int,
        timeout: Option<&timespec>,
    ) -> Result<usize> {
        if timeout.is_none() && maxevents > 0 {
            // SAFETY: the caller's promise.
            return unsafe { raw::epoll_wait(kq, events, maxevents, -1) };
        }
        // SAFETY: the caller's promise.
        unsafe { wait_for(kq, events, maxevents, timeout) }
    }
}

/// # Safety
/// As for [`Wait::wait`].
#[inline(never)]
unsafe fn wait_for(
    kq: RawFd,
    events: *mut libc::epoll_event,
    maxevents: c_int,
    timeout: Option<&timespec>,
) -> Result<usize> {
    static NO_PWAIT2: AtomicBool = AtomicBool::new(false);
    if maxevents == 0 {
        let mut entry = libc::pollfd { fd: kq, events: libc::POLLIN, revents: 0 };
        let mut timeout = timeout.copied();
        let timeout = timeout.as_mut().map_or(std::ptr::null_mut(), std::ptr::from_mut);
        // SAFETY: one entry, and a time of our own.
        return unsafe { raw::ppoll(&mut entry, 1, timeout, std::ptr::null()) }.map(|_| 0);
    }
    let Some(time) = timeout else {
        // SAFETY: the caller's promise.
        return unsafe { raw::epoll_wait(kq, events, maxevents, -1) };
    };
    if !NO_PWAIT2.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise.
        match unsafe { raw::epoll_pwait2(kq, events, maxevents, time, std::ptr::null()) } {
            Err(Errno::ENOSYS) => NO_PWAIT2.store(true, Ordering::Relaxed), // before Linux 5.11
            done => return done,
        }
    }
    // SAFETY: the caller's promise.
    unsafe { raw::epoll_wait(kq, events, maxevents, millis_up(time)) }
}

/// Sleeps in an epoll set of a queue's until it has events or the queue is closed, and so that
/// only a signal handler interrupts: where a completed request might, too, the sleep is in ppoll(2). Not
/// at all while something is held back.
///
/// # Safety
/// As for [`Wait::wait`].
#[inline(always)]
pub(crate) unsafe fn sleep<W: Wait>(
    caller: &Caller,
    set: RawFd,
    events: *mut libc::epoll_event,
    room: c_int,
    timeout: Option<&timespec>,
) -> Result<usize> {
    if !caller.queue.may_sleep(caller.life)? {
        return Ok(0);
    }
    if may_interrupt() {
        // SAFETY: the caller's promise.
        return unsafe { sleep_in_ppoll::<W>(set, events, room, timeout) };
    }
    // SAFETY: the caller's promise.
    unsafe { W::wait(set, events, room, timeout) }
}

/// # Safety
/// As for [`sleep`].
#[cold]
unsafe fn sleep_in_ppoll<W: Wait>(
    kq: RawFd,
    events: *mut libc::epoll_event,
    room: c_int,
    timeout: Option<&timespec>,
) -> Result<usize> {
    // SAFETY: the caller's promise.
    let n = unsafe { raw::epoll_wait(kq, events, room, 0) }?;
    if n > 0 {
        return Ok(n);
    }
    // SAFETY: as above; with no room it is ppoll.
    unsafe { W::wait(kq, events, 0, timeout).and_then(|_| raw::epoll_wait(kq, events, room, 0)) }
}

/// Milliseconds, rounded up, so that a wait never ends early; capped, so that the caller asks again.
fn millis_up(t: &timespec) -> c_int {
    let millis = t.tv_sec.saturating_mul(1000).saturating_add((t.tv_nsec + 999_999) / 1_000_000);
    c_int::try_from(millis).unwrap_or(c_int::MAX)
}

/// The whole call. Order of checks and of work as in FreeBSD's kern_kevent: changes first; an error
/// among them ends the call; then the timeout is looked at.
///
/// # Safety
/// `changes` holds `nchanges` changes and `events` has room for `nevents`; they may be the same
/// memory.
#[inline(always)]
pub(crate) unsafe fn kevent<W: Wait>(
    caller: &Caller,
    changes: *const KEvent,
    nchanges: usize,
    events: *mut KEvent,
    nevents: usize,
    timeout: Option<&timespec>,
) -> Result<usize> {
    // SAFETY: the caller's promise; changes are read ahead of the answers.
    let mut sink = unsafe { Sink::new(events, nevents) };
    if nchanges > 0 {
        // SAFETY: the caller's promise.
        unsafe { apply(caller, changes, nchanges, &mut sink) }?;
        if sink.len() > 0 || nevents == 0 {
            return Ok(sink.len());
        }
    }
    if nevents <= FEW {
        scan::<W, FEW>(caller, &mut sink, timeout)
    } else {
        scan_many::<W>(caller, &mut sink, timeout)
    }
}

/// How long a call may wait.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Now,
    Never,
    /// Until a moment of the monotonic clock, from which there are so many nanoseconds left.
    Until(timer::Moment, u64),
}

impl Limit {
    #[inline]
    fn of(timeout: Option<&timespec>) -> Result<Self> {
        match timeout {
            None => Ok(Self::Never),
            Some(t) if t.tv_sec == 0 && t.tv_nsec == 0 => Ok(Self::Now),
            Some(t) => Self::after(t),
        }
    }

    fn after(t: &timespec) -> Result<Self> {
        if t.tv_sec < 0 || !(0..1_000_000_000).contains(&t.tv_nsec) {
            return Err(Errno::EINVAL);
        }
        let nanos =
            (t.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec as u64);
        Ok(Self::Until(timer::now(false).saturating_add(nanos), nanos))
    }

    /// What is left of it now. True: its time is over.
    fn renew(&mut self) -> bool {
        if let Self::Until(deadline, _) = *self {
            let left = deadline.saturating_sub(timer::now(false));
            *self = if left == 0 { Self::Now } else { Self::Until(deadline, left) };
        }
        matches!(self, Self::Now)
    }

    /// The time to wait, which is not [`Now`](Self::Now).
    fn time(self) -> Option<timespec> {
        match self {
            Self::Now => Some(timer::timespec(0)),
            Self::Never => None,
            Self::Until(_, left) => Some(timer::timespec(left)),
        }
    }

    /// Waits no longer than until it has to be looked again at what is unsettled.
    fn soon(self) -> Self {
        const SOON: u64 = 10_000_000;
        match self {
            Self::Now => Self::Now,
            Self::Until(deadline, left) => Self::Until(deadline, left.min(SOON)),
            Self::Never => Self::Until(timer::Moment::MAX, SOON),
        }
    }
}

/// Does what cannot block. A panic in it is a bug of ours and ends the process: it must not unwind into a
/// C program. (Only around the parts that do not block: a thread cancelled while it waits unwinds too, and
/// must get through.)
///
/// Neither catch_unwind nor a function: their closure is a function of its own, to which everything is
/// handed through memory, and from which to return after a system call takes long. (So no `?` or `return`
/// in it.)
macro_rules! or_abort {
    ($work:expr) => {{
        let unwinding = $crate::sys::linux::kevent::Abort;
        let done = $work;
        std::mem::forget(unwinding);
        done
    }};
}
pub(crate) use or_abort;

/// Ends the process by being dropped.
pub(crate) struct Abort;

impl Drop for Abort {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Applies the changes in order. Errors and receipts go into the sink; without room for an error the
/// call fails with it, and later changes are not applied.
///
/// # Safety
/// As for [`kevent`].
#[inline(always)]
unsafe fn apply(caller: &Caller, changes: *const KEvent, n: usize, sink: &mut Sink) -> Result<()> {
    // SAFETY: the caller's promise.
    or_abort!(unsafe { apply_to(caller, changes, n, sink) })
}

#[inline(always)]
unsafe fn apply_to(
    caller: &Caller,
    changes: *const KEvent,
    n: usize,
    sink: &mut Sink,
) -> Result<()> {
    let inner;
    let caller = match caller.queue.rules() {
        Rules::Kqueue => caller,
        Rules::Epoll => {
            inner = both_rules::make_inner(*caller)?;
            &inner
        }
    };
    let queue = caller.queue;
    let mut lock = match queue.lock_knotes(caller.life, false) {
        Ok(lock) => lock,
        // SAFETY: the caller's promise.
        Err(Errno::EDEADLK) => return unsafe { put_down(*caller, changes, n, sink) },
        Err(errno) => return Err(errno),
    };
    // SAFETY: the caller's promise.
    let done = unsafe { change_all(queue, lock.knotes(), changes, n, sink) };
    queue.note_what_to_see(lock.knotes());
    lock.unlock();
    done
}

/// # Safety
/// As for [`kevent`].
#[inline(always)]
unsafe fn change_all(
    queue: &Queue,
    knotes: &mut QueueKnotes,
    changes: *const KEvent,
    n: usize,
    sink: &mut Sink,
) -> Result<()> {
    for at in 0..n {
        // SAFETY: the caller's promise; a C caller's array may be at any address.
        let mut change = unsafe { changes.add(at).read_unaligned() };
        if change.filter == 0 {
            continue; // FreeBSD skips it
        }
        change.flags &= !EV_SYSFLAGS;
        count_locked(&queue.counters.changes, 1);
        let result = knotes.change(&change);
        let receipt = change.flags & EvFlags::EV_RECEIPT.bits() != 0;
        if result.is_err() || receipt {
            if sink.room() > 0 {
                change.flags = EvFlags::EV_ERROR.bits();
                change.data = result.err().map_or(0, |errno| errno as i64);
                sink.push(change);
            } else {
                result?;
            }
        }
    }
    Ok(())
}

/// The changes of a signal handler, which has interrupted this thread in a queue: they are applied
/// when the thread leaves it. Nobody is told what comes of them.
///
/// # Safety
/// As for [`apply`].
#[cold]
unsafe fn put_down(caller: Caller, changes: *const KEvent, n: usize, sink: &Sink) -> Result<()> {
    if sink.room() > 0 {
        return Err(Errno::EDEADLK);
    }
    for at in 0..n {
        // SAFETY: the caller's promise.
        let change = unsafe { changes.add(at).read_unaligned() };
        handlers::put_down(caller, change)?;
    }
    Ok(())
}

/// Applies a change that was put down.
pub(crate) fn apply_later(queue: &Queue, life: u32, change: &KEvent) {
    let Ok(mut knotes) = queue.knotes_anyway(life) else { return };
    let change = KEvent { flags: change.flags & !EV_SYSFLAGS, ..*change };
    count_locked(&queue.counters.changes, 1);
    if change.filter != 0 {
        let _ = knotes.change(&change);
    }
    queue.note_what_to_see(&knotes);
}

/// As [`scan`], with room for a batch.
#[inline(never)]
fn scan_many<W: Wait>(
    caller: &Caller,
    sink: &mut Sink,
    timeout: Option<&timespec>,
) -> Result<usize> {
    scan::<W, BATCH>(caller, sink, timeout)
}

/// Waits until there is something for the sink, or the time is over.
#[inline(always)]
fn scan<W: Wait, const ROOM: usize>(
    caller: &Caller,
    sink: &mut Sink,
    timeout: Option<&timespec>,
) -> Result<usize> {
    let queue = caller.queue;
    if queue.life() != caller.life {
        return Err(Errno::EBADF);
    }
    if sink.room() == 0 {
        return Ok(0);
    }
    let mut limit = Limit::of(timeout)?;
    if closes::is_in_queue() {
        return Err(Errno::EDEADLK); // before an event is fetched that could not be handed out
    }
    let mut fruitless = 0;
    let mut tally = Tally::Look;
    loop {
        let now = matches!(limit, Limit::Now);
        let before = match queue.has_nothing_to_see(!now) && sink.room() <= ROOM {
            true => Before::default(),
            false => or_abort!(see_to(caller, sink, now, &mut tally))?,
        };
        if before.is_done {
            count_alone(queue, tally);
            break;
        }
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; ROOM];
        let room = sink.room().min(ROOM) as c_int;
        let at = events.as_mut_ptr().cast();
        let begun = Begun::now(queue, before.served);
        // SAFETY: there is room for ROOM events, and `room` is at most that.
        let look = || unsafe { raw::epoll_wait(caller.kq, at, room, 0) };
        // (For a time it sleeps some 50 ns more slowly, though something is ready: that is looked at
        // first where the time is our own.)
        let looks = now || before.is_waited_for;
        let mut waited = if looks || before.soon || before.unlooked { look() } else { Ok(0) };
        if !looks && waited == Ok(0) {
            if before.unlooked {
                or_abort!(look_at_few(caller))?;
            }
            tally = Tally::Sleep;
            if fruitless > 0 {
                queue.uncount_sleep();
            }
            let time = if before.soon { limit.soon() } else { limit }.time();
            // SAFETY: as above.
            waited = unsafe { sleep::<W>(caller, caller.kq, at, room, time.as_ref()) };
        }
        let interrupted = waited == Err(Errno::EINTR);
        if interrupted && queue.has_untold() {
            // By a signal that is watched, maybe: then it is an event, and no interruption.
            waited = look();
        }
        let n = waited.inspect_err(|_| count_alone(queue, tally))?;
        // SAFETY: the kernel has filled the first `n`.
        let events = unsafe { std::slice::from_raw_parts(events.as_ptr().cast(), n) };
        if n > 0 || tally != Tally::Nothing || !before.served {
            or_abort!(deliver(caller, begun, tally, events, sink))?;
        }
        if sink.len() > 0 {
            break;
        }
        if now && (n == 0 || fruitless == FRUITLESS) {
            or_abort!(look_at_own(caller))?; // what that finds is for the next wait
            break;
        }
        if interrupted {
            return Err(Errno::EINTR);
        }
        // What came was for nobody, and it may have taken the place of what is for somebody: go on,
        // for the rest of the time.
        fruitless += 1;
        if limit.renew() && n == 0 && !queue.has_untold() {
            break; // the kernel has looked once more when the time was over
        }
        tally = Tally::Nothing;
    }
    Ok(sink.len())
}

/// What a wait that has ended leaves to be counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tally {
    Nothing,
    /// It did not sleep.
    Look,
    /// It did, which is over.
    Sleep,
}

/// Counts a wait after which the knotes are not looked at.
#[cold]
fn count_alone(queue: &Queue, tally: Tally) {
    match tally {
        Tally::Nothing => {}
        Tally::Look => queue.count_look(),
        Tally::Sleep => queue.wake(),
    }
}

/// What was seen to before a wait.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// The wait is over.
    is_done: bool,
    /// Those in the line had their turn in this call.
    served: bool,
    /// Somebody stands in the line: the wait must not sleep.
    is_waited_for: bool,
    /// It must not sleep before it has looked at its own descriptors.
    unlooked: bool,
    /// It must not sleep for long: something has to be looked at again.
    soon: bool,
}

/// Sees to what has to be seen to before a wait that looks at what is ready `now`, or may sleep.
#[cold]
fn see_to(caller: &Caller, sink: &mut Sink, now: bool, tally: &mut Tally) -> Result<Before> {
    let queue = caller.queue;
    let unlooked = !now && !look_at_own(caller)?;
    // Another thread may add such a knote while we wait.
    let unsettled = queue.has_untold() && examine(caller)?;
    let had = sink.len();
    let is_waited_for = queue.held.is_any() && see_to_held(caller, sink, tally)?;
    let served = sink.len() > had;
    let is_done = sink.room() == 0 || sink.room() > BATCH && take_many(caller, sink, served)? > 0;
    let soon = unsettled || unlooked && queue.has_processes();
    Ok(Before { is_done, served, is_waited_for, unlooked, soon })
}

/// Before a sleep, and after a look that found nothing: makes anew what the program has closed of our
/// own, for some programs close every number that they find. Not more often than 100 times a second:
/// false says that it is not time yet. (Who sleeps already is not woken: nobody tells.)
fn look_at_own(caller: &Caller) -> Result<bool> {
    let queue = caller.queue;
    if !queue.has_own() {
        return Ok(true);
    }
    let due = queue.must_look();
    if due {
        let mut knotes = queue.knotes(caller.life)?;
        knotes.descriptors.mend();
        knotes.soft.mend();
    }
    Ok(due)
}

/// Before a sleep, where it is not time yet: looks at what there are few of, which is soon done. (Of the
/// processes' descriptors there may be many. While there are any, nobody is to sleep for longer than until
/// it is time: of a sleep in two parts a signal handler that runs between them is no interruption.)
#[cold]
fn look_at_few(caller: &Caller) -> Result<()> {
    let mut knotes = caller.queue.knotes(caller.life)?;
    knotes.descriptors.mend();
    knotes.soft.mend_few();
    Ok(())
}

/// Before a sleep: looks at all that is our own, as far as it is time. True: it has to be looked at
/// again soon.
pub(crate) fn look_at_all(caller: &Caller) -> Result<bool> {
    if look_at_own(caller)? {
        return Ok(false);
    }
    look_at_few(caller)?;
    Ok(caller.queue.has_processes())
}

/// Looks at what nobody tells of. True: it has to be looked at again soon.
fn examine(caller: &Caller) -> Result<bool> {
    let mut knotes = caller.queue.knotes(caller.life)?;
    knotes.soft.examine();
    Ok(knotes.soft.is_unsettled())
}

/// Sees to what a private queue holds back. True: the wait must not sleep.
fn see_to_held(caller: &Caller, sink: &mut Sink, tally: &mut Tally) -> Result<bool> {
    let mut knotes = caller.queue.knotes(caller.life)?;
    let had = sink.len();
    let waiting = knotes.see_to_held(sink);
    knotes.drop_forced();
    if waiting && std::mem::replace(tally, Tally::Nothing) == Tally::Look {
        count_locked(&caller.queue.counters.waits, 1);
    }
    count_locked(&caller.queue.counters.events, (sink.len() - had) as u64);
    Ok(waiting)
}

/// What is to be known of the moment at which events were fetched.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// How many strays there had been.
    strays: u32,
    /// How many changes the kernel had not been told of.
    unsent: u32,
    /// Those in the line had their turn in this call.
    served: bool,
}

impl Begun {
    #[inline]
    fn now(queue: &Queue, served: bool) -> Self {
        let strays = queue.strays.load(Ordering::Acquire);
        Self { strays, unsent: queue.held.changes(), served }
    }
}

/// For an eventlist longer than a batch: what is ready now, in one call, since a second one would
/// give the level ones again.
fn take_many(caller: &Caller, sink: &mut Sink, served: bool) -> Result<usize> {
    // A knote gives at most one event; a handful are our own.
    let most = caller.queue.most_events() + 16;
    let room = sink.room().min(most);
    let mut events = Vec::<libc::epoll_event>::with_capacity(room);
    let begun = Begun::now(caller.queue, served);
    // SAFETY: the vector has room for that many.
    let n = unsafe { raw::epoll_wait(caller.kq, events.as_mut_ptr(), room as c_int, 0) }?;
    // SAFETY: the kernel has filled the first `n`.
    unsafe { events.set_len(n) };
    deliver(caller, begun, Tally::Nothing, &events, sink)?;
    Ok(sink.len())
}

/// Takes what a nested queue has ready, at most `budget` events.
pub(crate) fn take_ready(caller: Caller, sink: &mut Sink, budget: usize) -> Result<()> {
    let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; 64];
    let room = budget.min(events.len());
    let at = events.as_mut_ptr().cast();
    let begun = Begun::now(caller.queue, false);
    // SAFETY: there is room for that many.
    let n = unsafe { raw::epoll_wait(caller.kq, at, room as c_int, 0) }?;
    // SAFETY: the kernel has filled the first `n`.
    let events = unsafe { std::slice::from_raw_parts(at.cast_const(), n) };
    sink.within(budget, |sink| deliver(&caller, begun, Tally::Nothing, events, sink))
}

/// Hands the kernel's events, fetched by a wait that began at `begun`, to the knotes that they are for.
#[inline(never)]
fn deliver(
    caller: &Caller,
    begun: Begun,
    tally: Tally,
    events: &[libc::epoll_event],
    sink: &mut Sink,
) -> Result<()> {
    let queue = caller.queue;
    if queue.rules() == Rules::Epoll {
        count_alone(queue, tally);
        // (The queue may have been closed, and its number be an instance's by now.)
        fence(Ordering::SeqCst);
        return match queue.life() == caller.life {
            true => both_rules::deliver(*caller, events, sink),
            false => Err(Errno::EBADF),
        };
    }
    let had = sink.len();
    let mut lock = queue.lock_knotes(caller.life, tally == Tally::Sleep)?;
    let knotes = lock.knotes();
    let mut aside = Aside { soft: events.is_empty(), strays: 0 };
    // Since they were fetched, another thread has changed what the kernel was not told of.
    let stale = knotes.descriptors.unsent != begun.unsent;
    // Each of the events to come gets its place: an edge is told only once.
    let mut ahead = events.len();
    for event in events {
        ahead -= 1;
        let Some((fd, token)) = Token::of_descriptor(event.u64) else {
            knotes.hear(event.u64, sink, ahead, &mut aside, (begun.strays, &queue.strays));
            continue;
        };
        let who = (fd, token, 0);
        let bits = if stale { event.events & poll_now(fd) } else { event.events };
        if !knotes.descriptors.dispatch(who, bits, sink, ahead)
            && knotes.strays.note(who, begun.strays, &queue.strays)
        {
            aside.strays |= 1;
        }
    }
    if aside.is_any() || knotes.soft.has_forced() {
        knotes.see_to(aside, begun.served, queue, sink);
    }
    count_locked(&queue.counters.waits, u64::from(tally == Tally::Look));
    count_locked(&queue.counters.events, (sink.len() - had) as u64);
    lock.unlock();
    Ok(())
}

/// What the kernel's events lead to when all were handed out.
#[derive(Clone, Copy, Debug)]
struct Aside {
    /// Knotes that are no descriptor's may have something to report.
    soft: bool,
    /// Lanes, one a bit, that hold registrations which they should not.
    strays: u8,
}

impl Aside {
    #[inline(always)]
    fn is_any(self) -> bool {
        self.soft || self.strays != 0
    }
}

impl QueueKnotes {
    pub(crate) fn count(&self) -> usize {
        self.descriptors.count + self.soft.count()
    }

    /// Applies one change.
    #[inline(always)]
    fn change(&mut self, change: &KEvent) -> Result<()> {
        const BOTH: u16 = EvFlags::EV_ENABLE.union(EvFlags::EV_DISABLE).bits();
        if change.flags & BOTH == BOTH {
            return Err(Errno::EINVAL);
        }
        let filter = EventFilter::try_from(change.filter)?;
        let exclusive = change.flags & EvFlags::EV_WAKEONE.bits() != 0;
        if exclusive && !matches!(filter, EventFilter::EVFILT_READ | EventFilter::EVFILT_WRITE) {
            return Err(Errno::EINVAL);
        }
        if change.flags & EvFlags::EV_ADD.bits() != 0 && OF_DESCRIPTORS.contains(&filter) {
            closes::watch(RawFd::try_from(change.ident).map_err(|_| Errno::EBADF)?);
        }
        match filter {
            EventFilter::EVFILT_READ | EventFilter::EVFILT_WRITE | EventFilter::EVFILT_EXCEPT => {
                self.change_descriptor(filter, change)
            }
            EventFilter::EVFILT_USER
            | EventFilter::EVFILT_TIMER
            | EventFilter::EVFILT_VNODE
            | EventFilter::EVFILT_PROC
            | EventFilter::EVFILT_PROCDESC
            | EventFilter::EVFILT_SIGNAL
            | EventFilter::EVFILT_AIO
            | EventFilter::EVFILT_LIO
            | EventFilter::EVFILT_FS => self.soft.change(filter, change),
            EventFilter::EVFILT_EMPTY => {
                let fd = RawFd::try_from(change.ident).map_err(|_| Errno::EBADF)?;
                raw::fcntl(fd, libc::F_GETFD, 0)?;
                // No event of Linux's says that a send buffer has drained.
                Err(Errno::ENOTSUP)
            }
        }
    }

    /// READ, WRITE, EXCEPT: epoll's, or for files that epoll does not take (EPERM), ours.
    #[inline(always)]
    fn change_descriptor(&mut self, filter: EventFilter, change: &KEvent) -> Result<()> {
        if self.soft.has_of_descriptors() && self.soft.holds((filter, change.ident)) {
            return self.soft.change(filter, change);
        }
        let low_water = change.fflags & FilterFlag::NOTE_LOWAT.bits() != 0;
        if filter == EventFilter::EVFILT_WRITE && low_water {
            self.descriptors.low_water.open(self.descriptors.lanes.set(0))?;
        }
        let done = match self.descriptors.change(filter, change) {
            // (Exclusively not even files that are always ready.)
            Err(Errno::EPERM) if change.flags & EvFlags::EV_WAKEONE.bits() == 0 => {
                self.soft.change(filter, change)
            }
            Ok(true) => self.soft.force(filter, change.ident),
            done => done.map(drop),
        };
        self.drop_forced();
        done
    }

    /// Descriptors' knotes may be gone or reported: those that were forced go from the line then.
    #[inline(always)]
    pub(crate) fn drop_forced(&mut self) {
        if self.soft.has_forced() {
            self.retain_forced();
        }
    }

    #[cold]
    fn retain_forced(&mut self) {
        let descriptors = &mut self.descriptors;
        self.soft.retain_forced(|&(filter, fd)| descriptors.is_forced(fd as RawFd, filter));
    }

    /// Whether an event is of a descriptor of our own, of this serial number, that is ours no more: the
    /// program has closed it, and a child that was forked has it too.
    pub(crate) fn is_stray(&mut self, token: Token, serial: u32) -> bool {
        let own = match token {
            Token::Lane(lane) => self.descriptors.lanes.own(lane),
            Token::LowWater => self.descriptors.low_water.own(),
            other => return self.soft.is_stray(other, serial),
        };
        own.is_none_or(|own| own.serial() != serial)
    }

    /// An event that is of no descriptor's registration.
    #[inline(never)]
    fn hear(
        &mut self,
        bits: u64,
        sink: &mut Sink,
        ahead: usize,
        aside: &mut Aside,
        strays: (u32, &AtomicU32),
    ) {
        let serial = Token::serial(bits);
        match Token::decode(bits) {
            Some(ours) if self.is_stray(ours, serial) => {
                let who = (bits as RawFd, serial, 0);
                aside.strays |= u8::from(self.strays.note(who, strays.0, strays.1));
            }
            Some(Token::Lane(lane)) => {
                let stray = self.lane(lane, sink, ahead);
                aside.strays |= u8::from(stray) << lane;
            }
            Some(Token::LowWater) => self.descriptors.look_again(),
            Some(ours) => {
                self.soft.hear(ours);
                aside.soft = true;
            }
            None => {}
        }
    }

    /// When all events were handed out.
    #[inline(never)]
    fn see_to(&mut self, aside: Aside, served: bool, queue: &Queue, sink: &mut Sink) {
        if aside.soft && !served {
            // Nothing came, yet another thread may hold the bell's event and wait for our lock: a level
            // knote is for every scan.
            self.soft.look();
            let budget = sink.room();
            self.report_soft(sink, budget);
        }
        if aside.strays != 0 {
            self.get_rid_of(aside.strays, queue);
        }
        self.drop_forced();
    }

    /// Serves a nested lane that has events, `ahead` places being for others. True: it holds a
    /// registration that it should not (it is fetched from with the queue locked, so a stray is proven
    /// at once).
    fn lane(&mut self, lane: u8, sink: &mut Sink, ahead: usize) -> bool {
        let mut events = [const { MaybeUninit::<libc::epoll_event>::uninit() }; 64];
        let room = (sink.room() - ahead).min(events.len()) as c_int;
        let set = self.descriptors.lanes.set(lane);
        // SAFETY: there is room for that many.
        let n = unsafe { raw::epoll_wait(set, events.as_mut_ptr().cast(), room, 0) };
        let n = n.unwrap_or(0);
        if n == 0 {
            // Another thread has fetched them; or the program has closed the set, which a child has.
            self.descriptors.mend();
        }
        // SAFETY: the kernel has filled the first `n`.
        let events: &[libc::epoll_event] =
            unsafe { std::slice::from_raw_parts(events.as_ptr().cast(), n) };
        let mut stray = false;
        for (at, event) in events.iter().enumerate() {
            let ahead = ahead + (n - at - 1);
            if let Some((fd, token)) = Token::of_descriptor(event.u64) {
                stray |= !self.descriptors.dispatch((fd, token, lane), event.events, sink, ahead);
            }
        }
        stray
    }

    /// Rebuilds the lanes, one a bit, that hold registrations which cannot be deleted. Where that
    /// fails, for want of descriptors, the next of their events is the next occasion.
    #[cold]
    fn get_rid_of(&mut self, lanes: u8, queue: &Queue) {
        for lane in (0..LANES as u8).filter(|lane| lanes & 1 << lane != 0) {
            let _ = self.rebuild(lane, &duplicates::numbers(queue));
        }
    }

    pub(crate) fn report_soft(&mut self, sink: &mut Sink, budget: usize) {
        let before = sink.len();
        if self.soft.has_others_in_line() {
            self.report_others(sink, budget);
        }
        self.soft.report(sink, budget - (sink.len() - before));
    }

    fn report_others(&mut self, sink: &mut Sink, budget: usize) {
        let most = sink.len() + budget;
        while sink.len() < most
            && let Some(event) = self.soft.take_spilt()
        {
            sink.push(event);
        }
        while sink.len() < most
            && let Some((filter, ident)) = self.soft.take_forced()
        {
            self.descriptors.force(ident as RawFd, filter, sink);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::Kqueue;
    use crate::sys::linux::{abi, queue};

    thread_local! {
        static ASKED: Cell<Option<Option<timespec>>> = const { Cell::new(None) };
    }

    /// Is interrupted at once, and notes for how long it was to sleep.
    struct Interrupted;

    impl Wait for Interrupted {
        unsafe fn wait(
            _: RawFd,
            _: *mut libc::epoll_event,
            _: c_int,
            timeout: Option<&timespec>,
        ) -> Result<usize> {
            ASKED.set(Some(timeout.copied()));
            Err(Errno::EINTR)
        }
    }

    /// For how long a thread sleeps that waits for ever, soon after another wait.
    fn sleeps_beside(filter: EventFilter, ident: usize, fflags: FilterFlag) -> Option<timespec> {
        let kq = Kqueue::new().unwrap();
        let knote = KEvent::new(ident, filter, EvFlags::EV_ADD, fflags, 0, 0);
        kq.kevent(&[knote], &mut [], None).unwrap();
        queue::find(kq.as_raw_fd()).unwrap().looked_just_now();
        let (mut event, none) = (KEvent::default(), std::ptr::null());
        // SAFETY: no change, room for one event, and no time.
        let done = unsafe {
            abi::kevent::<Interrupted>(kq.as_raw_fd(), none, 0, &mut event, 1, std::ptr::null())
        };
        assert_eq!(done, Err(Errno::EINTR));
        ASKED.take().expect("it was to sleep")
    }

    /// Else a signal handler that runs between the parts would be no interruption.
    #[test]
    fn a_sleep_is_in_one_part_though_its_own_descriptors_were_looked_at_just_now() {
        assert_eq!(sleeps_beside(EventFilter::EVFILT_USER, 1, FilterFlag::empty()), None);
        // Of processes' there may be many, so they are looked at when it is time.
        let me = std::process::id() as usize;
        let parts = sleeps_beside(EventFilter::EVFILT_PROC, me, FilterFlag::NOTE_EXIT);
        assert_eq!(parts.map(|t| (t.tv_sec, t.tv_nsec)), Some((0, 10_000_000)));
    }
}
