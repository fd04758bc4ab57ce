//! kqueue as the benchmarks use it, over any library that has it.

use std::fmt::Debug;
use std::io;

#[cfg(target_os = "linux")]
use anyhow::{Context, Result};
use kq_core::{EvFlags, EventFilter, FilterFlag};
use libc::timespec;

#[cfg(target_os = "linux")]
use super::kq_library as library;
#[cfg(target_os = "linux")]
use super::libs::Lib;

// FreeBSD's values, which the libraries for Linux took over.
pub(crate) const EVFILT_READ: i16 = -1;
pub(crate) const EVFILT_WRITE: i16 = -2;
pub(crate) const EVFILT_VNODE: i16 = -4;
pub(crate) const EVFILT_TIMER: i16 = -7;
pub(crate) const EVFILT_USER: i16 = -11;
pub(crate) const EV_ADD: u16 = 0x0001;
pub(crate) const EV_DELETE: u16 = 0x0002;
pub(crate) const EV_ENABLE: u16 = 0x0004;
pub(crate) const EV_DISABLE: u16 = 0x0008;
pub(crate) const EV_ONESHOT: u16 = 0x0010;
pub(crate) const EV_CLEAR: u16 = 0x0020;
pub(crate) const EV_DISPATCH: u16 = 0x0080;
pub(crate) const NOTE_TRIGGER: u32 = 0x0100_0000;
pub(crate) const NOTE_WRITE: u32 = 0x0002;
/// Ours: `data` is not wanted.
pub(crate) const NOTE_NODATA: u32 = 0x0001_0000;

/// A kqueue of some library.
pub(crate) trait Kq: Send + Sync + Debug {
    /// The library's struct kevent.
    type Event: Copy + Send + Debug;

    /// The flag that says that `data` is not wanted, where it is known.
    fn nodata(&self) -> u32 {
        if self.has_nodata() { NOTE_NODATA } else { 0 }
    }

    /// A change, or an empty slot for an event.
    fn event(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> Self::Event;

    /// The event's ident.
    fn ident(event: &Self::Event) -> usize;

    /// Whether it knows a knote flag that says that `data` is not wanted.
    fn has_nodata(&self) -> bool {
        false
    }

    /// kevent(): applies changes, waits (None: for ever) and fetches events.
    fn kevent(
        &self,
        changes: &[Self::Event],
        events: &mut [Self::Event],
        timeout: Option<&timespec>,
    ) -> io::Result<usize>;

    /// Applies changes and fetches nothing.
    #[inline]
    fn change(&self, changes: &[Self::Event]) -> io::Result<()> {
        self.kevent(changes, &mut [], Some(&ZERO)).map(drop)
    }

    /// Room for `n` events.
    fn room(n: usize) -> Vec<Self::Event> {
        vec![Self::event(0, 0, 0, 0, 0); n]
    }
}

/// A zero timeout.
pub(crate) const ZERO: timespec = timespec { tv_sec: 0, tv_nsec: 0 };

/// A kqueue implementation under test.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    kind: SourceKind,
}

#[derive(Clone, Copy, Debug)]
enum SourceKind {
    /// A C library.
    #[cfg(target_os = "linux")]
    Library(library::KqueueApi, library::Stride),
    /// The engine itself, as a Rust program has it.
    Core,
    /// The same, with private queues.
    #[cfg(target_os = "linux")]
    Private,
}

/// Something that is done with any kind of kqueue: what a closure generic in `K` would be.
pub(crate) trait WithKq {
    type Out;

    /// Is given the way to make queues.
    fn run<K: Kq + 'static>(
        self,
        make: impl Fn() -> io::Result<K> + Send + Sync + 'static,
    ) -> Self::Out;
}

impl Source {
    /// Takes a library's functions and finds its layout.
    #[cfg(target_os = "linux")]
    pub(crate) fn library(name: &str, lib: &Lib) -> Result<Self> {
        let api = library::KqueueApi::load(lib)?;
        let stride = library::layout_of(api).context("size of struct kevent")?;
        Ok(Self { name: name.into(), kind: SourceKind::Library(api, stride) })
    }

    /// The engine, as this program is linked with it.
    pub(crate) fn core() -> Self {
        Self { name: "kqueue".into(), kind: SourceKind::Core }
    }

    /// The engine with private queues.
    #[cfg(target_os = "linux")]
    pub(crate) fn private(name: &str) -> Self {
        Self { name: name.into(), kind: SourceKind::Private }
    }

    /// Whether it is one of ours, and has our targets.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.name.as_str(), "kqueue" | "kqueue-c")
    }

    /// Does something with queues of this kind.
    pub(crate) fn with<W: WithKq>(&self, what: W) -> W::Out {
        match self.kind {
            #[cfg(target_os = "linux")]
            SourceKind::Library(api, stride) => library::with(what, api, stride, self.is_ours()),
            SourceKind::Core => what.run(|| Ok(kq_core::Kqueue::new()?)),
            #[cfg(target_os = "linux")]
            SourceKind::Private => what.run(|| Ok(kq_core::Kqueue::private()?)),
        }
    }
}

impl Kq for kq_core::Kqueue {
    type Event = kq_core::KEvent;

    #[inline]
    fn event(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> Self::Event {
        // An empty slot has no filter; any will do.
        let filter = EventFilter::try_from(filter).unwrap_or(EventFilter::EVFILT_READ);
        let (flags, fflags) =
            (EvFlags::from_bits_retain(flags), FilterFlag::from_bits_retain(fflags));
        kq_core::KEvent::new(ident, filter, flags, fflags, data as isize, 0)
    }

    #[inline]
    fn ident(event: &Self::Event) -> usize {
        event.ident()
    }

    fn has_nodata(&self) -> bool {
        true
    }

    #[inline]
    fn kevent(
        &self,
        changes: &[Self::Event],
        events: &mut [Self::Event],
        timeout: Option<&timespec>,
    ) -> io::Result<usize> {
        Ok(self.kevent(changes, events, timeout.copied())?)
    }
}
