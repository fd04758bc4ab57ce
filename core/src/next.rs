//! The next library's function of a name: libc's, or that of another preloaded library.
//!
//! For who may lie in a library that exports that very name.

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A function to be found behind ours.
#[derive(Debug)]
pub struct Next<F> {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
    _function: PhantomData<F>,
}

impl<F: Copy> Next<F> {
    /// The function of this name, which has the type `F`.
    ///
    /// # Safety
    /// `F` is an `unsafe extern` function pointer with the C type of that function.
    pub const unsafe fn new(name: &'static CStr) -> Self {
        assert!(size_of::<F>() == size_of::<*mut c_void>());
        Self { name, found: AtomicPtr::new(null_mut()), _function: PhantomData }
    }

    /// The function, or None where there is none behind ours.
    ///
    /// Found when the library is loaded; looked for here only if a constructor of another library
    /// came first.
    #[inline]
    pub fn get(&self) -> Option<F> {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = self.find();
        }
        // SAFETY: not null, and `new`'s promise on the type.
        (!found.is_null()).then(|| unsafe { std::mem::transmute_copy(&found) })
    }

    /// Looks for it.
    #[cold]
    pub fn find(&self) -> *mut c_void {
        // SAFETY: the name is a C string; RTLD_NEXT is relative to the library that this code is
        // linked into.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
        found
    }
}
