//! One of the targets, under libFuzzer; built without it (`--cfg fuzzing`), it runs the inputs that
//! its command line names. The environment's `KQCOMPAT_FUZZ` says which target.

#![cfg_attr(fuzzing, no_main)]

use kq_core::test_support::{signals, sys};
use kq_fuzz::{Runner, Target};

/// What was inherited would lie between the programs' numbers; where main is libFuzzer's, nobody has
/// had a write to a pipe without a reader fail.
fn get_ready() {
    sys::close_from(3);
    signals::ignore(libc::SIGPIPE);
}

/// The target that is asked for.
fn runner() -> Runner {
    Target::named(&std::env::var("KQCOMPAT_FUZZ").unwrap_or_default()).start()
}

#[cfg(fuzzing)]
mod fuzzing {
    use std::cell::RefCell;
    use std::mem::ManuallyDrop;

    use kq_fuzz::Runner;
    use libfuzzer_sys::Corpus;

    thread_local! {
        // Not dropped: its figures are told when the thread's other things are gone.
        static RUNNER: RefCell<ManuallyDrop<Runner>> = RefCell::new(ManuallyDrop::new(crate::runner()));
    }

    extern "C" fn tell() {
        RUNNER.with_borrow(|runner| eprintln!("{}", runner.summary()));
    }

    libfuzzer_sys::fuzz_target!(
        init: {
            super::get_ready();
            // SAFETY: a function that may be called at the end.
            assert_eq!(unsafe { libc::atexit(tell) }, 0);
        },
        |bytes: &[u8]| -> Corpus {
            let is_program = RUNNER.with_borrow_mut(|runner| runner.run(bytes));
            if is_program { Corpus::Keep } else { Corpus::Reject }
        }
    );
}

#[cfg(not(fuzzing))]
fn main() {
    get_ready();
    let mut runner = runner();
    for path in std::env::args_os().skip(1) {
        runner.run(&std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}")));
    }
    println!("{}", runner.summary());
}
