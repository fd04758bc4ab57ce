//! Memory straight from the kernel.
//!
//! poll and select are async-signal-safe: the program may call them in a handler that interrupted
//! malloc. So nothing here comes from an allocator (a `Vec` would deadlock there).

use std::ptr::NonNull;

use crate::sys::raw;

pub(crate) const PAGE: usize = 4096;

#[repr(align(4096))]
struct Page;

/// A mapping of zeroed memory; unmapped by [`Region::free`] only, since the structures that hold
/// one outlive every frame (a cancelled thread unwinds through them, its state must stay).
#[derive(Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    len: usize,
}

impl Region {
    /// No memory; the pointer is aligned as a mapping's would be.
    pub(crate) const EMPTY: Self = Self { base: NonNull::<Page>::dangling().cast(), len: 0 };

    /// At least `len` zeroed bytes; None where the system has no memory.
    pub(crate) fn map(len: usize) -> Option<Self> {
        let len = len.checked_next_multiple_of(PAGE)?;
        let base = raw::mmap_anonymous(len).ok()?;
        Some(Self { base: NonNull::new(base.cast())?, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(crate) fn free(&mut self) {
        let old = std::mem::replace(self, Self::EMPTY);
        if old.len > 0 {
            // SAFETY: the mapping was made by `map` with this length, and `self` has forgotten it.
            let _ = unsafe { raw::munmap(old.base.as_ptr().cast(), old.len) };
        }
    }
}

/// Types of which all-zero bytes are a value, and which need no drop.
///
/// # Safety
/// As it says.
pub(crate) unsafe trait Zeroed: Copy {}
// SAFETY: plain integers.
unsafe impl Zeroed for u32 {}
// SAFETY: plain integers.
unsafe impl Zeroed for u64 {}
// SAFETY: a C struct of integers.
unsafe impl Zeroed for libc::pollfd {}

/// A growable array in a [`Region`].
#[derive(Debug)]
pub(crate) struct Array<T> {
    region: Region,
    len: usize,
    _elements: std::marker::PhantomData<T>,
}

impl<T: Zeroed> Array<T> {
    pub(crate) const EMPTY: Self =
        Self { region: Region::EMPTY, len: 0, _elements: std::marker::PhantomData };

    pub(crate) fn capacity(&self) -> usize {
        self.region.len() / size_of::<T>()
    }

    /// Makes room for `capacity` elements in all; false where the system has no memory.
    pub(crate) fn reserve(&mut self, capacity: usize) -> bool {
        if capacity <= self.capacity() {
            return true;
        }
        let Some(bytes) = capacity.checked_mul(size_of::<T>()) else { return false };
        let Some(mut region) = Region::map(bytes) else { return false };
        // SAFETY: both regions hold at least `len` elements, and they are different mappings.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.region.base(),
                region.base(),
                self.len * size_of::<T>(),
            );
        }
        std::mem::swap(&mut self.region, &mut region);
        region.free();
        true
    }

    /// Appends; false where the system has no memory.
    #[must_use]
    pub(crate) fn push(&mut self, element: T) -> bool {
        if self.len == self.capacity() && !self.reserve(self.len + self.len / 2 + 16) {
            return false;
        }
        // SAFETY: there is room for one more; mappings are aligned for every T (page-aligned).
        unsafe { self.region.base().cast::<T>().add(self.len).write(element) };
        self.len += 1;
        true
    }

    pub(crate) fn swap_remove(&mut self, at: usize) {
        let last = self.len - 1;
        self[at] = self[last];
        self.len = last;
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        let mut kept = 0;
        for at in 0..self.len {
            let element = self[at];
            if keep(&element) {
                self[kept] = element;
                kept += 1;
            }
        }
        self.len = kept;
    }

    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    pub(crate) fn free(&mut self) {
        self.len = 0;
        self.region.free();
    }

    /// Gives memory back if only a small part of it is needed for so many elements, which are as many
    /// as there are or more.
    pub(crate) fn shrink_to(&mut self, needed: usize) {
        debug_assert!(self.len <= needed);
        if needed * size_of::<T>() * 4 < self.region.len() && self.region.len() > PAGE {
            let mut smaller = Self::EMPTY;
            if smaller.reserve(needed.max(1)) {
                smaller.len = self.len;
                smaller.copy_from_slice(self);
                std::mem::swap(self, &mut smaller);
                smaller.free();
            }
        }
    }
}

impl<T> std::ops::Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements were written, or are zeroed memory of a type that permits it.
        unsafe { std::slice::from_raw_parts(self.region.base().cast(), self.len) }
    }
}

impl<T> std::ops::DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` has it alone.
        unsafe { std::slice::from_raw_parts_mut(self.region.base().cast(), self.len) }
    }
}
