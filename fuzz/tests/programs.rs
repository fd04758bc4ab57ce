//! C programs that make it hard for whoever waits, each natively (but for kqueue, which Linux lacks),
//! and with all four libraries, poll and select under the policies default and register.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kq_core::test_support::harness::Suite;
use kq_core::test_support::isolate::{self, End};
use kq_core::test_support::preload::library;

/// The sources, in the folder `c`.
const PROGRAMS: [&str; 4] = ["storm", "cancelled", "children", "confined"];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for program in PROGRAMS {
        suite.add(program, move || build_and_run(program));
    }
    suite.run()
}

/// A file that is gone at the end.
struct Built(PathBuf);

impl Drop for Built {
    fn drop(&mut self) {
        // It may not have been built.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn build_and_run(name: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kqueue = library("libkqcompat_kqueue.so");
    let folder = kqueue.parent().expect("a file lies in a folder");
    let unique = format!("kqcompat-{name}-{}", std::process::id());
    let built = Built(std::env::temp_dir().join(unique));
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-pthread", "-o"]);
    cc.arg(&built.0).arg(here.join("tests/c").join(name).with_extension("c"));
    cc.arg("-I").arg(here.join("../core/c/include"));
    cc.arg("-I").arg(here.join("../core/c/tests/c"));
    cc.arg("-L").arg(folder).arg(format!("-Wl,-rpath,{}", folder.display()));
    // Before LD_LIBRARY_PATH, by which cargo has an older library come first.
    cc.arg("-Wl,--disable-new-dtags");
    cc.arg("-lkqcompat_kqueue");
    let output = match cc.output() {
        Ok(output) => output,
        Err(error) => isolate::skip(&format!("no C compiler: {cc:?}: {error}")),
    };
    assert!(output.status.success(), "{cc:?}: {}", String::from_utf8_lossy(&output.stderr));

    let libraries = ["libkqcompat_poll.so", "libkqcompat_select.so", "libkqcompat_epoll.so"];
    let libraries = std::env::join_paths(libraries.map(library)).expect("paths without colons");
    finish(&mut Command::new(&built.0));
    for policy in ["default", "register"] {
        let mut run = Command::new(&built.0);
        finish(run.env("LD_PRELOAD", &libraries).env("KQCOMPAT_POLICY", policy));
    }
}

#[track_caller]
fn finish(run: &mut Command) {
    match isolate::run(run) {
        End::Passed(_) => {}
        End::Skipped(reason) => isolate::skip(&reason),
        End::Failed(why) => panic!("{run:?}: {why}"),
    }
}
