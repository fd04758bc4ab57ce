//! Runs one program to its end, or to its limit of time, and keeps what it printed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::interrupt;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Exit(i32),
    Signal(i32),
    /// It was ended after this time.
    TimedOut(Duration),
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    /// Standard output and standard error as they came.
    pub(crate) output: String,
    pub(crate) elapsed: Duration,
}

/// Runs `command` with no input and ends it, with all the processes of its group, at `limit`.
/// What it leaves behind in its group is ended too.
///
/// # Errors
/// If the program cannot be started or waited for.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    // A file, not a pipe: a pipe is at its end only when the last process that inherited it ends.
    let mut output = tempfile::tempfile().context("cannot make a temporary file")?;
    let clone = |file: &File| file.try_clone().context("cannot duplicate a descriptor");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(clone(&output)?))
        .stderr(Stdio::from(clone(&output)?));
    let start = Instant::now();
    let mut child = interrupt::spawn(command)
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let id = child.id();

    let timed_out = wait_or_kill(&mut child, limit);
    let elapsed = start.elapsed();
    interrupt::kill_group(id);
    interrupt::finished(id);
    let status = child.wait().context("cannot wait for a test")?;

    output.seek(SeekFrom::Start(0)).context("cannot read a test's output")?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).context("cannot read a test's output")?;
    let end = if timed_out? { End::TimedOut(limit) } else { end(status) };
    Ok(Finished { end, output: String::from_utf8_lossy(&bytes).into_owned(), elapsed })
}

/// Waits until the process is dead, without reaping it: its number, which is the group's, is nobody
/// else's then. True if it had to be killed.
#[cfg(not(target_os = "openbsd"))]
fn wait_or_kill(child: &mut Child, limit: Duration) -> Result<bool> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    use std::sync::mpsc;
    let id = child.id();
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process number")?;
    std::thread::scope(|scope| {
        let (done, is_done) = mpsc::channel::<()>();
        let watchdog = scope.spawn(move || {
            let late = is_done.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                interrupt::kill_group(id);
            }
            late
        });
        let waited = rustix::io::retry_on_intr(|| {
            waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        });
        drop(done);
        let late = watchdog.join().unwrap_or(false);
        waited.context("cannot wait for a test")?;
        Ok(late)
    })
}

/// The same where no call waits without reaping (rustix has no waitid there): the process is looked
/// after every few milliseconds. A group whose leader was reaped keeps its number for as long as it has
/// members; one that has none may be another's, if all numbers came round in that moment.
#[cfg(target_os = "openbsd")]
fn wait_or_kill(child: &mut Child, limit: Duration) -> Result<bool> {
    const LOOK: Duration = Duration::from_millis(10);
    let start = Instant::now();
    let mut late = false;
    while child.try_wait().context("cannot wait for a test")?.is_none() {
        if !late && start.elapsed() >= limit {
            interrupt::kill_group(child.id());
            late = true;
        }
        std::thread::sleep(LOOK);
    }
    Ok(late)
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, Some(signal)) => End::Signal(signal),
        // wait(2) reports nothing else unless it is asked to.
        (None, None) => End::Exit(status.into_raw()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::Pid;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str, limit: Duration) -> Finished {
        run(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn output_and_status_are_kept() {
        let finished = sh("echo out; echo err >&2; exit 3", LONG);
        assert_eq!(finished.end, End::Exit(3));
        assert_eq!(finished.output, "out\nerr\n");
    }

    #[test]
    fn a_signal_is_told_apart_from_a_status() {
        assert_eq!(sh("kill -TERM $$", LONG).end, End::Signal(15));
    }

    #[test]
    fn a_program_that_never_ends_is_ended_with_its_children() {
        let limit = Duration::from_millis(300);
        let finished = sh("sleep 1000 & echo $!; wait", limit);
        assert_eq!(finished.end, End::TimedOut(limit));
        let child = Pid::from_raw(finished.output.trim().parse().unwrap()).unwrap();
        assert_gone(child);
    }

    #[test]
    fn what_a_program_leaves_behind_is_ended() {
        let finished = sh("sleep 1000 & echo $!", LONG);
        assert_eq!(finished.end, End::Exit(0));
        assert_gone(Pid::from_raw(finished.output.trim().parse().unwrap()).unwrap());
    }

    /// The process is dead, or soon will be: a kill is carried out when the scheduler comes to it,
    /// and init reaps in its own time.
    fn assert_gone(pid: Pid) {
        let stat = format!("/proc/{}/stat", pid.as_raw_nonzero());
        for _ in 0..1000 {
            match std::fs::read_to_string(&stat) {
                Err(_) => return,
                Ok(stat) if stat.contains(") Z ") => return,
                Ok(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("process {} lives on", pid.as_raw_nonzero());
    }
}
