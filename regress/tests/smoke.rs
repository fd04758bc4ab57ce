//! The whole program on a few of libevent's tests. What a machine lacks is printed, and the tests
//! that need it end there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

fn regress(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regress"));
    command.args(args).stdin(Stdio::null());
    command
}

fn output(args: &[&str]) -> Output {
    regress(args).output().expect("regress starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether libevent can be built here; prints why not.
fn can_build(output: &Output) -> bool {
    let said = stderr(output);
    let cannot = said.contains("libevent cannot be built here");
    if cannot {
        println!("skipped: {said}");
    }
    !cannot
}

#[test]
fn a_few_tests_pass_on_every_usual_column_and_nothing_is_built_twice() {
    const TESTS: &str = "main/simpleread,main/simplewrite,main/persist*,et/,test-eof,test-closed";
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (json, junit) = (file("r.json"), file("r.xml"));
    let first = output(&["--tests", TESTS, "--json", &json, "--junit", &junit]);
    if !can_build(&first) {
        return;
    }
    assert!(first.status.success(), "{} {}{}", first.status, stdout(&first), stderr(&first));

    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let columns = report["columns"].as_array().unwrap();
    for name in ["epoll native", "epoll compat", "poll native", "select native", "kqueue compat"] {
        let column = columns.iter().find(|c| c["name"] == name);
        let column = column.unwrap_or_else(|| panic!("no column {name} in {report:#}"));
        assert!(column["passed"].as_u64().unwrap() >= 5, "{column:#}");
    }
    assert_eq!(report["differences"].as_array().unwrap().len(), 0, "{report:#}");
    assert!(fs::read_to_string(&junit).unwrap().contains("main/simpleread"));

    let second = output(&["--backend", "native", "--method", "epoll", "--tests", "et/"]);
    assert!(second.status.success(), "{}", stderr(&second));
    assert!(stderr(&second).contains("built already"), "{}", stderr(&second));
}

#[test]
fn a_pattern_without_a_test_is_an_error_that_shows_the_groups() {
    let refused = output(&["--backend", "native", "--method", "poll", "--tests", "mian/"]);
    if !can_build(&refused) {
        return;
    }
    assert_eq!(refused.status.code(), Some(2), "{}: {}", refused.status, stderr(&refused));
    assert!(stderr(&refused).contains("main/"), "{}", stderr(&refused));
}

#[test]
fn an_unknown_option_is_answered_with_the_right_ones() {
    let refused = output(&["--mehtod", "epoll"]);
    assert_eq!(refused.status.code(), Some(2));
    for option in ["--method", "--backend", "--tests", "--libevent", "--json", "--junit", "--jobs"]
    {
        assert!(stderr(&refused).contains(option), "{}", stderr(&refused));
    }
}

#[test]
fn run_starts_a_program_on_the_libraries_and_passes_its_status_on() {
    let script = "cat /proc/self/maps; exit 7";
    let compat = output(&["run", "--backend", "compat", "--", "sh", "-c", script]);
    assert_eq!(compat.status.code(), Some(7), "{}", stderr(&compat));
    assert!(stdout(&compat).contains("libkqcompat_epoll.so"), "{}", stdout(&compat));

    let native = output(&["run", "--backend", "native", "--", "sh", "-c", script]);
    assert_eq!(native.status.code(), Some(7), "{}", stderr(&native));
    assert!(!stdout(&native).contains("libkqcompat"), "{}", stdout(&native));
}

#[test]
fn run_prints_what_the_libraries_did() {
    const PROGRAM: &str = "
import os, select
readers = [os.pipe()[0] for _ in range(20)]
poll = select.poll()
for reader in readers: poll.register(reader, select.POLLIN)
for _ in range(5): poll.poll(0)
epoll = select.epoll()
epoll.register(readers[0], select.EPOLLIN)
epoll.poll(0)
os._exit(0) if os.fork() == 0 else os.wait()
";
    let args = ["run", "--policy", "register", "--stats", "--", "python3", "-c", PROGRAM];
    let stats = output(&args);
    assert!(stats.status.success(), "{}", stderr(&stats));
    for line in [
        "libkqcompat_epoll ",
        " (epoll): 1 registrations, 1 changes, 1 waits, 0 events",
        "poll and select (policy register): 5 calls by the engine, 0 by the kernel; 20 registrations in 1 queues, ",
        "  poll of 20 descriptors: 20 registered with queue ",
    ] {
        assert_eq!(stderr(&stats).matches(line).count(), 1, "{line}: {}", stderr(&stats));
    }
    assert!(!stderr(&stats).contains("libkqcompat_select "), "{}", stderr(&stats));
    let refused = output(&["run", "--backend", "native", "--stats", "--", "true"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
}

#[test]
fn programs_run_natively_and_on_every_setting() {
    let out = output(&["programs", "perl", "redis"]);
    assert!(out.status.success(), "{}{}", stdout(&out), stderr(&out));
    let table = stdout(&out);
    println!("{table}");
    let rows =
        |program: &str| table.lines().filter(|l| l.trim_start().starts_with(program)).count();
    // Natively and under three policies, by poll and by select; or one row that says what is missing.
    assert!(table.contains("not installed") || rows("perl") == 8 && rows("redis") == 2, "{table}");
    assert!(!table.contains("FAILS"), "{table}");

    let refused = output(&["programs", "no-such-program"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("haproxy"), "{}", stderr(&refused));
}

#[test]
fn run_refuses_a_program_that_the_loader_would_not_preload_into() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = compile(dir.path(), "int main(void) { return 0; }", &["-static"]) else {
        return;
    };
    let refused = output(&["run", "--", program.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("linked statically"), "{}", stderr(&refused));
}

/// Go's linker leaves a note, as this program does.
#[test]
fn run_says_what_a_go_program_is_served() {
    const PROGRAM: &str = r#"
        __attribute__((section(".note.go.buildid"), used, aligned(4)))
        static const struct { int name_len, len, type; char name[4], id[4]; } note =
            { 4, 4, 4, "Go", "id" };
        int main(void) { return 0; }
    "#;
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = compile(dir.path(), PROGRAM, &[]) else { return };
    let told = output(&["run", "--", program.to_str().unwrap()]);
    assert!(
        told.status.success() && stderr(&told).contains("is written in Go"),
        "{}",
        stderr(&told)
    );
}

/// An executable of a C program; None, with the reason printed, where it cannot be had.
fn compile(dir: &Path, source: &str, flags: &[&str]) -> Option<PathBuf> {
    let (file, program) = (dir.join("m.c"), dir.join("program"));
    fs::write(&file, source).unwrap();
    match Command::new("cc").args(flags).arg(&file).arg("-o").arg(&program).output() {
        Ok(output) if output.status.success() => return Some(program),
        Ok(output) => println!("skipped: cc {flags:?}: {}", stderr(&output)),
        Err(error) => println!("skipped: cc: {error}"),
    }
    None
}

/// The processes of this process that run a program of this name.
fn children(of: &Child, name: &str) -> Vec<PathBuf> {
    let parent = format!(" {} ", of.id());
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|path| {
            // pid (name) state ppid ...
            fs::read_to_string(path.join("stat")).is_ok_and(|stat| {
                let Some((head, tail)) = stat.rsplit_once(')') else { return false };
                head.ends_with(&format!("({name}"))
                    && tail[2..].starts_with(&parent)
                    && !tail.starts_with(" Z")
            })
        })
        .collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come about within a minute");
}

#[test]
fn an_interrupt_ends_the_tests_that_run() {
    if !Path::new("/proc/self/stat").exists() {
        return println!("skipped: no /proc");
    }
    // Built first, so that what follows starts at once.
    let ready = output(&["--method", "epoll", "--backend", "native", "--tests", "et/"]);
    if !can_build(&ready) {
        return;
    }
    let sleeper = "http/cancel_inactive_server";
    let mut child = regress(&["--method", "epoll", "--backend", "native", "--tests", sleeper])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut tests = Vec::new();
    wait_until("the test", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        tests = children(&child, "regress");
        !tests.is_empty()
    });
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    wait_until("the end of the test", || tests.iter().all(|path| is_gone(path)));
}

/// Dead, or dead and not yet reaped by whoever inherited it.
fn is_gone(process: &Path) -> bool {
    fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
}
