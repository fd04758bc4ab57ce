//! An HTTP server that serves one file: a thread for each CPU with a queue and a ring of its own, a
//! listening socket that wakes one of them for each connection, and sendfile(2).
//!
//! ```text
//! cargo run --release -p kq-core --example http_ring -- 127.0.0.1:8080 README.md
//! ```

#[cfg(not(kqcompat_native))]
mod serve;

#[cfg(not(kqcompat_native))]
fn main() -> std::io::Result<()> {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let page = serve::Page::open(args.next().unwrap_or_else(|| "Cargo.toml".to_owned()))?;
    let listener = TcpListener::bind(address)?;
    println!("http://{}/", listener.local_addr()?);
    // They stop when the other end is dropped: here with the standard input's end.
    let (stop, stopping) = std::io::pipe()?;
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers)
            .map(|_| threads.spawn(|| serve::worker(&listener, &page, stop.as_raw_fd())))
            .collect();
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        drop(stopping);
        let mut served = 0;
        for worker in workers {
            served += worker.join().expect("a worker does not panic")?;
        }
        println!("{served} requests");
        Ok(())
    })
}

#[cfg(kqcompat_native)]
fn main() {
    println!("the ring is Linux's so far");
}
