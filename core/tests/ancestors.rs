//! The examples of docs/ancestors.md.

use kq_core::test_support::echo::printed;

#[track_caller]
fn prints(example: &str, expected: &str) {
    assert_eq!(printed("kq-core", example), expected);
}

#[test]
fn a_wait_for_at_least_three() {
    prints("kqueue_min", "3 are ready\n1 is ready, and no more came in time\n");
}

#[test]
fn a_ring_that_two_threads_read() {
    prints("kqueue_ring", "1000 of 1000 events, each taken once\n");
}

#[test]
fn one_thread_is_woken_for_each_connection() {
    prints("kqueue_wake_one", "200 connections accepted\n");
}

#[test]
fn the_condition_is_tested_again() {
    prints("kqueue_last_check", "1000 bytes read\n");
}

#[test]
fn entries_are_named() {
    let lines = [
        "Created a file",
        "Created a directory",
        "MovedOut a file",
        "MovedIn another name",
        "Removed another name",
        "Removed a directory",
    ];
    prints("kqueue_names", &(lines.join("\n") + "\n"));
}

#[test]
fn threads_scan_one_queue() {
    prints("kqueue_threads", "4 threads, at least 10000 events\n");
}

#[test]
fn requests_are_answered_where_they_came_to() {
    prints("kqueue_selective", "800 requests answered\n");
}

#[test]
fn every_file_and_test_that_the_page_names_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/ancestors.md")).unwrap();
    let words = || page.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let files: Vec<_> =
        words().filter(|word| word.starts_with("core/") || word.starts_with("bench/")).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in &files {
        assert!(root.join(file).exists(), "there is no {file}");
    }
    // A test's name stands behind its file's.
    let sources: String = files
        .iter()
        .filter(|file| file.ends_with(".rs"))
        .map(|file| std::fs::read_to_string(root.join(file)).unwrap())
        .collect();
    let threads = root.join("core/tests/contract/contracts/threads.rs");
    let sources = sources + &std::fs::read_to_string(threads).unwrap();
    let is_test = |word: &&str| {
        word.matches('_').count() >= 3 && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase())
    };
    let tests: Vec<_> = words().filter(is_test).collect();
    assert!(tests.len() > 8, "{tests:?}");
    for test in tests {
        assert!(sources.contains(&format!("fn {test}(")), "there is no {test}");
    }
}
