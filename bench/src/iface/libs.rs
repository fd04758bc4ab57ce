//! Where the libraries under test come from.
//!
//! Native and compat sit in **one process**, so that a ratio has both of its halves from the same
//! second: the program starts itself again (exec) under `LD_PRELOAD` with the compat libraries
//! before it measures anything. From then on
//! - compat is the symbol of the preloaded library (`poll` of libkqcompat_poll.so);
//! - native is libc.so.6's own symbol of the same name, looked up in libc and nowhere else: what
//!   the program would call without the library. The raw system call instruction would leave out
//!   libc's few nanoseconds, which a program cannot;
//! - both are called through a pointer of the same type by the same code.
//!
//! Rejected: dlopen alone. A library that is only opened does not interpose `close`, so poll and
//! select would not see numbers being closed, which they rely on and whose cost must be counted.
//! Rejected: two processes. Their ratio has the machine's drift in it.
//!
//! Libraries with kqueue are opened by dlopen, ours and others (`--lib`) alike, since kqueue is no
//! symbol that programs here already call. RTLD_DEEPBIND keeps the `epoll_wait` or `close` which
//! such a library calls away from the preloaded ones.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::model::Case;

/// Set in the process that runs under the preloaded libraries.
const PRELOADED: &str = "KQCOMPAT_BENCH_PRELOADED";

/// (package, folder, file) of each C library.
const PACKAGES: [(&str, &str, &str); 4] = [
    ("kq-core-c", "core/c", "libkqcompat_kqueue.so"),
    ("compat-epoll-c", "compat-epoll/c", "libkqcompat_epoll.so"),
    ("compat-poll-c", "compat-poll/c", "libkqcompat_poll.so"),
    ("compat-select-c", "compat-select/c", "libkqcompat_select.so"),
];

/// Those of the four that are preloaded.
const PRELOAD: [&str; 3] = ["libkqcompat_epoll.so", "libkqcompat_poll.so", "libkqcompat_select.so"];

/// The workspace's root, where this program was built.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

/// The directory of the C libraries: beside this program, which cargo put there in the same
/// profile.
pub(crate) fn directory(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = asked {
        return dir.canonicalize().with_context(|| format!("--lib-dir {}", dir.display()));
    }
    let exe = std::env::current_exe()?;
    Ok(exe.parent().context("this program lies in no directory")?.to_owned())
}

/// Has cargo bring the C libraries up to date, in this program's own profile: a library older
/// than the sources would be measured in their name. Without cargo or the sources, what is there
/// is used.
pub(crate) fn build() -> Result<()> {
    let root = workspace();
    let packages: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, folder, _)| root.join(folder).join("Cargo.toml").exists())
        .map(|(package, ..)| *package)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    for package in packages {
        cargo.args(["-p", package]);
    }
    match cargo.status() {
        Ok(s) if s.success() => Ok(()),
        Ok(s) => bail!("building the C libraries: cargo: {s}"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("bench: no cargo here: the C libraries are taken as they are");
            Ok(())
        }
        Err(e) => Err(e).context("cargo"),
    }
}

/// Whether this process runs under the preloaded libraries already, or decided that there are
/// none.
pub(crate) fn is_preloaded() -> bool {
    std::env::var_os(PRELOADED).is_some()
}

/// Takes LD_PRELOAD and our own mark out of the environment, so that what this process starts
/// (git, servers, load generators) runs natively unless it is told otherwise.
pub(crate) fn leave_children_alone() {
    for name in ["LD_PRELOAD", PRELOADED] {
        // SAFETY: called from main before any thread is started, so nobody reads the environment.
        unsafe { std::env::remove_var(name) };
    }
}

/// Starts this program again with `libs` of `dir` preloaded, in this process. Returns only if it
/// could not.
pub(crate) fn exec_preloaded(dir: &Path, libs: &[&str]) -> Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).env(PRELOADED, "1");
    let preload = preload_value(dir, libs)?;
    if !preload.is_empty() {
        command.env("LD_PRELOAD", preload);
    }
    Err(command.exec()).context("starting again under LD_PRELOAD")
}

/// The value of LD_PRELOAD: those of `libs` that exist, and what was preloaded before.
pub(crate) fn preload_value(dir: &Path, libs: &[&str]) -> Result<OsString> {
    let mut value = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    for lib in libs {
        let path = dir.join(lib);
        if !path.exists() {
            continue;
        }
        // ld.so splits the list at both and knows no quoting.
        if path.to_string_lossy().contains([' ', ':']) {
            bail!("LD_PRELOAD cannot hold a path with a space or a colon: {}", path.display());
        }
        if !value.is_empty() {
            value.push(":");
        }
        value.push(path);
    }
    Ok(value)
}

/// Runs this program as a probe, in a process with `file` preloaded and no other library of ours.
pub(crate) fn probe(dir: &Path, file: &str, options: &[String]) -> Result<Vec<Case>> {
    let output = Command::new(std::env::current_exe()?)
        .arg("probe")
        .args(options)
        .arg("--lib-dir")
        .arg(dir)
        .env(PRELOADED, "1")
        .env("LD_PRELOAD", preload_value(dir, &[file])?)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("probe of {file}"))?;
    ensure!(output.status.success(), "probe of {file}: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("probe of {file}"))
}

/// The libraries that `exec_preloaded` is asked for by default.
pub(crate) fn preload_list() -> &'static [&'static str] {
    &PRELOAD
}

/// libc's own symbols, whatever is preloaded.
pub(crate) fn libc() -> Result<&'static Library> {
    // SAFETY: libc is loaded already; its initialisers have run.
    let lib =
        unsafe { Library::open(Some("libc.so.6"), RTLD_NOW | RTLD_LOCAL | libc::RTLD_NOLOAD) };
    Ok(Box::leak(Box::new(lib.context("libc.so.6")?)))
}

/// A library that was preloaded into this process; None if it was not.
pub(crate) fn preloaded(dir: &Path, file: &str) -> Option<&'static Library> {
    let path = dir.join(file);
    // SAFETY: RTLD_NOLOAD runs no initialiser: it finds what is loaded already, or nothing.
    let lib = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | libc::RTLD_NOLOAD) };
    // Never unloaded: function pointers into it live as long as the program.
    lib.ok().map(|l| &*Box::leak(Box::new(l)))
}

/// Opens a library of our own or a peer's, apart from what is preloaded.
pub(crate) fn open(path: &Path) -> Result<&'static Library> {
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_DEEPBIND;
    // SAFETY: its initialisers run here, as for any library a program is linked with; whoever
    // gave the path answers for them.
    let lib = unsafe { Library::open(Some(path), flags) };
    Ok(Box::leak(Box::new(lib.with_context(|| path.display().to_string())?)))
}

/// The symbol `name` of `lib` and of no other library.
///
/// # Safety
/// `T` must be the symbol's type.
pub(crate) unsafe fn symbol<T: Copy>(lib: &'static Library, name: &str) -> Result<T> {
    // SAFETY: the caller's promise.
    let symbol = unsafe { lib.get::<T>(name) };
    Ok(*symbol.with_context(|| format!("no symbol {name}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libcs_own_symbols_are_found() {
        type Getpid = unsafe extern "C" fn() -> libc::pid_t;
        // SAFETY: that is getpid's type.
        let getpid: Getpid = unsafe { symbol(libc().unwrap(), "getpid") }.unwrap();
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { getpid() } as u32, std::process::id());
    }

    #[test]
    fn what_is_not_there_is_not_preloaded() {
        let dir = tempfile::tempdir().unwrap();
        assert!(preload_value(dir.path(), &PRELOAD).unwrap().is_empty());
        assert!(preloaded(dir.path(), "libkqcompat_poll.so").is_none());
        std::fs::write(dir.path().join("libkqcompat_poll.so"), "").unwrap();
        let value = preload_value(dir.path(), &PRELOAD).unwrap();
        assert!(value.to_string_lossy().ends_with("libkqcompat_poll.so"));
    }

    #[test]
    fn a_path_that_ld_so_would_split_is_refused() {
        let dir = tempfile::Builder::new().prefix("a b").tempdir().unwrap();
        std::fs::write(dir.path().join("libkqcompat_poll.so"), "").unwrap();
        assert!(preload_value(dir.path(), &PRELOAD).is_err());
    }
}
