//! The contract of a knote, kept by every filter: one list of tests, one body each, run for every
//! kind of source ([`subject::SUBJECTS`]). What does not apply to a source is in the matrix with its
//! reason (`docs/contract-matrix.md`), which a test here keeps up to date.
//!
//! `cargo test --test contract -- READ` runs those of one filter.

mod contracts;
mod fixture;
mod matrix;
mod subject;
mod subjects;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kq_core::test_support::isolate::{self, End};
use libtest_mimic::{Arguments, Trial};

use contracts::{CONTRACTS, Contract};
use fixture::Fixture;
use subject::{Kind, SUBJECTS};

/// Runs one contract; an error says what this machine lacks.
fn run(kind: &Kind, contract: &Contract) -> Result<(), String> {
    (contract.body)(&mut Fixture::new((kind.make)()?));
    Ok(())
}

/// As [`run`], in a process of its own.
fn run_alone(name: &str) -> Result<(), String> {
    match isolate::run_alone(name, [name, "--exact"]) {
        End::Passed(_) => Ok(()),
        End::Skipped(reason) => Err(reason),
        End::Failed(why) => panic!("{why}"),
    }
}

fn main() {
    let asked_for = isolate::asked_for();
    let skipped = Arc::new(AtomicUsize::new(0));
    let mut trials = vec![Trial::test("the_matrix_in_docs_is_up_to_date", || {
        matrix::check();
        Ok(())
    })];
    let mut not_applicable = 0;
    for kind in SUBJECTS {
        for contract in CONTRACTS {
            if contract.obstacle(kind).is_some() {
                not_applicable += 1;
                continue;
            }
            let skipped = Arc::clone(&skipped);
            let name = format!("{}::{}", kind.name.replace(' ', "_"), contract.name);
            if asked_for.as_ref() == Some(&name) {
                // In the process that was started for it.
                return run(kind, contract).unwrap_or_else(|reason| isolate::skip(&reason));
            }
            trials.push(Trial::test(name.clone(), move || {
                let done = match kind.is_of_the_process() {
                    true => run_alone(&name),
                    false => run(kind, contract),
                };
                if let Err(reason) = done {
                    skipped.fetch_add(1, Ordering::Relaxed);
                    eprintln!("skipped {name}: {reason}");
                }
                Ok(())
            }));
        }
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    println!(
        "{not_applicable} do not apply (docs/contract-matrix.md says why), {} skipped on this machine",
        skipped.load(Ordering::Relaxed)
    );
    conclusion.exit();
}
