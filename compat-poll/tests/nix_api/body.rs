// Included where all of a poll module is imported.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::sys::time::{TimeSpec, TimeValLike};

/// The types of what is not generic.
#[allow(clippy::type_complexity, reason = "it is what they are")]
fn signatures() {
    let _: fn(&mut [PollFd], Option<TimeSpec>, Option<SigSet>) -> nix::Result<libc::c_int> = ppoll;
    let _: fn(&mut [PollFd], u8) -> nix::Result<libc::c_int> = poll::<u8>;
    let _: fn(&mut [PollFd], PollTimeout) -> nix::Result<libc::c_int> = poll::<PollTimeout>;
    let _: PollFlags = PollFlags::POLLRDNORM | PollFlags::POLLWRBAND | PollFlags::POLLNVAL;
    fn comparable<T: Clone + Eq + std::fmt::Debug>() {}
    comparable::<PollFd>();
    comparable::<PollFlags>();
    comparable::<PollTimeout>();
}

fn calls() {
    let mut pipes: Vec<_> = (0..20).map(|_| std::io::pipe().unwrap()).collect();
    pipes[3].1.write_all(b"!").unwrap();
    let in_or_hup = PollFlags::POLLIN | PollFlags::POLLHUP;
    let mut fds: Vec<PollFd> =
        pipes.iter().map(|(reader, _)| PollFd::new(reader.as_fd(), PollFlags::POLLIN)).collect();
    assert_eq!(fds[0].as_fd().as_raw_fd(), pipes[0].0.as_raw_fd());
    for _ in 0..200 {
        assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
        assert_eq!(poll(&mut fds, 0_u8), Ok(1));
        assert_eq!(poll(&mut fds, Some(PollTimeout::MAX)), Ok(1));
        assert_eq!(ppoll(&mut fds, None, Some(SigSet::empty())), Ok(1));
        assert_eq!(ppoll(&mut fds, Some(TimeSpec::milliseconds(1)), None), Ok(1));
        assert_eq!((fds[3].any(), fds[3].all()), (Some(true), Some(true)));
        assert_eq!((fds[3].revents(), fds[4].revents()), (Some(PollFlags::POLLIN), Some(PollFlags::empty())));
    }
    assert_eq!(ppoll(&mut fds, Some(TimeSpec::nanoseconds(-1)), None), Err(Errno::EINVAL));
    fds[3].set_events(PollFlags::POLLPRI);
    assert_eq!(fds[3].events(), PollFlags::POLLPRI);
    let short = PollTimeout::try_from(Duration::from_millis(15)).unwrap();
    assert_eq!(poll(&mut fds, short), Ok(0));
    assert_eq!(poll(&mut fds[..0], PollTimeout::ZERO), Ok(0));
    fds[3].set_events(in_or_hup);
    assert_eq!((poll(&mut fds, PollTimeout::NONE), fds[3].all()), (Ok(1), Some(false)));
}

fn timeouts() {
    assert_eq!(PollTimeout::try_from(-2_i32), Err(PollTimeoutTryFromError::TooNegative));
    assert_eq!(PollTimeout::try_from(u64::MAX), Err(PollTimeoutTryFromError::TooPositive));
}

pub(crate) fn all() {
    signatures();
    calls();
    timeouts();
}
