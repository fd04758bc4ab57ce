//! What cargo knows: where the workspace and its target folder are, which packages it has, where
//! libevent-sys was unpacked; and the building of our libraries.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use cargo_metadata::{Message, Metadata, MetadataCommand};

use crate::column::Compat;

/// The package whose bundled tree is libevent's source.
const LIBEVENT_SYS: &str = "libevent-sys";

#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

/// A libevent source tree and where it came from.
#[derive(Debug)]
pub(crate) struct Bundled {
    pub(crate) dir: PathBuf,
    /// "libevent-sys 0.4.0"
    pub(crate) package: String,
}

impl Workspace {
    /// Finds the workspace: the one that this program was compiled from, or, if it has moved, the
    /// one around the current folder.
    ///
    /// # Errors
    /// If cargo finds no workspace, or cannot download a package that Cargo.lock names.
    pub(crate) fn find() -> Result<Self> {
        let mut command = MetadataCommand::new();
        let compiled_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        if compiled_from.exists() {
            command.manifest_path(compiled_from);
        }
        // --locked: what is run is what Cargo.lock names. All features and targets are resolved,
        // and cargo downloads what is not here yet.
        command.other_options(["--locked".to_owned()]);
        let metadata = command.exec().context(
            "cargo cannot describe the workspace (without a network, run `cargo fetch` where \
             there is one first)",
        )?;
        Ok(Self { metadata })
    }

    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// Where everything that is built and logged goes.
    pub(crate) fn output_dir(&self) -> PathBuf {
        self.metadata.target_directory.as_std_path().join("regress")
    }

    /// Why a library cannot be had, or None if it can be built.
    pub(crate) fn missing(&self, compat: &Compat) -> Option<String> {
        let here =
            |name: &str| self.metadata.workspace_packages().iter().any(|p| p.name.as_str() == name);
        if cfg!(not(target_os = "linux")) && compat.package == "kq-core-c" {
            return Some("the system has a kqueue of its own".to_owned());
        }
        if !here(compat.package) {
            return Some(format!("the workspace has no package {}", compat.package));
        }
        compat
            .needs
            .iter()
            .find(|file| !self.root().join(file).exists())
            .map(|file| format!("the workspace has no {file}"))
    }

    /// The bundled libevent.
    ///
    /// # Errors
    /// If Cargo.lock names no libevent-sys, or its tree is not where it should be.
    pub(crate) fn libevent(&self) -> Result<Bundled> {
        bundled(&self.metadata)
    }

    /// Builds the shared libraries of these packages and returns their paths by library name.
    /// cargo rebuilds only what has changed, so that a stale library is never what is tested. `over`
    /// is a library with a kqueue that they are to be built on, instead of Linux's own calls.
    ///
    /// # Errors
    /// If cargo fails (it has said why) or leaves no shared library of that name.
    pub(crate) fn build(
        &self,
        wanted: &[&Compat],
        over: Option<&Path>,
    ) -> Result<BTreeMap<&'static str, PathBuf>> {
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--release", "--locked", "--quiet"])
            .arg("--message-format=json-render-diagnostics")
            .arg("--manifest-path")
            .arg(self.root().join("Cargo.toml"))
            .stdout(Stdio::piped());
        for compat in wanted {
            command.args(["-p", compat.package]);
        }
        if let Some(library) = over {
            // As `cargo xtask native` has it: core/build.rs tells what they mean.
            command
                .env("RUSTFLAGS", "--cfg kqcompat_native")
                .env("KQCOMPAT_NATIVE_LIB", library)
                .env("CARGO_TARGET_DIR", self.metadata.target_directory.join("native"));
        }
        let mut child = command.spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("cargo has no output"))?;
        let mut found = BTreeMap::new();
        for message in Message::parse_stream(BufReader::new(stdout)) {
            let Message::CompilerArtifact(artifact) = message.context("cargo's messages")? else {
                continue;
            };
            let Some(compat) = wanted.iter().find(|c| c.library == artifact.target.name) else {
                continue;
            };
            let file = artifact.filenames.iter().find(|f| f.extension() == Some("so"));
            if let Some(file) = file {
                found.insert(compat.library, file.clone().into_std_path_buf());
            }
        }
        let status = child.wait().context("cannot wait for cargo")?;
        if !status.success() {
            bail!("cargo could not build the libraries ({status})");
        }
        for compat in wanted {
            if !found.contains_key(compat.library) {
                bail!("package {} left no lib{}.so", compat.package, compat.library);
            }
        }
        Ok(found)
    }
}

fn bundled(metadata: &Metadata) -> Result<Bundled> {
    let package = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == LIBEVENT_SYS)
        .ok_or_else(|| anyhow!("Cargo.lock names no {LIBEVENT_SYS}; give --libevent DIR"))?;
    let dir = package
        .manifest_path
        .parent()
        .ok_or_else(|| anyhow!("{LIBEVENT_SYS} has no folder"))?
        .join("libevent")
        .into_std_path_buf();
    Ok(Bundled { dir, package: format!("{} {}", package.name, package.version) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of `cargo metadata --format-version 1`, cut down to what cargo_metadata requires.
    fn metadata(packages: &str) -> Metadata {
        let json = format!(
            r#"{{"packages": [{packages}], "workspace_members": [], "resolve": null,
                "workspace_default_members": [], "workspace_root": "/w",
                "target_directory": "/w/target", "version": 1, "metadata": null}}"#
        );
        MetadataCommand::parse(json).unwrap()
    }

    fn package(name: &str, version: &str) -> String {
        format!(
            r#"{{"name": "{name}", "version": "{version}", "id": "{name} {version}",
                "dependencies": [], "targets": [], "features": {{}},
                "manifest_path": "/registry/{name}-{version}/Cargo.toml"}}"#
        )
    }

    #[test]
    fn libevent_lies_in_the_package_that_the_lock_names() {
        let packages = [package("libc", "0.2.1"), package("libevent-sys", "0.4.0")].join(",");
        let bundled = bundled(&metadata(&packages)).unwrap();
        assert_eq!(bundled.package, "libevent-sys 0.4.0");
        assert_eq!(bundled.dir, Path::new("/registry/libevent-sys-0.4.0/libevent"));
    }

    #[test]
    fn a_lock_without_it_says_what_to_do() {
        let error = bundled(&metadata(&package("libc", "0.2.1"))).unwrap_err().to_string();
        assert!(error.contains("--libevent"), "{error}");
    }

    #[test]
    fn this_workspace_has_libevent_with_its_tests() {
        let bundled = Workspace::find().unwrap().libevent().unwrap();
        assert!(bundled.dir.join("test/regress_main.c").exists(), "{}", bundled.dir.display());
    }

    #[test]
    fn an_unknown_package_is_missing_with_a_reason() {
        let compat = crate::column::method("epoll").unwrap().compat;
        let reason = Workspace { metadata: metadata("") }.missing(compat).unwrap();
        assert!(reason.contains("compat-epoll-c"), "{reason}");
    }
}
