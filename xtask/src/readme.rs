//! `cargo xtask readme`: does what README.md says, from scratch in a fresh clone.
//!
//! Behind a comment `<!-- try: NAME -->` stands a block of `sh`; it is run as it is, by itself, in the
//! folder of the clone. (`NAME, as root`: it installs something, which must be gone at its end, and is left
//! out where we are not root or have no dpkg.) Behind it a block of `text` may say what it prints: each of its lines must be
//! a line of the output, where `…` stands for anything.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

/// A path that takes more lines than this is no path.
const LINES: usize = 10;

/// One way to use the project.
#[derive(Debug, PartialEq, Eq)]
struct Try {
    name: String,
    /// It installs something.
    as_root: bool,
    script: String,
    prints: String,
}

/// Runs those that are named, or all.
///
/// # Errors
/// If one fails, or prints something else; if the clone cannot be made.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let text = fs::read_to_string(crate::root().join("README.md"))?;
    let tries = tries(&text)?;
    if let Some(name) = names.iter().find(|name| !tries.iter().any(|t| t.name == **name)) {
        bail!("README.md has no {name}");
    }
    let clone = tempfile::tempdir()?;
    let scratch = tempfile::tempdir()?;
    let mut git = Command::new("git");
    git.args(["clone", "--quiet"]).arg(crate::root()).arg(clone.path());
    ensure!(git.status().context("cannot start git")?.success(), "git clone failed");
    // What was committed is what is tried; README.md's lines are those that are here.
    for t in tries.iter().filter(|t| names.is_empty() || names.contains(&t.name)) {
        if t.as_root && !can_install() {
            println!("--- {}: left out, it takes root and dpkg", t.name);
            continue;
        }
        let began = Instant::now();
        println!("--- {}", t.name);
        t.run(clone.path(), scratch.path()).with_context(|| format!("README.md, {}", t.name))?;
        println!("--- {}: done in {} s", t.name, began.elapsed().as_secs());
    }
    Ok(())
}

fn can_install() -> bool {
    rustix::process::geteuid().is_root()
        && Command::new("dpkg").arg("--version").output().is_ok_and(|o| o.status.success())
}

/// Whether nothing of ours is in /usr.
fn nothing_is_left() -> Result<()> {
    let found = Command::new("find").args(["/usr", "-name", "*kqcompat*"]).output()?;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    ensure!(found.is_empty(), "it left:\n{found}");
    Ok(())
}

impl Try {
    fn run(&self, clone: &Path, scratch: &Path) -> Result<()> {
        print!("{}", self.script);
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{}", self.script)])
            .current_dir(clone)
            .env_remove("CARGO_TARGET_DIR")
            .env("TMPDIR", scratch)
            .stdin(Stdio::null())
            .output()
            .context("cannot start bash")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{}, after it said:\n{said}", output.status);
        }
        for wanted in self.prints.lines() {
            if !said.lines().any(|line| is_like(line, wanted)) {
                bail!("it did not print `{wanted}`, but:\n{said}");
            }
        }
        if self.as_root { nothing_is_left() } else { Ok(()) }
    }
}

/// Whether a line is what was wanted, where `…` stands for anything.
fn is_like(line: &str, wanted: &str) -> bool {
    let mut parts = wanted.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut open = false;
    for part in parts {
        open = true;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || (open && wanted.ends_with('…'))
}

fn tries(text: &str) -> Result<Vec<Try>> {
    let mut found = Vec::new();
    for (name, after) in
        text.split("<!-- try: ").skip(1).filter_map(|part| part.split_once(" -->\n"))
    {
        let Some(after) = after.trim_start().strip_prefix("```sh\n") else {
            bail!("{name}: no block of sh follows");
        };
        let (script, after) = after.split_once("```\n").context("a block has no end")?;
        let lines = script.lines().count();
        ensure!(lines <= LINES, "{name}: {lines} lines are more than {LINES}");
        let prints = after.trim_start().strip_prefix("```text\n").and_then(|t| t.split_once("```"));
        let prints = prints.map_or_else(String::new, |(prints, _)| prints.to_owned());
        let (name, as_root) = match name.strip_suffix(", as root") {
            Some(name) => (name, true),
            None => (name, false),
        };
        found.push(Try { name: name.to_owned(), as_root, script: script.to_owned(), prints });
    }
    ensure!(!found.is_empty(), "there is nothing to try");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_is_its_lines_and_what_they_print() {
        let text = "a\n<!-- try: one, as root -->\n```sh\ntrue\n```\n\n```text\nx … y\n```\nb\n\
                    <!-- try: two -->\n```sh\nfalse\n```\n```sh\nno\n```\n";
        let [one, two] = &tries(text).unwrap()[..] else { panic!("there are two") };
        assert_eq!((one.as_root, two.as_root), (true, false));
        assert_eq!((&*one.name, &*one.script, &*one.prints), ("one", "true\n", "x … y\n"));
        assert_eq!((&*two.name, &*two.script, &*two.prints), ("two", "false\n", ""));
        assert!(tries("no comment").is_err());
        assert!(tries(&format!("<!-- try: x -->\n```sh\n{}```\n", "true\n".repeat(11))).is_err());
    }

    #[test]
    fn dots_stand_for_anything() {
        for (line, wanted) in
            [("a 1 b", "a … b"), ("a", "a"), ("a b", "a…"), ("1 us, 2", "… us, …")]
        {
            assert!(is_like(line, wanted), "{line} {wanted}");
        }
        for (line, wanted) in [("a 1 c", "a … b"), ("a b", "a"), ("b", "a…"), ("a b c", "a … b")]
        {
            assert!(!is_like(line, wanted), "{line} {wanted}");
        }
    }

    #[test]
    fn a_script_that_fails_or_prints_something_else_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str, prints: &str| {
            let name = "t".into();
            let t = Try { name, as_root: false, script: script.into(), prints: prints.into() };
            t.run(dir.path(), dir.path())
        };
        run("echo a; echo b >&2", "a\nb\n").unwrap();
        run("false\necho a", "a\n").unwrap_err();
        run("false | true", "").unwrap_err();
        run("echo a; echo b", "a\nc\n").unwrap_err();
    }
}
