//! epoll_ctl: a change list.

use std::os::fd::RawFd;
use std::sync::Arc;

use libc::c_int;
use nix::errno::Errno;
use smallvec::SmallVec;

use crate::counters::count;
use crate::epoll_abi::{self as e, epoll_event};
use crate::event::EvFlags;

use super::super::marked;
use super::apply::{Change, apply};
use super::bits::{IN, Kind};
use super::instance::{self, Instance, Registration, Registrations};
use super::interest::{FILTERS, Knote, WRITE, knotes};
use super::kind::{self, Number};
use super::nesting;

/// What may go with EPOLLEXCLUSIVE.
const WITH_EXCLUSIVE: u32 = (e::EPOLLIN
    | e::EPOLLOUT
    | e::EPOLLERR
    | e::EPOLLHUP
    | e::EPOLLWAKEUP
    | e::EPOLLET
    | e::EPOLLEXCLUSIVE) as u32;
const EXCLUSIVE: u32 = e::EPOLLEXCLUSIVE as u32;

/// `epoll_ctl(epfd, op, fd, event)` - changes what is registered (epoll_ctl(2)).
///
/// # Errors
/// Those of epoll_ctl(2), in the kernel's order. A pointer that is not null is taken to be good.
///
/// # Safety
/// `event` is null or can be read.
pub unsafe fn epoll_ctl(
    epfd: RawFd,
    op: c_int,
    fd: RawFd,
    event: *const epoll_event,
) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    super::keep_errno(|| unsafe { control(epfd, op, fd, event) })
}

/// # Safety
/// As for [`epoll_ctl`].
unsafe fn control(
    epfd: RawFd,
    op: c_int,
    fd: RawFd,
    event: *const epoll_event,
) -> Result<(), Errno> {
    let event = if op == e::EPOLL_CTL_DEL {
        epoll_event { events: 0, u64: 0 }
    } else if event.is_null() {
        return Err(Errno::EFAULT);
    } else {
        // SAFETY: the caller's promise; C's need not be aligned.
        unsafe { event.read_unaligned() }
    };
    let instance = instance::find(epfd);
    if instance.as_ref().err() == Some(&Errno::EBADF) {
        return Err(Errno::EBADF);
    }
    let number = kind::of(fd);
    match number {
        Number::File => return Err(Errno::EPERM),
        Number::Unknown if fd < 0 || instance.is_err() => return Err(Errno::EBADF),
        Number::Unknown | Number::Other | Number::Of(_) => {}
    }
    let instance = instance?;
    let target = target(fd, number);
    if target.as_ref().is_some_and(|target| Arc::ptr_eq(target, &instance)) {
        return Err(Errno::EINVAL);
    }
    check_exclusive(op, event.events, target.is_some())?;
    let kind = match number {
        _ if target.is_some() || is_queue(fd, number) => Kind::Queue,
        Number::Of(kind) => kind,
        _ => Kind::Stream,
    };
    let _nesting = match &target {
        Some(target) if op == e::EPOLL_CTL_ADD => Some(nesting::check(&instance, target)?),
        _ => None,
    };
    count(&instance.counters.changes, 1);
    let unknown = number == Number::Unknown;
    let what = What { fd, kind, target: target.map(|target| target.id), event };
    change(&instance, epfd, op, what).map_err(|errno| match errno {
        // What nobody knows of is not open.
        Errno::ENOENT | Errno::EINVAL | Errno::EPERM if unknown => Errno::EBADF,
        errno => errno,
    })
}

/// The instance that is to be watched, if it is one.
fn target(fd: RawFd, number: Number) -> Option<Arc<Instance>> {
    match number {
        // To some systems a queue is a pipe.
        Number::Of(Kind::PipeBoth) | Number::Other | Number::Unknown => instance::find(fd).ok(),
        Number::Of(_) | Number::File => None,
    }
}

/// Is it a queue that is no instance?
fn is_queue(fd: RawFd, number: Number) -> bool {
    matches!(number, Number::Of(Kind::PipeBoth) | Number::Other | Number::Unknown)
        && marked::is_queue(fd)
}

fn check_exclusive(op: c_int, events: u32, is_instance: bool) -> Result<(), Errno> {
    let asked = op != e::EPOLL_CTL_DEL && events & EXCLUSIVE != 0;
    if asked && (op == e::EPOLL_CTL_MOD || events & !WITH_EXCLUSIVE != 0 || is_instance) {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// What is to be registered.
#[derive(Clone, Copy)]
struct What {
    fd: RawFd,
    kind: Kind,
    /// The id of the instance that it is.
    target: Option<usize>,
    event: epoll_event,
}

fn change(instance: &Instance, kq: RawFd, op: c_int, what: What) -> Result<(), Errno> {
    let fd = what.fd;
    let mut registrations = instance.lock();
    let there = find(&mut registrations, kq, fd)?;
    match (op, there) {
        (e::EPOLL_CTL_ADD, Some(_)) => Err(Errno::EEXIST),
        (e::EPOLL_CTL_ADD, None) => register(&mut registrations, kq, what, None),
        (e::EPOLL_CTL_MOD | e::EPOLL_CTL_DEL, None) => Err(Errno::ENOENT),
        (e::EPOLL_CTL_MOD, Some(was)) if was.events & EXCLUSIVE != 0 => Err(Errno::EINVAL),
        (e::EPOLL_CTL_MOD, Some(was)) => register(&mut registrations, kq, what, Some(&was)),
        (e::EPOLL_CTL_DEL, Some(was)) => {
            apply(kq, &deletions(fd, &was))?;
            registrations.remove(fd);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// What is registered for a number, if it still is. A number that was closed has lost its knotes,
/// without a word; that one of them is still there is asked by doing to it what was done before.
fn find(
    registrations: &mut Registrations,
    kq: RawFd,
    fd: RawFd,
) -> Result<Option<Registration>, Errno> {
    let Some(there) = registrations.by_fd.get(&fd).copied() else { return Ok(None) };
    let same = if there.armed { EvFlags::EV_ENABLE } else { EvFlags::EV_DISABLE };
    let ask = each_knote(fd, &there).take(1).map(|change| Change { flags: same, ..change });
    let ask: SmallVec<[Change; 1]> = ask.collect();
    // Without a knote it was a pipe's end that nobody reads, and still is one, or is none any more.
    let stays = match apply(kq, &ask)?.first() {
        Some(answer) => answer.is_ok(),
        None => is_still_gone(kq, fd, &there),
    };
    if stays {
        return Ok(Some(there));
    }
    end(registrations, kq, fd);
    Ok(None)
}

/// Ends the registration of a number that was closed. What has the number now may have got a knote of
/// it: one that was added just after.
pub(crate) fn end(registrations: &mut Registrations, kq: RawFd, fd: RawFd) {
    if let Some(there) = registrations.by_fd.get(&fd) {
        let _ = apply(kq, &deletions(fd, there));
    }
    registrations.remove(fd);
}

/// Is a number still an end of a pipe that nobody reads? Then no WRITE knote can be added to it.
pub(crate) fn is_still_gone(kq: RawFd, fd: RawFd, there: &Registration) -> bool {
    let add = there.change(fd, WRITE, EvFlags::EV_ADD);
    match apply(kq, &[add]).as_deref() {
        Ok([Ok(())]) => {
            let _ = apply(kq, &[Change { flags: EvFlags::EV_DELETE, ..add }]);
            false
        }
        // Without memory nothing was found out.
        Ok([Err(Errno::ENOMEM)]) | Err(Errno::ENOMEM) => true,
        Ok([Err(errno)]) => kind::is_gone(*errno, fd, there.kind),
        _ => false,
    }
}

/// A change for each knote of a registration, with no flags yet.
fn each_knote(fd: RawFd, registration: &Registration) -> impl Iterator<Item = Change> {
    let (registration, knotes) = (*registration, registration.knotes);
    (0..FILTERS.len())
        .filter(move |at| knotes[*at] != Knote::Off)
        .map(move |at| registration.change(fd, at, EvFlags::empty()))
}

impl Registration {
    /// A change of one of its knotes.
    pub(crate) fn change(&self, fd: RawFd, at: usize, flags: EvFlags) -> Change {
        let quiet = self.events & IN == 0;
        Change { ident: fd as usize, filter: FILTERS[at], flags, serial: self.serial, quiet }
    }
}

/// Takes a registration's knotes away.
fn deletions(fd: RawFd, registration: &Registration) -> SmallVec<[Change; 6]> {
    each_knote(fd, registration)
        .map(|change| Change { flags: EvFlags::EV_DELETE, ..change })
        .collect()
}

/// Keeps all knotes of a registration from reporting.
pub(crate) fn disabling(fd: RawFd, registration: &Registration) -> impl Iterator<Item = Change> {
    each_knote(fd, registration).map(|change| Change { flags: EvFlags::EV_DISABLE, ..change })
}

/// How a knote is added.
pub(crate) fn adding(knote: Knote) -> EvFlags {
    match knote {
        Knote::Edge => EvFlags::EV_ADD | EvFlags::EV_CLEAR,
        _ => EvFlags::EV_ADD,
    }
}

/// Registers a descriptor, in the place of what was registered for it before. One call: nobody sees
/// half of the change. New knotes, so that what is ready is reported anew, and with a serial of their
/// own, so that what another thread has fetched of the old ones is dropped.
fn register(
    registrations: &mut Registrations,
    kq: RawFd,
    what: What,
    was: Option<&Registration>,
) -> Result<(), Errno> {
    let What { fd, kind, target, event } = what;
    let serial = instance::next_serial();
    let mut new = Registration {
        events: event.events,
        data: event.u64,
        serial,
        kind,
        target,
        knotes: knotes(kind, event.events),
        armed: true,
        told: 0,
        gone: false,
    };
    let mut changes = was.map_or_else(SmallVec::new, |was| deletions(fd, was));
    let deleted = changes.len();
    changes.extend(
        each_knote(fd, &new)
            .zip(new.knotes.into_iter().filter(|knote| *knote != Knote::Off))
            .map(|(change, knote)| Change { flags: adding(knote), ..change }),
    );
    let answers = apply(kq, &changes)?;
    if answers[..deleted].contains(&Err(Errno::ENOENT)) {
        // Closed by another thread just now.
        apply(kq, &deletions(fd, &new))?;
        registrations.remove(fd);
        return Err(Errno::ENOENT);
    }
    let mut refused = None;
    for (change, answer) in changes[deleted..].iter().zip(&answers[deleted..]) {
        let Err(errno) = answer else { continue };
        let at = FILTERS.iter().position(|filter| *filter == change.filter).unwrap_or(WRITE);
        new.knotes[at] = Knote::Off;
        match errno {
            // A condition, and no error.
            errno if at == WRITE && kind::is_gone(*errno, fd, kind) => new.gone = true,
            errno => refused = Some(*errno),
        }
    }
    let has_knote = new.knotes[..2].iter().any(|knote| *knote != Knote::Off);
    if !has_knote && !new.gone {
        apply(kq, &deletions(fd, &new))?;
        registrations.remove(fd);
        return Err(refusal(refused.unwrap_or(Errno::EPERM)));
    }
    registrations.set(fd, new);
    Ok(())
}

/// What epoll_ctl says where a queue takes no knote.
fn refusal(errno: Errno) -> Errno {
    match errno {
        Errno::EBADF | Errno::ENOMEM | Errno::ENOSPC | Errno::EMFILE | Errno::ENFILE => errno,
        Errno::ENOENT => Errno::EBADF,
        _ => Errno::EPERM,
    }
}
