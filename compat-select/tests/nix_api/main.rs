//! Every name of `nix::sys::select`, used in one body that is compiled and run with nix's select and
//! with ours; and what ours has beyond it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

#[allow(clippy::clone_on_copy, reason = "ours, which grows, is not Copy")]
mod with_nix {
    use nix::sys::select::*;

    include!("body.rs");
}

mod with_compat {
    use compat_select::*;

    include!("body.rs");
}

#[test]
fn nix() {
    with_nix::all();
}

#[test]
fn compat() {
    with_compat::all();
}

/// nix's FdSet panics there.
#[test]
fn sets_hold_what_lies_past_fd_setsize() {
    let highest = compat_select::FD_SETSIZE as i32 + 500;
    let (hard, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .map(|(soft, hard)| (hard, soft))
        .unwrap();
    assert!(hard > highest as u64 + 100, "RLIMIT_NOFILE of {hard} has no room for the test");
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let pipes: Vec<_> = (0..20).map(|_| nix::unistd::pipe().unwrap()).collect();
    let high: Vec<OwnedFd> = pipes
        .iter()
        .map(|(reader, _)| {
            // SAFETY: takes numbers; the new one is nobody else's.
            unsafe {
                let fd = libc::fcntl(reader.as_raw_fd(), libc::F_DUPFD_CLOEXEC, highest);
                assert!(fd >= highest);
                OwnedFd::from_raw_fd(fd)
            }
        })
        .collect();
    nix::unistd::write(&pipes[7].1, b"!").unwrap();
    for _ in 0..200 {
        let mut set = compat_select::FdSet::new();
        high.iter().for_each(|fd| set.insert(fd.as_fd()));
        assert_eq!(compat_select::select(None, &mut set, None, None, None), Ok(1));
        let found: Vec<_> = set.fds(None).map(|fd| fd.as_raw_fd()).collect();
        assert_eq!(found, [high[7].as_raw_fd()]);
    }
}
