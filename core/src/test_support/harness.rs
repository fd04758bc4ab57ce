//! A test binary (`harness = false`) whose tests each run in a process of their own, once for each
//! backend. Its command line is that of Rust's own harness: names filter, `--test-threads`, `--list`.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::isolate::{self, End};
use super::leak::{self, LeakCheck};
use super::sys;

/// A test that takes a backend.
#[derive(Clone, Copy, Debug)]
pub struct Rule<B> {
    /// The rule's id in the list of rules, or of what the test is about.
    pub id: &'static str,
    /// What holds, as a function's name.
    pub name: &'static str,
    /// Shows that it holds.
    pub body: fn(B),
}

/// A list of [`Rule`]s, from ids and functions: `rules![A01 size_must_be_positive, ...]`.
#[macro_export]
macro_rules! rules {
    ($($id:ident $name:ident,)*) => {
        &[$($crate::test_support::harness::Rule {
            id: stringify!($id),
            name: stringify!($name),
            body: $name,
        },)*]
    };
}

/// The `main` of a test binary, from the names of its functions: `suite! { one_test another_test }`.
#[macro_export]
macro_rules! suite {
    ($($name:ident)*) => {
        fn main() -> std::process::ExitCode {
            let mut suite = $crate::test_support::harness::Suite::new();
            $(suite.add(stringify!($name), $name);)*
            suite.run()
        }
    };
}

/// One test of a binary: a name and what it runs.
struct Test<'a> {
    name: String,
    body: Box<dyn Fn() + 'a>,
}

/// All tests of one binary.
#[derive(Default)]
pub struct Suite<'a> {
    tests: Vec<Test<'a>>,
}

impl std::fmt::Debug for Suite<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tests.iter().map(|test| &test.name)).finish()
    }
}

impl<'a> Suite<'a> {
    /// Without tests yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one test.
    pub fn add(&mut self, name: impl Into<String>, body: impl Fn() + 'a) {
        self.tests.push(Test { name: name.into(), body: Box::new(body) });
    }

    /// Adds every rule for one backend, as `backend::id_name`.
    pub fn add_rules<B: Copy + 'a>(&mut self, backend: &str, under_test: B, rules: &[Rule<B>]) {
        for rule in rules {
            let body = rule.body;
            self.add(format!("{backend}::{}_{}", rule.id, rule.name), move || body(under_test));
        }
    }

    /// The whole of `main`: runs the tests that the command line asks for, or the one that this
    /// process was started for.
    pub fn run(self) -> ExitCode {
        if let Some(name) = isolate::asked_for() {
            self.run_here(&name);
            return ExitCode::SUCCESS;
        }
        let trials = self.tests.into_iter().map(|test| trial(test.name)).collect();
        libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
    }

    fn run_here(&self, name: &str) {
        let test = self.tests.iter().find(|test| test.name == name);
        let test = test.unwrap_or_else(|| panic!("no test is called {name}"));
        // What we inherited from who started us (make's job tokens) would lie between the test's.
        sys::close_from(3);
        let check = LeakCheck::start();
        (test.body)();
        check.finish();
        leak::assert_single_threaded();
    }
}

fn trial(name: String) -> Trial {
    Trial::ignorable_test(name.clone(), move || {
        match isolate::run_alone(&name, std::env::args_os().skip(1)) {
            End::Passed(told) => {
                if !told.is_empty() {
                    println!("{name}:\n{told}");
                }
                Ok(Completion::Completed)
            }
            End::Skipped(reason) => Ok(Completion::ignored_with(reason)),
            End::Failed(why) => Err(Failed::from(why)),
        }
    })
}
