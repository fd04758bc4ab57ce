//! The machine a run was made on, and what the run may use of it.

use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result};
#[cfg(target_os = "linux")]
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::utsname::uname;
#[cfg(target_os = "linux")]
use nix::unistd::Pid;

use crate::model::Host;

/// Raises the descriptor limit as far as it goes without privileges, and says where it is.
#[allow(clippy::unnecessary_cast, reason = "FreeBSD's limits are signed")]
pub(crate) fn raise_descriptor_limit() -> Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard as u64)
}

/// How many more descriptors fit, less a reserve for what the libraries and the run itself open.
pub(crate) fn free_descriptors() -> Result<usize> {
    const RESERVE: usize = 100;
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // The next number that is given out: those below it are in use.
    let used = std::fs::File::open("/dev/null").context("/dev/null")?.as_raw_fd() as usize;
    Ok((soft as usize).saturating_sub(used + RESERVE))
}

/// What `Run` says of the machine: no name, no path.
#[allow(clippy::unnecessary_cast, reason = "FreeBSD's limits are signed")]
pub(crate) fn describe() -> Host {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    Host {
        kernel: kernel().unwrap_or_else(|| "unknown".into()),
        cpu: cpu_model(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        descriptors: descriptors as u64,
    }
}

/// Its release, and on other systems than Linux its name before it.
fn kernel() -> Option<String> {
    let names = uname().ok()?;
    let release = names.release().to_str()?;
    let system = names.sysname().to_str()?;
    Some(if system == "Linux" { release.to_owned() } else { format!("{system} {release}") })
}

fn cpu_model(cpuinfo: &str) -> String {
    cpuinfo
        .lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(k, _)| matches!(k.trim(), "model name" | "Processor"))
        .map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, v)| v.trim().to_owned())
}

/// The commit the sources are at.
pub(crate) fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git")
            .arg("-C")
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(args)
            .output()
            .ok()
            .filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".into() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(s) if s.is_empty() => commit,
        _ => commit + "-dirty",
    }
}

/// Now, UTC, to the second.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Lets the calling thread, and those it starts from now on, run on `cpus` only.
pub(crate) fn pin(cpus: &[usize]) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    choose(cpus)
}

#[cfg(target_os = "linux")]
fn choose(cpus: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).with_context(|| format!("CPU {cpu}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to CPU {cpus:?}"))
}

#[cfg(not(target_os = "linux"))]
fn choose(_: &[usize]) -> Result<()> {
    anyhow::bail!("--cpu is for Linux")
}

/// The CPUs that the calling thread may run on.
#[cfg(target_os = "linux")]
pub(crate) fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0)).context("the CPUs that are allowed")?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_name_is_found() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: A CPU @ 2GHz\n\nprocessor\t: 1\n";
        assert_eq!(cpu_model(text), "A CPU @ 2GHz");
        assert_eq!(cpu_model(""), std::env::consts::ARCH);
    }

    #[test]
    fn the_date_is_utc_to_the_second() {
        let now = now();
        assert_eq!(now.len(), 20);
        assert!(now.parse::<jiff::Timestamp>().is_ok(), "{now}");
    }

    #[test]
    fn a_raised_limit_is_in_force() {
        let limit = raise_descriptor_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap().0, limit);
        assert!(free_descriptors().unwrap() < limit as usize);
    }
}
