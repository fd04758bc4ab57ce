//! Ctrl-C: tests run in process groups of their own, so the terminal's signal does not reach
//! them; they are ended here before this program ends.

use std::collections::BTreeSet;
use std::io;
use std::process::{Child, Command};
use std::sync::Mutex;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::{Origin, WithOrigin};

static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// What a shell adds to the number of the signal that ended a program.
const BY_SIGNAL: i32 = 128;

/// Has SIGINT, SIGTERM and SIGHUP end the tests that run, and then this program.
///
/// # Errors
/// If the signals cannot be handled.
pub(crate) fn install() -> Result<()> {
    let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot handle interrupts")?;
    std::thread::spawn(move || {
        if let Some(origin) = signals.forever().next() {
            // The lock is kept to the end of the process: no test can start after this.
            let running = RUNNING.lock();
            if let Ok(running) = &running {
                for id in running.iter() {
                    kill_group(*id);
                }
            }
            eprintln!("regress: ended by {}", described(&origin));
            std::process::exit(BY_SIGNAL + origin.signal);
        }
    });
    Ok(())
}

/// The signal and who sent it: a run that ended without a reason looks like a fault of its own.
fn described(origin: &Origin) -> String {
    let name = signal_hook::low_level::signal_name(origin.signal).unwrap_or("a signal");
    let Some(sender) = &origin.process else { return name.to_owned() };
    let program = std::fs::read(format!("/proc/{}/cmdline", sender.pid)).unwrap_or_default();
    let program = String::from_utf8_lossy(&program).replace('\0', " ");
    format!("{name} from process {} {}", sender.pid, program.trim_end())
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
