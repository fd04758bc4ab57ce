//! The example server with the ring, with sendfile(2) and with a request for each answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

#[path = "../examples/http_ring/serve.rs"]
mod serve;
#[path = "../examples/http_ring/serve_aio.rs"]
mod serve_aio;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

#[test]
fn it_answers_pipelined_requests_on_many_connections() {
    let page = serve::Page::open(FILE).unwrap();
    answers(|listener, stop| serve::worker(listener, &page, stop));
}

#[test]
fn so_it_does_by_requests() {
    if !serve_aio::has_requests().unwrap() {
        return println!("skipped: there is no io_uring");
    }
    let answer = serve_aio::Answer::open(FILE).unwrap();
    answers(|listener, stop| serve_aio::worker(listener, &answer, stop));
}

fn answers(work: impl Fn(&TcpListener, RawFd) -> std::io::Result<u64> + Sync) {
    let page = serve::Page::open(FILE).unwrap();
    let file = std::fs::read(FILE).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let (stop, stopping) = std::io::pipe().unwrap();
    let served: u64 = std::thread::scope(|threads| {
        let worker = || work(&listener, stop.as_raw_fd()).unwrap();
        let workers = [threads.spawn(worker), threads.spawn(worker)];
        let connect = |_| TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut streams: Vec<_> = (0..20).map(connect).collect();
        for stream in &mut streams {
            // The blank line comes in two parts.
            stream.write_all(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r").unwrap();
        }
        for stream in &mut streams {
            stream.write_all(b"\n").unwrap();
            for _ in 0..2 {
                let mut answer = vec![0; page.answer_len()];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n") && answer.ends_with(&file));
            }
        }
        drop(stopping);
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(served, 40);
}
