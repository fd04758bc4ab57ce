//! The suite of a Rust crate that polls or selects: under each policy, in a program that tells nobody
//! of its closes, and in one that tells the engine of each.

use libc::pollfd;

use super::defences::{leaving, unhooked, untold};
use super::harness::{Rule, Suite};
use super::preload::add_rules_in_process;
use super::sets::{Answer, Call, Pair, Promise, compare_programs};
use super::watched::Ask;
use crate::hooks::all_closes_are_told;
use crate::rules;

/// The crate's calls, and the kernel's.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// Waits for one descriptor.
    pub ask: Ask,
    /// With a whole array, by each of the crate's two functions.
    pub arrays: [Call; 2],
    /// By the kernel's own, not waiting.
    pub kernel: fn(&mut [pollfd]) -> Answer,
    /// How many results an answer tells of.
    pub count: fn(&[i16]) -> usize,
}

const UNTOLD: &[Rule<Calls>] = rules![random equals_the_kernel_in_the_end,];
const TOLD: &[Rule<Calls>] = rules![random equals_the_kernel,];

/// All of it; the crate adds what is its own.
pub fn suite(calls: Calls) -> Suite<'static> {
    let mut suite = Suite::new();
    let defences = [untold::RULES, unhooked::RULES, leaving::RULES];
    add_rules_in_process(&mut suite, "untold", || {}, calls, &[UNTOLD]);
    add_rules_in_process(&mut suite, "untold", || {}, calls.ask, &defences);
    add_rules_in_process(&mut suite, "told", all_closes_are_told, calls, &[TOLD]);
    add_rules_in_process(&mut suite, "told", all_closes_are_told, calls.ask, &[leaving::RULES]);
    suite
}

fn equals_the_kernel(calls: Calls) {
    compare(calls, Promise::WHERE_CLOSES_ARE_TOLD);
}

fn equals_the_kernel_in_the_end(calls: Calls) {
    compare(calls, Promise::Late);
}

fn compare(Calls { arrays, kernel, count, .. }: Calls, promise: Promise) {
    compare_programs(40, &arrays.map(|ask| Pair { kernel, ask, count, promise }));
}
