use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use eventfd::{EfdFlags, EventFd};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::time::{TimeSpec, TimeValLike};
use signalfd::{SfdFlags, SignalFd};
use timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Run by the portable tests too.
pub(crate) fn all() {
    events();
    timers();
    signals();
}

fn events() {
    assert_eq!(EventFd::from_value(3).unwrap().read(), Ok(3));
    assert_eq!(EventFd::new().unwrap().write(1), Ok(8));
    let fd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).unwrap();
    assert_eq!(fd.read(), Err(Errno::EAGAIN));
    assert_eq!(fd.write(1), Ok(8));
    assert_eq!(fd.read(), Ok(1));
    let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE;
    let fd = EventFd::from_value_and_flags(2, flags).unwrap();
    assert_eq!([fd.read(), fd.read(), fd.read()], [Ok(1), Ok(1), Err(Errno::EAGAIN)]);
    assert_eq!(fd.as_fd().as_raw_fd(), fd.as_raw_fd());
    let _: OwnedFd = fd.into();
}

fn timers() {
    let fd = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC).unwrap();
    assert_eq!(fd.get(), Ok(None));
    let (short, hour) = (TimeSpec::milliseconds(1), TimeSpec::hours(1));
    let none = TimerSetTimeFlags::empty();
    fd.set(Expiration::OneShot(short), none).unwrap();
    fd.wait().unwrap();
    assert_eq!(fd.get(), Ok(None));
    fd.set(Expiration::IntervalDelayed(short, hour), none).unwrap();
    fd.wait().unwrap();
    assert!(matches!(fd.get(), Ok(Some(Expiration::IntervalDelayed(_, interval))) if interval == hour));
    fd.set(Expiration::Interval(short), TimerSetTimeFlags::TFD_TIMER_ABSTIME).unwrap();
    fd.wait().unwrap();
    fd.unset().unwrap();
    assert_eq!(fd.get(), Ok(None));
    let _ = (ClockId::CLOCK_REALTIME, TimerFlags::TFD_NONBLOCK, fd.as_fd());
    let _ = TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
    let _: OwnedFd = fd.into();
}

fn signals() {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGUSR1);
    mask.thread_block().unwrap();
    let fd = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK).unwrap();
    assert!(fd.read_signal().unwrap().is_none());
    raise(Signal::SIGUSR1).unwrap();
    let info = fd.read_signal().unwrap().unwrap();
    assert_eq!(info.ssi_signo, Signal::SIGUSR1 as u32);
    fd.set_mask(&SigSet::empty()).unwrap();
    raise(Signal::SIGUSR1).unwrap();
    assert!(fd.read_signal().unwrap().is_none());
    let other = SignalFd::new(&mask).unwrap();
    assert!(other.read_signal().unwrap().is_some());
    let _ = (other.as_fd(), other.as_raw_fd(), SfdFlags::SFD_CLOEXEC);
    let _: OwnedFd = other.into();
}
