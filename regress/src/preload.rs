//! How a compat library comes into a program: the environment of a column.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::column::{Column, Entry, SWITCHES};
use crate::libevent::library_path;

/// What the loader prints for a library that it leaves out.
pub(crate) const IGNORED: &str = "cannot be preloaded";

/// The variable that chooses a library's policy.
pub(crate) const POLICY: &str = "KQCOMPAT_POLICY";

/// The variable that says where a library prints what it did.
pub(crate) const STATS: &str = "KQCOMPAT_STATS";

/// Sets the environment of a test program of this column: nothing of the caller's may choose
/// another method, policy or library.
pub(crate) fn environment(command: &mut Command, column: &Column, libraries: &[PathBuf]) {
    for (name, _) in std::env::vars_os() {
        let ours =
            name.to_str().is_some_and(|n| n.starts_with("EVENT_") || n.starts_with("KQCOMPAT_"));
        if ours || name == "LD_PRELOAD" {
            command.env_remove(name);
        }
    }
    for switch in SWITCHES.iter().filter(|switch| **switch != column.method.switch) {
        command.env(format!("EVENT_NO{switch}"), "1");
    }
    command.envs(column.method.env.iter().copied());
    if let (Some(compat), Some(library)) = (column.compat(), libraries.first()) {
        if compat.entry == Entry::Preload {
            command.env("LD_PRELOAD", joined(libraries));
        }
        // By which the library finds the one that it is built on, where it has no more than its name.
        let by_name = if compat.entry == Entry::Link { Some(library) } else { libraries.get(1) };
        if let Some(library) = by_name {
            command.env("LD_LIBRARY_PATH", library_path(library));
        }
    }
    if let Some(policy) = column.policy {
        command.env(POLICY, policy.name());
    }
}

/// The value of `LD_PRELOAD` for these libraries.
///
/// # Errors
/// If a path holds a space or a colon: the variable has no way to quote them.
pub(crate) fn preload_list(libraries: &[PathBuf]) -> Result<OsString> {
    for library in libraries {
        if library.to_string_lossy().contains([' ', ':', '\t', '\n']) {
            bail!(
                "LD_PRELOAD cannot name {}: it has a space or a colon (CARGO_TARGET_DIR chooses \
                 another place)",
                library.display()
            );
        }
    }
    Ok(joined(libraries))
}

fn joined(libraries: &[PathBuf]) -> OsString {
    let names: Vec<&OsStr> = libraries.iter().map(|library| library.as_os_str()).collect();
    names.join(OsStr::new(":"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::column::{Backend, Policy, method};

    #[test]
    fn a_path_that_the_loader_would_split_is_refused() {
        assert!(preload_list(&["/a b/x.so".into()]).is_err());
        assert!(preload_list(&["/a:b/x.so".into()]).is_err());
        let list = preload_list(&["/a/x.so".into(), "/a/y.so".into()]).unwrap();
        assert_eq!(list, "/a/x.so:/a/y.so");
    }

    #[test]
    fn a_column_forbids_every_other_method() {
        let column = Column {
            method: method("poll").unwrap(),
            backend: Backend::Compat,
            policy: Some(Policy::Register),
        };
        let mut command = Command::new("true");
        environment(&mut command, &column, &["/l/p.so".into(), "/k/q.so".into()]);
        let env: BTreeMap<_, _> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
            .collect();
        assert_eq!(env.get("EVENT_NOEPOLL"), Some(&"1"));
        assert_eq!(env.get("EVENT_NOPOLL"), None);
        assert_eq!(env.get("LD_PRELOAD"), Some(&"/l/p.so:/k/q.so"));
        assert!(env["LD_LIBRARY_PATH"].starts_with("/k"));
        assert_eq!(env.get(POLICY), Some(&"register"));
    }
}
