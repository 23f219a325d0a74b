//! What the tests here share: requests as raw bytes, and what must be answered to them.

use std::net::SocketAddr;

use wsloop::{Config, OriginRule, Version, handlers};

use crate::common::{Client, Reply, request_from};
use crate::serving::{Running, serve};

/// Sends bytes over a connection of their own and reads the one answer to them.
pub fn ask(addr: SocketAddr, bytes: &[u8]) -> Reply {
    let mut client = Client::connect(addr);
    client.send(bytes);
    client.read_reply(bytes.starts_with(b"HEAD "))
}

/// Sends bytes that must be refused: with this status and these words, the end of the stream
/// right behind the answer, and so no answer to anything that lies behind the first head.
pub fn refused(addr: SocketAddr, bytes: &[u8], status: u16, words: &str) -> Reply {
    let mut client = Client::connect(addr);
    client.send(bytes);
    let shown = bytes[..bytes.len().min(300)].escape_ascii();
    let answer = client.read_reply(bytes.starts_with(b"HEAD "));
    assert_eq!(answer.status, status, "{shown}\n{}", answer.head);
    if !bytes.starts_with(b"HEAD ") {
        assert!(answer.text().contains(words), "{shown}\n{:?}", answer.text());
    }
    // One line of our own: nothing that was asked, by this client or another, is repeated in it.
    assert!(answer.body.len() < 120 && !answer.text().contains("smuggled"), "{:?}", answer.text());
    let connection = answer.field("Connection").unwrap_or_default();
    assert!(connection.ends_with("close"), "{shown}\n{}", answer.head);
    let behind = client.read_to_end();
    assert!(behind.is_empty(), "{shown}\n{}", behind.escape_ascii());
    answer
}

/// A request that would be answered if its bytes were ever taken for one.
pub const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// A request for a WebSocket with any host and origin.
pub fn upgrade(version: Version, path: &str, host: &str, origin: Option<&[u8]>) -> Vec<u8> {
    request_from(version, path, host, origin, "")
}

/// A server with `/mirror`, and two pages that smuggled requests would reach. It answers for every
/// host, unless the test says for which.
pub fn site(mut config: Config) -> Running {
    if config.hosts.is_empty() {
        config.hosts.push("*".to_string());
    }
    serve(config, |server| {
        server.route("/mirror", handlers::Mirror);
        server.serve_embedded(&[
            ("/index.html", b"front"),
            ("/page", b"0123456789"),
            ("/smuggled", b"smuggled"),
            ("/dir/index.html", b"dir"),
        ]);
    })
}

/// Default limits, everybody admitted, and every host served.
pub fn open_to_all() -> Config {
    let mut config = Config::default();
    config.hosts = vec!["*".to_string()];
    config.origins = vec![OriginRule::Any];
    config
}
