//! What `cargo xtask dist` lays down is what a C programmer needs: compiled against it, shared and
//! static, by what pkg-config says.
//!
//! Where a tool is missing (a C compiler, pkg-config) the test says so and is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LIBRARIES: [&str; 4] =
    ["kqcompat_kqueue", "kqcompat_epoll", "kqcompat_poll", "kqcompat_select"];

/// Waits for a timer by kqueue, and for a pipe by whatever else is linked.
const PROGRAM: &str = r#"
#include <sys/event.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct kevent timer, event;
	struct pollfd fds[1];
	int pipes[2], kq = kqueue();

	if (kq == -1 || pipe(pipes) == -1 || write(pipes[1], "x", 1) != 1)
		return 1;
	EV_SET(&timer, 7, EVFILT_TIMER, EV_ADD, NOTE_MSECONDS, 10, NULL);
	fds[0] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	if (kevent(kq, &timer, 1, &event, 1, NULL) != 1 || poll(fds, 1, -1) != 1)
		return 2;
	printf("%d %d\n", (int)event.ident, fds[0].revents == POLLIN);
	return 0;
}
"#;

#[track_caller]
fn succeeded(output: Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: there is no {tool}");
    }
    found
}

fn dist(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask")).arg("dist").args(args).output().unwrap()
}

/// What pkg-config says about libraries that are laid under a prefix.
fn pkg_config(prefix: &Path, args: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(args);
    succeeded(command.output().unwrap()).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_c_program_is_compiled_against_what_is_laid_and_runs() {
    if !has("cc") || !has("pkg-config") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("prefix");
    succeeded(dist(&["--prefix", prefix.to_str().unwrap()]));
    let source = dir.path().join("program.c");
    fs::write(&source, PROGRAM).unwrap();
    let compile = |name: &str, flags: &[String]| {
        let program = dir.path().join(name);
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-Werror"]).arg(&source).args(flags).arg("-o").arg(&program);
        succeeded(cc.output().unwrap());
        Command::new(program)
    };

    let flags = pkg_config(&prefix, &["--cflags", "--libs", "kqcompat_kqueue", "kqcompat_poll"]);
    let mut shared = compile("shared", &flags);
    shared.env("LD_LIBRARY_PATH", prefix.join("lib"));
    assert_eq!(succeeded(shared.output().unwrap()), "7 1\n");
    // The loader asks for the name that stays the same while programs can go on.
    shared.env("LD_TRACE_LOADED_OBJECTS", "1");
    let loaded = succeeded(shared.output().unwrap());
    for name in ["libkqcompat_kqueue.so.0", "libkqcompat_poll.so.0"] {
        let path = prefix.join("lib").join(name);
        let line = format!("{name} => {} ", path.display());
        assert!(loaded.lines().any(|l| l.trim_start().starts_with(&line)), "{loaded}");
    }

    let mut flags = pkg_config(&prefix, &["--cflags", "--static", "--libs", "kqcompat_kqueue"]);
    for flag in &mut flags {
        if flag == "-lkqcompat_kqueue" {
            *flag = "-l:libkqcompat_kqueue.a".to_owned();
        }
    }
    assert_eq!(succeeded(compile("static", &flags).output().unwrap()), "7 1\n");

    for page in ["man2/kqueue.2", "man7/kqcompat.7"] {
        assert!(prefix.join("share/man").join(page).exists(), "{page}");
    }
}

#[test]
fn a_package_is_laid_elsewhere_than_it_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let destdir = dir.path().to_str().unwrap();
    let args = ["--prefix", "/opt/kqcompat", "--libdir", "lib/here", "--destdir", destdir];
    // Twice: what is there is replaced.
    succeeded(dist(&args));
    succeeded(dist(&args));
    let prefix: PathBuf = dir.path().join("opt/kqcompat");
    for name in LIBRARIES {
        let lib = prefix.join("lib/here");
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            fs::symlink_metadata(lib.join(format!("lib{name}.so.{version}"))).unwrap().is_file()
        );
        assert_eq!(
            fs::canonicalize(lib.join(format!("lib{name}.so"))).unwrap(),
            fs::canonicalize(lib.join(format!("lib{name}.so.{version}"))).unwrap()
        );
        let text = fs::read_to_string(lib.join(format!("pkgconfig/{name}.pc"))).unwrap();
        assert!(text.contains("prefix=/opt/kqcompat\nlibdir=${prefix}/lib/here\n"), "{text}");
        assert!(!text.contains('@') && !text.contains(destdir), "{text}");
    }
    assert!(prefix.join("include/kqcompat/sys/event.h").exists());
}

#[test]
fn a_relative_prefix_is_refused() {
    let refused = dist(&["--prefix", "here"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("must be absolute"));
}

#[test]
fn a_debian_package_is_complete_and_works() {
    if ["cc", "pkg-config", "dpkg-deb", "readelf"].iter().any(|tool| !has(tool)) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["deb", "--out", out]).output();
    let package = succeeded(made.unwrap()).lines().last().unwrap().to_owned();

    let field = |name: &str| {
        let field = Command::new("dpkg-deb").args(["--field", &package, name]).output();
        succeeded(field.unwrap()).trim().to_owned()
    };
    assert_eq!(field("Version"), env!("CARGO_PKG_VERSION"));
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));

    let root = dir.path().join("root");
    let unpacked = Command::new("dpkg-deb").args(["--extract", &package]).arg(&root).output();
    unpacked.map(|output| assert!(output.status.success())).unwrap();
    for file in ["doc/kqcompat/copyright", "man/man2/kqueue.2"] {
        assert!(root.join("usr/share").join(file).exists(), "{file}");
    }
    let multiarch = Command::new("cc").arg("-print-multiarch").output();
    let libdir = root.join("usr/lib").join(succeeded(multiarch.unwrap()).trim());

    let (source, program) = (dir.path().join("program.c"), dir.path().join("program"));
    fs::write(&source, PROGRAM).unwrap();
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", libdir.join("pkgconfig"));
    pkg_config.env("PKG_CONFIG_SYSROOT_DIR", &root).args(["--cflags", "--libs", "kqcompat_kqueue"]);
    let flags = succeeded(pkg_config.output().unwrap());
    let mut cc = Command::new("cc");
    cc.arg(&source).args(flags.split_whitespace()).arg("-o").arg(&program);
    succeeded(cc.output().unwrap());
    let mut program = Command::new(program);
    program.env("LD_LIBRARY_PATH", &libdir).env("LD_PRELOAD", libdir.join("libkqcompat_poll.so.0"));
    assert_eq!(succeeded(program.output().unwrap()), "7 1\n");
}
