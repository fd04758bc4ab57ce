//! The example: an echo server on select.

use kq_core::test_support::echo::EchoServer;

#[test]
fn a_server_echoes_what_many_clients_send() {
    let server = EchoServer::start("compat-select", "echo_select");
    server.serves_many();
    // More than FD_SETSIZE.
    server.serves_a_crowd(1500);
    assert!(server.has_epoll_instance(), "the engine was never used");
}
