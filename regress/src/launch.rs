//! `regress run`: starts any program on the compat libraries.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, FileKind, elf};

use crate::cli::Run;
use crate::column::{Backend, Compat, Entry, METHODS, Policy};
use crate::preload::{self, POLICY, STATS};
use crate::progress::note;
use crate::workspace::Workspace;

/// Becomes the program that the command line names.
///
/// # Errors
/// If a library cannot be had, or the loader would leave it out without a word; if the program
/// cannot be started.
pub(crate) fn exec(run: &Run) -> Result<Infallible> {
    let Some((program, args)) = run.command.split_first() else { bail!("no program is named") };
    let program = which::which(program)
        .with_context(|| format!("cannot find the program {}", program.display()))?;
    let mut command = Command::new(&program);
    command.args(args);
    if run.backend == Backend::Compat {
        let libraries = libraries(&run.method, run.policy)?;
        let mut list = preload::preload_list(&libraries)?;
        if let Some(old) = std::env::var_os("LD_PRELOAD").filter(|old| !old.is_empty()) {
            list.push(":");
            list.push(old);
        }
        command.env("LD_PRELOAD", list);
        if let Some(policy) = run.policy {
            command.env(POLICY, policy.name());
        }
        if let Some(place) = &run.stats {
            command.env(STATS, place);
        }
        takes_preloads(&program)?;
        prove(&command, &program, &libraries)?;
    }
    if run.backend == Backend::Native && run.stats.is_some() {
        bail!("--stats is for the libraries, and --backend native has none");
    }
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}

/// Builds the libraries that the run asks for.
fn libraries(methods: &[String], policy: Option<Policy>) -> Result<Vec<PathBuf>> {
    let workspace = Workspace::find()?;
    let mut wanted: Vec<&Compat> = Vec::new();
    for method in METHODS {
        let named = methods.iter().any(|name| name == method.name);
        let compat = method.compat;
        if wanted.iter().any(|known| known.library == compat.library) {
            continue;
        }
        // A program that calls kqueue is linked with its library already.
        let usual = methods.is_empty() && compat.entry == Entry::Preload;
        if !named && !usual {
            continue;
        }
        match workspace.missing(compat) {
            Some(reason) if named => bail!("{}: {reason}", method.name),
            Some(reason) => note(&format!("left out: {}: {reason}", method.name)),
            None => wanted.push(compat),
        }
    }
    if wanted.is_empty() {
        bail!("there is no library to start the program on");
    }
    if policy.is_some() && !wanted.iter().any(|compat| compat.has_policies) {
        bail!("--policy is for the poll and select libraries, and neither takes part");
    }
    let built = workspace.build(&wanted, None)?;
    Ok(wanted.iter().filter_map(|compat| built.get(compat.library).cloned()).collect())
}

/// Refuses what the loader would not preload into: it says nothing about that itself.
fn takes_preloads(program: &Path) -> Result<()> {
    let mut file = program.to_owned();
    // A script is read by an interpreter, which may be a script; the kernel goes 5 deep.
    for _ in 0..5 {
        let mode = fs::metadata(&file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .permissions()
            .mode();
        if mode & 0o6000 != 0 {
            bail!(
                "{} is set-user-id or set-group-id: nothing is preloaded into it",
                file.display()
            );
        }
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        match interpreter(&content) {
            Some(next) => file = next,
            None => return is_served(&file, &content),
        }
    }
    bail!("{}: too many interpreters", program.display());
}

/// The interpreter of a script.
fn interpreter(content: &[u8]) -> Option<PathBuf> {
    let line = content.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().next().map(PathBuf::from)
}

/// Refuses an executable that no dynamic loader starts; of one written in Go, says what is not served.
fn is_served(file: &Path, content: &[u8]) -> Result<()> {
    let linking = linking(content).unwrap_or_default();
    if !linking.is_dynamic {
        bail!("{} is linked statically: nothing is preloaded into it", file.display());
    }
    if linking.is_go {
        note(&format!(
            "{} is written in Go, which makes its own system calls: only its C code is served",
            file.display()
        ));
    }
    Ok(())
}

/// What an executable says of how it was linked.
#[derive(Debug, Default)]
struct Linking {
    /// A dynamic loader starts it.
    is_dynamic: bool,
    /// Go's linker made it.
    is_go: bool,
}

/// None if it is no executable.
fn linking(content: &[u8]) -> Option<Linking> {
    match FileKind::parse(content).ok()? {
        FileKind::Elf64 => linking_of::<elf::FileHeader64<Endianness>>(content),
        FileKind::Elf32 => linking_of::<elf::FileHeader32<Endianness>>(content),
        _ => None,
    }
}

fn linking_of<H: FileHeader>(content: &[u8]) -> Option<Linking> {
    let header = H::parse(content).ok()?;
    let endian = header.endian().ok()?;
    let headers = header.program_headers(endian, content).ok()?;
    let has_go_note = |header: &H::ProgramHeader| {
        let mut notes = header.notes(endian, content).ok()??;
        while let Some(note) = notes.next().ok()? {
            // Its build id, in the section .note.go.buildid.
            if note.name() == b"Go" && note.n_type(endian) == elf::NT_GO_BUILD_ID {
                return Some(());
            }
        }
        None
    };
    Some(Linking {
        is_dynamic: headers.iter().any(|header| header.p_type(endian) == elf::PT_INTERP),
        is_go: headers.iter().any(|header| has_go_note(header).is_some()),
    })
}

/// Asks the loader what it would load, without starting the program, as ldd does.
fn prove(command: &Command, program: &Path, libraries: &[PathBuf]) -> Result<()> {
    let mut trace = Command::new(program);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            trace.env(name, value);
        }
    }
    let output = trace
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .env_remove(STATS)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    for library in libraries {
        let path = library.display().to_string();
        if !said.lines().any(|line| line.trim_start().starts_with(&path)) {
            bail!(
                "the loader does not take {path} into {}: {}",
                program.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_their_interpreter() {
        assert_eq!(interpreter(b"#!/bin/sh\necho"), Some("/bin/sh".into()));
        assert_eq!(interpreter(b"#! /usr/bin/env python3\n"), Some("/usr/bin/env".into()));
        assert_eq!(interpreter(b"\x7fELF"), None);
    }

    #[test]
    fn this_test_is_dynamic_and_text_is_not() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        let linking_of_own = linking(&own).unwrap();
        assert!(linking_of_own.is_dynamic && !linking_of_own.is_go);
        assert!(linking(b"just text").is_none());
        // Cut off behind its header: a broken file, not a panic.
        assert!(!linking(&own[..100]).unwrap_or_default().is_dynamic);
    }

    #[test]
    fn a_script_without_an_executable_at_its_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        fs::write(&script, format!("#!{}\n", script.display())).unwrap();
        assert!(takes_preloads(&script).is_err());
    }
}
