//! A library that exports kqueue and kevent, and how it lays out struct kevent.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;

use anyhow::{Result, bail};
use libc::{c_int, timespec};

use super::capi::check;
use super::kq::{EV_ADD, EV_CLEAR, EVFILT_USER, Kq, NOTE_TRIGGER, WithKq, ZERO};
use super::libs::Lib;

/// A kqueue library's two functions; the layout of `struct kevent` is the caller's business.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KqueueApi {
    kqueue: unsafe extern "C" fn() -> c_int,
    kevent: unsafe extern "C" fn(
        c_int,
        *const libc::c_void,
        c_int,
        *mut libc::c_void,
        c_int,
        *const timespec,
    ) -> c_int,
}

impl KqueueApi {
    pub(crate) fn load(lib: &Lib) -> Result<Self> {
        // SAFETY: the types are those of <sys/event.h>, with the event's own type left open.
        unsafe { Ok(Self { kqueue: lib.symbol("kqueue")?, kevent: lib.symbol("kevent")? }) }
    }

    pub(crate) fn kqueue(&self) -> io::Result<RawFd> {
        // SAFETY: takes no pointer.
        check(unsafe { (self.kqueue)() }).map(|fd| fd as RawFd)
    }

    /// # Safety
    /// `E` must have the layout of the library's struct kevent, or the slices' memory must hold
    /// as many of the library's structs as they have elements.
    #[inline]
    pub(crate) unsafe fn kevent<E: Copy>(
        &self,
        kq: RawFd,
        changes: &[E],
        events: &mut [E],
        timeout: Option<&timespec>,
    ) -> io::Result<usize> {
        let timeout = timeout.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the caller's promise on the layout; the slices are borrowed for the call.
        check(unsafe {
            (self.kevent)(
                kq,
                changes.as_ptr().cast(),
                changes.len() as c_int,
                events.as_mut_ptr().cast(),
                events.len() as c_int,
                timeout,
            )
        })
    }
}

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
pub(super) enum Stride {
    Full,
    Compact,
}

/// Does something with queues of such a library.
pub(super) fn with<W: WithKq>(what: W, api: KqueueApi, stride: Stride, ours: bool) -> W::Out {
    match stride {
        Stride::Full => what.run(move || CKqueue::<Full>::new(api, ours)),
        Stride::Compact => what.run(move || CKqueue::<Compact>::new(api, ours)),
    }
}

/// Finds the size of a library's struct kevent: two user events are triggered, and the second
/// comes back at the second slot, wherever that is.
pub(super) fn layout_of(api: KqueueApi) -> Result<Stride> {
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
