//! The next library's function of a name: libc's, or that of another preloaded library.
//!
//! (kq-hooks-c has the like, but whoever links that exports close(2) and its kin too, which a
//! statically linked program would then lack.)

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A function to be found behind ours.
pub(crate) struct Next<F> {
    name: &'static CStr,
    /// Null: not looked for yet.
    found: AtomicPtr<c_void>,
    function: PhantomData<F>,
}

impl<F: Copy> Next<F> {
    /// The function of this name, which has the type `F`.
    ///
    /// # Safety
    /// `F` is an `unsafe extern` function pointer with the C type of that function.
    pub(crate) const unsafe fn new(name: &'static CStr) -> Self {
        assert!(size_of::<F>() == size_of::<*mut c_void>());
        Self { name, found: AtomicPtr::new(null_mut()), function: PhantomData }
    }

    /// What stands for "looked for, and not there".
    #[inline]
    fn absent(&self) -> *mut c_void {
        (&raw const self.found).cast_mut().cast()
    }

    /// The function, or None where there is none behind ours, as in a statically linked program.
    #[inline(always)]
    pub(crate) fn get(&self) -> Option<F> {
        let mut found = self.found.load(Relaxed);
        if found.is_null() {
            found = self.find();
        }
        // SAFETY: a function's address, and `new`'s promise on the type.
        (found != self.absent()).then(|| unsafe { std::mem::transmute_copy(&found) })
    }

    #[cold]
    fn find(&self) -> *mut c_void {
        // SAFETY: the name is a C string; RTLD_NEXT is relative to the library that this code is
        // linked into.
        let mut found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            found = self.absent();
        }
        self.found.store(found, Relaxed);
        found
    }
}
