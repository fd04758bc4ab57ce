//! Other programs, started from the folder of the repository.

use std::io::ErrorKind;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail};

/// Runs cargo, the one that runs us.
///
/// # Errors
/// If it cannot be started, or fails.
pub(crate) fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).current_dir(crate::root());
    succeeded("cargo", args, command.status().context("cannot start cargo")?)
}

/// Whether there is a tool that not everybody has; says where it is left out.
pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("left out: there is no {program}");
    }
    found
}

/// Runs a tool that not everybody has: says that it is left out where there is none.
///
/// # Errors
/// If it fails.
pub(crate) fn if_there(program: &str, args: &[&str]) -> Result<()> {
    match Command::new(program).args(args).current_dir(crate::root()).status() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("left out: there is no {program}");
            Ok(())
        }
        status => {
            let status = status.with_context(|| format!("cannot start {program}"))?;
            succeeded(program, args, status)
        }
    }
}

fn succeeded(program: &str, args: &[&str], status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{program} {} failed: {status}", args.join(" "));
    }
    Ok(())
}
