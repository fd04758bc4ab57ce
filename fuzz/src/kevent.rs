//! Programs of core's tests, whose queue is compared with a model.

#[path = "../../core/tests/model/model.rs"]
mod model;
#[allow(dead_code, reason = "the test makes whole programs by number")]
#[path = "../../core/tests/model/program.rs"]
mod program;
#[path = "../../core/tests/model/world.rs"]
mod world;

use kq_core::test_support::compare::from_bytes;

use world::Closing;

/// The first of a program's numbers: above whatever is open.
const BASE: i32 = 700;

/// Queues that are private, or not, whose closes are told, or not.
pub(crate) fn start() -> crate::Run {
    let op = program::op();
    Box::new(move |bytes| {
        let Some((how, bytes)) = bytes.split_first() else { return 0 };
        let ops = [program::beginning(how & 4 != 0), from_bytes(&op, bytes)].concat();
        let closing = if how & 1 == 0 { Closing::Hooked } else { Closing::Silent };
        let mut model = model::Model::new(BASE, closing, how & 2 != 0);
        let fail = |why| panic!("{why}\nprogram, {closing:?}, {how}:\n{ops:#?}");
        for (at, op) in ops.iter().enumerate() {
            model.step(*op).unwrap_or_else(|why| fail(format!("op {at}, {op:?}: {why}")));
        }
        model.finish().unwrap_or_else(fail);
        ops.len() as u64
    })
}
