//! The queue's asynchronous requests, and their knotes.

use nix::errno::Errno;

use crate::event::{EvFlags, EventFilter, FilterFlag, KEvent};

use super::Soft;
use crate::sys::linux::aio::calls::Notify;
use crate::sys::linux::aio::{Aio, Buffer, Order, Outcome};
use crate::sys::linux::completion::Completion;
use crate::sys::linux::raw::Result;
use crate::sys::linux::source::{Key, Source};

impl Soft {
    fn aio(&mut self) -> Result<&mut Aio> {
        self.bell.hang(self.shared.kq)?;
        if self.shared.aio.is_none() {
            self.shared.aio = Some(Box::new(Aio::open(self.shared.kq)?));
        }
        self.shared.aio.as_deref_mut().ok_or(Errno::ENOSYS)
    }

    pub(crate) fn aio_if_open(&mut self) -> Option<&mut Aio> {
        self.shared.aio.as_deref_mut()
    }

    /// The queue is over.
    pub(crate) fn take_aio(&mut self) -> Option<Box<Aio>> {
        self.shared.aio.take()
    }

    /// Begins a request, with a knote if anybody is to be told.
    pub(crate) fn begin(&mut self, order: &mut Order, notify: Option<Notify>) -> Result<usize> {
        let ident = self.aio()?.begin(order)?;
        if let Some(notify) = notify {
            self.add_completion((EventFilter::EVFILT_AIO, ident), notify);
        }
        Ok(ident)
    }

    fn add_completion(&mut self, key: Key, notify: Notify) {
        self.remove(key); // of a request that is over, and was not given back
        let (filter, ident) = key;
        let flags = EvFlags::from_bits_retain(notify.flags);
        let none = FilterFlag::empty();
        let change = KEvent::new(ident, filter, flags, none, 0, notify.udata as isize);
        self.insert(key, &change, Source::Completion(Completion::default()), 0);
    }

    /// Begins a list, with its knote.
    pub(crate) fn open_list(&mut self, at: usize, notify: Notify) -> Result<()> {
        self.aio()?.open_list(at)?;
        self.add_completion((EventFilter::EVFILT_LIO, at), notify);
        Ok(())
    }

    /// All of a list has been begun.
    pub(crate) fn close_list(&mut self, at: usize) {
        if self.shared.aio.as_mut().is_some_and(|aio| aio.close_list(at)) {
            self.remove((EventFilter::EVFILT_LIO, at));
        }
    }

    /// Looks at what is done, and tells the knotes.
    #[inline]
    pub(crate) fn collect_done(&mut self) {
        if self.shared.aio.is_some() {
            self.collect_requests();
        }
    }

    fn collect_requests(&mut self) {
        let Some(aio) = &mut self.shared.aio else { return };
        aio.collect();
        for told in aio.take_told() {
            let Some(knote) = self.knotes.get_mut(&told.key) else { continue };
            let Source::Completion(completion) = &mut knote.source else { continue };
            knote.ext[0] = told.moved;
            if completion.notice(told.errno) {
                knote.activate(told.key, &mut self.line);
            }
        }
    }

    /// As [`Aio::give_back`]; the request's knote goes, and with the last of a list that one's.
    pub(crate) fn give_back(&mut self, ident: usize) -> Option<(Outcome, Buffer)> {
        let (outcome, buffer, list) = self.shared.aio.as_mut()?.give_back(ident)?;
        self.remove((EventFilter::EVFILT_AIO, ident));
        if let Some(list) = list {
            self.remove((EventFilter::EVFILT_LIO, list));
        }
        self.announce();
        Some((outcome, buffer))
    }
}
