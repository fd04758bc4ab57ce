//! Programs that know nothing of the library, unchanged, with it preloaded.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::{isolate, preload};

pub(crate) fn add(suite: &mut Suite<'_>) {
    suite.add("programs::redis", redis);
    suite.add("programs::python_asyncio", python_asyncio);
    suite.add("programs::pythons_own_tests", pythons_own_tests);
}

fn preloaded(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", preload::library(crate::LIBRARY)).stdin(Stdio::null());
    command
}

/// Its output; skips the test where the program is not installed.
fn output(command: &mut Command, package: &str) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => isolate::skip(&format!("{package} is not installed: {error}")),
    }
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A process that is killed if the test fails.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// redis-server, asked by redis-benchmark (both with the library) and redis-cli.
fn redis() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let port = port.to_string();
    let mut command = preloaded("redis-server");
    command.args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--appendonly", "no"]);
    command.args(["--daemonize", "no"]).current_dir(std::env::temp_dir()).stdout(Stdio::null());
    let mut server = match command.spawn() {
        Ok(server) => Server(server),
        Err(error) => isolate::skip(&format!("redis-server is not installed: {error}")),
    };
    let cli = |args: &[&str]| {
        let mut command = Command::new("redis-cli");
        output(command.args(["-p", &port]).args(args).stdin(Stdio::null()), "redis-tools")
    };
    let answers = || text(&cli(&["ping"]).stdout).trim() == "PONG";
    let up = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        assert!(server.0.try_wait().expect("wait").is_none(), "redis-server ended");
        answers()
    });
    assert!(up, "redis-server never answered");
    assert_uses_library(server.0.id());

    const REQUESTS: &str = "20000";
    let mut benchmark = preloaded("redis-benchmark");
    benchmark.args(["-p", &port, "-n", REQUESTS, "-c", "50", "-q", "-r", "1000"]);
    let result =
        output(benchmark.args(["-t", "ping_mbulk,set,get,incr,lpush,mset"]), "redis-tools");
    assert!(result.status.success(), "{}", text(&result.stderr));
    // It redraws its lines by carriage returns; the last of each says how many a second.
    let done = text(&result.stdout).matches("requests per second").count();
    assert!(done >= 6, "{}", text(&result.stdout));
    let pipelined = preloaded("redis-benchmark")
        .args(["-p", &port, "-n", REQUESTS, "-P", "16", "-q", "-t", "incr"])
        .output();
    assert!(pipelined.expect("it ran before").status.success());
    // Both runs of INCR, on one counter and on a thousand.
    let counted = text(&cli(&["get", "counter:__rand_int__"]).stdout).trim().to_owned();
    assert_eq!(counted, REQUESTS);

    cli(&["shutdown", "nosave"]);
    assert!(server.0.wait().expect("wait").success());
}

/// That a running process has the library.
fn assert_uses_library(pid: u32) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("/proc is mounted");
    assert!(maps.contains(crate::LIBRARY), "the library is not loaded");
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/echo_asyncio.py")
}

/// An asyncio server and its clients in one loop on select.epoll.
fn python_asyncio() {
    let mut python = preloaded("python3");
    let result = output(python.arg(script()).arg(crate::LIBRARY), "python3");
    assert!(result.status.success(), "{}{}", text(&result.stdout), text(&result.stderr));
    assert!(text(&result.stdout).contains("all echoed"), "{}", text(&result.stdout));
}

/// The parts of python's test suite that are about epoll, where the suite is installed. What fails is
/// run without the library too: it may fail of itself.
fn pythons_own_tests() {
    const TESTS: [&str; 3] = [
        "test.test_epoll",
        "test.test_selectors.EpollSelectorTestCase",
        "test.test_asyncio.test_events.EPollEventLoopTests",
    ];
    let mut import = Command::new("python3");
    let import = import.args(["-c", "import test.test_epoll, test.test_asyncio.test_events"]);
    if !output(import, "python3").status.success() {
        isolate::skip("python3's own test suite is not installed");
    }
    for test in TESTS {
        let run = |mut python: Command| {
            let result = output(python.args(["-m", "unittest", test]), "python3");
            text(&result.stderr).into_owned()
        };
        let said = run(preloaded("python3"));
        let ran = said.lines().find(|line| line.starts_with("Ran "));
        let ran = ran.unwrap_or_else(|| panic!("{test}: {said}"));
        let failed = failures(&said);
        if !failed.is_empty() {
            let natively = failures(&run(Command::new("python3")));
            let new: Vec<_> = failed.iter().filter(|test| !natively.contains(test)).collect();
            assert!(new.is_empty(), "{test}: {new:?}\n{said}");
        }
        isolate::tell(&format!("{test}: {ran}; failed natively too: {failed:?}"));
    }
}

/// The names of the tests that failed.
fn failures(said: &str) -> Vec<String> {
    let failed = |line: &&str| line.starts_with("FAIL: ") || line.starts_with("ERROR: ");
    said.lines().filter(failed).map(str::to_owned).collect()
}
