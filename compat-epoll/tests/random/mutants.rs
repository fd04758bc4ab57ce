//! Does the comparison see anything? Each mutant is the kernel's epoll with one fault.

use std::os::fd::RawFd;

use kq_core::test_support::compare::{Plan, try_compare};
use kq_core::test_support::epoll::{
    ADD, Backend, DEL, ET, Epoll, IN, KERNEL, MOD, ONESHOT, OUT, RDHUP,
};
use kq_core::test_support::sys::Result;
use kq_core::test_support::{signals, sys, world::Ground};
use libc::{c_int, epoll_event, sigset_t, timespec};
use nix::errno::Errno;

use crate::suite::{program, run};

#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A change keeps the old data.
    ChangeKeepsData,
    /// A change of a registered descriptor is left out.
    ChangeIsLost,
    /// Adding what is registered changes it.
    AddIsChange,
    /// Changing what is not registered adds it.
    ChangeIsAdd,
    /// Deleting what is not registered is fine.
    DeleteIsForgiving,
    /// One option is forgotten.
    Forgets(u32),
    /// Events that fit no more are thrown away.
    LosesTheRest,
    /// A bad pointer is seen after a bad number.
    NumbersFirst,
    /// A negative number of events is none.
    NoMaxevents,
    /// The instance gets a number of our own choice.
    OwnNumbers,
    /// A wait takes one event at a time.
    OneAtATime,
    /// An event's upper data are lost.
    HalfTheData,
}

const FAULTS: [Fault; 15] = [
    Fault::ChangeKeepsData,
    Fault::ChangeIsLost,
    Fault::AddIsChange,
    Fault::ChangeIsAdd,
    Fault::DeleteIsForgiving,
    Fault::Forgets(ET),
    Fault::Forgets(ONESHOT),
    Fault::Forgets(OUT),
    Fault::Forgets(RDHUP),
    Fault::LosesTheRest,
    Fault::NumbersFirst,
    Fault::NoMaxevents,
    Fault::OwnNumbers,
    Fault::OneAtATime,
    Fault::HalfTheData,
];

pub(crate) fn every_mutant_is_found() {
    let ground = Ground::new();
    signals::catch(libc::SIGUSR1, 0);
    for (seed, fault) in FAULTS.into_iter().enumerate() {
        let mutant = Epoll(Box::leak(Box::new(Mutant(fault))));
        let plan = Plan { cases: 3000, seed: seed as u64, shrink: false };
        let result = try_compare(
            plan,
            program::programs(),
            |program| run::run(&ground, KERNEL, program),
            |program| run::run(&ground, mutant, program),
        );
        let difference = result.expect_err(&format!("{fault:?} was not noticed"));
        assert!(difference.starts_with("results differ"), "{fault:?}: {difference}");
    }
}

struct Mutant(Fault);

impl Mutant {
    fn change(&self, epfd: RawFd, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        KERNEL.0.epoll_ctl(epfd, MOD, fd, event)
    }

    fn handed_out(&self, epfd: RawFd, events: *mut epoll_event, count: usize) -> Result<usize> {
        match self.0 {
            Fault::HalfTheData => {
                for n in 0..count {
                    // SAFETY: so many events were written there just now.
                    unsafe {
                        let event = events.add(n);
                        (*event).u64 = u64::from((*event).u64 as u32);
                    }
                }
            }
            // An edge that is left over is taken out and dropped.
            Fault::LosesTheRest => drop(KERNEL.wait_on(epfd, 64, 0)),
            _ => {}
        }
        Ok(count)
    }

    fn room(&self, maxevents: c_int) -> c_int {
        match self.0 {
            Fault::OneAtATime => maxevents.min(1),
            _ => maxevents,
        }
    }
}

impl Backend for Mutant {
    fn epoll_create(&self, size: c_int) -> Result<RawFd> {
        let fd = KERNEL.0.epoll_create(size)?;
        if !matches!(self.0, Fault::OwnNumbers) {
            return Ok(fd);
        }
        let high = sys::fcntl(fd, libc::F_DUPFD_CLOEXEC, fd + 1)?;
        sys::close(fd)?;
        Ok(high)
    }

    fn epoll_create1(&self, flags: c_int) -> Result<RawFd> {
        KERNEL.0.epoll_create1(flags)
    }

    fn epoll_ctl(&self, epfd: RawFd, op: c_int, fd: RawFd, event: *mut epoll_event) -> Result<()> {
        let native = |op, event| KERNEL.0.epoll_ctl(epfd, op, fd, event);
        match (self.0, op) {
            (Fault::NumbersFirst, ADD | MOD) if !sys::is_open(epfd) => Err(Errno::EBADF),
            (Fault::Forgets(bit), ADD | MOD) if !event.is_null() && (event as usize) >> 63 == 0 => {
                // A page that cannot be read is the kernel's to refuse.
                if native(op, event) == Err(Errno::EFAULT) {
                    return Err(Errno::EFAULT);
                }
                // SAFETY: the kernel could read it.
                let mut event = unsafe { event.read_unaligned() };
                event.events &= !bit;
                self.change(epfd, fd, &mut event).or_else(|_| native(op, &mut event))
            }
            (Fault::ChangeKeepsData, MOD) => {
                native(MOD, event)?;
                // SAFETY: the kernel could read it.
                let mut event = unsafe { event.read_unaligned() };
                event.u64 = 0;
                native(MOD, &mut event)
            }
            (Fault::ChangeIsLost, MOD) => {
                let mut unchanged = epoll_event { events: IN, u64: 0 };
                native(ADD, &mut unchanged).map_or_else(
                    |e| if e == Errno::EEXIST { Ok(()) } else { Err(e) },
                    |()| {
                        native(DEL, event)?;
                        Err(Errno::ENOENT)
                    },
                )
            }
            (Fault::AddIsChange, ADD) => match native(ADD, event) {
                Err(Errno::EEXIST) => self.change(epfd, fd, event),
                result => result,
            },
            (Fault::ChangeIsAdd, MOD) => match native(MOD, event) {
                Err(Errno::ENOENT) => native(ADD, event),
                result => result,
            },
            (Fault::DeleteIsForgiving, DEL) => match native(DEL, event) {
                Err(Errno::ENOENT) => Ok(()),
                result => result,
            },
            _ => native(op, event),
        }
    }

    fn epoll_wait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
    ) -> Result<usize> {
        if matches!(self.0, Fault::NoMaxevents) && maxevents < 0 {
            return Ok(0);
        }
        let room = self.room(maxevents);
        let count = KERNEL.0.epoll_wait(epfd, events, room, timeout)?;
        self.handed_out(epfd, events, count)
    }

    fn epoll_pwait(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: c_int,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        KERNEL.0.epoll_pwait(epfd, events, maxevents, timeout, sigmask)
    }

    fn epoll_pwait2(
        &self,
        epfd: RawFd,
        events: *mut epoll_event,
        maxevents: c_int,
        timeout: *const timespec,
        sigmask: *const sigset_t,
    ) -> Result<usize> {
        KERNEL.0.epoll_pwait2(epfd, events, maxevents, timeout, sigmask)
    }
}
