//! READ and VNODE of files, and READ of a device that never blocks.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;

use kq_core::{EventFilter, FilterFlag, KEvent, Kqueue};

use crate::fixture::{NOW, take};
use crate::subject::Subject;

type Made = Result<Box<dyn Subject>, String>;

/// A file that had a name, opened twice: with offsets of their own.
fn unnamed() -> (File, File) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("kqcompat-contract-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let writer = File::create_new(&path).unwrap();
    let reader = File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    (reader, writer)
}

/// More in the file than was read.
struct Growing {
    ours: File,
    writer: File,
    unread: isize,
}

pub(crate) fn read_file() -> Made {
    let (ours, writer) = unnamed();
    Ok(Box::new(Growing { ours, writer, unread: 0 }))
}

impl Subject for Growing {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_READ
    }

    fn ident(&self) -> usize {
        self.ours.as_raw_fd() as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        self.writer.write_all(b"1234567").unwrap();
        self.unread += 7;
    }

    /// Nobody is told of a read or a seek, here as on FreeBSD: the next scan finds it.
    fn quench(&mut self, queues: &[&Kqueue]) {
        self.ours.seek(SeekFrom::End(0)).unwrap();
        self.unread = 0;
        for kq in queues {
            assert_eq!(take(kq, 4, NOW), []);
        }
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.data(), self.unread);
    }
}

/// The file was written.
struct Written {
    ours: File,
    writer: File,
}

pub(crate) fn vnode() -> Made {
    let (ours, writer) = unnamed();
    Ok(Box::new(Written { ours, writer }))
}

impl Subject for Written {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_VNODE
    }

    fn ident(&self) -> usize {
        self.ours.as_raw_fd() as usize
    }

    fn terms(&self, _adding: bool) -> (FilterFlag, isize) {
        (FilterFlag::NOTE_WRITE, 0)
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {
        self.writer.write_all(b"1").unwrap();
    }

    fn check(&self, event: &KEvent) {
        assert_eq!(event.fflags(), FilterFlag::NOTE_WRITE);
    }
}

/// Always ready.
struct Device(File);

pub(crate) fn read_null() -> Made {
    Ok(Box::new(Device(File::open("/dev/null").unwrap())))
}

impl Subject for Device {
    fn filter(&self) -> EventFilter {
        EventFilter::EVFILT_READ
    }

    fn ident(&self) -> usize {
        self.0.as_raw_fd() as usize
    }

    fn trigger(&mut self, _queues: &[&Kqueue]) {}

    fn check(&self, event: &KEvent) {
        assert_eq!(event.data(), 1);
    }
}
