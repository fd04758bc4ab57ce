//! wrk and ab: how to call them and how to read what they say.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::server::find;

/// A load generator.
pub(crate) trait Load {
    fn name(&self) -> &'static str;

    /// Loads the server on that port for one turn; requests a second. A request that was not
    /// served is an error: speed by losing something is none.
    fn run(&self, port: u16) -> Result<f64>;
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/kib")
}

fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{name}: {}: {}", out.status, errors.trim());
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// wrk: a few connections, always busy.
#[derive(Debug)]
pub(crate) struct Wrk {
    program: PathBuf,
    seconds: u32,
    connections: u32,
}

impl Wrk {
    pub(crate) fn find(seconds: u32, connections: u32) -> Result<Self> {
        Ok(Self { program: find("wrk", "wrk")?, seconds, connections })
    }
}

impl Load for Wrk {
    fn name(&self) -> &'static str {
        "wrk"
    }

    fn run(&self, port: u16) -> Result<f64> {
        let text = output(
            Command::new(&self.program)
                .args(["-t", "1", "-c", &self.connections.to_string()])
                .args(["-d", &format!("{}s", self.seconds)])
                .arg(url(port)),
        )?;
        wrk_rate(&text)
    }
}

/// "Requests/sec:  163000.12", and neither socket errors nor answers other than 2xx.
fn wrk_rate(text: &str) -> Result<f64> {
    for bad in ["Socket errors", "Non-2xx"] {
        let line = text.lines().find(|l| l.contains(bad));
        ensure!(line.is_none(), "wrk: {}", line.unwrap_or_default().trim());
    }
    number_after(text, "Requests/sec:").context("wrk says no Requests/sec")
}

/// ab: a connection for each request.
#[derive(Debug)]
pub(crate) struct Ab {
    program: PathBuf,
    requests: u32,
    concurrency: u32,
}

impl Ab {
    pub(crate) fn find(requests: u32, concurrency: u32) -> Result<Self> {
        let concurrency = concurrency.min(requests);
        Ok(Self { program: find("ab", "apache2-utils")?, requests, concurrency })
    }
}

impl Load for Ab {
    fn name(&self) -> &'static str {
        "ab"
    }

    fn run(&self, port: u16) -> Result<f64> {
        let text = output(
            Command::new(&self.program)
                .args(["-q", "-n", &self.requests.to_string()])
                .args(["-c", &self.concurrency.to_string()])
                .arg(url(port)),
        )?;
        ab_rate(&text)
    }
}

/// "Requests per second:    9700.1 [#/sec] (mean)", and no failed requests.
fn ab_rate(text: &str) -> Result<f64> {
    let failed = number_after(text, "Failed requests:").context("ab says no Failed requests")?;
    ensure!(failed == 0.0, "ab: {failed} requests failed");
    let other = number_after(text, "Non-2xx responses:").unwrap_or(0.0);
    ensure!(other == 0.0, "ab: {other} answers were not 2xx");
    number_after(text, "Requests per second:").context("ab says no Requests per second")
}

/// The number that follows a label at the begin of a line.
fn number_after(text: &str, label: &str) -> Option<f64> {
    text.lines()
        .find_map(|l| l.trim_start().strip_prefix(label))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRK: &str = "Running 2s test @ http://127.0.0.1:1/kib\n  1 threads and 10 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency    61.01us   20us   1.2ms\n  \
        326000 requests in 2.00s, 400.1MB read\nRequests/sec: 163000.12\nTransfer/sec:    200MB\n";

    const AB: &str = "Concurrency Level:      500\nComplete requests:      5000\n\
        Failed requests:        0\nTotal transferred:      6\n\
        Requests per second:    9700.13 [#/sec] (mean)\n";

    #[test]
    fn wrk_is_read() {
        assert_eq!(wrk_rate(WRK).unwrap(), 163_000.12);
        assert!(wrk_rate("nothing").is_err());
    }

    #[test]
    fn ab_is_read() {
        assert_eq!(ab_rate(AB).unwrap(), 9700.13);
        assert!(ab_rate("nothing").is_err());
    }

    #[test]
    fn a_lost_request_is_an_error() {
        let lost = WRK.replace(
            "Requests/sec",
            "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec",
        );
        assert!(wrk_rate(&lost).unwrap_err().to_string().contains("read 3"));
        assert!(ab_rate(&AB.replace("requests:        0", "requests:        2")).is_err());
        let refused = AB.replace("Total", "Non-2xx responses:      7\nTotal");
        assert!(ab_rate(&refused).is_err());
    }
}
