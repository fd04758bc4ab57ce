// Included where all of an epoll module is imported.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;

/// The types of what is not generic.
fn signatures() {
    let _: fn(EpollCreateFlags) -> nix::Result<Epoll> = Epoll::new;
    let _: fn(&Epoll, BorrowedFd<'static>, EpollEvent) -> nix::Result<()> = Epoll::add;
    let _: fn(&Epoll, BorrowedFd<'static>) -> nix::Result<()> = Epoll::delete;
    let _: fn(&Epoll, BorrowedFd<'static>, &mut EpollEvent) -> nix::Result<()> = Epoll::modify;
    let _: fn(&Epoll, &mut [EpollEvent], EpollTimeout) -> nix::Result<usize> = Epoll::wait;
    let _: fn() -> nix::Result<RawFd> = epoll_create;
    let _: fn(EpollCreateFlags) -> nix::Result<RawFd> = epoll_create1;
    let _: fn(RawFd, EpollOp, RawFd, Option<&'static mut EpollEvent>) -> nix::Result<()> = epoll_ctl;
    let _: fn(RawFd, &mut [EpollEvent], isize) -> nix::Result<usize> = epoll_wait;
    const _: EpollEvent = EpollEvent::new(EpollFlags::EPOLLIN, EpollEvent::new(EpollFlags::EPOLLET, 5).data());
    fn comparable<T: Copy + Eq + std::hash::Hash + std::fmt::Debug>() {}
    comparable::<EpollEvent>();
    comparable::<EpollOp>();
    comparable::<EpollFlags>();
}

fn instances() {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    let (mut one, mut other) = UnixStream::pair().unwrap();
    let mut events = [EpollEvent::empty(); 4];
    assert_eq!(events[0], EpollEvent::new(EpollFlags::empty(), 0));

    epoll.add(&one, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, 7)).unwrap();
    let again = EpollEvent::new(EpollFlags::EPOLLIN, 8);
    assert_eq!(epoll.add(&one, again), Err(Errno::EEXIST));
    assert_eq!(epoll.wait(&mut events, EpollTimeout::ZERO), Ok(0));
    assert_eq!(epoll.wait(&mut events, 1_u8), Ok(0));
    let short = EpollTimeout::try_from(Duration::from_millis(1)).unwrap();
    assert_eq!(epoll.wait(&mut events, Some(short)), Ok(0));
    assert_eq!(epoll.wait(&mut [], EpollTimeout::ZERO), Err(Errno::EINVAL));

    other.write_all(b"!").unwrap();
    assert_eq!(epoll.wait(&mut events, EpollTimeout::NONE), Ok(1));
    assert_eq!((events[0].events(), events[0].data()), (EpollFlags::EPOLLIN, 7));
    epoll.modify(&one, &mut EpollEvent::new(EpollFlags::EPOLLOUT, u64::MAX)).unwrap();
    assert_eq!(epoll.wait(&mut events, EpollTimeout::MAX), Ok(1));
    assert_eq!(events[0], EpollEvent::new(EpollFlags::EPOLLOUT, u64::MAX));
    one.read_exact(&mut [0]).unwrap();
    epoll.delete(&one).unwrap();
    assert_eq!(epoll.delete(&one), Err(Errno::ENOENT));

    // The descriptor can be taken out.
    let Epoll(fd) = epoll;
    let _: OwnedFd = fd;
}

fn numbers() {
    let (one, mut other) = UnixStream::pair().unwrap();
    let made = [epoll_create().unwrap(), epoll_create1(EpollCreateFlags::empty()).unwrap()];
    for epfd in made {
        let mut events = [EpollEvent::empty(); 4];
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN, 9);
        let fd = one.as_raw_fd();
        assert_eq!(epoll_ctl(epfd, EpollOp::EpollCtlAdd, fd, None), Err(Errno::EINVAL));
        assert_eq!(epoll_ctl(epfd, EpollOp::EpollCtlAdd, -1, &mut event), Err(Errno::EBADF));
        assert_eq!(epoll_ctl(epfd, EpollOp::EpollCtlMod, fd, &mut event), Err(Errno::ENOENT));
        assert_eq!(epoll_ctl(epfd, EpollOp::EpollCtlAdd, fd, &mut event), Ok(()));
        other.write_all(b"!").unwrap();
        assert_eq!(epoll_wait(epfd, &mut events, -1), Ok(1));
        assert_eq!(events[0], event);
        assert_eq!(epoll_ctl(epfd, EpollOp::EpollCtlDel, fd, None), Ok(()));
        assert_eq!(epoll_wait(epfd, &mut events, 0), Ok(0));
        // SAFETY: the number was made above and is nobody else's.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(epfd) });
        assert_eq!(epoll_wait(-1, &mut events, 0), Err(Errno::EBADF));
    }
}

fn timeouts() {
    assert_eq!(EpollTimeout::try_from(-2_i32), Err(EpollTimeoutTryFromError::TooNegative));
    let long = EpollTimeout::try_from(u64::MAX);
    assert_eq!(long, Err(EpollTimeoutTryFromError::TooPositive));
}

pub(crate) fn all() {
    signatures();
    instances();
    numbers();
    timeouts();
}
