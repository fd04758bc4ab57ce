//! `cargo xtask dist`: installs what C programs need, as `make install` would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::man;
use crate::run::cargo;

/// Is this a system with a kqueue of its own? Then it lacks sys/epoll.h, and not sys/event.h.
const HAS_KQUEUE: bool = cfg!(not(target_os = "linux"));

/// A C library: the package, the name, and the folder with its pkg-config file.
const LIBRARIES: &[(&str, &str, &str)] = &[
    #[cfg(target_os = "linux")]
    ("kq-core-c", "kqcompat_kqueue", "core/c"),
    ("compat-epoll-c", "kqcompat_epoll", "compat-epoll/c"),
    ("compat-poll-c", "kqcompat_poll", "compat-poll/c"),
    ("compat-select-c", "kqcompat_select", "compat-select/c"),
];

/// Counted up when a program that was linked before cannot go on with the library after.
const ABI: u32 = 0;

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Not `include` itself: a configure script that finds <sys/event.h> there believes that it is on
/// a BSD. Who wants kqueue asks pkg-config, or says `-I<prefix>/include/kqcompat`.
const HEADERS: &str = "include/kqcompat";

/// Lays libraries, headers, pkg-config files and manual pages under a prefix
#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// Where it is to be used from: /usr/local, say
    #[arg(long, value_name = "DIR")]
    pub(crate) prefix: PathBuf,

    /// Where it is laid, with the prefix behind it, if that is not the machine's own root
    #[arg(long, value_name = "DIR")]
    pub(crate) destdir: Option<PathBuf>,

    /// Where libraries are below the prefix; Debian has lib/x86_64-linux-gnu
    #[arg(long, value_name = "DIR", default_value = "lib")]
    pub(crate) libdir: PathBuf,
}

impl Dist {
    /// Builds everything and lays it there.
    ///
    /// # Errors
    /// If the prefix is not absolute, a library cannot be built, or a file cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        if !self.prefix.is_absolute() || !self.libdir.is_relative() {
            bail!("the prefix must be absolute, and the libraries' folder relative to it");
        }
        let built = build()?;
        for &(_, name, folder) in LIBRARIES {
            self.library(&built, name)?;
            self.pkg_config(name, &crate::root().join(folder))?;
        }
        for (header, folder) in headers(HAS_KQUEUE).iter().filter(|(header, _)| !is_there(header)) {
            self.copy(&crate::root().join(header), &format!("{HEADERS}{folder}"))?;
        }
        for page in man::pages()? {
            let section = page.extension().and_then(|e| e.to_str()).unwrap_or_default();
            self.copy(&page, &format!("share/man/man{section}"))?;
        }
        for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            self.copy(&crate::root().join(file), "share/doc/kqcompat")?;
        }
        self.copy(&crate::root().join("docs/deviations.md"), "share/doc/kqcompat")?;
        println!("kqcompat {VERSION} is laid under {}", self.root().display());
        Ok(())
    }

    /// The prefix, as we see it.
    fn root(&self) -> PathBuf {
        match &self.destdir {
            // `join` would forget the destdir for an absolute path.
            Some(destdir) => destdir.join(self.prefix.strip_prefix("/").unwrap_or(&self.prefix)),
            None => self.prefix.clone(),
        }
    }

    /// The shared library under its full version, and its two shorter names; and the static one.
    fn library(&self, built: &Path, name: &str) -> Result<()> {
        let libdir = self.libdir.to_str().context("the libraries' folder is no text")?;
        let archive = format!("lib{name}.a");
        self.copy(&built.join(&archive), libdir)?;
        let (bare, file) = (shared(name, ""), shared(name, VERSION));
        let content = fs::read(built.join(&bare))?;
        let folder = self.root().join(libdir);
        write(&folder.join(&file), &content)?;
        link(&file, &folder.join(soname(name)))?;
        link(&soname(name), &folder.join(bare))
    }

    fn pkg_config(&self, name: &str, folder: &Path) -> Result<()> {
        let template = folder.join(format!("{name}.pc.in"));
        let text = fs::read_to_string(&template)
            .with_context(|| format!("cannot read {}", template.display()))?;
        let text = if HAS_KQUEUE { with_epoll_header(&text, name) } else { text };
        let text = text
            .replace("@prefix@", &self.prefix.display().to_string())
            .replace("@version@", VERSION)
            .replace("{prefix}/lib\n", &format!("{{prefix}}/{}\n", self.libdir.display()))
            .replace("{prefix}/include\n", &format!("{{prefix}}/{HEADERS}\n"));
        let file = self.root().join(&self.libdir).join(format!("pkgconfig/{name}.pc"));
        write(&file, text.as_bytes())
    }

    fn copy(&self, file: &Path, folder: &str) -> Result<()> {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().context("a file has a name")?;
        write(&self.root().join(folder).join(name), &content)
    }
}

/// The headers, and where each goes below [`HEADERS`].
fn headers(has_kqueue: bool) -> &'static [(&'static str, &'static str)] {
    if has_kqueue {
        &[
            ("compat-epoll/c/include/sys/epoll.h", "/sys"),
            ("compat-epoll/c/include/sys/eventfd.h", "/sys"),
            ("compat-epoll/c/include/sys/timerfd.h", "/sys"),
            ("compat-epoll/c/include/sys/signalfd.h", "/sys"),
            ("compat-epoll/c/include/sys/kqcompat-io.h", "/sys"),
        ]
    } else {
        &[
            ("core/c/include/sys/event.h", "/sys"),
            ("core/c/include/aio.h", ""),
            ("core/c/include/kqcompat.h", ""),
        ]
    }
}

/// Has the system an eventfd and the like of its own? That is better: its kernel knows it.
fn is_there(header: &str) -> bool {
    let name = header.rsplit('/').next().unwrap_or_default();
    name.ends_with("fd.h") && Path::new("/usr/include/sys").join(name).exists()
}

/// What pkg-config says where the system has a kqueue: who wants epoll wants its header too. There is
/// no libdl.
fn with_epoll_header(text: &str, name: &str) -> String {
    let text = text.replace(" -ldl", "");
    if name != "kqcompat_epoll" {
        return text;
    }
    text.replace("\n\nName:", "\nincludedir=${prefix}/include\n\nName:")
        .replace("\nLibs: ", "\nCflags: -I${includedir}\nLibs: ")
}

/// The file name of a shared library; of which version, if one is given.
fn shared(name: &str, version: &str) -> String {
    let version = if version.is_empty() { String::new() } else { format!(".{version}") };
    if cfg!(target_os = "macos") {
        format!("lib{name}{version}.dylib")
    } else {
        format!("lib{name}.so{version}")
    }
}

fn soname(name: &str) -> String {
    shared(name, &ABI.to_string())
}

/// Builds the libraries, and says where they are.
///
/// In a profile of their own: they carry a soname, which those in target/release must not, because
/// a program that is linked with them there would look for a file that is not.
fn build() -> Result<PathBuf> {
    for (package, name, _) in LIBRARIES {
        let option = if cfg!(target_os = "macos") { "-install_name" } else { "-soname" };
        let soname = format!("link-arg=-Wl,{option},{}", soname(name));
        let args = ["rustc", "--quiet", "--locked", "--profile", "dist", "--package", package];
        let kinds = ["--lib", "--crate-type", "cdylib,staticlib", "--", "-C", &soname];
        cargo(&[&args[..], &kinds[..]].concat(), &[])?;
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    Ok(crate::root().join(target.unwrap_or("target".into())).join("dist"))
}

/// Writes a file that others may read. One that was there is replaced, not written over: a running
/// program may have it mapped.
fn write(file: &Path, content: &[u8]) -> Result<()> {
    let said = || format!("cannot write {}", file.display());
    let folder = file.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder).with_context(said)?;
    remove(file)?;
    fs::write(file, content).with_context(said)
}

fn link(to: &str, file: &Path) -> Result<()> {
    remove(file)?;
    symlink(to, file).with_context(|| format!("cannot write {}", file.display()))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot replace {}", file.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_with_a_kqueue_gets_epolls_header_and_is_told_of_it() {
        for has_kqueue in [false, true] {
            for (header, _) in headers(has_kqueue) {
                assert!(crate::root().join(header).exists(), "{header}");
            }
        }
        let read = |file: &str| fs::read_to_string(crate::root().join(file)).unwrap();
        let epoll =
            with_epoll_header(&read("compat-epoll/c/kqcompat_epoll.pc.in"), "kqcompat_epoll");
        assert!(epoll.contains("\nincludedir=${prefix}/include\n"), "{epoll}");
        assert!(
            epoll.contains("\nCflags: -I${includedir}\n") && !epoll.contains("-ldl"),
            "{epoll}"
        );
        let poll = with_epoll_header(&read("compat-poll/c/kqcompat_poll.pc.in"), "kqcompat_poll");
        assert!(!poll.contains("includedir") && !poll.contains("-ldl"), "{poll}");
    }
}
