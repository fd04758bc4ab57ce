//! The source tree, and the copy of it that is built: a registry's folders are not to be written
//! to, and libevent's build writes generated files beside its sources.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use walkdir::{DirEntry, WalkDir};

use crate::workspace::Bundled;

#[derive(Debug)]
pub(crate) struct Source {
    dir: PathBuf,
    /// "libevent 2.1.12 of libevent-sys 0.4.0"
    pub(crate) description: String,
    /// The name of its folder below the output folder.
    key: String,
}

impl Source {
    /// # Errors
    /// If the bundled tree is not what it should be.
    pub(crate) fn bundled(bundled: &Bundled) -> Result<Self> {
        let version = check(&bundled.dir)?;
        Ok(Self {
            dir: bundled.dir.clone(),
            description: format!("libevent {version} of {}", bundled.package),
            key: format!("libevent-{version}"),
        })
    }

    /// # Errors
    /// If `dir` is no libevent source tree with tests.
    pub(crate) fn own(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().with_context(|| format!("--libevent {}", dir.display()))?;
        let version = check(&dir)?;
        // Two trees of one version are two builds.
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        Ok(Self {
            description: format!("libevent {version} of {}", dir.display()),
            key: format!("libevent-{version}-{:016x}", hasher.finish()),
            dir,
        })
    }

    /// The folder that holds the copy and its builds.
    pub(crate) fn folder(&self, output_dir: &Path) -> PathBuf {
        output_dir.join(&self.key)
    }

    /// Brings the copy in `to` up to date and tells how many files were not. Only files whose
    /// content differs are written, so that make rebuilds what they concern; files that only the
    /// copy has are generated ones and stay.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(crate) fn copy(&self, to: &Path) -> Result<usize> {
        let mut changed = 0;
        let tree = WalkDir::new(&self.dir).follow_links(true).sort_by_file_name();
        for entry in tree.into_iter().filter_entry(is_source) {
            let entry = entry.with_context(|| format!("cannot read {}", self.dir.display()))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let relative = entry.path().strip_prefix(&self.dir).context("a path outside")?;
            let target = to.join(relative);
            let content = fs::read(entry.path())
                .with_context(|| format!("cannot read {}", entry.path().display()))?;
            if fs::read(&target).is_ok_and(|old| old == content) {
                continue;
            }
            write(&target, &content)
                .with_context(|| format!("cannot write {}", target.display()))?;
            changed += 1;
        }
        Ok(changed)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

/// Not the history, and no build that somebody made inside the tree.
fn is_source(entry: &DirEntry) -> bool {
    entry.depth() == 0
        || !entry.file_type().is_dir()
        || (entry.file_name() != ".git" && !entry.path().join("CMakeCache.txt").exists())
}

/// Checks that `dir` is a libevent source tree with tests, and tells its version.
fn check(dir: &Path) -> Result<String> {
    for file in ["CMakeLists.txt", "event.c", "event_rpcgen.py", "test/regress_main.c"] {
        if !dir.join(file).exists() {
            bail!("{} is no libevent source tree with tests: it has no {file}", dir.display());
        }
    }
    let cmake = fs::read_to_string(dir.join("CMakeLists.txt")).context("CMakeLists.txt")?;
    Ok(version(&cmake).unwrap_or_else(|| "of unknown version".to_owned()))
}

/// Reads `set(EVENT_NUMERIC_VERSION 0x02010c00)`.
fn version(cmake: &str) -> Option<String> {
    let (_, rest) = cmake.split_once("EVENT_NUMERIC_VERSION 0x")?;
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    let number = u32::from_str_radix(&digits, 16).ok()?;
    let [major, minor, patch, _stage] = number.to_be_bytes();
    Some(format!("{major}.{minor}.{patch}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (file, content) in [
            ("CMakeLists.txt", "set(EVENT_NUMERIC_VERSION 0x02010c00)\n"),
            ("event.c", "int x;"),
            ("event_rpcgen.py", ""),
            ("test/regress_main.c", "int main;"),
            (".git/HEAD", "ref"),
            ("build/CMakeCache.txt", ""),
            ("build/event.o", "old"),
        ] {
            write(&dir.path().join(file), content.as_bytes()).unwrap();
        }
        dir
    }

    #[test]
    fn versions() {
        assert_eq!(version("set(EVENT_NUMERIC_VERSION 0x02010c00)").unwrap(), "2.1.12");
        assert_eq!(version("set(EVENT_NUMERIC_VERSION 0x02020001)").unwrap(), "2.2.0");
        assert_eq!(version("project(x)"), None);
    }

    #[test]
    fn only_what_differs_is_copied_and_generated_files_stay() {
        let (from, to) = (tree(), tempfile::tempdir().unwrap());
        let source = Source::own(from.path()).unwrap();
        assert_eq!(source.copy(to.path()).unwrap(), 4);
        assert!(!to.path().join(".git").exists() && !to.path().join("build").exists());
        assert_eq!(source.copy(to.path()).unwrap(), 0);

        fs::write(to.path().join("test/regress.gen.c"), "generated").unwrap();
        // An older date than the copy's, as a checkout of an older version may have.
        let event = from.path().join("event.c");
        fs::write(&event, "int y;").unwrap();
        let file = fs::File::options().write(true).open(&event).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(source.copy(to.path()).unwrap(), 1);
        assert_eq!(fs::read_to_string(to.path().join("event.c")).unwrap(), "int y;");
        assert!(to.path().join("test/regress.gen.c").exists());
    }

    #[test]
    fn a_folder_without_tests_is_refused_by_name_of_what_it_lacks() {
        let dir = tree();
        fs::remove_file(dir.path().join("test/regress_main.c")).unwrap();
        let error = Source::own(dir.path()).unwrap_err().to_string();
        assert!(error.contains("test/regress_main.c"), "{error}");
        assert!(Source::own(Path::new("/nonexistent")).is_err());
    }
}
