//! Group G: pipes and FIFOs.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use kq_core::test_support::{harness::Rule, sys};

use kq_core::test_support::epoll::{ERR, Epoll, HUP, IN, OUT, RDHUP};

pub(crate) const RULES: &[Rule<Epoll>] = kq_core::rules![
    G01 the_end_of_a_pipe_that_reads,
    G02 the_end_of_a_pipe_that_writes,
    G03 a_full_pipe_is_writable_when_a_page_is_free,
    G04 a_fifo_hangs_up_when_its_last_writer_left,
];

fn the_end_of_a_pipe_that_reads(epoll: Epoll) {
    const ALL: u32 = IN | OUT | RDHUP;
    let (read, write) = sys::pipe().unwrap();
    assert_eq!(epoll.state(&read, ALL), 0);
    sys::write(write.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.state(&read, ALL), IN);
    drop(write);
    assert_eq!(epoll.state(&read, ALL), IN | HUP);
    assert_eq!(epoll.state(&read, 0), HUP);
    sys::drain(read.as_raw_fd());
    assert_eq!(epoll.state(&read, ALL), HUP);
    assert_eq!(epoll.state(&read, 0), HUP);
}

fn the_end_of_a_pipe_that_writes(epoll: Epoll) {
    const ALL: u32 = IN | OUT | RDHUP;
    let (read, write) = sys::pipe().unwrap();
    assert_eq!(epoll.state(&write, ALL), OUT);
    drop(read);
    assert_eq!(epoll.state(&write, ALL), OUT | ERR);
    assert_eq!(epoll.state(&write, 0), ERR);
    let (read, write) = sys::pipe().unwrap();
    sys::fill(write.as_raw_fd(), 4096);
    assert_eq!(epoll.state(&write, ALL), 0);
    drop(read);
    assert_eq!(epoll.state(&write, ALL), ERR);
}

fn a_full_pipe_is_writable_when_a_page_is_free(epoll: Epoll) {
    let (read, write) = sys::pipe().unwrap();
    sys::fill(write.as_raw_fd(), 4096);
    assert_eq!(sys::read(read.as_raw_fd(), 4095).unwrap().len(), 4095);
    assert_eq!(epoll.state(&write, OUT), 0);
    assert_eq!(sys::read(read.as_raw_fd(), 1).unwrap().len(), 1);
    assert_eq!(epoll.state(&write, OUT), OUT);
}

/// A FIFO in the directory for temporary files, gone at the end.
struct Fifo(PathBuf);

impl Fifo {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kqcompat-fifo-{}", std::process::id()));
        sys::mkfifo(&path).unwrap();
        Self(path)
    }

    fn open(&self, access: i32) -> OwnedFd {
        sys::open(&self.0, access | libc::O_NONBLOCK).unwrap()
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn a_fifo_hangs_up_when_its_last_writer_left(epoll: Epoll) {
    let fifo = Fifo::new();
    let (ep, reader) = (epoll.create(), fifo.open(libc::O_RDONLY));
    epoll.add(&ep, &reader, IN, 1).unwrap();
    assert_eq!(epoll.bits(&ep), 0, "no writer yet");
    let (one, two) = (fifo.open(libc::O_WRONLY), fifo.open(libc::O_WRONLY));
    assert_eq!(epoll.bits(&ep), 0);
    drop(one);
    assert_eq!(epoll.bits(&ep), 0);
    drop(two);
    assert_eq!(epoll.bits(&ep), HUP);
    let again = fifo.open(libc::O_WRONLY);
    assert_eq!(epoll.bits(&ep), 0);
    sys::write(again.as_raw_fd(), b"!").unwrap();
    assert_eq!(epoll.bits(&ep), IN);
    drop(again);
    assert_eq!(epoll.bits(&ep), IN | HUP);
}
