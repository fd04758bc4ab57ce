//! An HTTP server that serves one file: a thread for each CPU with a queue and a ring of its own, a
//! listening socket that wakes one of them for each connection, and an aio_sendfile for each answer
//! (where there is io_uring; else sendfile(2)).
//!
//! ```text
//! cargo run --release -p kq-core --example http_ring -- 127.0.0.1:8080 README.md
//! ```

#[cfg(not(kqcompat_native))]
mod serve;
#[cfg(not(kqcompat_native))]
mod serve_aio;

#[cfg(not(kqcompat_native))]
fn main() -> std::io::Result<()> {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let path = args.next().unwrap_or_else(|| "Cargo.toml".to_owned());
    let page = serve::Page::open(&path)?;
    let answer = serve_aio::Answer::open(&path)?;
    let has_requests = serve_aio::has_requests()?;
    let listener = TcpListener::bind(address)?;
    println!("http://{}/", listener.local_addr()?);
    // They stop when the other end is dropped: here with the standard input's end.
    let (stop, stopping) = std::io::pipe()?;
    std::thread::scope(|threads| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let work = || match has_requests {
            true => serve_aio::worker(&listener, &answer, stop.as_raw_fd()),
            false => serve::worker(&listener, &page, stop.as_raw_fd()),
        };
        let workers: Vec<_> = (0..workers).map(|_| threads.spawn(work)).collect();
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
