//! C programs, compiled against `sys/event.h` and linked with the library, shared and static.
//!
//! Where a tool is missing (a C compiler, strace, nm) the test says so and is left out.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kq_core::test_support::preload::library;
use kq_core::test_support::under;
use tempfile::TempDir;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether a tool is there; says so where it is not.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: there is no {tool}");
    }
    found
}

#[derive(Clone, Copy)]
enum Link {
    Shared,
    Static,
    /// By dlopen, of the library that is the program's argument.
    Late,
}

const BOTH: [Link; 2] = [Link::Shared, Link::Static];

/// Compiles a program into a directory.
fn compile(compiler: &[&str], source: &str, link: Link, to: &TempDir) -> PathBuf {
    let program = to.path().join("program");
    let mut cc = Command::new(compiler[0]);
    cc.args(&compiler[1..]).args(["-Wall", "-Wextra", "-Werror", "-g", "-D_GNU_SOURCE"]);
    cc.arg("-I").arg(here("include")).arg(here(source)).arg("-o").arg(&program);
    match link {
        Link::Shared => {
            let so = library("libkqcompat_kqueue.so");
            let dir = so.parent().unwrap();
            cc.arg("-L").arg(dir).arg(format!("-Wl,-rpath,{}", dir.display()));
            // Before LD_LIBRARY_PATH, by which cargo has an older library come first.
            cc.arg("-Wl,--disable-new-dtags");
            cc.args(["-lkqcompat_kqueue", "-lpthread"])
        }
        Link::Static => cc.arg(library("libkqcompat_kqueue.a")).args(["-lpthread", "-ldl", "-lm"]),
        Link::Late => cc.arg("-ldl"),
    };
    succeeded(cc.output().unwrap());
    program
}

/// What a program wrote to its standard output; it ended with 0.
#[track_caller]
fn succeeded(output: Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

#[track_caller]
fn passes(source: &str) {
    if !has("cc") {
        return;
    }
    for link in if under::is_asked_for() { &[Link::Shared][..] } else { &BOTH } {
        let dir = tempfile::tempdir().unwrap();
        let program = compile(&["cc", "-std=gnu11"], source, *link, &dir);
        succeeded(under::command(program).output().unwrap());
    }
}

#[test]
fn the_header_is_freebsds_in_c_and_in_cxx() {
    let compilers: [&[&str]; 4] = [
        &["cc", "-std=c99", "-pedantic", "-Wno-pedantic"],
        &["cc", "-std=c11", "-pedantic"],
        &["c++", "-x", "c++", "-std=c++11", "-pedantic"],
        &["c++", "-x", "c++", "-std=c++20", "-pedantic"],
    ];
    for compiler in compilers.into_iter().filter(|compiler| has(compiler[0])) {
        let dir = tempfile::tempdir().unwrap();
        let program = compile(compiler, "tests/c/header.c", Link::Shared, &dir);
        succeeded(under::command(program).output().unwrap());
    }
}

#[test]
fn errors() {
    passes("tests/c/errors.c");
}

#[test]
fn waiting() {
    passes("tests/c/waiting.c");
}

#[test]
fn at_least() {
    passes("tests/c/min.c");
}

#[test]
fn names() {
    passes("tests/c/names.c");
}

#[test]
fn ring() {
    passes("tests/c/ring.c");
}

#[test]
fn closing() {
    passes("tests/c/closing.c");
}

#[test]
fn closed_where_nobody_sees_it() {
    if !has("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = compile(&["cc", "-std=gnu11"], "tests/c/unseen.c", Link::Late, &dir);
    let rounds = std::env::var("KQCOMPAT_CASES").unwrap_or("100".into());
    let so = library("libkqcompat_kqueue.so");
    succeeded(under::command(program).arg(so).arg(rounds).output().unwrap());
}

#[test]
fn private_queues_by_the_environment() {
    if !has("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for link in BOTH {
        let program = compile(&["cc"], "tests/c/private.c", link, &dir);
        for (value, private) in [("1", "1"), ("0", "0")] {
            let mut run = under::command(&program);
            succeeded(run.arg(private).env("KQCOMPAT_PRIVATE", value).output().unwrap());
        }
    }
}

#[test]
fn files() {
    passes("tests/c/files.c");
}

#[test]
fn forking() {
    passes("tests/c/forking.c");
}

#[test]
fn signal_handlers() {
    passes("tests/c/handler.c");
}

#[test]
fn asynchronous_requests() {
    passes("tests/c/aio.c");
}

#[test]
fn it_exports_what_it_is_to_export() {
    if !has("nm") {
        return;
    }
    let mut nm = Command::new("nm");
    nm.args(["-D", "--defined-only", "-P"]).arg(library("libkqcompat_kqueue.so"));
    let symbols = succeeded(nm.output().unwrap());
    let mut names: Vec<_> = symbols.lines().filter_map(|l| l.split(' ').next()).collect();
    names.sort_unstable();
    let expected = include_str!("exports.txt");
    let expected: Vec<_> = expected.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!(names, expected);
}

#[test]
fn an_idle_queue_does_nothing() {
    if !has("cc") || !has("strace") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = compile(&["cc"], "tests/c/idle.c", Link::Shared, &dir);
    let trace = dir.path().join("trace");
    let mut strace = Command::new("strace");
    let output = strace.args(["-f", "-o"]).arg(&trace).arg(program).output().unwrap();
    if String::from_utf8_lossy(&output.stderr).contains("Operation not permitted") {
        println!("skipped: strace is not permitted here");
        return;
    }
    succeeded(output);
    let text = std::fs::read_to_string(trace).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let marks: Vec<_> = (0..lines.len()).filter(|&i| lines[i].contains("\"idle\\n\"")).collect();
    assert_eq!(marks.len(), 2, "{text}");
    let between = &lines[marks[0] + 1..marks[1]];
    // It looks whether its descriptors are there, and sleeps.
    let (last, looks) = between.split_last().unwrap();
    assert!(last.contains("epoll_pwait"), "{between:#?}");
    assert!(looks.len() <= 2 && looks.iter().all(|l| l.contains("EPOLL_CTL_MOD")), "{between:#?}");
    assert!(!text.contains("clone"), "no thread is made");
}

#[test]
fn the_example_serves_ticks_and_watches() {
    if !has("cc") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let watched = dir.path().join("watched");
    std::fs::write(&watched, "1").unwrap();
    let program = compile(&["cc", "-std=gnu11"], "examples/echo.c", Link::Shared, &dir);
    let mut server = under::command(program);
    let mut server = server.arg(&watched).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map(Result::unwrap);

    let port = lines.next().unwrap().strip_prefix("port ").unwrap().parse().unwrap();
    let mut clients: Vec<_> =
        (0..3).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    for client in &mut clients {
        client.write_all(&[7; 5000]).unwrap();
        client.read_exact(&mut [0; 5000]).unwrap();
    }
    std::fs::write(&watched, "12").unwrap();
    assert!(lines.next().unwrap().ends_with(": written"));
    drop(clients);
    std::thread::sleep(std::time::Duration::from_millis(300));
    // SAFETY: a signal to our own child, which was not waited for.
    assert_eq!(unsafe { libc::kill(server.id() as i32, libc::SIGTERM) }, 0);
    assert_eq!(lines.last().unwrap(), "3 connections, 15000 bytes, ticked");
    assert!(server.wait().unwrap().success());
}

#[test]
fn a_program_sees_itself_at_work() {
    passes("tests/c/stats.c");
}

/// What the program of `stats.c` has printed by `KQCOMPAT_STATS` when it ended in a way.
fn printed(program: &Path, how: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stats");
    let mut command = Command::new(program);
    let output = command.arg(how).env("KQCOMPAT_STATS", &file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    succeeded(output);
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn what_it_did_is_printed_at_exit_to_who_asks() {
    if !has("cc") {
        return;
    }
    for link in BOTH {
        let dir = tempfile::tempdir().unwrap();
        let program = compile(&["cc", "-std=gnu11"], "tests/c/stats.c", link, &dir);
        let one = printed(&program, "exit");
        assert!(one.starts_with("libkqcompat_kqueue "), "{one}");
        assert!(one.contains(" in program["), "{one}");
        assert!(
            one.contains("(kqueue): 2 knotes (TIMER 1, USER 1), 2 changes, 0 waits, "),
            "{one}"
        );
        assert_eq!(one.lines().count(), 2, "{one}");

        // The child has a queue of its own, and not its parent's.
        let two = printed(&program, "fork");
        assert_eq!(two.lines().count(), 4, "{two}");
        assert!(two.lines().nth(1).unwrap().contains(": 0 knotes"), "{two}");
        assert_eq!(printed(&program, "vfork").lines().count(), 2);

        for how in ["_exit", "exec", "closed"] {
            assert_eq!(printed(&program, how), "", "{how}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let program = compile(&["cc", "-std=gnu11"], "tests/c/stats.c", Link::Shared, &dir);
    let mut command = Command::new(&program);
    let output = command.arg("exit").env("KQCOMPAT_STATS", "stderr").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("libkqcompat_kqueue "), "{said}");
}
