//! Waiting for more than one event.

use bitflags::bitflags;
use libc::timespec;
use nix::errno::Errno;

use crate::event::KEvent;
use crate::kqueue::Kqueue;
use crate::sys::linux::kevent::RawWait;
use crate::sys::linux::wait_min::kevent_min;

bitflags! {
    /// How [`Kqueue::wait_min`] waits.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub struct WaitFlags: u32 {
        /// Take what is ready and do not wait (macOS has this name and value for kevent_qos).
        const KEVENT_FLAG_IMMEDIATE = 0x0000_0001;
        /// The timeout is a moment of the monotonic clock (`CLOCK_MONOTONIC`), not a span of time.
        const KEVENT_FLAG_ABSTIME = 0x0001_0000;
    }
}

impl Kqueue {
    /// `kevent_min(kq, changelist, eventlist, min, timeout, flags)` - as [`kevent`](Self::kevent), but
    /// waits until there are at least `min` events, or the time is over; then returns what is there,
    /// as many as `eventlist` has room for.
    ///
    /// The events of knotes with `EV_CLEAR`, `EV_ONESHOT` or `EV_DISPATCH` are taken as they come, and
    /// a new activity counts anew. A level knote counts as long as its condition holds: it is in the
    /// list once, and only if it held when the call last looked. With level knotes among those that
    /// are ready it may take a millisecond to see that there are enough.
    ///
    /// A wait that ends early returns what it has: an event that was taken is never lost. An answer to
    /// a change (`EV_ERROR`) ends the call.
    ///
    /// # Errors
    /// Those of [`kevent`](Self::kevent), where no event was taken yet, and:
    /// - `EINVAL`: `min` is more than there is room for, a flag is unknown, or the timeout is
    ///   out of range; nothing was done.
    ///
    /// # Examples
    /// ```
    /// # use kq_core::*;
    /// let kq = Kqueue::new()?;
    /// let change = |ident, flags, fflags| {
    ///     KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, 0)
    /// };
    /// let add = [1, 2, 3].map(|ident| change(ident, EvFlags::EV_ADD, FilterFlag::empty()));
    /// kq.kevent(&add, &mut [], None)?;
    /// let mut events = [KEvent::default(); 8];
    /// std::thread::scope(|threads| {
    ///     threads.spawn(|| {
    ///         for ident in [3, 1] {
    ///             let trigger = change(ident, EvFlags::empty(), FilterFlag::NOTE_TRIGGER);
    ///             kq.kevent(&[trigger], &mut [], None).unwrap();
    ///         }
    ///     });
    ///     // Returns when two of the three were triggered.
    ///     assert_eq!(kq.wait_min(&[], &mut events, 2, None, WaitFlags::empty()), Ok(2));
    /// });
    /// # Ok::<(), Errno>(())
    /// ```
    pub fn wait_min(
        &self,
        changelist: &[KEvent],
        eventlist: &mut [KEvent],
        min: usize,
        timeout: Option<timespec>,
        flags: WaitFlags,
    ) -> Result<usize, Errno> {
        let caller = *self.caller()?;
        // SAFETY: two slices.
        unsafe {
            kevent_min::<RawWait>(
                caller,
                changelist.as_ptr(),
                changelist.len(),
                eventlist.as_mut_ptr(),
                eventlist.len(),
                min,
                timeout.as_ref(),
                flags,
            )
        }
    }
}
