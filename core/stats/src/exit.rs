//! `KQCOMPAT_STATS=stderr` or `=FILE`: what the library did, written when the program ends.
//!
//! Only who sets it pays for it, with a descriptor (hidden, close-on-exec) and a function that runs
//! after the program's own atexit functions. `%p` in FILE is the number of the process; what is
//! there is appended to.
//!
//! - **exec**: the descriptor closes and nothing is written. The new program loads the library anew,
//!   and has the setting from its environment.
//! - **fork**: the child counts from nothing, and writes when it ends.
//! - **vfork, clone**: a child that came about without fork's handlers writes nothing.
//! - **_exit, a fatal signal, an abort**: nothing is written: nothing runs.
//! - A process that made none of the calls that the library serves, as the shells do by which a
//!   program is started: nothing is written.
//! - A program that closes all descriptors closes ours too: then nothing is written, whatever the
//!   number stands for by then.

use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use kq_core::{hidden, raw, stats};

use crate::out::Out;
use crate::setting;

/// The process that shall write.
static PID: AtomicI32 = AtomicI32::new(0);
static WHERE: OnceLock<Where> = OnceLock::new();

/// A descriptor, and what it stood for when it was opened.
#[derive(Debug)]
struct Where {
    fd: RawFd,
    file: (u64, u64),
}

impl Where {
    fn new(fd: RawFd) -> Option<Self> {
        Some(Self { fd, file: identity(fd)? })
    }
}

fn identity(fd: RawFd) -> Option<(u64, u64)> {
    raw::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

/// Reads the setting.
pub(crate) fn init() {
    let Some(place) = setting(c"KQCOMPAT_STATS").filter(|place| !place.is_empty()) else { return };
    let Some(place) = open(place.as_bytes()).and_then(Where::new) else { return };
    if WHERE.set(place).is_ok() {
        PID.store(raw::getpid(), Relaxed);
        // SAFETY: three functions with the C types of handlers, in a library that stays. Where
        // libc has no memory for them, nothing is written.
        unsafe {
            libc::pthread_atfork(None, None, Some(forked));
            libc::atexit(print);
        }
    }
}

fn open(place: &[u8]) -> Option<RawFd> {
    if place == b"stderr" {
        // Number 2 may be anything by the time of exit.
        let dup = |floor| raw::fcntl(libc::STDERR_FILENO, libc::F_DUPFD_CLOEXEC, floor);
        return hidden::hidden(|| dup(3)).ok();
    }
    let mut path = Vec::with_capacity(place.len() + 8);
    let mut rest = place;
    while let Some(at) = rest.windows(2).position(|two| two == b"%p") {
        path.extend_from_slice(&rest[..at]);
        path.extend_from_slice(raw::getpid().to_string().as_bytes());
        rest = &rest[at + 2..];
    }
    path.extend_from_slice(rest);
    let path = std::ffi::CString::new(path).ok()?;
    hidden::hidden(|| raw::open_append(&path)).ok()
}

/// In a child of fork: what is in the counters is the parent's.
unsafe extern "C" fn forked() {
    PID.store(raw::getpid(), Relaxed);
    stats::begin_anew();
}

extern "C" fn print() {
    let Some(place) = WHERE.get() else { return };
    if PID.load(Relaxed) != raw::getpid() || identity(place.fd) != Some(place.file) {
        return;
    }
    if stats::is_idle() {
        return;
    }
    let mut out = Out::new(place.fd);
    out.head();
    let _ = stats::write_summary(&mut out);
    // The program ends: there is nobody to tell of an error.
    let _ = out.end();
}
