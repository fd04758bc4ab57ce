//! Random programs, run on the model (the kernel's own calls) and on what is under test; each must
//! come to the same results, step by step.

use std::cell::Cell;
use std::fmt::Debug;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// The environment's variable that says how many programs to run.
pub const CASES: &str = "KQCOMPAT_CASES";
/// The environment's variable that says which.
pub const SEED: &str = "KQCOMPAT_SEED";

/// How many programs, and which.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many programs.
    pub cases: u32,
    /// The same seed gives the same programs.
    pub seed: u64,
    /// Is a program that differs to be cut down?
    pub shrink: bool,
}

impl Plan {
    /// The environment's `KQCOMPAT_CASES` (how many) and `KQCOMPAT_SEED` (which), else so many by
    /// default and others each time.
    ///
    /// # Panics
    /// When a variable is no number.
    pub fn from_env(cases: u32) -> Self {
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |t| t.as_nanos() as u64);
        Self {
            cases: variable(CASES).map_or(cases, |n| n.try_into().unwrap_or(u32::MAX)),
            seed: variable(SEED).unwrap_or_else(clock),
            shrink: true,
        }
    }

    fn runner(self) -> TestRunner {
        let config = Config {
            cases: self.cases,
            failure_persistence: None,
            max_shrink_iters: if self.shrink { 20_000 } else { 0 },
            ..Config::default()
        };
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        // All zeros would give nothing but zeros.
        seed[15] = 1;
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &seed))
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: not a number")))
}

/// [`try_compare`], for a test: returns how many steps were compared.
///
/// # Panics
/// At the first program whose results differ.
pub fn compare<S, R>(
    plan: Plan,
    programs: S,
    model: impl Fn(&S::Value) -> Vec<R>,
    tested: impl Fn(&S::Value) -> Vec<R>,
) -> u64
where
    S: Strategy,
    S::Value: Debug,
    R: PartialEq + Debug,
{
    try_compare(plan, programs, model, tested).unwrap_or_else(|difference| panic!("{difference}"))
}

/// Runs programs on both sides. Returns how many steps were compared.
///
/// # Errors
/// The first program whose results differ, with the smallest one that does, the step, and the seed.
/// A program to which the model itself gives two answers is the generator's fault, and said so.
pub fn try_compare<S, R>(
    plan: Plan,
    programs: S,
    model: impl Fn(&S::Value) -> Vec<R>,
    tested: impl Fn(&S::Value) -> Vec<R>,
) -> Result<u64, String>
where
    S: Strategy,
    S::Value: Debug,
    R: PartialEq + Debug,
{
    let steps = Cell::new(0_u64);
    let programs_run = Cell::new(0_u32);
    let result = plan.runner().run(&programs, |program| {
        let compared = compare_one(&program, &model, &tested)
            .map_err(|differs| TestCaseError::fail(differs.why))?;
        steps.set(steps.get() + compared);
        programs_run.set(programs_run.get() + 1);
        if programs_run.get().is_multiple_of(10_000) {
            println!("{} programs, {} steps", programs_run.get(), steps.get());
        }
        Ok(())
    });
    match result {
        Ok(()) => Ok(steps.get()),
        Err(TestError::Fail(why, program)) => {
            Err(format!("{why}\n{SEED}={}, smallest program:\n{program:?}", plan.seed))
        }
        Err(TestError::Abort(why)) => panic!("generating programs: {why}"),
    }
}

/// Two results that are not the same.
#[derive(Debug)]
pub struct Differs {
    /// The step, and those before it.
    pub why: String,
    /// The model does not always come to the same either: the program depends on time.
    pub depends_on_time: bool,
}

/// Runs one program on both sides. Returns how many steps were compared.
///
/// # Errors
/// As [`try_compare`].
pub fn compare_one<P, R: PartialEq + Debug>(
    program: &P,
    model: impl Fn(&P) -> Vec<R>,
    tested: impl Fn(&P) -> Vec<R>,
) -> Result<u64, Differs> {
    /// How often the model is asked again.
    const AGAIN: usize = 20;
    let expected = model(program);
    let got = tested(program);
    if expected == got {
        return Ok(expected.len() as u64);
    }
    let again = (0..AGAIN).map(|_| model(program)).find(|again| *again != expected);
    let why = match &again {
        None => format!("results differ {}", difference("expected", &expected, "got", &got)),
        Some(again) => {
            let difference = difference("once", &expected, "again", again);
            format!("the model differs from itself {difference}")
        }
    };
    Err(Differs { why, depends_on_time: again.is_some() })
}

/// Values that a generator makes, each of two bytes that somebody else chose (a fuzzer): who moves or
/// leaves out the bytes of one leaves the others as they are.
///
/// # Panics
/// If the generator refuses more than it makes.
pub fn from_bytes<S: Strategy>(values: &S, bytes: &[u8]) -> Vec<S::Value> {
    let one = |two: &[u8; 2]| {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(two);
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        values.new_tree(&mut runner).expect("a generator makes something").current()
    };
    bytes.as_chunks().0.iter().map(one).collect()
}

fn difference<R: PartialEq + Debug>(one: &str, left: &[R], two: &str, right: &[R]) -> String {
    let at = left.iter().zip(right).position(|(l, r)| l != r);
    let at = at.unwrap_or_else(|| left.len().min(right.len()));
    let before: String =
        left[..at].iter().enumerate().map(|(n, step)| format!("  {n:3} {step:?}\n")).collect();
    let (left, right) = (left.get(at), right.get(at));
    format!("at step {at}:\n  {one}: {left:?}\n  {two}: {right:?}\nafter\n{before}")
}
