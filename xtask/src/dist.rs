//! `cargo xtask dist`: installs what C programs need, as `make install` would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::man;
use crate::run::cargo;

/// A C library: the package, the name, and the folder with its pkg-config file.
const LIBRARIES: [(&str, &str, &str); 4] = [
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
        for (_, name, folder) in LIBRARIES {
            self.library(&built, name)?;
            self.pkg_config(name, &crate::root().join(folder))?;
        }
        let headers = crate::root().join("core/c/include");
        self.copy(&headers.join("sys/event.h"), &format!("{HEADERS}/sys"))?;
        for header in ["aio.h", "kqcompat.h"] {
            self.copy(&headers.join(header), HEADERS)?;
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
        let file = format!("lib{name}.so.{VERSION}");
        let content = fs::read(built.join(format!("lib{name}.so")))?;
        let folder = self.root().join(libdir);
        write(&folder.join(&file), &content)?;
        link(&file, &folder.join(soname(name)))?;
        link(&soname(name), &folder.join(format!("lib{name}.so")))
    }

    fn pkg_config(&self, name: &str, folder: &Path) -> Result<()> {
        let template = folder.join(format!("{name}.pc.in"));
        let text = fs::read_to_string(&template)
            .with_context(|| format!("cannot read {}", template.display()))?;
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

fn soname(name: &str) -> String {
    format!("lib{name}.so.{ABI}")
}

/// Builds the libraries, and says where they are.
///
/// In a profile of their own: they carry a soname, which those in target/release must not, because
/// a program that is linked with them there would look for a file that is not.
fn build() -> Result<PathBuf> {
    for (package, name, _) in LIBRARIES {
        let soname = format!("link-arg=-Wl,-soname,{}", soname(name));
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
