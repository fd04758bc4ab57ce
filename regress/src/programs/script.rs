//! One script of `regress/programs`, as its first lines describe it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A program, and the script that runs it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: String,
    pub(super) path: PathBuf,
    needs: Vec<Need>,
    /// What the program can wait by: names of methods.
    pub(super) methods: Vec<String>,
}

/// A command, or a file by its path, and the Debian package that has it.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    what: String,
    package: String,
}

impl Script {
    /// Every script of the folder, by name.
    ///
    /// # Errors
    /// If the folder cannot be read, or a script does not say what it needs.
    pub(super) fn all(folder: &Path) -> Result<Vec<Self>> {
        let cannot = || format!("cannot read {}", folder.display());
        let mut scripts = Vec::new();
        for entry in fs::read_dir(folder).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.extension().is_some_and(|extension| extension == "sh") {
                scripts.push(Self::read(path)?);
            }
        }
        scripts.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(scripts)
    }

    fn read(path: PathBuf) -> Result<Self> {
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (needs, methods) = head(&text).with_context(|| format!("{}", path.display()))?;
        Ok(Self { name, path, needs, methods })
    }

    /// The packages that this machine lacks.
    pub(super) fn missing(&self, search: &std::ffi::OsStr) -> Vec<&str> {
        let here = |need: &&Need| {
            Path::new(&need.what).exists() || which::which_in(&need.what, Some(search), ".").is_ok()
        };
        let mut packages: Vec<&str> = Vec::new();
        for need in self.needs.iter().filter(|need| !here(need)) {
            if !packages.contains(&need.package.as_str()) {
                packages.push(&need.package);
            }
        }
        packages
    }
}

/// What the lines `# needs:` and `# methods:` say.
fn head(text: &str) -> Result<(Vec<Need>, Vec<String>)> {
    let words = |key: &str| {
        text.lines()
            .map_while(|line| line.strip_prefix('#'))
            .filter_map(|line| line.trim_start().strip_prefix(key))
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
    };
    let mut needs = Vec::new();
    for word in words("needs:") {
        let Some((what, package)) = word.split_once('=') else {
            bail!("'# needs:' holds {word}, not COMMAND=PACKAGE");
        };
        needs.push(Need { what: what.to_owned(), package: package.to_owned() });
    }
    let methods: Vec<String> = words("methods:").into_iter().map(str::to_owned).collect();
    if methods.is_empty() {
        bail!("no line '# methods:'");
    }
    if let Some(unknown) = methods.iter().find(|name| crate::column::method(name).is_none()) {
        bail!("'# methods:' holds {unknown}, which is none");
    }
    Ok((needs, methods))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_says_what_it_needs_and_how_it_waits() {
        let text = "# needs: a=b /c/d=e\n# methods: poll select\nrun a\n# methods: epoll\n";
        let (needs, methods) = head(text).unwrap();
        assert_eq!(needs.len(), 2);
        assert_eq!(needs[1], Need { what: "/c/d".into(), package: "e".into() });
        assert_eq!(methods, ["poll", "select"]);
        assert!(head("run a\n").is_err());
        assert!(head("# methods: pol\n").is_err());
        assert!(head("# needs: a\n# methods: poll\n").is_err());
    }

    #[test]
    fn the_scripts_that_there_are_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        let scripts = Script::all(&folder).unwrap();
        assert!(scripts.iter().any(|script| script.name == "haproxy"));
    }
}
