//! Random programs against a model of a queue.
//!
//! A program changes knotes, writes, reads, shuts down, closes, duplicates and reuses numbers, and
//! waits with little or much room. The model ([`model`]) knows which knotes there are; whether their
//! conditions hold it asks poll(2). So for each wait it knows which events must come and which may.
//!
//! `KQCOMPAT_CASES=100000 cargo test --test model` for more programs than usual.

mod model;
mod program;
mod world;

use proptest::test_runner::{Config, TestCaseError, TestRunner};

use program::{Op, program};
use world::Closing;

fn cases(usual: u32) -> u32 {
    std::env::var("KQCOMPAT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// Runs random programs; numbers from `base` on are theirs alone.
fn run(base: i32, closing: Closing, private: bool, usual: u32) {
    let config = Config { cases: cases(usual), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&program(), |ops| run_one(base, closing, private, &ops).map_err(TestCaseError::fail));
    if let Err(why) = result {
        panic!("{why}");
    }
}

fn run_one(base: i32, closing: Closing, private: bool, ops: &[Op]) -> Result<(), String> {
    let mut model = model::Model::new(base, closing, private);
    for (at, op) in ops.iter().enumerate() {
        model.step(*op).map_err(|why| format!("op {at}, {op:?}: {why}"))?;
    }
    model.finish()
}

#[test]
fn programs_whose_closes_are_hooked() {
    run(700, Closing::Hooked, false, 1200);
}

#[test]
fn programs_whose_closes_nobody_tells_of() {
    run(730, Closing::Silent, false, 1200);
}

#[test]
fn private_queues_whose_closes_are_hooked() {
    run(760, Closing::Hooked, true, 1200);
}

#[test]
fn private_queues_whose_closes_nobody_tells_of() {
    run(790, Closing::Silent, true, 1200);
}
