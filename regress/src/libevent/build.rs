//! Builds libevent with cmake, and does nothing where nothing has changed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::{Source, Tools};
use crate::column::LINKED;
use crate::progress;

/// Which libevent is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flavor {
    /// As the system has it.
    Plain,
    /// With the method that it lacks, on our header and library, and without its own.
    Linked,
}

impl Flavor {
    fn folder(self) -> &'static str {
        match self {
            Flavor::Plain => "plain",
            Flavor::Linked => LINKED.compat.library,
        }
    }
}

/// A libevent that is built.
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// The copied source tree.
    pub(crate) source: PathBuf,
    /// The folder of programs: regress and the others.
    pub(crate) bin: PathBuf,
}

/// What a build depends on beside libevent's sources. A build whose stamp is another one starts
/// from nothing, since cmake remembers what it once found.
#[derive(Debug, Serialize)]
struct Stamp<'a> {
    cmake: (u32, u32),
    compiler: &'a str,
    openssl: bool,
    zlib: bool,
    options: &'a [String],
    /// Our headers by path: make would see a change, but an unchanged build does not start make.
    headers: BTreeMap<PathBuf, String>,
}

/// Builds the flavors of one libevent on demand.
#[derive(Debug)]
pub(crate) struct Builder<'a> {
    source: &'a Source,
    tools: &'a Tools,
    folder: PathBuf,
    jobs: usize,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(source: &'a Source, tools: &'a Tools, output_dir: &Path) -> Self {
        let jobs = std::thread::available_parallelism().map_or(1, usize::from);
        Self { source, tools, folder: source.folder(output_dir), jobs }
    }

    /// Brings a flavor up to date. `linked` is the include folder and the library that the linked
    /// flavor is built on.
    ///
    /// # Errors
    /// If files cannot be written, cmake or the compiler fails, or cmake does not find what is in ours.
    pub(crate) fn build(&self, flavor: Flavor, linked: Option<(&Path, &Path)>) -> Result<Build> {
        let source = self.folder.join("source");
        fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
        // Two runs at once would build into the same folder.
        let lock = File::create(self.folder.join("lock")).context("cannot make a lock file")?;
        flock(&lock, FlockOperation::LockExclusive).context("cannot lock the build folder")?;

        let changed = self.source.copy(&source)?;
        let dir = self.folder.join(flavor.folder());
        let build = Build { source, bin: dir.join("bin") };
        let options = self.options(linked);
        let stamp = serde_json::to_string_pretty(&Stamp {
            cmake: self.tools.cmake,
            compiler: &self.tools.compiler,
            openssl: self.tools.openssl,
            zlib: self.tools.zlib,
            options: &options,
            headers: headers(linked.map(|(include, _)| include))?,
        })?;
        let stamp_file = dir.join("configured");
        let done_file = dir.join("built");
        let configured = fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp);
        if changed > 0 {
            // Another flavor's sources are the same ones.
            for flavor in [Flavor::Plain, Flavor::Linked] {
                let _ = fs::remove_file(self.folder.join(flavor.folder()).join("built"));
            }
        }
        let name = format!("{} ({})", self.source.description, flavor.folder());
        if configured && done_file.exists() && build.bin.join("regress").exists() {
            progress::note(&format!("{name}: built already"));
            return Ok(build);
        }
        let _spinner = progress::spinner(&format!("building {name}"));
        if !configured {
            if dir.exists() {
                fs::remove_dir_all(&dir)
                    .with_context(|| format!("cannot remove {}", dir.display()))?;
            }
            fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
            self.configure(&build.source, &dir, &options, linked)?;
            fs::write(&stamp_file, stamp).context("cannot write a stamp")?;
        }
        let mut command = Command::new("cmake");
        command.arg("--build").arg(&dir).arg("--parallel").arg(self.jobs.to_string());
        logged(&mut command, &dir.join("build.log"))?;
        if !build.bin.join("regress").exists() {
            bail!("libevent's build left no regress program in {}", build.bin.display());
        }
        fs::write(&done_file, "").context("cannot write a stamp")?;
        progress::note(&format!("{name}: built in {}", dir.display()));
        Ok(build)
    }

    fn options(&self, linked: Option<(&Path, &Path)>) -> Vec<String> {
        let python = self.tools.python.display();
        let mut options: Vec<String> = [
            // Static: half the compiling, and only our libraries are dynamic.
            "EVENT__LIBRARY_TYPE=STATIC",
            "EVENT__DISABLE_TESTS=OFF",
            "EVENT__DISABLE_REGRESS=OFF",
            "EVENT__DISABLE_SAMPLES=ON",
            // bench runs them.
            "EVENT__DISABLE_BENCHMARK=OFF",
            "EVENT__DISABLE_GCC_WARNINGS=ON",
            // 2.2 only; one TLS library is enough to test event loops.
            "EVENT__DISABLE_MBEDTLS=ON",
            "CMAKE_BUILD_TYPE=Release",
            // Without NDEBUG: an assertion in a test is part of the test.
            "CMAKE_C_FLAGS_RELEASE=-O2 -g",
        ]
        .map(str::to_owned)
        .into();
        let switch = |on: bool| if on { "ON" } else { "OFF" };
        options.push(format!("EVENT__DISABLE_OPENSSL={}", switch(!self.tools.openssl)));
        // cmake may find what the compiler that is used does not link.
        options.push(format!("CMAKE_DISABLE_FIND_PACKAGE_ZLIB={}", switch(!self.tools.zlib)));
        // FindPythonInterp of 2.1, FindPython3 of 2.2.
        options.push(format!("PYTHON_EXECUTABLE={python}"));
        options.push(format!("Python3_EXECUTABLE={python}"));
        if self.tools.cmake.0 >= 4 {
            // libevent asks for 3.1, which cmake 4 has forgotten.
            options.push("CMAKE_POLICY_VERSION_MINIMUM=3.5".to_owned());
        }
        if let Some((include, library)) = linked {
            let (include, library) = (include.display(), library.display());
            // Off BSD kqueue.c assigns intptr_t to FreeBSD's `void *udata`, and libevent's test
            // program for kqueue lacks two headers: errors since gcc 14, warnings before.
            options.push(format!(
                "CMAKE_C_FLAGS=-I\"{include}\" -Wno-int-conversion -Wno-implicit-function-declaration"
            ));
            // For cmake's checks, which find (and run) our functions, and for the programs.
            options.push(format!("CMAKE_REQUIRED_LIBRARIES={library}"));
            options.push(format!("CMAKE_C_STANDARD_LIBRARIES=\"{library}\""));
            options.extend(LINKED.denied.iter().map(|name| format!("{name}=0")));
        }
        options
    }

    fn configure(
        &self,
        source: &Path,
        dir: &Path,
        options: &[String],
        linked: Option<(&Path, &Path)>,
    ) -> Result<()> {
        let mut command = Command::new("cmake");
        command.arg("-S").arg(source).arg("-B").arg(dir);
        if let Some(generator) = self.tools.generator {
            command.args(["-G", generator]);
        }
        command.args(options.iter().map(|option| format!("-D{option}")));
        // libevent asks git for its version; the copy lies in a repository that is not its own.
        command.env("GIT_CEILING_DIRECTORIES", &self.folder);
        if let Some((_, library)) = linked {
            command.env("LD_LIBRARY_PATH", library_path(library));
        }
        logged(&mut command, &dir.join("configure.log"))?;
        if linked.is_some() {
            let cache = fs::read_to_string(dir.join("CMakeCache.txt")).context("CMakeCache.txt")?;
            for name in LINKED.found {
                if !is_true(&cache, name) {
                    bail!(
                        "libevent's cmake does not see our library: {name} is not set (the reason is in \
                         {} or in CMakeFiles beside it)",
                        dir.join("configure.log").display()
                    );
                }
            }
        }
        Ok(())
    }
}

/// The search path that finds the library beside what the caller's path finds.
pub(crate) fn library_path(library: &Path) -> OsString {
    let mut path = library.parent().unwrap_or(Path::new(".")).as_os_str().to_owned();
    if let Some(old) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(old);
    }
    path
}

/// Every header below `include`, with its content.
fn headers(include: Option<&Path>) -> Result<BTreeMap<PathBuf, String>> {
    let Some(include) = include else { return Ok(BTreeMap::new()) };
    let mut headers = BTreeMap::new();
    for entry in walkdir::WalkDir::new(include) {
        let entry = entry.with_context(|| format!("cannot read {}", include.display()))?;
        if entry.file_type().is_file() {
            let text = fs::read_to_string(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            headers.insert(entry.into_path(), text);
        }
    }
    Ok(headers)
}

/// Whether `NAME:TYPE=VALUE` in cmake's cache is true.
fn is_true(cache: &str, name: &str) -> bool {
    cache.lines().any(|line| {
        line.strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(':'))
            .and_then(|rest| rest.split_once('='))
            .is_some_and(|(_, value)| matches!(value, "1" | "ON" | "TRUE" | "YES"))
    })
}

/// Runs a command with its output in a file; on failure shows the part of it that tells why.
fn logged(command: &mut Command, log: &Path) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let copy = file.try_clone().context("cannot duplicate a descriptor")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .status()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if status.success() {
        return Ok(());
    }
    let text = fs::read_to_string(log).unwrap_or_default();
    bail!("{status} of {command:?}:\n{}\n(all of it is in {})", excerpt(&text), log.display());
}

/// The surroundings of the first error: with several jobs it is far from the end. Without one, the
/// end.
fn excerpt(text: &str) -> String {
    const BEFORE: usize = 5;
    const SHOWN: usize = 30;
    let lines: Vec<&str> = text.lines().collect();
    let error = lines.iter().position(|line| {
        ["error:", "Error", "undefined reference"].iter().any(|word| line.contains(word))
    });
    let start = match error {
        Some(at) => at.saturating_sub(BEFORE),
        None => lines.len().saturating_sub(SHOWN),
    };
    lines[start..].iter().take(SHOWN).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmakes_cache_is_read_by_whole_names() {
        let cache = "EVENT__HAVE_KQUEUE:INTERNAL=1\nEVENT__HAVE_KQUEUE2:INTERNAL=\nX:BOOL=OFF\n";
        assert!(is_true(cache, "EVENT__HAVE_KQUEUE"));
        assert!(!is_true(cache, "EVENT__HAVE_KQUEUE2"));
        assert!(!is_true(cache, "EVENT__HAVE"));
        assert!(!is_true(cache, "X"));
    }

    #[test]
    fn a_failing_command_shows_why() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "seq 100; echo 'x.c:1: error: the reason' >&2; seq 101 200; exit 3"]);
        let error = logged(&mut command, &log).unwrap_err().to_string();
        assert!(error.contains("the reason") && !error.contains("\n7\n"), "{error}");
        assert!(fs::read_to_string(log).unwrap().starts_with("1\n2\n"));
    }

    #[test]
    fn without_an_error_the_end_is_shown() {
        let text: String = (1..=100).map(|i| format!("{i}\n")).collect();
        let shown = excerpt(&text);
        assert!(shown.starts_with("71\n") && shown.ends_with("\n100"), "{shown}");
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn headers_are_kept_by_content() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sys")).unwrap();
        fs::write(dir.path().join("sys/event.h"), "struct kevent;").unwrap();
        let found = headers(Some(dir.path())).unwrap();
        assert_eq!(found.into_values().collect::<Vec<_>>(), ["struct kevent;"]);
        assert!(headers(None).unwrap().is_empty());
    }
}
