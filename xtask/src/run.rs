//! Other programs, started from the folder of the repository.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// Runs cargo, the one that runs us.
///
/// # Errors
/// If it cannot be started, or fails.
pub(crate) fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).envs(env.iter().copied()).current_dir(crate::root());
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("cargo {} failed: {status}", args.join(" "));
    }
    Ok(())
}
