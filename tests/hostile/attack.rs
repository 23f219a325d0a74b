//! What the hostile tests share: requests as raw bytes, answers taken apart, and a bystander who
//! must be served whatever is done to the server beside it.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::SocketAddr;

use wsloop::{Config, OriginRule, Version, handlers};

use crate::common::{Client, Running, serve};

/// One HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// The head, status line and empty line included. Bytes that are not UTF-8 would fail the
    /// test: nothing here sends any.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a field, which must not be there twice.
    pub fn field(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        let first = values.next().map(|(_, value)| value);
        assert!(values.next().is_none(), "{name} twice: {}", self.head);
        first
    }

    pub fn length(&self) -> Option<usize> {
        self.field("Content-Length").map(|digits| digits.parse().unwrap())
    }

    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one answer from a connection; its body too, unless it answers a HEAD.
pub fn read_answer(client: &mut Client, to_head: bool) -> Answer {
    let head = client.read_head();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut answer = Answer { status: status.expect(&head), head, body: Vec::new() };
    let bodiless = to_head || matches!(answer.status, 101 | 204 | 304);
    if !bodiless {
        answer.body = client.read(answer.length().expect("a length"));
    }
    answer
}

/// Sends bytes over a connection of their own and reads the one answer to them.
pub fn ask(addr: SocketAddr, bytes: &[u8]) -> Answer {
    let mut client = Client::connect(addr);
    client.send(bytes);
    read_answer(&mut client, bytes.starts_with(b"HEAD "))
}

/// Sends bytes that must be refused: with this status and these words, the end of the stream
/// right behind the answer, and so no answer to anything that lies behind the first head.
pub fn refused(addr: SocketAddr, bytes: &[u8], status: u16, words: &str) -> Answer {
    let mut client = Client::connect(addr);
    client.send(bytes);
    let shown = bytes[..bytes.len().min(300)].escape_ascii();
    let answer = read_answer(&mut client, bytes.starts_with(b"HEAD "));
    assert_eq!(answer.status, status, "{shown}\n{}", answer.head);
    if !bytes.starts_with(b"HEAD ") {
        assert!(answer.text().contains(words), "{shown}\n{:?}", answer.text());
    }
    // One line of our own: nothing that was asked, by this client or another, is repeated in it.
    assert!(answer.body.len() < 100 && !answer.text().contains("smuggled"), "{:?}", answer.text());
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
    let mut bytes = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    let upgrade = if version.is_hixie() { "WebSocket" } else { "websocket" };
    bytes.extend(format!("Upgrade: {upgrade}\r\nConnection: Upgrade\r\n").bytes());
    bytes.extend(format!("Host: {host}\r\n").bytes());
    if let Some(origin) = origin {
        bytes.extend(format!("{}: ", origin_field(version)).bytes());
        bytes.extend(origin);
        bytes.extend(b"\r\n");
    }
    bytes.extend(own_fields(version).bytes());
    bytes.extend(b"\r\n");
    if version == Version::Hixie76 {
        bytes.extend(b"^n:ds[4U");
    }
    bytes
}

/// Where a version says which page asks.
pub fn origin_field(version: Version) -> &'static str {
    match version {
        Version::Hybi07 | Version::Hybi08 => "Sec-WebSocket-Origin",
        _ => "Origin",
    }
}

/// The fields that no other version has.
pub fn own_fields(version: Version) -> &'static str {
    match version {
        Version::Hixie75 => "",
        Version::Hixie76 => {
            "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
        }
        Version::Hybi07 => {
            "Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
        Version::Hybi08 => {
            "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
        Version::Rfc6455 => {
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        }
    }
}

/// Somebody else on the same server.
pub struct Bystander(Client);

impl Bystander {
    pub fn on(addr: SocketAddr) -> Bystander {
        Bystander(Client::open(addr, Version::Rfc6455, "/mirror"))
    }

    /// One that says no origin, so that no rule keeps it out.
    pub fn absent_from(addr: SocketAddr) -> Bystander {
        let mut client = Client::connect(addr);
        client.send(&upgrade(Version::Rfc6455, "/mirror", "a", None));
        client.read_answer();
        Bystander(client)
    }

    /// Served on the connection there is, and on a new one.
    pub fn is_served(&mut self) {
        self.0.text("are you there?");
        assert_eq!(self.0.read_text(), "are you there?");
        let addr = self.0.stream.peer_addr().unwrap();
        let answer = ask(addr, b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(matches!(answer.status, 200 | 404 | 426), "{}", answer.head);
    }
}

/// A server with `/mirror`, and two pages that smuggled requests would reach.
pub fn site(config: Config) -> Running {
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

/// Default limits, and everybody admitted.
pub fn open_to_all() -> Config {
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];
    config
}
