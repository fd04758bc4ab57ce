//! C programs, with the library preloaded, linked, and linked statically.

use std::path::{Path, PathBuf};
use std::process::Command;

use kq_core::test_support::harness::Suite;
use kq_core::test_support::isolate::{self, End};
use kq_core::test_support::{preload, under};

/// How a program gets the library.
#[derive(Clone, Copy, Debug)]
enum How {
    Preloaded,
    Linked,
    LinkedStatically,
}

/// The sources, in the folder `c`.
const PROGRAMS: [&str; 2] = ["basics", "cancel"];

/// What is there on a native kqueue alone.
#[cfg(kqcompat_native)]
pub(crate) fn add_native(suite: &mut Suite<'_>) {
    for how in [How::Linked, How::LinkedStatically] {
        let name = format!("native::objects_{how:?}").to_lowercase();
        suite.add(name.clone(), move || build_and_run(&name, "objects", how));
    }
}

pub(crate) fn add(suite: &mut Suite<'_>) {
    for program in PROGRAMS {
        for how in [How::Preloaded, How::Linked, How::LinkedStatically] {
            let name = format!("c::{program}_{how:?}").to_lowercase();
            suite.add(name.clone(), move || build_and_run(&name, program, how));
        }
    }
}

/// A file that is gone at the end.
struct Built(PathBuf);

impl Drop for Built {
    fn drop(&mut self) {
        // It may not have been built.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn build_and_run(name: &str, program: &str, how: How) {
    let library = preload::library(crate::LIBRARY);
    let folder = library.parent().expect("a file lies in a folder");
    let unique = format!("kqcompat-{}-{}", name.replace("::", "-"), std::process::id());
    let built = Built(std::env::temp_dir().join(unique));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/library/c");
    let mut cc = Command::new(std::env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-Wall", "-Wextra", "-O1", "-pthread", "-o"]).arg(&built.0);
    cc.arg(source.join(format!("{program}.c")));
    match how {
        How::Preloaded => {}
        How::Linked => {
            cc.arg("-L").arg(folder).arg("-lkqcompat_epoll");
        }
        How::LinkedStatically => {
            cc.arg(folder.join("libkqcompat_epoll.a"));
        }
    }
    if cfg!(kqcompat_native) {
        let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
        cc.arg("-I").arg(include);
        // In front of libc: the library beneath is told of closes.
        cc.arg("-Wl,--no-as-needed").args(std::env::var_os("KQCOMPAT_NATIVE_LIB"));
    }
    cc.args(["-ldl", "-lm"]);
    let output = match cc.output() {
        Ok(output) => output,
        Err(error) => isolate::skip(&format!("no C compiler: {cc:?}: {error}")),
    };
    assert!(output.status.success(), "{cc:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut run = under::command(&built.0);
    match how {
        How::Preloaded => run.env("LD_PRELOAD", &library).arg(crate::LIBRARY),
        How::Linked => {
            let others = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
            let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others));
            let paths = std::env::join_paths(paths).expect("a list that was split");
            run.env("LD_LIBRARY_PATH", paths).arg(crate::LIBRARY)
        }
        // Its own executable is where the functions are to be.
        How::LinkedStatically => run.arg(&built.0),
    };
    match isolate::run(&mut run) {
        End::Passed(_) => {}
        End::Skipped(reason) => isolate::skip(&reason),
        End::Failed(why) => panic!("{run:?}: {why}"),
    }
}
