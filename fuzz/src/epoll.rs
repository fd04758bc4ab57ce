//! Programs of compat-epoll's tests.

#[path = "../../compat-epoll/c/tests/library/backend.rs"]
mod backend;
#[allow(dead_code, reason = "the tests make whole programs by number")]
#[path = "../../compat-epoll/tests/random/concurrent.rs"]
mod concurrent;
#[allow(dead_code, reason = "as above")]
#[path = "../../compat-epoll/tests/random/program.rs"]
mod program;
#[allow(dead_code, reason = "the tests count events, too")]
#[path = "../../compat-epoll/tests/random/run.rs"]
mod run;
#[path = "../../compat-epoll/tests/random/steps.rs"]
mod steps;

use std::fmt::Debug;

use kq_core::test_support::compare::{compare_one, from_bytes};
use kq_core::test_support::epoll::{Epoll, KERNEL};
use kq_core::test_support::signals;
use kq_core::test_support::world::Ground;

use backend::LIBRARY;

/// One thread, and now and then a second one that waits.
pub(crate) fn sequences() -> crate::Run {
    signals::catch(libc::SIGUSR1, 0);
    let (beginning, step) = (program::beginning(), program::step());
    let program = move |bytes: &[u8]| {
        let (begin, rest) = bytes.split_at_checked(2)?;
        let begin = from_bytes(&beginning, begin).pop()?;
        Some(program::Program([begin, from_bytes(&step, rest)].concat()))
    };
    beside_the_kernel(program, run::run)
}

/// Two threads at once on one instance, compared when both are done.
pub(crate) fn two_threads() -> crate::Run {
    /// Bytes of the steps that both threads do at once.
    const ROUND: usize = 64;
    let steps = [concurrent::step(false), concurrent::step(true)];
    let program = move |bytes: &[u8]| {
        let round = |bytes: &[u8]| {
            let (left, right) = bytes.split_at(bytes.len() / 2);
            (from_bytes(&steps[0], left), from_bytes(&steps[1], right))
        };
        Some(bytes.chunks(ROUND).map(round).collect())
    };
    beside_the_kernel(program, concurrent::run)
}

fn beside_the_kernel<P, R>(
    program: impl Fn(&[u8]) -> Option<P> + 'static,
    run: fn(&Ground, Epoll, &P) -> Vec<R>,
) -> crate::Run
where
    P: Debug + 'static,
    R: PartialEq + Debug + 'static,
{
    let ground = Ground::new();
    Box::new(move |bytes| {
        let Some(program) = program(bytes) else { return 0 };
        let ground = &ground;
        let by = |epoll| move |program: &P| run(ground, epoll, program);
        match compare_one(&program, by(KERNEL), by(LIBRARY)) {
            Ok(operations) => operations,
            // TCP under small windows, say: no program to compare.
            Err(differs) if differs.depends_on_time => 0,
            Err(differs) => panic!("{}\nprogram:\n{program:?}", differs.why),
        }
    })
}
