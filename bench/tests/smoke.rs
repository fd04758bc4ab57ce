//! Each subcommand does a short run. No time is asserted: that is what `bench` itself is for.

use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// Has bench build the C libraries once, so that the other runs find them.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let out = bench(&["--quick", "pipetest", "2"]);
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    });
}

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(args).output().expect("bench starts")
}

/// Runs a subcommand briefly, and gives the one benchmark that its results hold.
fn quick(args: &[&str]) -> Value {
    build();
    let mut all = vec!["--quick", "--no-build", "--json", "-"];
    all.extend_from_slice(args);
    let out = bench(&all);
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "bench {args:?}: {}\n{stderr}", out.status);
    let run: Value = serde_json::from_slice(&out.stdout).expect("--json - prints JSON");
    assert_eq!(run["settings"]["quick"], true);
    assert!(run["host"]["kernel"].as_str().is_some_and(|k| !k.is_empty()));
    let benches = run["benches"].as_array().expect("a list");
    assert_eq!(benches.len(), 1, "{args:?}");
    for note in benches[0]["notes"].as_array().expect("a list") {
        let note = note.as_str().expect("text");
        println!("{}: {note}", args[0]);
        assert!(!note.contains("failed"), "{note}");
        assert!(!note.contains('/'), "a path is in the results: {note}");
    }
    benches[0].clone()
}

/// The benchmark has rows, and each a native value that is a number.
fn rows(bench: &Value) -> &Vec<Value> {
    let cases = bench["cases"].as_array().expect("a list");
    assert!(!cases.is_empty(), "{bench}");
    for case in cases {
        assert!(case["native"]["value"]["median"].is_number(), "{case}");
        for other in case["others"].as_array().expect("a list") {
            assert!(other["ratio"]["median"].is_number(), "{other}");
        }
    }
    cases
}

#[test]
fn every_interface_is_measured() {
    let bench = quick(&["pipetest", "4"]);
    let mut names: Vec<&str> = Vec::new();
    for case in rows(&bench) {
        let others = case["others"].as_array().expect("a list");
        names.extend(others.iter().filter_map(|o| o["interface"].as_str()));
    }
    for name in ["compat-poll", "compat-poll-rust", "compat-epoll", "compat-epoll-rust"] {
        assert!(names.contains(&name), "no {name} among {names:?}");
    }
    for name in ["compat-select", "compat-select-rust", "kqueue", "kqueue-c"] {
        assert!(names.contains(&name), "no {name} among {names:?}");
    }
}

#[test]
fn pipetest_passes_its_tokens() {
    let bench = quick(&["pipetest", "4,40", "2", "3", "--bufsize", "16"]);
    assert_eq!(rows(&bench).len(), 2 * 3);
    let few = bench_fails(&["--no-build", "pipetest", "4", "5"]);
    assert!(few.contains("5 tokens need as many pipes"), "{few}");
}

#[test]
fn poller_finds_its_active_pair() {
    for kind in ["pipe", "unix", "inet"] {
        let bench = quick(&["poller", "-n", "20", "-a", "3", "--kind", kind]);
        assert_eq!(rows(&bench).len(), 3);
    }
}

#[test]
fn what_does_not_fit_is_said() {
    let bench = quick(&["poller", "-n", "20,100000000"]);
    assert_eq!(rows(&bench).len(), 3);
    let notes = bench["notes"].to_string();
    assert!(notes.contains("N = 100000000 could not be run"), "{notes}");
}

#[test]
fn epoll_bench_moves_events() {
    let bench = quick(&["epoll-bench", "-n", "10", "-t", "0.1", "-e", "8", "-l", "4"]);
    // Three kinds, level-triggered on each native interface, edge-triggered on epoll.
    assert_eq!(rows(&bench).len(), 3 * 4);
}

#[test]
fn the_ancestors_features_are_measured() {
    let bench = quick(&["ancestors", "-t", "0.05", "-n", "8", "--connections", "4"]);
    let groups: Vec<_> = rows(&bench).iter().map(|case| case["group"].as_str().unwrap()).collect();
    assert!(groups.len() >= 26, "{groups:?}");
}

#[test]
fn scale_shares_a_queue() {
    let bench = quick(&["scale", "1,2", "-t", "0.05", "--sources", "8"]);
    assert_eq!(rows(&bench).len(), 2 * 2);
}

#[test]
fn micro_does_each_primitive() {
    let bench = quick(&["micro"]);
    assert!(rows(&bench).len() >= 20, "{}", rows(&bench).len());
}

#[test]
fn poll_table_has_every_part() {
    let bench = quick(&["poll-table"]);
    let rows = rows(&bench);
    for part in ["blocking", "timeout 0", "replaced", "reopened", "new set", "%", "wake-up"] {
        let is_it = |c: &Value| c["title"].as_str().is_some_and(|t| t.contains(part));
        assert!(rows.iter().any(is_it), "no row for {part}");
    }
}

#[test]
fn libevents_programs_run_on_every_method() {
    // regress builds them; what it needs and does not find it names.
    if let Some(missing) = lacks(&["cmake", "cc", "python3"]) {
        println!("skipped: {missing} is not installed");
        let error = bench_fails(&["--quick", "--no-build", "libevent"]);
        return assert!(error.contains("regress build"), "{error}");
    }
    let bench = quick(&["libevent", "-n", "20", "-a", "5", "-w", "50", "--cascade", "5"]);
    assert_eq!(rows(&bench).len(), 2 * 3);
}

#[test]
fn apachebench_loads_a_server() {
    let args = ["-t", "1", "-n", "200", "--concurrency", "20", "--idle", "0,20"];
    let mut all = vec!["apachebench", "--handler", "poll"];
    all.extend(args);
    if let Some(missing) = lacks(&["lighttpd", "wrk", "ab"]) {
        println!("skipped: {missing} is not installed");
        let error = bench_fails(&["--quick", "--no-build", "apachebench"]);
        return assert!(error.contains("apt-get install"), "{error}");
    }
    let rows = rows(&quick(&all)).len();
    assert!(rows >= 4, "{rows}");
}

/// The first of these programs that is not there.
fn lacks(programs: &[&'static str]) -> Option<&'static str> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin";
    let there = |program: &str| std::env::split_paths(&path).any(|d| d.join(program).is_file());
    programs.iter().copied().find(|p| !there(p))
}

#[test]
fn a_run_can_be_compared_with_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("run.json");
    let file = file.to_str().expect("UTF-8");
    let out = bench(&["--quick", "--no-build", "--json", file, "pipetest", "4"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains("passes"));
    let out = bench(&["compare", file, file]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("0 slower, 0 faster"), "{text}");
}

#[test]
fn a_run_that_is_cut_short_keeps_what_it_measured() {
    build();
    let dir = tempfile::tempdir().expect("a directory");
    let (file, html) = (dir.path().join("run.json"), dir.path().join("run.html"));
    let paths = [&file, &html].map(|p| p.to_str().expect("UTF-8"));
    let mut all = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["--quick", "--no-build", "all", "--json", paths[0]])
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("bench starts");
    // The first benchmark is done when its file is there.
    while !file.exists() {
        assert!(all.try_wait().expect("it is ours").is_none(), "bench ended without results");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    all.kill().expect("it is ours");
    all.wait().expect("it is ours");
    let out = bench(&["report", paths[0], "-o", paths[1]]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("missing"), "{said}");
    let report = std::fs::read_to_string(&html).expect("a report");
    assert!(report.contains("<h2>pipetest</h2>") && report.contains("Missing: "), "{report}");
    // What it lacks can be put in.
    let out = bench(&["--quick", "--no-build", "--resume", paths[0], "scale", "2", "-t", "0.05"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = std::fs::read_to_string(&file).expect("results");
    let run: Value = serde_json::from_str(&text).expect("results");
    let names: Vec<_> = run["benches"].as_array().unwrap().iter().map(|b| &b["name"]).collect();
    assert!(names.contains(&&"pipetest".into()) && names.contains(&&"scale".into()), "{names:?}");
    let why = bench_fails(&["--no-build", "--resume", paths[0], "scale", "2", "-t", "0.05"]);
    assert!(why.contains("other settings"), "{why}");
}

fn bench_fails(args: &[&str]) -> String {
    let out = bench(args);
    assert!(!out.status.success(), "bench {args:?} should have failed");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn a_library_that_is_no_kqueue_is_said() {
    let bench = quick_noted(&["--lib", "/lib/x86_64-linux-gnu/libm.so.6", "pipetest", "4"]);
    assert!(bench.contains("libm is left out: no symbol kqueue"), "{bench}");
}

/// The notes of a run that has something to complain about.
fn quick_noted(args: &[&str]) -> String {
    let mut all = vec!["--quick", "--no-build", "--json", "-"];
    all.extend_from_slice(args);
    let out = bench(&all);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let run: Value = serde_json::from_slice(&out.stdout).expect("--json - prints JSON");
    run["benches"][0]["notes"].to_string()
}

#[test]
fn a_soak_accounts_for_every_byte() {
    build();
    let out = bench(&["--no-build", "soak", "--connections", "2000"]);
    let (said, why) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{}\n{said}{why}", out.status);
    for interface in ["compat-select", "compat-poll", "compat-epoll, edge", "kqueue, edge"] {
        let line = said.lines().find(|line| line.starts_with(&format!("{interface}:")));
        assert!(line.is_some_and(|line| line.contains("connections")), "no {interface} in {said}");
    }
}
