//! Ctrl-C: tests run in process groups of their own, so the terminal's signal does not reach
//! them; they are ended here before this program ends.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::Mutex;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};

static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// The exit status of a shell for SIGINT.
const INTERRUPTED: i32 = 130;

/// Installs the handler for SIGINT, SIGTERM and SIGHUP.
///
/// # Errors
/// If there is one already.
pub(crate) fn install() -> Result<()> {
    ctrlc::set_handler(|| {
        // The lock is kept to the end of the process: no test can start after this.
        let running = RUNNING.lock();
        if let Ok(running) = &running {
            for id in running.iter() {
                kill_group(*id);
            }
        }
        eprintln!("regress: interrupted");
        std::process::exit(INTERRUPTED);
    })
    .context("cannot handle interrupts")
}

/// Starts a command that leads a process group of its own.
///
/// # Errors
/// As for [`Command::spawn`].
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    let mut running =
        RUNNING.lock().map_err(|_| io::Error::other("a thread died while it held the list"))?;
    let child = command.process_group(0).spawn()?;
    running.insert(child.id());
    Ok(child)
}

/// To be called before the leader of the group is reaped: its number may then be given to others.
pub(crate) fn finished(id: u32) {
    if let Ok(mut running) = RUNNING.lock() {
        running.remove(&id);
    }
}

/// Ends every process of the group that `id` leads or led. A group that is empty is no error.
pub(crate) fn kill_group(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        // Nothing is left of the group: just what is wanted.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
