//! Timers and files.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use super::least::Of;
use super::wait::Epoll;
use super::{Primitive, Targets, measure};
use crate::ctx::Ctx;
use crate::iface::capi::EpollApi;
use crate::iface::kq::{EV_ADD, EV_CLEAR, EV_DELETE, EVFILT_TIMER, EVFILT_VNODE, Kq, NOTE_WRITE};
use crate::measure::{Lane, Row};
use crate::model::Bench;

/// A descriptor that a C call made, or its errno.
fn owned(fd: RawFd) -> Result<OwnedFd> {
    ensure!(fd >= 0, io::Error::last_os_error());
    // SAFETY: a call that makes descriptors just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A timer of one hour set and taken back, beside others that are in the queue; natively one
/// timerfd, armed and disarmed.
struct Timer {
    others: usize,
}

const HOUR_MS: i64 = 3_600_000;

impl Primitive for Timer {
    fn compares_epolls(&self) -> bool {
        false
    }

    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        let ep = Epoll::new(api)?;
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: takes no pointer.
        let timer = owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        ep.ctl(libc::EPOLL_CTL_ADD, timer.as_raw_fd(), libc::EPOLLIN as u32)?;
        let set = |fd: RawFd, seconds| -> Result<()> {
            let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let value = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
            let spec = libc::itimerspec { it_interval: zero, it_value: value };
            // SAFETY: reads one itimerspec; the old value is not asked for.
            let done = unsafe { libc::timerfd_settime(fd, 0, &spec, std::ptr::null_mut()) };
            ensure!(done == 0, io::Error::last_os_error());
            Ok(())
        };
        Ok(Lane::repeat(name, move || {
            let _kept = &ep;
            set(timer.as_raw_fd(), 3600)?;
            set(timer.as_raw_fd(), 0)
        }))
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        let event = |ident, flags, ms| K::event(ident, EVFILT_TIMER, flags, 0, ms);
        for i in 1..=self.others {
            // Spread over an hour, some before and some after the one that comes and goes.
            let ms = HOUR_MS / 2 + HOUR_MS * i as i64 / self.others as i64;
            kq.change(&[event(i, EV_ADD, ms)])?;
        }
        let add = [event(self.others + 1, EV_ADD, HOUR_MS)];
        let delete = [event(self.others + 1, EV_DELETE, 0)];
        Ok(Some(Lane::repeat(name, move || {
            kq.change(&add)?;
            Ok(kq.change(&delete)?)
        })))
    }
}

/// Watched files, of which one after the other is written to; natively one inotify in an epoll.
struct Vnode {
    files: usize,
}

/// Files in a directory of their own, so that one lane's writes are not the other's events.
struct Files {
    _dir: TempDir,
    files: Vec<(File, std::ffi::CString)>,
    next: usize,
}

impl Files {
    fn new(n: usize) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let files = (0..n)
            .map(|i| {
                let path = dir.path().join(i.to_string());
                let file = File::create_new(&path)?;
                file.write_at(b"x", 0)?;
                Ok((file, std::ffi::CString::new(path.into_os_string().into_encoded_bytes())?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { _dir: dir, files, next: 0 })
    }

    /// Overwrites one byte of the next file.
    fn write(&mut self) -> Result<()> {
        self.next = (self.next + 1) % self.files.len();
        self.files[self.next].0.write_at(b"y", 0)?;
        Ok(())
    }
}

/// The file's size and times, as far as the kernel knows them.
fn statx(fd: RawFd) -> Result<()> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::uninit();
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
    let at = found.as_mut_ptr();
    // SAFETY: an empty path, and room for one statx.
    let done = unsafe { libc::statx(fd, c"".as_ptr(), flags, libc::STATX_BASIC_STATS, at) };
    ensure!(done == 0, io::Error::last_os_error());
    Ok(())
}

impl Vnode {
    /// `looks`: whether inotify's number still means what it did is asked before each read; `stat`: and
    /// the file's.
    fn inotify<'a>(
        &'a self,
        api: EpollApi,
        name: &str,
        looks: bool,
        stat: bool,
    ) -> Result<Lane<'a>> {
        let mut files = Files::new(self.files)?;
        let ep = Epoll::new(api)?;
        // SAFETY: takes no pointer.
        let notify = owned(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })?;
        for (_, path) in &files.files {
            // SAFETY: reads a string that ends in zero.
            let watch = unsafe {
                libc::inotify_add_watch(notify.as_raw_fd(), path.as_ptr(), libc::IN_MODIFY)
            };
            ensure!(watch >= 0, io::Error::last_os_error());
        }
        ep.ctl(libc::EPOLL_CTL_ADD, notify.as_raw_fd(), libc::EPOLLIN as u32)?;
        let mut room = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let mut buf = [0; 4096];
        Ok(Lane::repeat(name, move || {
            files.write()?;
            ensure!(ep.wait(&mut room, -1)? == 1, "inotify did not say so");
            if looks {
                ep.ctl(libc::EPOLL_CTL_MOD, notify.as_raw_fd(), libc::EPOLLIN as u32)?;
            }
            crate::fixture::read_some(notify.as_raw_fd(), &mut buf)?;
            if stat {
                statx(files.files[files.next].0.as_raw_fd())?;
            }
            Ok(())
        }))
    }
}

impl Primitive for Vnode {
    fn compares_epolls(&self) -> bool {
        false
    }

    fn epoll<'a>(&'a self, api: EpollApi, name: &str) -> Result<Lane<'a>> {
        self.inotify(api, name, false, false)
    }

    fn floors<'a>(&'a self, api: EpollApi) -> Result<Vec<(Of, Lane<'a>)>> {
        // Whether a number still means the file is the kernel's to say, where no hook tells closes.
        Ok(vec![
            (Of::Kqueue, self.inotify(api, "inotify, epoll_ctl, statx", true, true)?),
            (Of::KqueueC, self.inotify(api, "inotify, epoll_ctl", true, false)?),
        ])
    }

    fn kqueue<'a, K: Kq + 'a>(&'a self, kq: K, name: &str) -> Result<Option<Lane<'a>>> {
        let mut files = Files::new(self.files)?;
        for (file, _) in &files.files {
            let ident = file.as_raw_fd() as usize;
            kq.change(&[K::event(ident, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0)])?;
        }
        let mut room = K::room(64);
        Ok(Some(Lane::repeat(name, move || {
            files.write()?;
            let got = kq.kevent(&[], &mut room, Some(&SECOND))?;
            ensure!(got == 1, "one file was written to, and {got} events came");
            Ok(())
        })))
    }
}

/// A wait that should end at once, but need not hang if it does not.
const SECOND: libc::timespec = libc::timespec { tv_sec: 1, tv_nsec: 0 };

pub(super) fn rows(ctx: &Ctx, bench: &mut Bench) -> Result<()> {
    let n = if ctx.quick { 20 } else { 1000 };
    let row = Row::cost("timer", "add (1 h) and delete beside N others, vs a reused timerfd").at(n);
    measure(ctx, bench, row, &Timer { others: n }, Targets::kqueue(0.5))?;
    let row = Row::cost("vnode", "one of N watched files written, vs inotify in epoll").at(n);
    measure(ctx, bench, row, &Vnode { files: n }, Targets::kqueue(1.3))
}
