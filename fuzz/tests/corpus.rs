//! The inputs that are kept, each of which once showed the fuzzer something new.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::isolate::tell;
use kq_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for target in TARGETS {
        suite.add(target.name, move || run(target));
    }
    suite.run()
}

fn run(target: Target) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let inputs = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut paths: Vec<_> =
        inputs.map(|input| input.expect("its folder can be read").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing is kept");
    let mut runner = target.start();
    for path in paths {
        println!("{path:?}");
        runner.run(&fs::read(&path).expect("it is readable"));
    }
    tell(&runner.summary());
}
