//! A scenario, run with each fault there can be.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};

use kq_core::Errno;
use kq_core::test_support::faults::{self, CALL_BYTES, Call};
use kq_core::test_support::{isolate, leak, sys};

/// What is done while system calls fail.
pub(crate) type Body = fn(&mut Steps);

/// It, and how it is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) body: Body,
}

/// The steps of a run.
#[derive(Debug)]
pub(crate) struct Steps {
    /// What the fault says; none in the run that only looks on.
    injected: Option<Errno>,
    /// A step has answered with it.
    answered: bool,
}

/// Errors that the engine answers with where the kernel said something else, on purpose.
const TRANSLATED: &[(Errno, Errno)] = &[
    // The process connector is not to be had, whatever the reason.
    (Errno::EAFNOSUPPORT, Errno::EPERM),
    (Errno::EINVAL, Errno::EPERM),
    (Errno::EINTR, Errno::EPERM),
    (Errno::EAGAIN, Errno::EPERM),
    (Errno::ENOMEM, Errno::EPERM),
    // /proc is not mounted.
    (Errno::ENOENT, Errno::EOPNOTSUPP),
];

impl Steps {
    /// Does a step. One that fails does so with the fault's own errno, once, and succeeds when it is
    /// done again.
    #[track_caller]
    pub(crate) fn step<T>(&mut self, mut step: impl FnMut() -> Result<T, Errno>) -> T {
        match step() {
            Ok(done) => done,
            Err(errno) => {
                let injected = self.injected.unwrap_or_else(|| panic!("{errno} without a fault"));
                assert!(faults::is_over(), "{errno} before the fault");
                assert!(!self.answered, "{errno}, after the fault was answered already");
                assert!(
                    errno == injected || TRANSLATED.contains(&(injected, errno)),
                    "{errno} for {injected}"
                );
                self.answered = true;
                step().unwrap_or_else(|errno| panic!("{errno} when it was done again"))
            }
        }
    }
}

impl Scenario {
    pub(crate) fn run(self) {
        let calls = self.watch();
        let mut failures = Vec::new();
        let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
        for (nth, &call) in calls.iter().enumerate() {
            for &errno in call.errors() {
                let status = sys::in_child(|| self.with_fault(nth as u32, call, errno));
                let name = call.name();
                if status != 0 {
                    failures.push(format!("call {nth}, {name}, fails with {errno}"));
                }
                *tried.entry(name).or_default() += 1;
            }
        }
        let faults: usize = tried.values().sum();
        isolate::tell(&format!("{}: {} calls, {faults} faults: {tried:?}", self.name, calls.len()));
        assert!(failures.is_empty(), "{failures:#?}");
        assert!(faults > 0, "nothing was tried");
    }

    /// The calls it makes. In a child, so that each run begins as this one did.
    fn watch(self) -> Vec<Call> {
        let mut told = File::from(sys::memfd());
        let status = sys::in_child(|| {
            let mut steps = Steps { injected: None, answered: false };
            let ((), calls) = faults::calls_of(|| (self.body)(&mut steps));
            let bytes: Vec<u8> = calls.iter().flat_map(|call| call.to_bytes()).collect();
            i32::from((&told).write_all(&bytes).is_err())
        });
        assert_eq!(status, 0, "{} without a fault", self.name);
        let mut bytes = Vec::new();
        told.rewind().and_then(|()| told.read_to_end(&mut bytes)).expect("memory can be read");
        bytes.chunks_exact(CALL_BYTES).map(Call::from_bytes).collect()
    }

    fn with_fault(self, nth: u32, call: Call, errno: Errno) -> i32 {
        let before = leak::open_descriptors();
        let mut steps = Steps { injected: Some(errno), answered: false };
        faults::fail(nth, call, errno);
        (self.body)(&mut steps);
        faults::stop();
        let after = leak::open_descriptors();
        let mut left = after.clone();
        left.retain(|fd, _| !before.contains_key(fd));
        leak::leave_out_what_stays(&mut left);
        assert!(left.is_empty(), "descriptors left open: {left:?}");
        assert!(before.keys().all(|fd| after.contains_key(fd)), "{before:?}, {after:?}");
        0
    }
}
