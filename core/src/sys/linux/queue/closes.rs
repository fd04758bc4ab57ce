//! What the hooks on close(2) and its kin tell: a closed number's knotes go, and a queue that it
//! named.
//!
//! close is async-signal-safe, and knotes are behind a lock. So where a signal handler closes a
//! descriptor while its own thread is in a queue, the number is put down and seen to when that
//! thread leaves the queue. By then it is closed, and may mean another file: then the kernel is asked
//! whether it does.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::put_down::{FREE, PutDown};
use super::{Queue, QueueKnotes, Rules, all, find, handlers, let_go};
use crate::hooks::{self, Sink};
use crate::sys::linux::alarm;

thread_local! {
    /// This thread has a queue locked, or is about to.
    static IN_QUEUE: Cell<bool> = const { Cell::new(false) };
}

static PUT_DOWN: PutDown<16> =
    PutDown { places: [const { AtomicI32::new(FREE) }; 16], some: AtomicBool::new(false) };

/// A thread is in a queue; [`leave`] takes it. It stays in that thread, for it knows the thread's own
/// variable by its address: in a shared library each look for that is a call.
#[derive(Debug)]
pub(crate) struct Inside {
    in_queue: *const Cell<bool>,
    /// It was in a queue before, whom a signal handler has interrupted.
    pub(crate) was: bool,
}

/// Declares that this thread is in a queue.
#[inline]
pub(crate) fn enter() -> Inside {
    IN_QUEUE.with(|in_queue| Inside { in_queue, was: in_queue.replace(true) })
}

/// Whether this thread is in a queue, so that a signal handler which asks must not go into one.
#[inline(always)]
pub(crate) fn is_in_queue() -> bool {
    IN_QUEUE.get()
}

/// This thread has left the queue that it had entered.
#[inline]
pub(crate) fn leave(inside: &Inside) {
    // SAFETY: the variable is this thread's own, and needs no drop: it is there as long as the thread.
    unsafe { &*inside.in_queue }.set(inside.was);
    if !inside.was && some_were_put_down() {
        see_to_them();
    }
}

#[inline]
fn some_were_put_down() -> bool {
    PUT_DOWN.any() || handlers::any()
}

/// Sees to what was put down. Meanwhile more may be: handlers find this thread in a queue.
#[cold]
fn see_to_them() {
    while some_were_put_down() {
        IN_QUEUE.set(true);
        PUT_DOWN.take(closed_earlier);
        handlers::see_to_changes();
        IN_QUEUE.set(false);
    }
}

/// Has the hooks tell this engine of closes, once they are there.
pub fn listen() {
    static SINK: Sink = Sink { closing };
    hooks::add_sink(&SINK);
}

/// A number is watched by a queue, or names one: its close is to be told.
#[inline]
pub(crate) fn watch(fd: RawFd) {
    if hooks::are_complete() {
        hooks::watch(fd);
    }
}

/// A number is about to be closed (the hook on close says so): its knotes go from every queue under
/// kqueue's rules, even while a duplicate lives on; a queue that it names is no more.
///
/// Must not be called in a vfork child, which shares this memory but not these descriptors.
pub fn closing(fd: RawFd) {
    if IN_QUEUE.get() {
        // A signal handler's. Who sleeps in a queue can be woken only while the number means it.
        let is_last = |queue: &&Queue| queue.numbers.load(Ordering::Relaxed) <= 1;
        if find(fd).filter(|queue| queue.rules() == Rules::Kqueue).filter(is_last).is_some() {
            let _ = alarm::sound(fd);
        }
        return PUT_DOWN.put(fd);
    }
    each(|queue| {
        drop_knotes(queue, |knotes| {
            knotes.descriptors.close(fd);
            knotes.soft.close(fd as usize);
        });
    });
    super::forget(fd);
}

/// As [`closing`], of a number that was closed before now.
fn closed_earlier(fd: RawFd) {
    use super::super::source::OF_DESCRIPTORS;
    each(|queue| {
        drop_knotes(queue, |knotes| {
            for filter in OF_DESCRIPTORS {
                knotes.soft.holds((filter, fd as usize)); // drops those of another file
            }
            if knotes.descriptors.is_closed(fd) {
                knotes.descriptors.close(fd);
            }
        });
    });
    let is_queue = |queue: &Queue| {
        queue.rules() == Rules::Kqueue
            && queue.knotes_anyway(queue.life()).is_ok_and(|mut k| k.soft.is_set(fd) != Ok(true))
    };
    if find(fd).is_some_and(is_queue) {
        let_go(fd, false);
    }
}

fn each(f: impl Fn(&Queue)) {
    all().filter(|queue| queue.rules() == Rules::Kqueue).for_each(f);
}

fn drop_knotes(queue: &Queue, drop: impl Fn(&mut QueueKnotes)) {
    let Ok(mut knotes) = queue.knotes_anyway(queue.life()) else { return };
    drop(&mut knotes);
    knotes.drop_forced();
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::EventFilter::{EVFILT_READ, EVFILT_VNODE};
    use crate::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

    /// A handler that has interrupted its thread in some queue closes one that others sleep in.
    #[test]
    fn a_queue_that_is_closed_in_a_handler_wakes_who_sleeps_in_it() {
        use crate::sys::linux::kevent::RawWait;
        use crate::sys::linux::{abi, raw};
        // At a number that no other test gets when it is closed.
        let made = raw::epoll_create1(libc::EPOLL_CLOEXEC).unwrap();
        let kq = raw::fcntl(made, libc::F_DUPFD_CLOEXEC, 850).unwrap();
        raw::close(made).unwrap();
        super::super::open(kq, Rules::Kqueue, false).unwrap();
        let sleeper = crate::test_support::threads::start(move || {
            let (mut event, none) = (KEvent::default(), std::ptr::null());
            // SAFETY: no change, room for one event, and no time.
            unsafe { abi::kevent::<RawWait>(kq, none, 0, &mut event, 1, std::ptr::null()) }
        });
        assert!(sleeper.wait_until_asleep());
        let inside = enter();
        closing(kq);
        raw::close(kq).unwrap();
        leave(&inside);
        // Only a failing test waits so long.
        for _ in 0..20_000 {
            if sleeper.is_finished() {
                return assert_eq!(sleeper.join(), Err(nix::errno::Errno::EBADF));
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("it sleeps on");
    }

    /// By the time that a close is seen to which a signal handler has put down, another thread may have
    /// opened another file and watch it.
    #[test]
    fn what_has_a_number_by_now_that_was_closed_earlier_keeps_its_knotes() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        let kq = Kqueue::new().unwrap();
        let add = |fd: &dyn AsRawFd, filter: EventFilter, fflags: FilterFlag| {
            let (ident, flags) = (fd.as_raw_fd() as usize, EvFlags::EV_ADD);
            kq.kevent(&[KEvent::new(ident, filter, flags, fflags, 0, 0)], &mut [], None).unwrap();
        };
        add(&file, EVFILT_VNODE, FilterFlag::NOTE_OPEN);
        add(&file, EVFILT_READ, FilterFlag::empty());
        add(&reader, EVFILT_READ, FilterFlag::empty());
        closed_earlier(file.as_raw_fd());
        closed_earlier(reader.as_raw_fd());
        std::fs::File::open("Cargo.toml").unwrap();
        std::io::Write::write_all(&mut writer, b"1").unwrap();
        let mut events = [KEvent::default(); 4];
        assert_eq!(kq.kevent(&[], &mut events, None), Ok(3));
    }
}
