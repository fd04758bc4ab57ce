//! How a compat library comes into a program, and the proof that it did.
//!
//! The dynamic loader ignores in silence what it cannot preload into a static or privileged
//! program, says one line about what is not there, and a library that lacks a symbol passes calls
//! on to libc without a word. Any of these would show a column that is equal to native because it
//! is native. So the loader itself is asked (glibc's `LD_DEBUG=bindings`) which object each
//! symbol of the program was bound to.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::column::{Column, Compat, Entry, SWITCHES};
use crate::libevent::library_path;

/// What the loader prints for a library that it leaves out.
pub(crate) const IGNORED: &str = "cannot be preloaded";

/// The variable that chooses a library's policy.
pub(crate) const POLICY: &str = "KQCOMPAT_POLICY";

/// Sets the environment of a test program of this column: nothing of the caller's may choose
/// another method, policy or library.
pub(crate) fn environment(command: &mut Command, column: &Column, library: Option<&Path>) {
    for (name, _) in std::env::vars_os() {
        let ours =
            name.to_str().is_some_and(|n| n.starts_with("EVENT_") || n.starts_with("KQCOMPAT_"));
        if ours || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    for switch in SWITCHES.iter().filter(|switch| **switch != column.method.switch) {
        command.env(format!("EVENT_NO{switch}"), "1");
    }
    command.envs(column.method.env.iter().copied());
    if let (Some(compat), Some(library)) = (column.compat(), library) {
        match compat.entry {
            Entry::Preload => command.env("LD_PRELOAD", library),
            Entry::Link => command.env("LD_LIBRARY_PATH", library_path(library)),
        };
    }
    if let Some(policy) = column.policy {
        command.env(POLICY, policy.name());
    }
}

/// The value of `LD_PRELOAD` for these libraries.
///
/// # Errors
/// If a path holds a space or a colon: the variable has no way to quote them.
pub(crate) fn preload_list(libraries: &[&Path]) -> Result<OsString> {
    let mut list = OsString::new();
    for library in libraries {
        if library.to_string_lossy().contains([' ', ':', '\t', '\n']) {
            bail!(
                "LD_PRELOAD cannot name {}: it has a space or a colon (CARGO_TARGET_DIR chooses \
                 another place)",
                library.display()
            );
        }
        if !list.is_empty() {
            list.push(":");
        }
        list.push(library);
    }
    Ok(list)
}

/// Proves that a column is what it says: libevent uses the method, and every call of the method's
/// family that the program makes goes to the library.
///
/// # Errors
/// If it is not so, or the loader does not tell.
pub(crate) fn prove(column: &Column, bin: &Path, library: Option<&Path>) -> Result<()> {
    prove_method(column, bin, library)?;
    let (Some(compat), Some(library)) = (column.compat(), library) else { return Ok(()) };
    let program = bin.join("regress");
    let mut command = Command::new(&program);
    environment(&mut command, column, Some(library));
    command.arg("--list-tests");
    let bindings = bindings(&mut command)?;
    check(&bindings, &program, library, compat)
        .with_context(|| format!("column {column} would not test what it says"))
}

/// libevent says which method it takes.
fn prove_method(column: &Column, bin: &Path, library: Option<&Path>) -> Result<()> {
    let mut command = Command::new(bin.join("test-init"));
    environment(&mut command, column, library);
    command.env("EVENT_SHOW_METHOD", "1").stdin(Stdio::null());
    let output = command.output().context("cannot start libevent's test-init")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    if said.contains(IGNORED) {
        bail!("the loader left out the library of column {column}:\n{}", said.trim());
    }
    let expected = format!("libevent using: {}", column.method.announced);
    if !said.lines().any(|line| line.ends_with(&expected)) {
        bail!(
            "libevent does not use the method of column {column}; it ended with {} and said: {}",
            output.status,
            said.trim()
        );
    }
    Ok(())
}

/// A symbol that the loader bound: who asked, and who has it.
#[derive(Debug, PartialEq, Eq)]
struct Binding {
    from: PathBuf,
    to: PathBuf,
    symbol: String,
}

/// Runs a command and returns what its loader bound.
fn bindings(command: &mut Command) -> Result<Vec<Binding>> {
    let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
    let status = command
        .env("LD_DEBUG", "bindings")
        .env("LD_DEBUG_OUTPUT", dir.path().join("bindings"))
        // Also those that are otherwise bound at the first call.
        .env("LD_BIND_NOW", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let mut bindings = Vec::new();
    for entry in std::fs::read_dir(dir.path()).context("cannot read a temporary folder")? {
        // The loader writes one file a process.
        let text = std::fs::read(entry.context("cannot read a temporary folder")?.path())
            .context("cannot read the loader's words")?;
        bindings.extend(String::from_utf8_lossy(&text).lines().filter_map(parse));
    }
    if bindings.is_empty() {
        bail!(
            "the dynamic loader does not tell what it binds ({status}): glibc's LD_DEBUG is needed"
        );
    }
    Ok(bindings)
}

/// Reads "  123:\tbinding file A [0] to B [0]: normal symbol `s' [VERSION]".
fn parse(line: &str) -> Option<Binding> {
    let (_, rest) = line.split_once("binding file ")?;
    let (from, rest) = rest.split_once(" [")?;
    let (_, rest) = rest.split_once("] to ")?;
    let (to, rest) = rest.split_once(" [")?;
    let (_, rest) = rest.split_once("symbol `")?;
    let (symbol, _) = rest.split_once('\'')?;
    Some(Binding { from: from.into(), to: to.into(), symbol: symbol.to_owned() })
}

fn check(bindings: &[Binding], program: &Path, library: &Path, compat: &Compat) -> Result<()> {
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    let family: BTreeMap<&str, &Path> = bindings
        .iter()
        .filter(|b| same(&b.from, program) && compat.symbols.contains(&b.symbol.as_str()))
        .map(|b| (b.symbol.as_str(), b.to.as_path()))
        .collect();
    if family.is_empty() {
        bail!("{} calls none of {}", program.display(), compat.symbols.join(", "));
    }
    let elsewhere: Vec<String> = family
        .iter()
        .filter(|(_, to)| !same(to, library))
        .map(|(symbol, to)| format!("\n  {symbol}: {}", to.display()))
        .collect();
    if !elsewhere.is_empty() {
        bail!("{} does not serve these calls:{}", library.display(), elsewhere.concat());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::column::{Backend, Policy, method};

    const LINE: &str = "     11943:\tbinding file /b/regress [0] to /l/libkqcompat_epoll.so [0]: \
                        normal symbol `epoll_wait' [GLIBC_2.3.2]";

    fn binding(symbol: &str, to: &str) -> Binding {
        Binding { from: "/b/regress".into(), to: to.into(), symbol: symbol.to_owned() }
    }

    fn check_epoll(bindings: &[Binding]) -> Result<()> {
        let compat = method("epoll").unwrap().compat;
        check(bindings, Path::new("/b/regress"), Path::new("/l/libkqcompat_epoll.so"), compat)
    }

    #[test]
    fn the_loaders_words_are_read() {
        assert_eq!(parse(LINE), Some(binding("epoll_wait", "/l/libkqcompat_epoll.so")));
        assert_eq!(parse("     1:\tcalling init: /lib/libc.so.6"), None);
    }

    #[test]
    fn every_call_of_the_family_must_go_to_the_library() {
        let ours = || binding("epoll_wait", "/l/libkqcompat_epoll.so");
        assert!(check_epoll(&[ours(), binding("read", "/lib/libc.so.6")]).is_ok());

        let error = check_epoll(&[ours(), binding("epoll_ctl", "/lib/libc.so.6")]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("epoll_ctl: /lib/libc.so.6"), "{error}");
        assert!(!error.contains("epoll_wait"), "{error}");
    }

    #[test]
    fn a_program_that_makes_none_of_the_calls_proves_nothing() {
        assert!(check_epoll(&[binding("read", "/lib/libc.so.6")]).is_err());
        // What another library of the process calls is not what libevent calls.
        let other = Binding {
            from: "/lib/libcrypto.so".into(),
            ..binding("epoll_wait", "/l/libkqcompat_epoll.so")
        };
        assert!(check_epoll(&[other]).is_err());
    }

    #[test]
    fn a_path_that_the_loader_would_split_is_refused() {
        assert!(preload_list(&[Path::new("/a b/x.so")]).is_err());
        assert!(preload_list(&[Path::new("/a:b/x.so")]).is_err());
        let list = preload_list(&[Path::new("/a/x.so"), Path::new("/a/y.so")]).unwrap();
        assert_eq!(list, "/a/x.so:/a/y.so");
    }

    #[test]
    fn a_column_forbids_every_other_method() {
        let column = Column {
            method: method("poll").unwrap(),
            backend: Backend::Compat,
            policy: Some(Policy::Register),
        };
        let mut command = Command::new("true");
        environment(&mut command, &column, Some(Path::new("/l/p.so")));
        let env: BTreeMap<_, _> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
            .collect();
        assert_eq!(env.get("EVENT_NOEPOLL"), Some(&"1"));
        assert_eq!(env.get("EVENT_NOPOLL"), None);
        assert_eq!(env.get("LD_PRELOAD"), Some(&"/l/p.so"));
        assert_eq!(env.get(POLICY), Some(&"register"));
    }

    /// Compiles C into `out`; None, with the reason printed, if that cannot be done here.
    fn compile(text: &str, args: &[&str], out: &Path) -> Option<()> {
        let source = out.with_extension("c");
        std::fs::write(&source, text).unwrap();
        let output = Command::new("cc").args(args).arg(&source).arg("-o").arg(out).output();
        match output {
            Ok(output) if output.status.success() => Some(()),
            Ok(output) => panic!("cc: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => {
                println!("skipped: cc: {error}");
                None
            }
        }
    }

    #[test]
    fn the_loader_tells_who_serves_a_call() {
        let dir = tempfile::tempdir().unwrap();
        let [program, serves, empty] =
            ["program", "serves.so", "empty.so"].map(|name| dir.path().join(name));
        let library = ["-shared", "-fPIC"];
        let calls = "#include <sys/epoll.h>\nint main(void) { return epoll_create1(0) < 0; }\n";
        let defines = "int epoll_create1(int flags) { return flags; }\n";
        if compile(calls, &[], &program).is_none() {
            return;
        }
        compile(defines, &library, &serves).unwrap();
        compile("int unrelated;\n", &library, &empty).unwrap();
        let compat = method("epoll").unwrap().compat;
        let served_by = |library: &Path| {
            let mut command = Command::new(&program);
            command.env("LD_PRELOAD", library);
            check(&bindings(&mut command).unwrap(), &program, library, compat)
        };
        served_by(&serves).unwrap();
        let error = served_by(&empty).unwrap_err().to_string();
        assert!(error.contains("epoll_create1"), "{error}");
        assert!(served_by(Path::new("/no/such/library.so")).is_err());
    }
}
