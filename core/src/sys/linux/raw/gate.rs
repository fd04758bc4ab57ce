//! The one door through which system calls leave. With the feature `test-support` a test can have
//! one of them fail ([`faults`](crate::test_support::faults)); without it these are the bare calls.

#[cfg(not(feature = "test-support"))]
pub(super) use syscalls::raw::{
    syscall0, syscall1, syscall2, syscall3, syscall4, syscall5, syscall6,
};

#[cfg(feature = "test-support")]
pub(super) use self::watched::*;

#[cfg(feature = "test-support")]
mod watched {
    use syscalls::raw;

    use crate::test_support::faults;

    macro_rules! calls {
        ($($name:ident($($argument:ident),*);)*) => {$(
            /// The system call, unless a test has it fail.
            ///
            /// # Safety
            /// As for the system call.
            pub(in super::super) unsafe fn $name(number: usize $(, $argument: usize)*) -> usize {
                // SAFETY: the caller's promise.
                faults::pass(number, &[$($argument),*], || unsafe { raw::$name(number $(, $argument)*) })
            }
        )*};
    }

    calls! {
        syscall0();
        syscall1(a);
        syscall2(a, b);
        syscall3(a, b, c);
        syscall4(a, b, c, d);
        syscall5(a, b, c, d, e);
        syscall6(a, b, c, d, e, f);
    }
}
