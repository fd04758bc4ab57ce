//! signalfd: signals that are read.
//!
//! A SIGNAL knote only watches: it makes the queue readable when a signal is sent, blocked or not. What
//! is pending is asked of the system, and taken from it, when somebody reads.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;
use std::sync::Arc;

use libc::{c_int, sigset_t, timespec};
use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::super::kqueue::{change, kevent};
use super::bell::Bell;
use super::siginfo::SignalInfo;
use super::{Object, State, create, guarded, named};

/// It is closed on exec.
pub const SFD_CLOEXEC: c_int = libc::O_CLOEXEC;
/// It does not block.
pub const SFD_NONBLOCK: c_int = libc::O_NONBLOCK;

/// No system has more signals.
const NUMBERS: std::ops::RangeInclusive<c_int> = 1..=128;

/// A signalfd.
#[derive(Debug)]
pub(super) struct Signals {
    mask: Mask,
    /// For what was pending before it was watched.
    bell: Bell,
}

/// A set of signals.
#[derive(Clone, Copy)]
struct Mask(sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(NUMBERS.filter(|signal| self.has(*signal))).finish()
    }
}

impl Mask {
    fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset fills it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    fn has(&self, signal: c_int) -> bool {
        // SAFETY: a set that was filled.
        unsafe { libc::sigismember(&self.0, signal) == 1 }
    }

    /// Those that a signalfd may have: not SIGKILL and SIGSTOP.
    fn allowed(mut self) -> Self {
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            // SAFETY: a set that was filled.
            unsafe { libc::sigdelset(&mut self.0, signal) };
        }
        self
    }

    /// Those of them that are pending, for this thread or its process.
    fn pending(&self) -> impl Iterator<Item = c_int> {
        let mut pending = Self::empty();
        // SAFETY: a set of ours.
        unsafe { libc::sigpending(&mut pending.0) };
        let mask = *self;
        NUMBERS.filter(move |signal| pending.has(*signal) && mask.has(*signal))
    }
}

/// `signalfd(fd, mask, flags)` - makes a descriptor from which these signals are read, or, with one that
/// was made before, has it read these from now on (signalfd(2)); returns the descriptor. It is read by
/// [`super::read`]. The program blocks the signals, as ever.
///
/// # Errors
/// - `EFAULT`: `mask` is null. A pointer that is not null is taken to be good.
/// - `EINVAL`: an unknown flag; `fd` is no signalfd.
/// - `EBADF`: `fd` is neither -1 nor open.
/// - `EMFILE`, `ENFILE`, `ENOMEM`: as kqueue(2) says.
///
/// # Safety
/// `mask` is null or can be read.
pub unsafe fn signalfd(fd: RawFd, mask: *const sigset_t, flags: c_int) -> Result<RawFd, Errno> {
    if mask.is_null() {
        return Err(Errno::EFAULT);
    }
    if flags & !(SFD_CLOEXEC | SFD_NONBLOCK) != 0 {
        return Err(Errno::EINVAL);
    }
    // SAFETY: the caller's promise; C's may be at any address.
    let mask = Mask(unsafe { mask.read_unaligned() }).allowed();
    guarded(|| {
        if fd == -1 {
            let signals = Signals { mask: Mask::empty(), bell: Bell::default() };
            let (cloexec, nonblock) = (flags & SFD_CLOEXEC != 0, flags & SFD_NONBLOCK != 0);
            return create(State::Signal(signals), cloexec, nonblock, |state, kq| match state {
                State::Signal(signals) => signals.set(kq, mask),
                _ => Ok(()),
            });
        }
        let object: Arc<Object> = named(fd)?;
        let State::Signal(signals) = &mut *object.lock() else { return Err(Errno::EINVAL) };
        signals.set(fd, mask).map(|()| fd)
    })
}

fn knote(signal: c_int, flags: EvFlags) -> KEvent {
    let filter = EventFilter::EVFILT_SIGNAL;
    KEvent::new(signal as usize, filter, flags, FilterFlag::empty(), 0, 0)
}

impl Signals {
    fn set(&mut self, kq: RawFd, mask: Mask) -> Result<(), Errno> {
        for signal in NUMBERS {
            match (self.mask.has(signal), mask.has(signal)) {
                (false, true) => {
                    keep_if_ignored(signal);
                    change(kq, &knote(signal, EvFlags::EV_ADD))?;
                }
                // A library beneath may not have taken it.
                (true, false) => drop(change(kq, &knote(signal, EvFlags::EV_DELETE))),
                _ => {}
            }
        }
        self.mask = mask;
        self.settle(kq)
    }

    /// Takes what is pending, as much as there is room for. Returns the number of bytes.
    ///
    /// # Errors
    /// - `EINVAL`: there is no room for a signal.
    /// - `EAGAIN`: nothing is pending.
    ///
    /// # Safety
    /// `buf` has room for `count` bytes.
    pub(super) unsafe fn take(
        &mut self,
        kq: RawFd,
        buf: *mut SignalInfo,
        count: usize,
    ) -> Result<usize, Errno> {
        let room = count / size_of::<SignalInfo>();
        if room == 0 {
            return Err(Errno::EINVAL);
        }
        if buf.is_null() {
            return Err(Errno::EFAULT);
        }
        let mut taken = 0;
        while let Some(info) = (taken < room).then(|| self.next()).flatten() {
            // SAFETY: the caller's promise; C's may be at any address.
            unsafe { buf.add(taken).write_unaligned(info) };
            taken += 1;
        }
        self.settle(kq)?;
        if taken > 0 { Ok(taken * size_of::<SignalInfo>()) } else { Err(Errno::EAGAIN) }
    }

    /// Makes the queue readable if something is pending, and else not. What comes after the look is
    /// told by the knotes.
    fn settle(&mut self, kq: RawFd) -> Result<(), Errno> {
        const ROOM: usize = 64;
        self.bell.hush(kq);
        let none = knote(0, EvFlags::empty());
        let now = timespec { tv_sec: 0, tv_nsec: 0 };
        // SIGNAL knotes tell each signal once (EV_CLEAR).
        while kevent(kq, &[], &mut [none; ROOM], Some(&now))? == ROOM {}
        if self.mask.pending().next().is_some() { self.bell.ring(kq) } else { Ok(()) }
    }

    /// Takes one signal that is pending.
    #[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
    fn next(&self) -> Option<SignalInfo> {
        let now = timespec { tv_sec: 0, tv_nsec: 0 };
        let mut info = MaybeUninit::zeroed();
        // SAFETY: a set, room for an info and a time, all ours.
        unsafe {
            let signal = system::sigtimedwait(&self.mask.0, info.as_mut_ptr(), &now);
            (signal > 0).then(|| SignalInfo::of(&info.assume_init()))
        }
    }

    /// Takes one signal that is pending: there is no sigtimedwait, and sigwait tells its number alone.
    /// It is the caller's to be the only one who takes it: else this waits for the next.
    #[cfg(any(target_os = "openbsd", target_os = "macos"))]
    fn next(&self) -> Option<SignalInfo> {
        let mut one = Mask::empty();
        let mut signal = self.mask.pending().next()?;
        // SAFETY: a set and room for a number, ours.
        unsafe {
            libc::sigaddset(&mut one.0, signal);
            (libc::sigwait(&one.0, &mut signal) == 0).then(|| SignalInfo::bare(signal))
        }
    }
}

/// sigtimedwait, by the name that the system's headers give it.
#[cfg(not(any(target_os = "openbsd", target_os = "macos")))]
mod system {
    use super::{c_int, sigset_t, timespec};

    unsafe extern "C" {
        #[cfg_attr(target_os = "netbsd", link_name = "__sigtimedwait50")]
        pub(super) fn sigtimedwait(
            set: *const sigset_t,
            info: *mut libc::siginfo_t,
            timeout: *const timespec,
        ) -> c_int;
    }
}

/// What is ignored by default. (Linux ends a process by SIGIO.)
#[cfg(not(target_os = "linux"))]
const IGNORED: [c_int; 6] =
    [libc::SIGCHLD, libc::SIGURG, libc::SIGCONT, libc::SIGWINCH, libc::SIGIO, libc::SIGINFO];
#[cfg(target_os = "linux")]
const IGNORED: [c_int; 4] = [libc::SIGCHLD, libc::SIGURG, libc::SIGCONT, libc::SIGWINCH];

/// A BSD drops a signal that is ignored by default even where it is blocked; Linux keeps it. A handler
/// that does nothing keeps it.
fn keep_if_ignored(signal: c_int) {
    extern "C" fn nothing(_: c_int) {}
    if !IGNORED.contains(&signal) {
        return;
    }
    // SAFETY: plain data, filled by the system before it is read; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let asked = libc::sigaction(signal, std::ptr::null(), &mut action);
        if asked == 0 && action.sa_sigaction == libc::SIG_DFL {
            action.sa_sigaction = nothing as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}
