//! The next library's function of a name: libc's, or that of another preloaded library.

use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::c_long;

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

// SAFETY: pthread_testcancel(3).
static TEST_CANCEL: Next<unsafe extern "C-unwind" fn()> =
    unsafe { Next::new(c"pthread_testcancel") };

pub(crate) fn find() {
    TEST_CANCEL.find();
}

/// Acts on a pending cancellation. poll and select do so at entry, also where they do not block.
///
/// May unwind the thread: nothing that needs a drop may be alive in the caller.
#[inline]
pub fn test_cancel() {
    if let Some(test) = TEST_CANCEL.get() {
        // SAFETY: takes nothing; where it unwinds, so may we.
        unsafe { test() }
    }
}

/// What a C function returns for a failure.
#[cold]
pub fn fail(errno: c_int) -> c_int {
    // SAFETY: errno of this thread.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// What a C function of libc's returned, as the engine's result.
///
/// # Errors
/// errno, where it returned -1.
#[inline]
pub fn returned(value: c_long) -> Result<usize, kq_core::Errno> {
    usize::try_from(value).map_err(|_| kq_core::Errno::last())
}
