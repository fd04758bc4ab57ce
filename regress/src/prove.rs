//! The proof that a column tests what its name says.
//!
//! The dynamic loader ignores in silence what it cannot preload into a static or privileged
//! program, says one line about what is not there, and a library that lacks a symbol passes calls
//! on to libc without a word. Any of these would show a column that is equal to native because it
//! is native. So the loader itself is asked (glibc's `LD_DEBUG=bindings`) which object each
//! symbol of the program was bound to; libevent, which method it takes; and a library that is to
//! register at first sight is watched doing so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::column::{Column, Policy};
use crate::interrupt;
use crate::preload::{IGNORED, environment};

/// What a library that is built on a kqueue calls of it.
const KQUEUE: &[&str] = &["kqueue", "kevent"];

/// Proves that a column is what it says: libevent uses the method, and every call of the method's
/// family that the program makes goes to the library, whose kqueue is the one that it is built on.
///
/// # Errors
/// If it is not so, or the loader does not tell.
pub(crate) fn prove(column: &Column, bin: &Path, libraries: &[PathBuf]) -> Result<()> {
    prove_method(column, bin, libraries)?;
    let (Some(compat), Some(library)) = (column.compat(), libraries.first()) else { return Ok(()) };
    let program = bin.join("regress");
    let mut command = Command::new(&program);
    environment(&mut command, column, libraries);
    command.arg("--list-tests");
    let bindings = bindings(&mut command)?;
    let over = || libraries.get(1).map_or(Ok(()), |over| check(&bindings, library, over, KQUEUE));
    check(&bindings, &program, library, compat.symbols)
        .and_then(|()| over())
        .with_context(|| format!("column {column} would not test what it says"))?;
    if column.policy == Some(Policy::Register) {
        prove_registrations(column, bin, libraries)?;
    }
    Ok(())
}

/// libevent says which method it takes.
fn prove_method(column: &Column, bin: &Path, libraries: &[PathBuf]) -> Result<()> {
    let mut command = Command::new(bin.join("test-init"));
    environment(&mut command, column, libraries);
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

/// The link of an epoll descriptor in `/proc/PID/fd`.
const EPOLL: &str = "anon_inode:[eventpoll]";
/// How often a program's descriptors are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A library that registers at first sight makes the program own an epoll descriptor, which
/// libevent with another method does not; one that ignores the setting would show a column that is
/// the default's. The program has 30 connections and ends by itself after some seconds.
fn prove_registrations(column: &Column, bin: &Path, libraries: &[PathBuf]) -> Result<()> {
    let mut command = Command::new(bin.join("test-ratelim"));
    environment(&mut command, column, libraries);
    command.args(["-c", "1000", "-n", "30", "-t", "100"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = interrupt::spawn(&mut command).context("cannot start test-ratelim")?;
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let registered = loop {
        if owns_epoll(&fds) {
            break true;
        }
        if child.try_wait().context("cannot wait for test-ratelim")?.is_some() {
            interrupt::finished(child.id());
            break false;
        }
        std::thread::sleep(LOOK);
    };
    if registered {
        interrupt::kill_group(child.id());
        interrupt::finished(child.id());
        child.wait().context("cannot wait for test-ratelim")?;
        return Ok(());
    }
    bail!("column {column}: its library registered nothing in a program with 30 sockets");
}

/// Whether one of the descriptors is an epoll instance; false too if the process is gone.
fn owns_epoll(fds: &Path) -> bool {
    std::fs::read_dir(fds).is_ok_and(|entries| {
        entries
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
            .any(|link| link.as_os_str() == EPOLL)
    })
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

/// Reads a line of `LD_DEBUG=bindings`:
///
/// ```text
///    11943: binding file A [0] to B [0]: normal symbol `s' [VERSION]
/// ```
fn parse(line: &str) -> Option<Binding> {
    let (_, rest) = line.split_once("binding file ")?;
    let (from, rest) = rest.split_once(" [")?;
    let (_, rest) = rest.split_once("] to ")?;
    let (to, rest) = rest.split_once(" [")?;
    let (_, rest) = rest.split_once("symbol `")?;
    let (symbol, _) = rest.split_once('\'')?;
    Some(Binding { from: from.into(), to: to.into(), symbol: symbol.to_owned() })
}

/// Whatever of the `symbols` a program (or library) calls is the library's, and it calls one at least.
fn check(bindings: &[Binding], program: &Path, library: &Path, symbols: &[&str]) -> Result<()> {
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    let family: BTreeMap<&str, &Path> = bindings
        .iter()
        .filter(|b| same(&b.from, program) && symbols.contains(&b.symbol.as_str()))
        .map(|b| (b.symbol.as_str(), b.to.as_path()))
        .collect();
    if family.is_empty() {
        bail!("{} calls none of {}", program.display(), symbols.join(", "));
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
    use crate::column::method;

    const LINE: &str = "     11943:\tbinding file /b/regress [0] to /l/libkqcompat_epoll.so [0]: \
                        normal symbol `epoll_wait' [GLIBC_2.3.2]";

    fn binding(symbol: &str, to: &str) -> Binding {
        Binding { from: "/b/regress".into(), to: to.into(), symbol: symbol.to_owned() }
    }

    fn check_epoll(bindings: &[Binding]) -> Result<()> {
        let symbols = method("epoll").unwrap().compat.symbols;
        check(bindings, Path::new("/b/regress"), Path::new("/l/libkqcompat_epoll.so"), symbols)
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
    fn an_epoll_descriptor_is_seen_from_outside() {
        let fds = Path::new("/proc/self/fd");
        if !fds.exists() {
            return println!("skipped: no /proc");
        }
        // Other tests of this process have none.
        assert!(!owns_epoll(fds));
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
        let _epoll = epoll.unwrap();
        assert!(owns_epoll(fds));
        assert!(!owns_epoll(Path::new("/proc/self/no_such_folder")));
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
        let symbols = method("epoll").unwrap().compat.symbols;
        let served_by = |library: &Path| {
            let mut command = Command::new(&program);
            command.env("LD_PRELOAD", library);
            check(&bindings(&mut command).unwrap(), &program, library, symbols)
        };
        served_by(&serves).unwrap();
        let error = served_by(&empty).unwrap_err().to_string();
        assert!(error.contains("epoll_create1"), "{error}");
        assert!(served_by(Path::new("/no/such/library.so")).is_err());
    }
}
