//! A test in a process of its own: it may fork, take signals, count descriptors and lower limits,
//! and a hang ends it alone.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};

use super::sys;

/// Names the test that the process is to run.
const ONLY: &str = "KQCOMPAT_TEST_ONLY";
/// The exit status that says "skipped" (as automake has it).
const SKIPPED: i32 = 77;
/// How a line begins that is to be read even if the test passed.
const TOLD: &str = "NOTE: ";
/// After this long a test hangs: a lost wake-up, mostly.
const PATIENCE_MS: i32 = 120_000;
/// With more random programs than by default it may take a day.
const LONG_PATIENCE_MS: i32 = 24 * 3_600_000;

/// How a test ended.
#[derive(Debug)]
pub enum End {
    /// It did what it should, and has this to tell ([`tell`]).
    Passed(String),
    /// It cannot be run on this system, for this reason.
    Skipped(String),
    /// It failed, or never ended; with what it printed.
    Failed(String),
}

/// The test that this process was started for, if it is such a process.
pub fn asked_for() -> Option<String> {
    env::var(ONLY).ok()
}

/// Ends a test that this system cannot run. Only in a test's own process.
pub fn skip(reason: &str) -> ! {
    println!("SKIP: {reason}");
    std::process::exit(SKIPPED);
}

/// Says something that is worth reading of a test that passes: figures. Only in a test's own process.
pub fn tell(what: &str) {
    println!("{TOLD}{what}");
}

/// Runs this executable again, with these arguments, for one test.
pub fn run_alone<I: Into<OsString>>(name: &str, args: impl IntoIterator<Item = I>) -> End {
    let mut command = Command::new(env::current_exe().expect("an executable has a path"));
    command.args(args.into_iter().map(Into::into)).env(ONLY, name);
    run(&mut command)
}

/// Runs a command to its end, and judges by its exit status: 0 passed, 77 skipped.
pub fn run(command: &mut Command) -> End {
    // What it prints goes to a file in memory: a pipe could fill up, or be held open by a
    // grandchild for ever.
    let mut output = File::from(sys::memfd());
    let copy = || output.try_clone().expect("there are descriptors to spare");
    command.stdout(copy()).stderr(copy()).stdin(std::process::Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let status = wait(&mut child);
    let mut printed = Vec::new();
    output.rewind().and_then(|()| output.read_to_end(&mut printed)).expect("memory can be read");
    let printed = String::from_utf8_lossy(&printed).into_owned();
    match status {
        None => End::Failed(format!("killed after {} ms\n{printed}", patience_ms())),
        Some(status) if status.success() => {
            let told: Vec<&str> = printed.lines().filter(|l| l.starts_with(TOLD)).collect();
            End::Passed(told.join("\n"))
        }
        Some(status) if status.code() == Some(SKIPPED) => {
            let reason = printed.lines().find_map(|line| line.strip_prefix("SKIP: "));
            End::Skipped(reason.unwrap_or("no reason given").to_owned())
        }
        Some(status) => End::Failed(format!("{status}\n{printed}")),
    }
}

/// Waits for a child's end; kills it (None) when it takes too long.
fn wait(child: &mut Child) -> Option<ExitStatus> {
    let pidfd = pidfd_of(child.id());
    let in_time = sys::poll_for(pidfd.as_raw_fd(), libc::POLLIN, patience_ms()) != 0;
    if !in_time {
        child.kill().expect("a child can be killed");
    }
    let status = child.wait().expect("a child can be waited for");
    in_time.then_some(status)
}

fn patience_ms() -> i32 {
    if env::var_os(super::compare::CASES).is_some() { LONG_PATIENCE_MS } else { PATIENCE_MS }
}

fn pidfd_of(pid: u32) -> OwnedFd {
    // SAFETY: takes no pointer, and a descriptor that it returns is ours.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        assert!(fd >= 0, "pidfd_open: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(fd as i32)
    }
}
