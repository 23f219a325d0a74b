//! A client on a plain blocking socket: bytes out, bytes in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use wsloop::Version;

use super::PATIENCE;
use super::bytes::{masked_close, plain_request, request, text_message};

/// A head, and nothing behind it.
pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    String::from_utf8(head).unwrap()
}

/// An answer of plain HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// The status line, the fields and the empty line. Bytes that are not UTF-8 would fail the test:
    /// nothing here sends any.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
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

/// One client.
#[derive(Debug)]
pub struct Client {
    pub stream: TcpStream,
    pub version: Version,
}

impl Client {
    /// A connection on which nothing was sent yet.
    pub fn connect(addr: SocketAddr) -> Client {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, version: Version::Rfc6455 }
    }

    /// A WebSocket, open.
    pub fn open(addr: SocketAddr, version: Version, path: &str) -> Client {
        let mut client = Client::connect(addr);
        client.ask(version, path);
        client.read_answer();
        client
    }

    /// Asks for a WebSocket.
    pub fn ask(&mut self, version: Version, path: &str) {
        self.version = version;
        self.send(&request(version, path, ""));
    }

    /// Reads the answer to the request, which must be the one that opens.
    pub fn read_answer(&mut self) -> String {
        let head = self.read_head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        match self.version {
            Version::Hixie75 => assert!(head.contains("WebSocket-Location: ws://localhost/")),
            Version::Hixie76 => assert_eq!(self.read(16), b"8jKS'y:G*Co,Wxa-"),
            _ => assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")),
        }
        head
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn text(&mut self, text: &str) {
        let bytes = self.text_bytes(text);
        self.send(&bytes);
    }

    /// A text message as this client's version writes it.
    pub fn text_bytes(&self, text: &str) -> Vec<u8> {
        text_message(self.version, text.as_bytes())
    }

    pub fn close(&mut self, code: u16, reason: &str) {
        self.send(&masked_close(code, reason));
    }

    pub fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Up to and including the empty line; nothing behind it.
    pub fn read_head(&mut self) -> String {
        read_head(&mut self.stream)
    }

    /// Asks for something by plain HTTP, with further fields, each ended by CR LF.
    pub fn http(&mut self, method: &str, target: &str, fields: &str) -> Reply {
        self.send(plain_request(method, target, fields).as_bytes());
        self.read_reply(method == "HEAD")
    }

    /// Reads one answer of plain HTTP, and nothing behind it; its body too, unless it answers a HEAD.
    pub fn read_reply(&mut self, to_head: bool) -> Reply {
        let head = self.read_head();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let mut reply = Reply { status: status.expect(&head), head, body: Vec::new() };
        let bodiless = to_head || matches!(reply.status, 101 | 204 | 304);
        if !bodiless {
            reply.body = self.read(reply.length().expect("a length"));
        }
        reply
    }

    /// A frame of the HyBi versions: its first byte and its payload.
    pub fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        assert!(head[1] < 128, "a server masks nothing");
        let len = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.read(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.read(8).try_into().unwrap()) as usize,
            len => usize::from(len),
        };
        (head[0], self.read(len))
    }

    pub fn read_text(&mut self) -> String {
        let text = if self.version.is_hixie() {
            assert_eq!(self.read(1), [0]);
            let mut text = Vec::new();
            loop {
                match self.read(1)[0] {
                    0xff => break text,
                    byte => text.push(byte),
                }
            }
        } else {
            let (first, payload) = self.read_frame();
            assert_eq!(first, 0x81, "{} bytes", payload.len());
            payload
        };
        String::from_utf8(text).unwrap()
    }

    pub fn read_close(&mut self) -> (u16, String) {
        let (first, payload) = self.read_frame();
        assert_eq!(first, 0x88, "{} bytes", payload.len());
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        (code, String::from_utf8(payload[2..].to_vec()).unwrap())
    }

    /// Everything up to the end of the stream, which must be an end and not a reset.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Waits until the server has let go, by an end or a reset.
    pub fn wait_for_the_end(&mut self) {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }

    /// Sends the end of the stream; reading goes on.
    pub fn end(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Whether there is nothing to read at this moment.
    pub fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}
