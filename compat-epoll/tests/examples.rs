//! The two echo servers: they differ in one line, and both echo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

const SERVERS: [&str; 2] = ["echo_nix", "echo_compat"];

#[test]
fn they_differ_in_one_line() {
    let source = |name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        std::fs::read_to_string(path.with_extension("rs")).unwrap()
    };
    let [nix, compat] = SERVERS.map(source);
    assert_eq!(nix.lines().count(), compat.lines().count());
    let lines = nix.lines().zip(compat.lines());
    let changed: Vec<_> = lines.filter(|(one, other)| one != other).collect();
    assert_eq!(changed, [("use nix::sys::epoll::*;", "use compat_epoll::*;")]);
}

/// The executable of an example, beside this test's. Cargo builds both, but for `--test examples`.
fn executable(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let profile = exe.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(name);
    if !path.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "compat-epoll", "--examples"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success());
    }
    path
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(name: &str) -> Self {
        let mut process =
            Command::new(executable(name)).stdout(Stdio::piped()).spawn().expect("it is built");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("its first line").to_owned();
        Self { process, address }
    }

    /// Sends that many bytes, and nothing after them; takes what comes back.
    fn echo(&self, seed: u8, length: usize) {
        let stream = TcpStream::connect(&self.address).unwrap();
        let message: Vec<u8> = (0..length).map(|n| seed.wrapping_add((n / 7) as u8)).collect();
        // Nothing is read until all is sent where it fits; the server must keep what does not.
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&message).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            (&stream).read_to_end(&mut back).unwrap();
            assert!(back == message, "{length} bytes were sent, {} came back", back.len());
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn both_echo_what_many_clients_send() {
    for name in SERVERS {
        let server = Server::start(name);
        for length in [0, 1, 100, 20_000, 8 << 20] {
            server.echo(1, length);
        }
        thread::scope(|scope| {
            for seed in 0..40 {
                let server = &server;
                scope.spawn(move || (0..10).for_each(|n| server.echo(seed, n * 1000)));
            }
        });
    }
}
