//! Very many short connections: each is opened, asks once, must have its whole answer, and is closed,
//! so that the server's numbers are closed and opened again all the time.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::server::{self, FILE, LENGTH, Server};
use super::{ApachebenchArgs, contenders};
use crate::ctx::Ctx;
use crate::model::Bench;

/// How many clients at a time.
const CLIENTS: u64 = 32;
/// An answer that takes longer was lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it: each handler's library, beside each number of idle connections.
pub(super) fn run(ctx: &Ctx, args: &ApachebenchArgs, connections: u64) -> Result<Bench> {
    let lighttpd = server::find("lighttpd", "lighttpd")?;
    let title =
        format!("{connections} connections to lighttpd, one request each, {CLIENTS} clients");
    let mut bench = Bench::new("apachebench", title);
    ctx.begin("apachebench", args.handler.len() * args.idle.len());
    for &handler in &args.handler {
        for contender in contenders(ctx, handler)?.iter().filter(|c| c.preload.is_some()) {
            for idle in args.idle.iter().map(|&n| n.min(handler.most_idle())) {
                ctx.case(&format!("{} beside {idle} idle", contender.name));
                let preload = contender.preload.as_deref();
                let mut server = Server::start(&lighttpd, handler.setting(), preload)?;
                server.idle(idle)?;
                let start = Instant::now();
                connect_all(server.port(), connections)?;
                let rate = connections as f64 / start.elapsed().as_secs_f64();
                server.ask_the_idle().context("after the last connection")?;
                bench.note(format!(
                    "{}: {connections} connections answered in full, and {idle} idle ones after them; \
                     none lost, {rate:.0} a second",
                    contender.name
                ));
                ctx.done();
            }
        }
    }
    ctx.end();
    Ok(bench)
}

fn connect_all(port: u16, connections: u64) -> Result<()> {
    let begun = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let client = || -> Result<()> {
            loop {
                let n = begun.fetch_add(1, Ordering::Relaxed);
                if n >= connections {
                    return Ok(());
                }
                connect_once(port).with_context(|| format!("connection {n} of {connections}"))?;
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().try_for_each(|client| client.join().expect("it returns its error"))
    })
}

fn connect_once(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET /{FILE} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = Vec::with_capacity(2048);
    stream.read_to_end(&mut answer).context("waiting for the answer")?;
    let head = answer.windows(4).position(|w| w == b"\r\n\r\n").context("an answer without end")?;
    ensure!(answer.starts_with(b"HTTP/1.0 200"), "the server did not say 200");
    ensure!(answer.len() == head + 4 + LENGTH, "{} bytes", answer.len());
    reset_at_close(&stream)
}

/// Leaves no connection in TIME_WAIT: there are not enough ports for a million.
fn reset_at_close(stream: &TcpStream) -> Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the kernel reads one linger.
    let set = unsafe {
        let value = (&raw const linger).cast();
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length)
    };
    ensure!(set == 0, "SO_LINGER: {}", std::io::Error::last_os_error());
    Ok(())
}
