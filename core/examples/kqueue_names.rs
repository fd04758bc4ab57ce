//! What comes into a directory, and goes, with its name.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use kq_core::*;

fn main() -> std::io::Result<()> {
    let path = std::env::temp_dir().join(format!("kqueue_names-{}", std::process::id()));
    fs::create_dir(&path)?;
    let directory = File::open(&path)?;
    let fd = directory.as_raw_fd();
    let queue = Kqueue::new()?;
    let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
    let asked = FilterFlag::NOTE_CREATE | FilterFlag::NOTE_REMOVE | FilterFlag::NOTE_DELETE;
    let watch = KEvent::new(fd as usize, EventFilter::EVFILT_VNODE, flags, asked, 0, 0);
    queue.kevent(&[watch], &mut [], None)?;

    let change = || -> std::io::Result<()> {
        fs::write(path.join("a file"), "text")?;
        fs::create_dir(path.join("a directory"))?;
        fs::rename(path.join("a file"), path.join("another name"))?;
        fs::remove_file(path.join("another name"))?;
        fs::remove_dir(path.join("a directory"))?;
        fs::remove_dir(&path)
    };
    std::thread::scope(|threads| {
        let changing = threads.spawn(change);
        let mut events = [watch];
        loop {
            queue.kevent(&[], &mut events, None)?;
            for entry in queue.take_entries(fd)? {
                println!("{:?} {}", entry.change, entry.name.display());
            }
            if events[0].fflags().contains(FilterFlag::NOTE_DELETE) {
                break;
            }
        }
        changing.join().expect("no panic")
    })
}
