//! The manual pages: where they are, and whether they are sound.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// All of them, in order.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn pages() -> Result<Vec<PathBuf>> {
    let folder = crate::root().join("docs/man");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut pages = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    pages.sort();
    Ok(pages)
}

/// Lets mandoc judge them; where there is none, groff, which sees less.
///
/// # Errors
/// If either complains, or neither is there.
pub(crate) fn lint() -> Result<()> {
    let pages = pages()?;
    let lint = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output();
    let (program, output) = match lint {
        Ok(output) => ("mandoc", output),
        Err(_) => {
            let args = ["-mdoc", "-ww", "-z", "-Tutf8"];
            let output = Command::new("groff").args(args).args(&pages).output();
            ("groff", output.context("neither mandoc nor groff can be started")?)
        }
    };
    let said = [output.stdout, output.stderr].concat();
    print!("{}", String::from_utf8_lossy(&said));
    if !output.status.success() || !said.is_empty() {
        bail!("{program} finds fault with the manual pages");
    }
    println!("{program}: {} pages are sound", pages.len());
    Ok(())
}
