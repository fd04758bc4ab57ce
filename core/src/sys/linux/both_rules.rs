//! kevent() on a queue under epoll's rules, and what epoll_wait makes of its knotes.
//!
//! Such a queue keeps the caller's 64 bits in the kernel's registrations, so there is no room for
//! our tokens: knotes that kevent() adds live in a second queue, under kqueue's rules, nested in the
//! first. A registration of epoll_ctl shows in kevent() as READ, WRITE and EXCEPT events with its 64
//! bits as udata; a knote of kevent() shows in epoll_wait as an event with its udata as the 64 bits.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use libc::epoll_event;
use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, KEvent};

use super::hidden::{Own, hidden};
use super::kevent::{Caller, take_ready};
use super::knote::Knote;
use super::queue::{self, Locked, Queue, Rules};
use super::raw::{self, Result};
use super::registered;
use super::report::report;
use super::sink::Sink;

/// Whether there is no nested queue.
#[inline]
pub(crate) fn has_none(queue: &Queue) -> bool {
    queue.inner.load(Ordering::Acquire) < 0
}

/// The nested queue, if there is one.
#[inline]
pub(crate) fn inner(queue: &Queue) -> Option<Caller> {
    inner_at(queue.inner.load(Ordering::Acquire))
}

#[inline]
fn inner_at(kq: RawFd) -> Option<Caller> {
    if kq < 0 {
        return None;
    }
    queue::find(kq).map(|queue| Caller { queue, life: queue.life(), kq })
}

/// The nested queue, made if there is none.
pub(crate) fn make_inner(outer: Caller) -> Result<Caller> {
    let place = &outer.queue.inner;
    let there = place.load(Ordering::Acquire);
    if let Some(there) = inner_at(there) {
        if registered::check_number(outer.kq, there.kq).is_ok() {
            return Ok(there);
        }
        // The program has closed its number: its knotes are gone.
        queue::forget_closed(there.kq);
    }
    if there >= 0 {
        // That, or our parent's. (If it is another by now, another thread was first.)
        let _ = place.compare_exchange(there, -1, Ordering::AcqRel, Ordering::Acquire);
    }
    let kq = hidden(|| raw::epoll_create1(libc::EPOLL_CLOEXEC))?;
    let made = queue::open(kq, Rules::Kqueue, false).ok_or(Errno::EMFILE).and_then(|_| {
        let event = epoll_event { events: libc::EPOLLIN as u32, u64: token(outer.queue) };
        raw::epoll_ctl(outer.kq, libc::EPOLL_CTL_ADD, kq, &event)?;
        knotes(kq)?.soft.is_set(kq).map(drop) // hangs the bell, by which the number is known
    });
    let first = made.and_then(|()| {
        let swapped = place.compare_exchange(-1, kq, Ordering::AcqRel, Ordering::Acquire);
        // Another thread was first: its queue is the one.
        swapped.map(drop).map_err(|_| Errno::EEXIST)
    });
    if let Err(errno) = first {
        queue::forget(kq);
        let _ = raw::close(kq);
        return inner(outer.queue).ok_or(errno);
    }
    inner(outer.queue).ok_or(Errno::EBADF)
}

/// The queue is over: so is the nested one.
pub(crate) fn drop_inner(queue: &Queue, outer: RawFd) {
    let kq = queue.inner.swap(-1, Ordering::AcqRel);
    if kq >= 0 {
        let is_ours = registered::leave(outer, Own::at(kq)) || is_known(kq);
        queue::forget(kq);
        if is_ours {
            let _ = raw::close(kq);
        }
    }
}

/// Whether a nested queue's number still means it, by the bell in it.
fn is_known(kq: RawFd) -> bool {
    knotes(kq).is_ok_and(|mut knotes| knotes.soft.has_bell_in(kq))
}

fn knotes(kq: RawFd) -> Result<Locked<'static>> {
    let queue = queue::find(kq).ok_or(Errno::EBADF)?;
    queue.knotes_anyway(queue.life())
}

/// What the nested queue is registered with: an address that is ours, so no program's pointer.
fn token(queue: &Queue) -> u64 {
    std::ptr::from_ref(queue) as u64
}

/// Turns the kernel's events into kevents. What finds no room waits in the nested queue.
#[inline(never)]
pub(crate) fn deliver(outer: Caller, events: &[epoll_event], sink: &mut Sink) -> Result<()> {
    for (at, event) in events.iter().enumerate() {
        let budget = sink.room() - (events.len() - at - 1);
        match inner(outer.queue) {
            Some(inner) if event.u64 == token(outer.queue) => take_ready(inner, sink, budget)?,
            _ => {
                let mut room = budget;
                for event in kevents(outer.queue, event) {
                    if room > 0 {
                        sink.push(event);
                        room -= 1;
                    } else {
                        let inner = make_inner(outer)?;
                        inner.queue.knotes(inner.life)?.soft.spill(event)?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// A registration's event, as its filters would tell it.
fn kevents(queue: &Queue, event: &epoll_event) -> impl Iterator<Item = KEvent> {
    use EventFilter::{EVFILT_EXCEPT, EVFILT_READ, EVFILT_WRITE};
    let (bits, data) = (event.events, event.u64);
    let (fd, interest) = queue.registered_with(data).unwrap_or((-1, bits));
    let mut flags = 0;
    if interest & libc::EPOLLET as u32 != 0 {
        flags |= EvFlags::EV_CLEAR.bits();
    }
    if interest & libc::EPOLLONESHOT as u32 != 0 {
        flags |= EvFlags::EV_DISPATCH.bits();
    }
    let asked = move |filter| match filter {
        EVFILT_READ => {
            interest & (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLRDNORM) as u32 != 0
        }
        EVFILT_WRITE => interest & (libc::EPOLLOUT | libc::EPOLLWRNORM) as u32 != 0,
        _ => interest & libc::EPOLLPRI as u32 != 0,
    };
    // Hang-ups and errors come unasked: then to READ.
    let any = [EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT].into_iter().any(asked);
    [EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT]
        .into_iter()
        .filter(move |&filter| asked(filter) || (!any && filter == EVFILT_READ))
        .filter_map(move |filter| {
            let change = KEvent { udata: data as usize, flags, ..KEvent::default() };
            let mut knote = Knote::new(filter, &change, 0);
            let what = report(&mut knote, fd, bits)?;
            Some(KEvent {
                ident: fd as usize,
                filter: filter as i16,
                flags: flags | what.flags,
                fflags: what.fflags,
                data: what.data,
                udata: data as usize,
                ext: [0; 4],
            })
        })
}

/// Where epoll_wait has fetched the nested queue's event among others: puts its knotes' events in
/// its place, as far as there is room. Returns how many events there are now.
///
/// # Safety
/// `events` has room for `maxevents`, of which the first `ready` are filled.
pub(crate) unsafe fn expand(
    queue: &Queue,
    inner: Caller,
    events: *mut epoll_event,
    maxevents: usize,
    ready: usize,
) -> usize {
    // SAFETY: the caller's promise; C's array may be at any address.
    let at = |i: usize| unsafe { events.add(i) };
    // SAFETY: as above.
    let Some(place) = (0..ready).find(|&i| unsafe { at(i).read_unaligned() }.u64 == token(queue))
    else {
        return ready;
    };
    let last = ready - 1;
    // SAFETY: both are among the filled.
    unsafe { at(place).write_unaligned(at(last).read_unaligned()) };
    let mut taken = vec![KEvent::default(); (maxevents - last).min(64)];
    // SAFETY: the vector is ours, and as long as said.
    let mut sink = unsafe { Sink::new(taken.as_mut_ptr(), taken.len()) };
    let budget = sink.room();
    let _ = take_ready(inner, &mut sink, budget);
    let n = sink.len();
    for (i, event) in taken[..n].iter().enumerate() {
        let event = epoll_event { events: poll_bits(event), u64: event.udata as u64 };
        // SAFETY: `last + n` is at most `maxevents`.
        unsafe { at(last + i).write_unaligned(event) };
    }
    last + n
}

/// A knote's event in poll's bits.
fn poll_bits(event: &KEvent) -> u32 {
    let bits = match EventFilter::try_from(event.filter) {
        Ok(EventFilter::EVFILT_WRITE) => libc::EPOLLOUT,
        Ok(EventFilter::EVFILT_EXCEPT) => libc::EPOLLPRI,
        _ => libc::EPOLLIN,
    };
    let eof = event.flags & EvFlags::EV_EOF.bits() != 0;
    let hang_up = match EventFilter::try_from(event.filter) {
        Ok(EventFilter::EVFILT_READ) if eof => libc::EPOLLRDHUP,
        Ok(EventFilter::EVFILT_WRITE) if eof => libc::EPOLLHUP,
        _ => 0,
    };
    (bits | hang_up) as u32
}

impl Queue {
    /// The descriptor that was registered with these 64 bits, and for what; the lowest, if several.
    fn registered_with(&self, data: u64) -> Option<(RawFd, u32)> {
        let mut found = None;
        self.interests.for_each(|fd, interest| {
            if found.is_none() {
                found = interest.matches(data).map(|events| (fd, events));
            }
        });
        found
    }
}
