//! `cargo xtask deb`: a Debian package of what `dist` lays down.
//!
//! By dpkg-deb alone, which each Debian has: cargo-deb would have to be told, asset by asset, what
//! `dist` knows already.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::dist::{Dist, VERSION};

/// Makes a Debian package of the libraries, headers and manual pages
#[derive(Debug, Args)]
pub(crate) struct Deb {
    /// The folder that it is put into
    #[arg(long, value_name = "DIR", default_value = "target/debian")]
    out: PathBuf,
}

impl Deb {
    /// Builds everything and packs it; prints the package's path.
    ///
    /// # Errors
    /// If dpkg-deb is not there, or one of its kin; those of [`Dist::run`].
    pub(crate) fn run(&self) -> Result<()> {
        let architecture = said("dpkg", &["--print-architecture"])?;
        let libdir = Path::new("lib").join(said("cc", &["-print-multiarch"])?);
        let out = crate::root().join(&self.out);
        let tree = out.join("tree");
        let _ = fs::remove_dir_all(&tree);
        let (prefix, destdir) = (PathBuf::from("/usr"), Some(tree.clone()));
        Dist { prefix, destdir, libdir: libdir.clone() }.run()?;

        let doc = tree.join("usr/share/doc/kqcompat");
        fs::write(doc.join("copyright"), copyright()?)?;
        let control = tree.join("DEBIAN");
        fs::create_dir_all(&control)?;
        let libc = newest_glibc(&tree.join("usr").join(libdir))?;
        fs::write(control.join("control"), control_of(&architecture, &libc, size(&tree)?))?;
        // The new libraries are found at once.
        fs::write(control.join("triggers"), "activate-noawait ldconfig\n")?;

        let package = out.join(format!("kqcompat_{VERSION}_{architecture}.deb"));
        let (from, to) = (path(&tree)?, path(&package)?);
        said("dpkg-deb", &["--root-owner-group", "--build", from, to])?;
        println!("{}", package.canonicalize()?.display());
        Ok(())
    }
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path is no text")
}

fn control_of(architecture: &str, libc: &str, kilobytes: u64) -> String {
    format!(
        "Package: kqcompat\n\
         Version: {VERSION}\n\
         Architecture: {architecture}\n\
         Maintainer: the kqcompat developers\n\
         Section: libs\n\
         Priority: optional\n\
         Installed-Size: {kilobytes}\n\
         Depends: libc6 (>= {libc}), libgcc-s1\n\
         Description: kqueue on Linux, and select, poll and epoll over it\n \
         Libraries to be linked or preloaded, with headers, pkg-config files and manual\n \
         pages: libkqcompat_kqueue has kqueue(2) for Linux; libkqcompat_poll and\n \
         libkqcompat_select let poll(2) and select(2) cost what is ready, not what is\n \
         watched; libkqcompat_epoll has epoll(7) on the same engine.\n"
    )
}

fn copyright() -> Result<String> {
    let mut text = "kqcompat is licensed under MIT or Apache-2.0, at your option.\n".to_owned();
    for license in ["LICENSE-MIT", "LICENSE-APACHE"] {
        text += &format!("\n{license}\n\n{}", fs::read_to_string(crate::root().join(license))?);
    }
    Ok(text)
}

/// The newest version of glibc that a shared library asks for.
fn newest_glibc(folder: &Path) -> Result<String> {
    let mut versions = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if path(&file)?.ends_with(VERSION) {
            versions.extend(glibc_versions(&said("readelf", &["-V", "-W", path(&file)?])?));
        }
    }
    let (major, minor) = versions.last().context("no library asks for glibc")?;
    Ok(format!("{major}.{minor}"))
}

/// `... Name: GLIBC_2.34  Flags: ...`
fn glibc_versions(readelf: &str) -> impl Iterator<Item = (u32, u32)> {
    readelf.split("GLIBC_").skip(1).filter_map(|rest| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

/// Of all files, in kilobytes.
fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len().div_ceil(1024),
        };
    }
    Ok(sum)
}

/// What a program prints.
fn said(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout)?;
    ensure!(!text.trim().is_empty(), "{program} says nothing");
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let text = "0x10: Name: GLIBC_2.34  Flags: none\n 0x20: Name: GLIBC_2.2.5 GLIBC_PRIVATE";
        assert_eq!(glibc_versions(text).collect::<Vec<_>>(), [(2, 34), (2, 2)]);
    }
}
