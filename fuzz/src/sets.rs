//! Programs of poll and select.

use std::sync::Arc;

use kq_core::sets::{Policy, set_policy};
use kq_core::test_support::bitmaps::{bits, c_pselect, c_select, kernel_select};
use kq_core::test_support::compare::compare_one;
use kq_core::test_support::sets::{
    Call, Pair, Place, Promise, c_poll, c_ppoll, entries, kernel_poll, program_of, run,
};

/// poll and ppoll.
pub(crate) fn poll() -> crate::Run {
    let promise = Promise::WHERE_CLOSES_ARE_TOLD;
    start([c_poll, c_ppoll], move |ask| Pair { kernel: kernel_poll, ask, count: entries, promise })
}

/// select and pselect.
pub(crate) fn select() -> crate::Run {
    let promise = Promise::WHERE_CLOSES_ARE_TOLD;
    start([c_select, c_pselect], move |ask| Pair {
        kernel: kernel_select,
        ask,
        count: bits,
        promise,
    })
}

fn start(calls: [Call; 2], pair: impl Fn(Call) -> Pair + 'static) -> crate::Run {
    let place = Arc::new(Place::new());
    Box::new(move |bytes| {
        let Some((how, bytes)) = bytes.split_first() else { return 0 };
        let Some(program) = program_of(bytes) else { return 0 };
        let pair = pair(calls[usize::from(how & 1)]);
        let policies = [Policy::Default, Policy::RegisterAtFirstSight];
        set_policy(policies[usize::from(how >> 1 & 1)]);
        // In a thread of its own, since a thread's queues know what the programs before it have asked.
        std::thread::scope(|scope| {
            let ran = scope.spawn(|| run(&program, &place, pair));
            let (expected, got) = ran.join().expect("its panic was reported");
            compare_one(&(), |()| expected.clone(), |()| got.clone())
                .unwrap_or_else(|differs| panic!("{}\nprogram:\n{program:?}", differs.why))
        })
    })
}
