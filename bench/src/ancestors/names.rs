//! Inode events: an entry made or removed in a watched directory, told with its name.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Result, ensure};
use kq_core::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use tempfile::TempDir;

use super::AncestorsArgs;
use crate::ctx::Ctx;
use crate::fixture::read_some;
use crate::iface::poller::{EpollPoller, Poller, Want};
use crate::measure::{Lane, Row};
use crate::model::{Bench, Case};

/// The change alone is in both lanes: what differs is how it is told.
pub(super) fn run(ctx: &Ctx, _args: &AncestorsArgs, bench: &mut Bench) -> Result<()> {
    ctx.case("inode events");
    bench.cases.push(row(ctx)?);
    ctx.done();
    Ok(())
}

/// A directory with one entry that comes and goes.
struct Entry {
    dir: TempDir,
    there: bool,
}

impl Entry {
    fn new() -> Result<Self> {
        Ok(Self { dir: tempfile::tempdir()?, there: false })
    }

    fn change(&mut self) -> Result<()> {
        let path = self.dir.path().join("entry");
        if self.there {
            std::fs::remove_file(path)?
        } else {
            drop(File::create_new(path)?)
        }
        self.there = !self.there;
        Ok(())
    }
}

fn row(ctx: &Ctx) -> Result<Case> {
    // SAFETY: takes no pointer.
    let inotify = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
    ensure!(inotify >= 0, std::io::Error::last_os_error());
    // SAFETY: new, and nobody else's.
    let inotify = unsafe { OwnedFd::from_raw_fd(inotify) };
    let mut one = Entry::new()?;
    let path = std::ffi::CString::new(one.dir.path().as_os_str().as_encoded_bytes())?;
    let mask = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_FROM | libc::IN_MOVED_TO;
    // SAFETY: a string that ends in zero.
    let watch = unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) };
    ensure!(watch >= 0, std::io::Error::last_os_error());
    let mut poller = EpollPoller::new(ctx.interfaces.epoll, 8)?;
    poller.add(inotify.as_raw_fd(), Want::READ)?;
    let (mut told, mut room) = (Vec::new(), [0_u8; 4096]);
    let native = Lane::repeat("inotify in epoll", || {
        one.change()?;
        poller.wait(-1, &mut told)?;
        let n = read_some(inotify.as_raw_fd(), &mut room)?;
        // The name follows four words, of which the last is its room.
        let name = room[16..n].split(|&byte| byte == 0).next();
        ensure!(name == Some(b"entry"), "another name");
        Ok(())
    });

    let mut other = Entry::new()?;
    let directory = File::open(other.dir.path())?;
    let fd = directory.as_raw_fd();
    let kq = Kqueue::new()?;
    let asked = FilterFlag::NOTE_CREATE | FilterFlag::NOTE_REMOVE;
    let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    let add = KEvent::new(fd as usize, EventFilter::EVFILT_VNODE, flags, asked, 0, 0);
    kq.kevent(&[add], &mut [], None)?;
    let mut events = [add];
    let ours = Lane::repeat("kqueue, take_entries", || {
        other.change()?;
        kq.kevent(&[], &mut events, None)?;
        let entries = kq.take_entries(fd)?;
        ensure!(entries.len() == 1 && entries[0].name == "entry", "another name");
        Ok(())
    });
    let title = "made or removed, told, its name taken";
    Row::cost("an entry of a directory", title).measure(&ctx.plan, vec![native, ours])
}
