//! Programs under a tool: valgrind, say.

use std::ffi::OsStr;
use std::process::Command;

/// What this variable says is put before each program that a test has compiled and runs.
pub const UNDER: &str = "KQCOMPAT_UNDER";

/// The command that runs a program.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let tool = std::env::var(UNDER).unwrap_or_default();
    let mut words = tool.split_whitespace();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// Whether there is such a tool, under which all takes longer.
pub fn is_asked_for() -> bool {
    std::env::var_os(UNDER).is_some()
}
