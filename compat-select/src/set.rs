//! A set of descriptors without an upper bound.

use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use bitvec::prelude::{BitVec, Lsb0};

/// A set of descriptors, with the methods of [`nix::sys::select::FdSet`]. It grows: FD_SETSIZE is no
/// bound.
///
/// [`nix::sys::select::FdSet`]: https://docs.rs/nix/latest/nix/sys/select/struct.FdSet.html
///
/// # Examples
/// ```
/// use std::os::fd::AsFd;
///
/// use compat_select::FdSet;
///
/// let (reader, writer) = std::io::pipe()?;
/// let mut set = FdSet::new();
/// set.insert(reader.as_fd());
/// set.insert(writer.as_fd());
/// set.remove(writer.as_fd());
/// assert!(set.contains(reader.as_fd()) && !set.contains(writer.as_fd()));
/// assert_eq!(set.fds(None).count(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FdSet<'fd> {
    /// As the kernel's bitmap: words of 64 numbers, the lowest number in the lowest bit.
    bits: BitVec<u64, Lsb0>,
    _fds: PhantomData<BorrowedFd<'fd>>,
}

/// Two sets are equal if they hold the same numbers, however far each has grown.
impl PartialEq for FdSet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.bits.iter_ones().eq(other.bits.iter_ones())
    }
}

impl Eq for FdSet<'_> {}

impl std::hash::Hash for FdSet<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits.iter_ones().for_each(|number| state.write_usize(number));
    }
}

impl<'fd> FdSet<'fd> {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a descriptor.
    pub fn insert(&mut self, fd: BorrowedFd<'fd>) {
        let at = number(fd);
        self.reserve(at + 1);
        self.bits.set(at, true);
    }

    /// Takes a descriptor out.
    pub fn remove(&mut self, fd: BorrowedFd<'fd>) {
        if let Some(mut bit) = self.bits.get_mut(number(fd)) {
            *bit = false;
        }
    }

    /// Is the descriptor in the set?
    pub fn contains(&self, fd: BorrowedFd<'fd>) -> bool {
        self.bits.get(number(fd)).is_some_and(|bit| *bit)
    }

    /// Takes all descriptors out, and keeps the memory.
    pub fn clear(&mut self) {
        self.bits.fill(false);
    }

    /// The highest descriptor in the set.
    pub fn highest(&self) -> Option<BorrowedFd<'_>> {
        self.bits.last_one().map(borrowed)
    }

    /// The descriptors in the set, from the lowest on; none above `highest`, if it is given.
    pub fn fds(&self, highest: Option<RawFd>) -> Fds<'_, 'fd> {
        let end = highest.map_or(usize::MAX, |fd| usize::try_from(fd + 1).unwrap_or(0));
        let end = end.min(self.bits.len());
        Fds { ones: self.bits[..end].iter_ones(), _fds: PhantomData }
    }

    /// Makes room for numbers below `end`, in whole words.
    pub(crate) fn reserve(&mut self, end: usize) {
        if end > self.bits.len() {
            self.bits.resize(end.next_multiple_of(64), false);
        }
    }

    /// The words of the bitmap.
    pub(crate) fn words(&mut self) -> *mut u64 {
        self.bits.as_raw_mut_slice().as_mut_ptr()
    }
}

fn number(fd: BorrowedFd<'_>) -> usize {
    // A borrowed descriptor is not -1, and negative numbers are never open.
    usize::try_from(fd.as_raw_fd()).unwrap_or(usize::MAX)
}

fn borrowed<'a>(number: usize) -> BorrowedFd<'a> {
    // SAFETY: it was put into the set as a BorrowedFd, whose lifetime the set's type carries.
    unsafe { BorrowedFd::borrow_raw(number as RawFd) }
}

/// The descriptors of an [`FdSet`].
#[derive(Clone, Debug)]
pub struct Fds<'a, 'fd> {
    ones: bitvec::slice::IterOnes<'a, u64, Lsb0>,
    _fds: PhantomData<BorrowedFd<'fd>>,
}

impl<'fd> Iterator for Fds<'_, 'fd> {
    type Item = BorrowedFd<'fd>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ones.next().map(borrowed)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ones.size_hint()
    }
}

impl DoubleEndedIterator for Fds<'_, '_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.ones.next_back().map(borrowed)
    }
}

impl std::iter::FusedIterator for Fds<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd(number: RawFd) -> BorrowedFd<'static> {
        // SAFETY: only its number is used.
        unsafe { BorrowedFd::borrow_raw(number) }
    }

    fn numbers(set: &FdSet<'_>, highest: Option<RawFd>) -> Vec<RawFd> {
        set.fds(highest).map(|fd| fd.as_raw_fd()).collect()
    }

    #[test]
    fn holds_numbers_past_fd_setsize() {
        let mut set = FdSet::new();
        assert_eq!((set.highest().is_none(), numbers(&set, None)), (true, vec![]));
        for number in [4, 0, 63, 64, 1023, 1024, 100_000] {
            assert!(!set.contains(fd(number)));
            set.insert(fd(number));
            assert!(set.contains(fd(number)));
        }
        assert_eq!(numbers(&set, None), [0, 4, 63, 64, 1023, 1024, 100_000]);
        assert_eq!(numbers(&set, Some(1023)), [0, 4, 63, 64, 1023]);
        assert_eq!(numbers(&set, Some(-1)), []);
        assert_eq!(set.fds(None).next_back().map(|fd| fd.as_raw_fd()), Some(100_000));
        set.remove(fd(100_000));
        set.remove(fd(5_000_000));
        assert_eq!(set.highest().map(|fd| fd.as_raw_fd()), Some(1024));
        let mut small = FdSet::new();
        [0, 4, 63, 64, 1023, 1024].iter().for_each(|&number| small.insert(fd(number)));
        assert_eq!(set, small);
        set.clear();
        assert_eq!(set, FdSet::new());
    }
}
