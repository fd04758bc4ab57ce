//! lighttpd on a loopback port, with idle connections.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

/// A program of the machine; if it is not there, the package that has it.
pub(crate) fn find(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Servers lie where a user's PATH does not look.
    dirs.extend(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    let found = dirs.into_iter().map(|d| d.join(program)).find(|p| p.is_file());
    found.with_context(|| format!("{program} is not installed: apt-get install {package}"))
}

/// What is asked for and served.
pub(super) const FILE: &str = "kib";
pub(super) const LENGTH: usize = 1024;

/// A lighttpd, ended when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    idle: Vec<TcpStream>,
    _dir: TempDir,
}

impl Server {
    /// Starts it with an event handler and, maybe, a library preloaded.
    pub(crate) fn start(lighttpd: &Path, handler: &str, preload: Option<&OsStr>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join(FILE), vec![b'x'; LENGTH])?;
        let port = free_port()?;
        let config = dir.path().join("lighttpd.conf");
        fs::write(&config, configuration(dir.path(), port, handler))?;
        let mut command = Command::new(lighttpd);
        command.arg("-D").arg("-f").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(dir.path().join("log"))?);
        if let Some(preload) = preload {
            command.env("LD_PRELOAD", preload);
        }
        let child = command.spawn().context("starting lighttpd")?;
        let mut this = Self { child, port, idle: Vec::new(), _dir: dir };
        this.wait_until_it_serves()?;
        Ok(this)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self._dir.path().join("log")).unwrap_or_default();
                bail!("lighttpd ended: {status}\n{log}");
            }
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(mut stream) => return ask(&mut stream),
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(e) => return Err(e).context("lighttpd does not answer"),
            }
        }
    }

    /// Opens connections, each of which asks once and then keeps quiet.
    pub(crate) fn idle(&mut self, n: usize) -> Result<()> {
        for i in 0..n {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
                .with_context(|| format!("the {i}th"))?;
            ask(&mut stream).with_context(|| format!("the {i}th"))?;
            self.idle.push(stream);
        }
        Ok(())
    }

    /// Each idle connection asks once more, and is served.
    pub(crate) fn ask_the_idle(mut self) -> Result<()> {
        let total = self.idle.len();
        for (i, stream) in self.idle.iter_mut().enumerate() {
            ask(stream).with_context(|| format!("idle connection {i} of {total}"))?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request over a connection that stays open.
fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // In one piece: of several small ones the second would wait for the first's acknowledgement.
    stream.write_all(format!("GET /{FILE} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    loop {
        let got = stream.read(&mut room).context("waiting for the answer")?;
        ensure!(got != 0, "the server closed the connection");
        answer.extend_from_slice(&room[..got]);
        if let Some(head) = answer.windows(4).position(|w| w == b"\r\n\r\n") {
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "the server did not say 200");
            if answer.len() >= head + 4 + LENGTH {
                return Ok(());
            }
        }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn configuration(dir: &Path, port: u16, handler: &str) -> String {
    // select has room for FD_SETSIZE descriptors; a larger limit would make lighttpd refuse it.
    let max_fds = if handler == "select" { 1024 } else { 16384 };
    let dir = dir.display();
    format!(
        "server.document-root = \"{dir}\"\n\
         server.bind = \"127.0.0.1\"\n\
         server.port = {port}\n\
         server.event-handler = \"{handler}\"\n\
         server.max-fds = {max_fds}\n\
         server.max-connections = {}\n\
         server.max-keep-alive-requests = 65535\n\
         server.max-keep-alive-idle = 3600\n\
         server.max-read-idle = 3600\n\
         server.max-write-idle = 3600\n",
        max_fds / 2
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = find("no-such-program", "some-package").unwrap_err().to_string();
        assert!(error.contains("apt-get install some-package"), "{error}");
        assert!(find("sh", "dash").is_ok());
    }

    #[test]
    fn the_configuration_names_handler_and_port() {
        let text = configuration(Path::new("/srv"), 8080, "select");
        assert!(text.contains("server.port = 8080"));
        assert!(text.contains("event-handler = \"select\"") && text.contains("max-fds = 1024"));
    }
}
