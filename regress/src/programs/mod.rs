//! `regress programs`: real programs with their own load, on the kernel's calls and on ours.
//!
//! Each program is a script of `regress/programs`; what is run is the script natively, and, where
//! that succeeds, once for each setting of the library that serves the method. Programs that call kqueue
//! are built against its library first, and have no native run.

mod script;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;

use self::script::Script;
use crate::cli::Programs;
use crate::column::{Compat, Method, Policy, method};
use crate::interrupt;
use crate::process::{self, End};
use crate::progress::note;
use crate::workspace::Workspace;

/// No program takes longer, unless it hangs.
const LIMIT: Duration = Duration::from_secs(900);
/// The settings of poll and select that are tried.
const POLICIES: [Policy; 3] = [Policy::Default, Policy::Register, Policy::Strict];
/// The status of a script that says so.
const NOT_TRIED: i32 = 77;
/// Where servers lie that are not meant to be started by hand.
const FOLDERS: [&str; 2] = ["/usr/sbin", "/sbin"];

/// How a run ended.
#[derive(Debug)]
enum Verdict {
    Passed(Duration),
    /// The last line of what it printed, and the file that has all of it.
    Failed(String, PathBuf),
    NotInstalled(String),
    /// The script says why it cannot be tried.
    NotTried(String),
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    program: String,
    method: &'static Method,
    setting: &'static str,
    verdict: Verdict,
}

/// Runs the programs and prints the table; returns the number of differences.
///
/// # Errors
/// If a library cannot be built, a named program is unknown, or a script cannot be started.
pub(crate) fn run(options: &Programs) -> Result<usize> {
    interrupt::install()?;
    let workspace = Workspace::find()?;
    let folder = workspace.root().join("regress/programs");
    let mut scripts = Script::all(&folder)?;
    if let Some(unknown) = options.names.iter().find(|n| scripts.iter().all(|s| s.name != **n)) {
        let names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
        bail!("there is no program {unknown}; there are {}", names.join(", "));
    }
    scripts.retain(|s| options.names.is_empty() || options.names.contains(&s.name));
    let mut wanted: Vec<&Compat> = Vec::new();
    for method in scripts.iter().flat_map(|script| &script.methods).filter_map(|name| method(name))
    {
        if wanted.iter().all(|compat| compat.library != method.compat.library) {
            wanted.push(method.compat);
        }
    }
    let stage = Stage {
        libraries: workspace.build(&wanted, None)?,
        folder,
        logs: workspace.output_dir().join("programs"),
        search: search_path()?,
    };
    fs::create_dir_all(&stage.logs).context("cannot make a folder for what is printed")?;
    let mut rows = Vec::new();
    for script in &scripts {
        rows.extend(stage.program(script)?);
    }
    println!("{}", table(&rows));
    Ok(rows.iter().filter(|row| row.is_difference()).count())
}

impl Row {
    fn is_difference(&self) -> bool {
        self.setting != NATIVE && matches!(self.verdict, Verdict::Failed(..))
    }
}

/// How a row is called that the kernel's own calls serve.
const NATIVE: &str = "native";

/// What all runs have in common.
#[derive(Debug)]
struct Stage {
    libraries: BTreeMap<&'static str, PathBuf>,
    folder: PathBuf,
    logs: PathBuf,
    search: OsString,
}

impl Stage {
    fn program(&self, script: &Script) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for method in script.methods.iter().filter_map(|name| method(name)) {
            let mut row = |setting, verdict| {
                let row = Row { program: script.name.clone(), method, setting, verdict };
                note(&row.line());
                rows.push(row);
            };
            let missing = script.missing(&self.search);
            if !missing.is_empty() {
                row(NATIVE, Verdict::NotInstalled(missing.join(" ")));
                continue;
            }
            // The kernel has no kqueue.
            if method.native {
                let native = self.once(script, method, None)?;
                let is_good = matches!(native, Verdict::Passed(_));
                row(NATIVE, native);
                if !is_good {
                    continue;
                }
            }
            let settings: Vec<Option<Policy>> = match method.compat.has_policies {
                true => POLICIES.into_iter().map(Some).collect(),
                false => vec![None],
            };
            for policy in settings {
                let verdict = self.once(script, method, Some(policy))?;
                row(policy.map_or("compat", Policy::name), verdict);
            }
        }
        Ok(rows)
    }

    /// Runs the script once: natively, or on the library with a policy, if it has any.
    fn once(
        &self,
        script: &Script,
        method: &Method,
        compat: Option<Option<Policy>>,
    ) -> Result<Verdict> {
        let dir = tempfile::tempdir().context("cannot make a folder")?;
        let library = match compat {
            Some(_) => Some(open_to_all(&self.libraries, method.compat, dir.path())?),
            None => None,
        };
        let place = dir.path().join("run");
        fs::create_dir(&place).context("cannot make a folder")?;
        let policy = compat.flatten().map_or("", Policy::name);
        let mut command = Command::new("bash");
        command
            .arg(&script.path)
            .current_dir(&place)
            .env_remove("LD_PRELOAD")
            .env("PATH", &self.search)
            .env("PROGRAMS", &self.folder)
            .env("METHOD", method.name)
            .env("POLICY", policy)
            .env("LIBRARY", library.as_deref().unwrap_or(Path::new("")));
        let finished = process::run(&mut command, LIMIT)?;
        let setting = if compat.is_some() { "compat" } else { NATIVE };
        let log = [&script.name, method.name, setting, policy].join("-");
        let log = self.logs.join(format!("{}.log", log.trim_end_matches('-')));
        fs::write(&log, &finished.output).context("cannot write a log")?;
        Ok(match finished.end {
            End::Exit(0) => Verdict::Passed(finished.elapsed),
            End::Exit(status) => {
                let last = finished.output.lines().last().unwrap_or("no word").to_owned();
                match status {
                    NOT_TRIED => Verdict::NotTried(last),
                    _ => Verdict::Failed(last, log),
                }
            }
            End::Signal(signal) => Verdict::Failed(format!("ended by signal {signal}"), log),
            End::TimedOut(limit) => Verdict::Failed(format!("no end after {limit:?}"), log),
        })
    }
}

/// A copy of the library where a program that gives its rights away can read it too.
fn open_to_all(
    libraries: &BTreeMap<&'static str, PathBuf>,
    compat: &Compat,
    dir: &Path,
) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let from = libraries.get(compat.library).context("the library was not built")?;
    let to = dir.join(format!("lib{}.so", compat.library));
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    for path in [dir, &to] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot open {}", path.display()))?;
    }
    Ok(to)
}

/// `PATH`, and where servers lie.
fn search_path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let postgresql = glob::glob("/usr/lib/postgresql/*/bin").into_iter().flatten().flatten();
    let folders = env::split_paths(&path).chain(FOLDERS.iter().map(PathBuf::from));
    env::join_paths(folders.chain(postgresql)).context("PATH has a folder with a colon")
}

impl Row {
    fn said(&self) -> String {
        match &self.verdict {
            Verdict::Passed(time) => format!("passes ({:.1} s)", time.as_secs_f64()),
            Verdict::Failed(why, log) => format!("FAILS: {why} ({})", log.display()),
            Verdict::NotInstalled(packages) => format!("not installed: {packages}"),
            Verdict::NotTried(why) => format!("not tried, for want of {why}"),
        }
    }

    fn line(&self) -> String {
        format!("{} {} {}: {}", self.program, self.method.name, self.setting, self.said())
    }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_header([
        "program",
        "interface",
        "setting",
        "result",
    ]);
    for row in rows {
        table.add_row([&row.program, row.method.name, row.setting, &row.said()]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(script: &str, dir: &Path) -> (Stage, Script) {
        fs::write(dir.join("it.sh"), script).unwrap();
        let search = search_path().unwrap();
        let (folder, logs) = (dir.to_owned(), dir.to_owned());
        let stage = Stage { libraries: BTreeMap::new(), folder, logs, search };
        (stage, Script::all(dir).unwrap().remove(0))
    }

    #[test]
    fn what_is_not_installed_is_said_and_is_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# needs: no-such-command=its-package\n# methods: poll\n";
        let (stage, script) = stage(text, dir.path());
        let rows = stage.program(&script).unwrap();
        assert_eq!(rows.len(), 1);
        assert!(table(&rows).to_string().contains("not installed: its-package"));
        assert!(!rows[0].is_difference());
    }

    #[test]
    fn what_cannot_be_tried_says_why_and_is_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let (stage, script) = stage("# methods: poll\necho luck\nexit 77\n", dir.path());
        let rows = stage.program(&script).unwrap();
        assert!(rows[0].line().ends_with("not tried, for want of luck"), "{}", rows[0].line());
        assert!(rows.len() == 1 && !rows[0].is_difference());
    }

    #[test]
    fn what_fails_natively_is_said_and_is_no_difference() {
        let dir = tempfile::tempdir().unwrap();
        let (stage, script) = stage("# methods: epoll\necho no luck\nexit 3\n", dir.path());
        let rows = stage.program(&script).unwrap();
        assert_eq!(rows.len(), 1, "it is not run on the library: {rows:?}");
        assert!(rows[0].line().contains("epoll native: FAILS: no luck"), "{}", rows[0].line());
        assert!(!rows[0].is_difference());
        assert_eq!(
            fs::read_to_string(dir.path().join("it-epoll-native.log")).unwrap(),
            "no luck\n"
        );
    }
}
