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

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use libc::{c_int, c_void};
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

/// cargo in the workspace, for this program's own profile and target directory; None if this
/// program does not lie in one.
pub(crate) fn cargo(subcommand: &str) -> Result<Option<Command>> {
    let dir = directory(None)?;
    let (Some(profile), Some(target)) = (dir.file_name(), dir.parent()) else { return Ok(None) };
    if !dir.join(".fingerprint").exists() {
        return Ok(None);
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args([subcommand, "--quiet", "--target-dir"]).arg(target);
    // The folder is called as its profile, but for one.
    cargo.arg("--profile").arg(if profile == "debug" { OsStr::new("dev") } else { profile });
    Ok(Some(cargo))
}

/// Has cargo bring the C libraries beside this program up to date, in its own profile: a library
/// older than the sources would be measured in their name. Without cargo or the sources, what is
/// there is used.
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
    let Some(mut cargo) = cargo("build")? else {
        eprintln!("bench: not where cargo built it: the C libraries are taken as they are");
        return Ok(());
    };
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

/// A loaded library, never unloaded: function pointers into it live as long as the program.
#[derive(Debug)]
pub(crate) struct Lib {
    library: ManuallyDrop<Library>,
    /// Where it was loaded, by which its own symbols are told from those of the libraries that it
    /// depends on.
    base: usize,
}

impl Lib {
    fn load(path: &Path, flags: c_int) -> Result<Self> {
        // SAFETY: its initialisers run here, as for any library that a program is linked with;
        // whoever gave the path answers for them. With RTLD_NOLOAD none run.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL | flags) };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Messages keep the library's name and not its path: they go into results files.
        let handle = library
            .map_err(|e| anyhow!("{}", e.to_string().replace(&*path.to_string_lossy(), &name)))?
            .into_raw();
        let mut map: *const LinkMap = std::ptr::null();
        // SAFETY: the handle is dlopen's, and RTLD_DI_LINKMAP writes one pointer.
        let found = unsafe { libc::dlinfo(handle, libc::RTLD_DI_LINKMAP, (&raw mut map).cast()) };
        ensure!(found == 0 && !map.is_null(), "where {name} was loaded is unknown");
        // SAFETY: the loader's own entry, which lives as long as the library is loaded.
        let base = unsafe { (*map).base };
        // SAFETY: the handle came from into_raw above and is owned by nobody else.
        let library = unsafe { Library::from_raw(handle) };
        Ok(Self { library: ManuallyDrop::new(library), base })
    }

    /// Whether the library itself exports `name`.
    pub(crate) fn exports(&self, name: &str) -> bool {
        // SAFETY: the address is not used as anything.
        unsafe { self.symbol::<*const c_void>(name) }.is_ok()
    }

    /// The symbol `name` of this library and of no other: dlsym alone would answer with libc's,
    /// and native would be measured in compat's name.
    ///
    /// # Safety
    /// `T` must be the symbol's type, and have the size of a pointer.
    pub(crate) unsafe fn symbol<T: Copy>(&self, name: &str) -> Result<T> {
        // SAFETY: the caller's promise.
        let symbol = unsafe { self.library.get::<T>(name) };
        let symbol = symbol.map_err(|_| anyhow!("no symbol {name}"))?;
        let address = symbol.as_raw_ptr();
        let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
        // SAFETY: dladdr looks the address up and writes one Dl_info.
        let known = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
        ensure!(known != 0, "{name} is in no library");
        // SAFETY: dladdr said that it filled it.
        let info = unsafe { info.assume_init() };
        ensure!(info.dli_fbase as usize == self.base, "{name} is another library's");
        // SAFETY: the caller's promise on `T`; `address` is the symbol's.
        Ok(unsafe { std::mem::transmute_copy::<*mut c_void, T>(&address) })
    }
}

/// The public head of <link.h>'s struct link_map.
#[repr(C)]
struct LinkMap {
    base: usize,
}

/// libc's own symbols, whatever is preloaded.
pub(crate) fn libc() -> Result<Lib> {
    Lib::load(Path::new("libc.so.6"), libc::RTLD_NOLOAD)
}

/// A library that was preloaded into this process; None if it was not.
pub(crate) fn preloaded(dir: &Path, file: &str) -> Option<Lib> {
    Lib::load(&dir.join(file), libc::RTLD_NOLOAD).ok()
}

/// Opens a library of our own or a peer's, apart from what is preloaded.
pub(crate) fn open(path: &Path) -> Result<Lib> {
    Lib::load(path, libc::RTLD_DEEPBIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libcs_own_symbols_are_found() {
        type Getpid = unsafe extern "C" fn() -> libc::pid_t;
        // SAFETY: that is getpid's type.
        let getpid: Getpid = unsafe { libc().unwrap().symbol("getpid") }.unwrap();
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { getpid() } as u32, std::process::id());
    }

    #[test]
    fn a_symbol_of_a_library_that_it_depends_on_is_not_its_own() {
        // libm depends on libc, and dlsym on it finds poll there.
        let libm = open(Path::new("libm.so.6")).unwrap();
        assert!(libm.exports("cos") && !libm.exports("poll"));
        assert!(libc().unwrap().exports("poll"));
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
