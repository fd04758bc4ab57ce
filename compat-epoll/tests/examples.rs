//! The two echo servers: they differ in one line, and both echo.

use std::path::Path;

use kq_core::test_support::echo::EchoServer;

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

#[test]
fn both_echo_what_many_clients_send() {
    for name in SERVERS {
        let server = EchoServer::start("compat-epoll", name);
        server.serves_many();
        server.serves_a_crowd(1500);
    }
}
