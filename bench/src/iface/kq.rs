//! kqueue as the benchmarks use it, over any library that has it.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;

use anyhow::{Context, Result, bail};
use kq_core::{EvFlags, EventFilter, FilterFlag};
use libc::timespec;

use super::capi::KqueueApi;
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

/// struct kevent of a library.
pub(crate) trait Layout: Copy + Send + Sync + Debug + 'static {
    fn new(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> Self;
    fn ident(&self) -> usize;
}

/// FreeBSD 12's, and ours: 64 bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Full {
    ident: usize,
    filter: i16,
    flags: u16,
    fflags: u32,
    data: i64,
    udata: usize,
    ext: [u64; 4],
}

/// The one before FreeBSD 12, macOS's and libkqueue's: 32 bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Compact {
    ident: usize,
    filter: i16,
    flags: u16,
    fflags: u32,
    data: isize,
    udata: usize,
}

impl Layout for Full {
    #[inline]
    fn new(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> Self {
        Self { ident, filter, flags, fflags, data, udata: 0, ext: [0; 4] }
    }
    #[inline]
    fn ident(&self) -> usize {
        self.ident
    }
}

impl Layout for Compact {
    #[inline]
    fn new(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> Self {
        Self { ident, filter, flags, fflags, data: data as isize, udata: 0 }
    }
    #[inline]
    fn ident(&self) -> usize {
        self.ident
    }
}

/// A kqueue behind the C functions of a library whose struct kevent is `L`.
#[derive(Debug)]
pub(crate) struct CKqueue<L> {
    api: KqueueApi,
    fd: RawFd,
    ours: bool,
    layout: std::marker::PhantomData<L>,
}

impl<L: Layout> CKqueue<L> {
    /// `kqueue()`. The caller says that `L` is the library's layout (see [`layout_of`]).
    fn new(api: KqueueApi, ours: bool) -> io::Result<Self> {
        Ok(Self { fd: api.kqueue()?, api, ours, layout: std::marker::PhantomData })
    }
}

impl<L> Drop for CKqueue<L> {
    fn drop(&mut self) {
        // Through libc's close, as a program would: a library that follows closes must see it.
        // SAFETY: the queue's own number, closed once.
        unsafe { libc::close(self.fd) };
    }
}

impl<L: Layout> Kq for CKqueue<L> {
    type Event = L;

    #[inline]
    fn event(ident: usize, filter: i16, flags: u16, fflags: u32, data: i64) -> L {
        L::new(ident, filter, flags, fflags, data)
    }

    #[inline]
    fn ident(event: &L) -> usize {
        event.ident()
    }

    fn has_nodata(&self) -> bool {
        self.ours
    }

    #[inline]
    fn kevent(
        &self,
        changes: &[L],
        events: &mut [L],
        timeout: Option<&timespec>,
    ) -> io::Result<usize> {
        // SAFETY: `L` was found to be the library's layout before the queue was made.
        unsafe { self.api.kevent(self.fd, changes, events, timeout) }
    }
}

/// How a library lays out struct kevent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    Full,
    Compact,
}

/// A kqueue implementation under test.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    kind: SourceKind,
}

#[derive(Clone, Copy, Debug)]
enum SourceKind {
    /// A C library.
    Library(KqueueApi, Stride),
    /// The engine itself, as a Rust program has it.
    Core,
    /// The same, with private queues.
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
    pub(crate) fn library(name: &str, lib: &Lib) -> Result<Self> {
        let api = KqueueApi::load(lib)?;
        let stride = layout_of(api).context("size of struct kevent")?;
        Ok(Self { name: name.into(), kind: SourceKind::Library(api, stride) })
    }

    /// The engine, as this program is linked with it.
    pub(crate) fn core() -> Self {
        Self { name: "kqueue".into(), kind: SourceKind::Core }
    }

    /// The engine with private queues.
    pub(crate) fn private(name: &str) -> Self {
        Self { name: name.into(), kind: SourceKind::Private }
    }

    /// Whether it is one of ours, and has our targets.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.name.as_str(), "kqueue" | "kqueue-c")
    }

    /// Does something with queues of this kind.
    pub(crate) fn with<W: WithKq>(&self, what: W) -> W::Out {
        let ours = self.is_ours();
        match self.kind {
            SourceKind::Library(api, Stride::Full) => {
                what.run(move || CKqueue::<Full>::new(api, ours))
            }
            SourceKind::Library(api, Stride::Compact) => {
                what.run(move || CKqueue::<Compact>::new(api, ours))
            }
            SourceKind::Core => what.run(|| Ok(kq_core::Kqueue::new()?)),
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

/// Finds the size of a library's struct kevent: two user events are triggered, and the second
/// comes back at the second slot, wherever that is.
fn layout_of(api: KqueueApi) -> Result<Stride> {
    const FIRST: usize = 0x1eaf;
    const SECOND: usize = 0x2eaf;
    let kq = api.kqueue()?;
    for ident in [FIRST, SECOND] {
        for (flags, fflags) in [(EV_ADD | EV_CLEAR, 0), (0, NOTE_TRIGGER)] {
            // One change at a time lies at the slice's start whatever the size.
            let change = Full::new(ident, EVFILT_USER, flags, fflags, 0);
            // SAFETY: both layouts begin with the same fields, and `Full` is the larger.
            unsafe { api.kevent::<Full>(kq, &[change], &mut [], Some(&ZERO)) }?;
        }
    }
    let mut room = [Full::default(); 4];
    // SAFETY: two structs of either size fit into four of the larger.
    let got = unsafe { api.kevent::<Full>(kq, &[], &mut room[..2], Some(&ZERO)) }?;
    // SAFETY: the queue's own number, closed once.
    unsafe { libc::close(kq) };
    // In the compact layout the second event begins where the first's `ext` would be.
    let is_ours = |ident: usize| [FIRST, SECOND].contains(&ident);
    match (got, is_ours(room[1].ident), is_ours(room[0].ext[0] as usize)) {
        (2, true, false) => Ok(Stride::Full),
        (2, false, true) => Ok(Stride::Compact),
        _ => bail!("two triggered user events gave {got}, in no known layout"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_event_is_the_engines() {
        let ours = <kq_core::Kqueue as Kq>::event(7, EVFILT_USER, EV_ADD, NOTE_TRIGGER, -3);
        let (size, ident) = (size_of_val(&ours), ours.ident());
        assert_eq!((size, ident, ours.data()), (size_of::<Full>(), 7, -3));
        assert_eq!(ours.flags().bits(), EV_ADD);
        assert_eq!(ours.fflags().bits(), NOTE_TRIGGER);
    }

    #[test]
    fn layouts_have_their_systems_sizes() {
        assert_eq!(size_of::<Full>(), 64);
        assert_eq!(size_of::<Compact>(), 32);
        assert_eq!(std::mem::offset_of!(Full, ext), size_of::<Compact>());
    }
}
