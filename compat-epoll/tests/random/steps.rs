//! Doing one step with one backend.

use std::os::fd::RawFd;
use std::ptr::{from_ref, null, null_mut, without_provenance_mut};
use std::sync::OnceLock;

use kq_core::test_support::epoll::{Epoll, Event, event};
use kq_core::test_support::{signals, sys};
use libc::{epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use super::program::{Ctl, How, Pointer, Wait};

/// Memory that is not as it should be; the same addresses in each run.
struct Pages {
    unreadable: usize,
    read_only: usize,
}

fn pages() -> &'static Pages {
    static PAGES: OnceLock<Pages> = OnceLock::new();
    PAGES.get_or_init(|| Pages {
        unreadable: sys::guarded_page(libc::PROT_NONE).addr(),
        read_only: sys::guarded_page(libc::PROT_READ).addr(),
    })
}

impl<T> Pointer<T> {
    /// The pointer, where it is not to `memory`.
    fn bad<U>(&self, memory: *mut U) -> *mut U {
        match self {
            Self::To(_) => memory,
            Self::Null => null_mut(),
            Self::Unreadable => without_provenance_mut(pages().unreadable),
            Self::ReadOnly => without_provenance_mut(pages().read_only),
            Self::Kernels => without_provenance_mut(1 << 63),
        }
    }
}

/// epoll_ctl
pub(crate) fn control(epoll: Epoll, epfd: RawFd, fd: RawFd, ctl: &Ctl) -> Result<(), Errno> {
    let mut memory = epoll_event { events: 0, u64: 0 };
    if let Pointer::To(Event { events, data }) = ctl.event {
        memory = epoll_event { events, u64: data };
    }
    epoll.0.epoll_ctl(epfd, ctl.op, fd, ctl.event.bad(&raw mut memory))
}

/// More than a program can register.
const ROOM: usize = 256;

/// epoll_wait and its kin. None where it was not called.
pub(crate) fn wait(epoll: Epoll, epfd: RawFd, wait: &Wait) -> Option<Result<Vec<Event>, Errno>> {
    const UNTOUCHED: epoll_event = epoll_event { events: 0xdead_beef, u64: 0xfeed_face_cafe_f00d };
    let mut memory = vec![UNTOUCHED; ROOM];
    let events = wait.events.bad(memory.as_mut_ptr());
    let max = wait.maxevents;
    let backend = epoll.0;
    let mut none: sigset_t = signals::set_of(&[]);
    let result = match wait.how {
        How::Wait => backend.epoll_wait(epfd, events, max, 0),
        How::Briefly => backend.epoll_wait(epfd, events, max, 1),
        How::Pwait(mask) => backend.epoll_pwait(epfd, events, max, 0, mask.bad(&raw mut none)),
        How::Pwait2(Pointer::To((tv_sec, tv_nsec))) => {
            let time = timespec { tv_sec, tv_nsec };
            backend.epoll_pwait2(epfd, events, max, from_ref(&time), null())
        }
        How::Pwait2(time) => backend.epoll_pwait2(epfd, events, max, time.bad(null_mut()), null()),
        How::IfReady => {
            if sys::poll(epfd, libc::POLLIN) != libc::POLLIN {
                return None;
            }
            backend.epoll_wait(epfd, events, max, 10_000)
        }
    };
    Some(result.map(|count| {
        let all: Vec<Event> = memory.iter().map(|e| event(e.events, e.u64)).collect();
        let rest = &all[count..];
        let untouched = event(UNTOUCHED.events, UNTOUCHED.u64);
        assert!(rest.iter().all(|e| *e == untouched), "written past the {count} events: {rest:?}");
        all[..count].to_vec()
    }))
}
