//! Examples that are run by tests, and the clients of those that echo.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::test_support::sys::set_descriptor_limit;

/// The executable of a package's example. Cargo builds examples with the package's tests, but where
/// only some of these were asked for.
///
/// # Panics
/// When it cannot be built.
pub fn example(package: &str, name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("an executable has a path");
    let profile = exe.ancestors().nth(2).expect("it is in deps, in the profile's folder");
    let path = profile.join("examples").join(name);
    if !path.exists() {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--package", package, "--examples"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo starts").success());
    }
    path
}

/// What one of a package's examples prints, which ends by itself.
///
/// # Panics
/// When it fails.
#[track_caller]
pub fn printed(package: &str, name: &str) -> String {
    let output = Command::new(example(package, name)).output().expect("it is built");
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out.into_owned()
}

/// An echo server that runs, until it is dropped.
#[derive(Debug)]
pub struct EchoServer {
    process: Child,
    address: String,
}

impl EchoServer {
    /// Starts one of a package's examples, which may have as many descriptors as we may.
    ///
    /// # Panics
    /// When it does not say where it listens.
    pub fn start(package: &str, name: &str) -> Self {
        set_descriptor_limit(u64::MAX);
        let mut server = Command::new(example(package, name));
        let mut process = server.stdout(Stdio::piped()).spawn().expect("it is built");
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().expect("a pipe"))
            .read_line(&mut line)
            .expect("a line");
        let address = line.trim().strip_prefix("listening on ").expect("its first line").to_owned();
        Self { process, address }
    }

    /// Sends that many bytes, and nothing after them; takes what comes back.
    ///
    /// # Panics
    /// When that is something else, or nothing comes.
    pub fn echo(&self, seed: u8, length: usize) {
        let stream = self.connect();
        let message: Vec<u8> = (0..length).map(|n| seed.wrapping_add((n / 7) as u8)).collect();
        // Nothing is read until all is sent where it fits; the server must keep what does not.
        thread::scope(|scope| {
            scope.spawn(|| {
                (&stream).write_all(&message).expect("it reads");
                stream.shutdown(Shutdown::Write).expect("it is connected");
            });
            let mut back = Vec::new();
            (&stream).read_to_end(&mut back).expect("it writes");
            assert!(back == message, "{length} bytes were sent, {} came back", back.len());
        });
    }

    /// Holds that many connections open, of which one at a time has something to say; at last all close
    /// their side at once.
    ///
    /// # Panics
    /// When a byte does not come back, or more comes than was sent.
    pub fn serves_a_crowd(&self, size: usize) {
        let mut crowd: Vec<_> = (0..size).map(|_| self.connect()).collect();
        for n in (0..size).chain((0..size).step_by(7).rev()) {
            crowd[n].write_all(&[n as u8]).expect("it reads");
            let mut back = [0];
            crowd[n].read_exact(&mut back).expect("it writes");
            assert_eq!(back, [n as u8], "connection {n}");
        }
        crowd.iter().for_each(|stream| stream.shutdown(Shutdown::Write).expect("it is connected"));
        for stream in &mut crowd {
            assert_eq!(stream.read(&mut [0]).expect("it closes"), 0);
        }
        self.echo(1, 100);
    }

    /// Whether the server has made an epoll instance, as the engine does below poll and select. (Linux)
    ///
    /// # Panics
    /// When the server has ended.
    pub fn has_epoll_instance(&self) -> bool {
        let folder = format!("/proc/{}/fd", self.process.id());
        let mut links = fs::read_dir(folder).expect("it runs").flatten();
        links.any(|fd| {
            fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:[eventpoll]"))
        })
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        // What is lost is to be an error, not a test that never ends.
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is no zero");
        stream
    }

    /// Small and large messages, one client and many.
    pub fn serves_many(&self) {
        for length in [0, 1, 100, 20_000, 8 << 20] {
            self.echo(1, length);
        }
        thread::scope(|scope| {
            for seed in 0..40 {
                scope.spawn(move || (0..10).for_each(|n| self.echo(seed, n * 1000)));
            }
        });
    }
}

impl Drop for EchoServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
