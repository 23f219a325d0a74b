//! Who else is on a server: a client that must be served whatever is done beside it, one that asks
//! for a page, and one that does not read.

use std::net::SocketAddr;

use crate::common::{Client, Reply};
use wsloop::Version;

/// A client of `/mirror` on the same server.
pub struct Bystander(pub Client);

impl Bystander {
    pub fn on(addr: SocketAddr) -> Bystander {
        Bystander(Client::open(addr, Version::Rfc6455, "/mirror"))
    }

    /// Served on the connection there is, and on a new one.
    pub fn is_served(&mut self) {
        self.0.text("are you there?");
        assert_eq!(self.0.read_text(), "are you there?");
        let addr = self.0.stream.peer_addr().unwrap();
        let reply = get(addr, "/page", "Connection: close\r\n");
        assert!(matches!(reply.status, 200 | 404 | 426), "{}", reply.head);
    }
}

/// One plain request on a connection of its own, with further fields, each ended by CR LF.
pub fn get(addr: SocketAddr, target: &str, fields: &str) -> Reply {
    Client::connect(addr).http("GET", target, fields)
}

impl Client {
    /// A WebSocket whose receive buffer is small, so that the server soon cannot write. Good for
    /// not reading: what goes through it, crawls.
    pub fn with_small_window(addr: SocketAddr, version: Version, path: &str) -> Client {
        let mut client = Client::connect(addr);
        rustix::net::sockopt::set_socket_recv_buffer_size(&client.stream, 4096).unwrap();
        client.ask(version, path);
        client.read_answer();
        client
    }
}
