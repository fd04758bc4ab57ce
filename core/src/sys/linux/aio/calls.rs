//! The calls: aio_read(2) and its kin, for whoever asks, about requests of any queue.
//!
//! A request belongs to the queue that is to be told of it. One that nobody is to be told of, or
//! whose queue was closed, is at *home*: a list of rings that belong to no queue.
//!
//! What a signal handler asks while its own thread is in a queue cannot be looked up: then nothing
//! can be begun (`EAGAIN`), and nothing is over yet.

use std::os::fd::RawFd;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libc::{
    EFD_CLOEXEC, EFD_NONBLOCK, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, POLLIN,
    epoll_event, pollfd, timespec,
};
use nix::errno::Errno;

use super::{Aio, AioCancel, Buffer, Order, Outcome};
use crate::event::EvFlags;
use crate::sys::linux::fork;
use crate::sys::linux::hidden::{Own, hidden};
use crate::sys::linux::known_set::KnownSet;
use crate::sys::linux::queue::{self, Locked, Queue, Rules, closes, duplicates};
use crate::sys::linux::raw::{self, Result};
use crate::sys::linux::registered::control;
use crate::sys::linux::timer;

/// Who is to be told of a completion: `sigevent`'s SIGEV_KEVENT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Notify {
    pub(crate) kq: RawFd,
    pub(crate) flags: u16,
    pub(crate) udata: usize,
}

/// What belongs to no queue. One for each process; a child begins with none.
#[derive(Debug)]
struct Home {
    generation: u32,
    rings: Mutex<Vec<Aio>>,
    /// The epoll set that the rings are in, for nobody to wait on: they are known by that.
    set: Mutex<Option<KnownSet>>,
    /// Those who sleep in [`suspend`] and its kin.
    sleepers: Mutex<Vec<Bed>>,
    sleeping: AtomicUsize,
}

static HOME: AtomicPtr<Home> = AtomicPtr::new(null_mut());

fn home() -> &'static Home {
    let generation = fork::generation();
    loop {
        let there = HOME.load(Ordering::Acquire);
        // SAFETY: null, or leaked below.
        if let Some(home) = unsafe { there.as_ref() }
            && home.generation == generation
        {
            return home;
        }
        let made = Home {
            generation,
            rings: Mutex::default(),
            set: Mutex::default(),
            sleepers: Mutex::default(),
            sleeping: AtomicUsize::new(0),
        };
        let made = Box::into_raw(Box::new(made));
        let orders = (Ordering::AcqRel, Ordering::Relaxed);
        if HOME.compare_exchange(there, made, orders.0, orders.1).is_err() {
            // SAFETY: made just now, and nobody has seen it.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works on the rings at home; those that are done with go.
fn at_home<R>(work: impl FnOnce(&mut Vec<Aio>) -> R) -> R {
    let inside = closes::enter();
    let mut rings = lock(&home().rings);
    rings.iter_mut().for_each(Aio::collect);
    let done = work(&mut rings);
    rings.retain(|aio| !aio.is_left_over());
    if rings.is_empty()
        && let Some(set) = lock(&home().set).take()
    {
        set.close();
    }
    drop(rings);
    closes::leave(&inside);
    done
}

/// The epoll set that rings without a queue are in.
pub(super) fn home_set() -> Result<RawFd> {
    let mut set = lock(&home().set);
    if let Some(Ok(there)) = set.map(KnownSet::check) {
        return Ok(there);
    }
    set.insert(KnownSet::new()?).check()
}

/// There is a ring.
pub(super) fn prepare() {
    home();
}

/// Whether there is, or was, a ring in this process. If so, a thread that sleeps may be interrupted
/// for a completion, since that is brought about in the thread that submitted: poll(2) is then begun
/// again by the kernel, while epoll_wait(2) says `EINTR`, as if there had been a signal handler.
#[inline]
pub(crate) fn may_interrupt() -> bool {
    !HOME.load(Ordering::Relaxed).is_null()
}

/// A queue was closed, and there are requests of its to be kept.
pub(crate) fn take_home(aio: Aio) {
    if let Some(aio) = aio.leave_queue() {
        at_home(|rings| rings.push(aio));
    }
}

/// The queues that have a ring, locked one after the other.
fn queues() -> impl Iterator<Item = Locked<'static>> {
    let has_requests = |q: &&'static Queue| q.rules() == Rules::Kqueue && q.has_requests();
    queue::all().filter(has_requests).filter_map(|q| q.knotes(q.life()).ok())
}

/// Works on a queue's requests; what is done becomes known to its knotes.
fn in_queue<'a, R>(knotes: &mut Locked<'a>, work: impl FnOnce(&mut Locked<'a>) -> R) -> R {
    let done = work(knotes);
    knotes.soft.collect_done();
    knotes.soft.announce();
    done
}

/// Where a request is.
enum Place<'a> {
    Queue(&'a mut Locked<'static>),
    Home(&'a mut Aio),
}

impl Place<'_> {
    fn aio(&mut self) -> Option<&mut Aio> {
        match self {
            Self::Queue(knotes) => knotes.soft.aio_if_open(),
            Self::Home(aio) => Some(aio),
        }
    }
}

/// Finds the place that a question has an answer at.
fn find<R>(mut ask: impl FnMut(Place<'_>) -> Option<R>) -> Option<R> {
    if closes::is_in_queue() {
        return None;
    }
    for mut knotes in queues() {
        knotes.soft.collect_done();
        let answer = in_queue(&mut knotes, |knotes| ask(Place::Queue(knotes)));
        if answer.is_some() {
            return answer;
        }
    }
    at_home(|rings| rings.iter_mut().find_map(|aio| ask(Place::Home(aio))))
}

/// Works on the queue of a number.
pub(crate) fn at_queue<R>(
    kq: RawFd,
    work: impl FnOnce(&mut Locked<'static>) -> Result<R>,
) -> Result<R> {
    if closes::is_in_queue() {
        return Err(Errno::EAGAIN);
    }
    let queue = queue::find(kq).or_else(|| duplicates::find(kq)).ok_or(Errno::EBADF)?;
    if queue.rules() != Rules::Kqueue {
        return Err(Errno::EINVAL);
    }
    let mut knotes = queue.knotes(queue.life())?;
    let done = in_queue(&mut knotes, work);
    queue.set_has_requests(knotes.soft.aio_if_open().is_some());
    done
}

/// The flags that a request's knote may have from the start.
fn check_flags(notify: Notify) -> Result<Notify> {
    let may = EvFlags::EV_CLEAR | EvFlags::EV_DISPATCH | EvFlags::EV_ONESHOT;
    if notify.flags & !may.bits() == 0 { Ok(notify) } else { Err(Errno::EINVAL) }
}

/// Before a request of a name is begun: one that is over, and whose outcome was never asked for, is
/// forgotten, wherever it is.
///
/// # Errors
/// - `EINVAL`: there is one of that name that is not over.
/// - `EAGAIN`: nothing can be begun, see the module.
pub(crate) fn make_way(ident: usize) -> Result<()> {
    if closes::is_in_queue() {
        return Err(Errno::EAGAIN);
    }
    match error(ident) {
        None => Ok(()),
        Some(Err(Errno::EINPROGRESS)) => Err(Errno::EINVAL),
        Some(_) => give_back(ident).map(drop),
    }
}

/// Begins a request; its ident.
///
/// # Errors
/// Those of [`Aio::begin`] and [`Aio::open`]; `EBADF`, `EINVAL`: `notify` names no queue, or flags
/// that it cannot have.
pub(crate) fn begin(order: &mut Order, notify: Option<Notify>) -> Result<usize> {
    match notify {
        Some(notify) => {
            let notify = check_flags(notify)?;
            at_queue(notify.kq, |knotes| knotes.soft.begin(order, Some(notify)))
        }
        None if closes::is_in_queue() => Err(Errno::EAGAIN),
        None => at_home(|rings| {
            if rings.iter().all(Aio::is_full) {
                rings.push(Aio::open(home_set()?)?);
            }
            let aio = rings.iter_mut().find(|aio| !aio.is_full()).ok_or(Errno::EAGAIN)?;
            aio.begin(order)
        }),
    }
}

/// Begins a request of a list that a queue is told of.
///
/// # Errors
/// As for [`begin`].
pub(crate) fn begin_in_list(order: &mut Order, kq: RawFd, notify: Option<Notify>) -> Result<usize> {
    let notify = notify.map(check_flags).transpose()?;
    at_queue(kq, |knotes| knotes.soft.begin(order, notify))
}

/// How a request fares: `EINPROGRESS`, its error, or none. `EINVAL`: there is no such request.
pub(crate) fn error(ident: usize) -> Option<Result<()>> {
    if closes::is_in_queue() {
        return Some(Err(Errno::EINPROGRESS));
    }
    find(|mut place| place.aio()?.error(ident))
}

/// Takes a request that is over.
///
/// # Errors
/// - `EINVAL`: there is no such request, or it is not over.
pub(crate) fn give_back(ident: usize) -> Result<(Outcome, Buffer)> {
    find(|place| match place {
        Place::Queue(knotes) => knotes.soft.give_back(ident),
        Place::Home(aio) => aio.give_back(ident).map(|(outcome, buffer, _)| (outcome, buffer)),
    })
    .ok_or(Errno::EINVAL)
}

/// `aio_cancel(fd, iocb)`: one request, or all of a descriptor's.
///
/// # Errors
/// - `EBADF`: there is no such descriptor.
pub fn cancel(fd: RawFd, ident: Option<usize>) -> Result<AioCancel> {
    raw::fcntl(fd, libc::F_GETFD, 0)?;
    let (mut canceled, mut left) = (false, false);
    let mut one = |aio: &mut Aio, ident| match aio.cancel(ident) {
        AioCancel::Canceled => canceled = true,
        AioCancel::NotCanceled => left = true,
        AioCancel::AllDone => {}
    };
    find(|mut place| -> Option<()> {
        let aio = place.aio()?;
        for of_fd in aio.of_descriptor(fd) {
            if ident.is_none_or(|ident| ident == of_fd) {
                one(aio, of_fd);
            }
        }
        None
    });
    Ok(match (canceled, left) {
        (_, true) => AioCancel::NotCanceled,
        (true, false) => AioCancel::Canceled,
        (false, false) => AioCancel::AllDone,
    })
}

/// `aio_suspend(2)`: waits until one of some requests is over, or none of them is known.
///
/// # Errors
/// - `EAGAIN`: the time is over, or there is no descriptor to sleep on.
/// - `EINTR`: a signal handler ran.
pub fn suspend(idents: &[usize], timeout: Option<timespec>) -> Result<()> {
    let look = || {
        let mut known = false;
        for &ident in idents {
            match error(ident) {
                Some(Err(Errno::EINPROGRESS)) => known = true,
                Some(_) => return Some(()),
                None => {}
            }
        }
        (!known).then_some(())
    };
    sleep_until(look, timeout)
}

/// `aio_waitcomplete(2)`: takes the next of a C program's requests that is over.
///
/// # Errors
/// As for [`suspend`].
pub(crate) fn wait_complete(timeout: Option<timespec>) -> Result<(usize, Outcome)> {
    let look = || {
        let ident = find(|mut place| place.aio()?.first_over())?;
        give_back(ident).ok().map(|(outcome, _)| (ident, outcome))
    };
    sleep_until(look, timeout)
}

/// Some request is over: those who wait for one look again.
pub(super) fn tell_sleepers() {
    let home = home();
    if home.sleeping.load(Ordering::SeqCst) > 0 {
        lock(&home.sleepers).iter().for_each(|bed| bed.wake(true));
    }
}

/// Looks until there is an answer. Between two looks it sleeps on all rings; and on a descriptor of
/// its own, which is woken when another thread has looked.
fn sleep_until<R>(look: impl Fn() -> Option<R>, timeout: Option<timespec>) -> Result<R> {
    if let Some(answer) = look() {
        return Ok(answer);
    }
    if closes::is_in_queue() || timeout.is_some_and(|t| t.tv_sec == 0 && t.tv_nsec == 0) {
        return Err(Errno::EAGAIN);
    }
    let deadline = timeout.map(|t| {
        let nanos = (t.tv_sec as u64).saturating_mul(1_000_000_000);
        timer::now(false).saturating_add(nanos).saturating_add(t.tv_nsec as u64)
    });
    let sleeper = Sleeper::new()?;
    loop {
        if let Some(answer) = look() {
            return Ok(answer);
        }
        let mut entries = vec![pollfd { fd: sleeper.0.set.number(), events: POLLIN, revents: 0 }];
        find(|mut place| -> Option<()> {
            entries.push(pollfd { fd: place.aio()?.descriptor(), events: POLLIN, revents: 0 });
            None
        });
        let mut left = deadline.map(|at| timer::timespec(at.saturating_sub(timer::now(false))));
        let left = left.as_mut().map_or(null_mut(), std::ptr::from_mut);
        // SAFETY: our own entries and time.
        let n = unsafe {
            raw::ppoll(entries.as_mut_ptr(), entries.len() as _, left, std::ptr::null())
        }?;
        if n == 0 {
            return look().ok_or(Errno::EAGAIN);
        }
        sleeper.0.wake(false);
    }
}

/// What one who sleeps is woken by: an epoll set, and in it an eventfd that is always readable, which
/// is registered for that to wake the sleeper. (To write to it would be to write to whatever the
/// program has at its number, if it has closed ours.)
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Bed {
    set: Own,
    eventfd: Own,
}

impl Bed {
    fn new() -> Result<Self> {
        let set = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
        let made = hidden(|| raw::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK));
        let done = made.and_then(|eventfd| {
            raw::epoll_ctl(set, EPOLL_CTL_ADD, eventfd, &epoll_event { events: 0, u64: 0 })
        });
        if let Err(errno) = done {
            made.into_iter().chain([set]).for_each(|fd| _ = raw::close(fd));
            return Err(errno);
        }
        Ok(Self { set: Own::at(set), eventfd: Own::at(made?) })
    }

    fn wake(self, wake: bool) {
        let event = epoll_event { events: if wake { EPOLLIN as u32 } else { 0 }, u64: 0 };
        if self.set.is_last() {
            let _ = control(self.set.number(), EPOLL_CTL_MOD, self.eventfd, &event);
        }
    }

    /// Closes both, if the one is in the other.
    fn close(self) {
        let event = epoll_event { events: 0, u64: 0 };
        if self.set.is_last()
            && control(self.set.number(), EPOLL_CTL_DEL, self.eventfd, &event).is_ok()
        {
            let _ = raw::close(self.eventfd.number());
            let _ = raw::close(self.set.number());
        }
    }
}

/// One who sleeps.
struct Sleeper(Bed);

impl Sleeper {
    fn new() -> Result<Self> {
        let bed = Bed::new().map_err(|_| Errno::EAGAIN)?;
        let inside = closes::enter();
        lock(&home().sleepers).push(bed);
        closes::leave(&inside);
        home().sleeping.fetch_add(1, Ordering::SeqCst);
        Ok(Self(bed))
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        home().sleeping.fetch_sub(1, Ordering::SeqCst);
        let inside = closes::enter();
        lock(&home().sleepers).retain(|bed| *bed != self.0);
        closes::leave(&inside);
        self.0.close();
    }
}

/// `lio_listio(2)`: a list, `at` its name, of which a queue is to be told. It is over when it was
/// closed and all its requests are over.
///
/// # Errors
/// As for [`begin`].
pub(crate) fn open_list(at: usize, notify: Notify) -> Result<()> {
    at_queue(notify.kq, |knotes| knotes.soft.open_list(at, notify))
}

/// All that belongs to the list has been begun.
///
/// # Errors
/// - `EBADF`: the queue is gone.
pub fn close_list(at: usize, kq: RawFd) -> Result<()> {
    at_queue(kq, |knotes| {
        knotes.soft.close_list(at);
        Ok(())
    })
}
