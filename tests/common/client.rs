//! A client on a plain blocking socket: bytes out, bytes in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use wsloop::Version;

use super::PATIENCE;

pub const VERSIONS: [Version; 5] =
    [Version::Hixie75, Version::Hixie76, Version::Hybi07, Version::Hybi08, Version::Rfc6455];
pub const HYBI: [Version; 3] = [Version::Hybi07, Version::Hybi08, Version::Rfc6455];

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame, its mask included: `first` holds FIN and the opcode.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

pub fn masked_close(code: u16, reason: &str) -> Vec<u8> {
    masked(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// The server's frame, for comparison; up to 125 bytes.
pub fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125);
    [&[first, payload.len() as u8], payload].concat()
}

/// A request for a WebSocket as the browsers of that version sent it, with further fields, each
/// ended by CR LF; the bytes behind a Hixie-76 head included.
pub fn request(version: Version, path: &str, fields: &str) -> Vec<u8> {
    let (first, own) = match version {
        Version::Hixie75 => ("Upgrade: WebSocket\r\n", ""),
        Version::Hixie76 => (
            "Upgrade: WebSocket\r\n",
            "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
             Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n",
        ),
        Version::Hybi07 => ("Upgrade: websocket\r\n", "Sec-WebSocket-Version: 7\r\n"),
        Version::Hybi08 => ("Upgrade: websocket\r\n", "Sec-WebSocket-Version: 8\r\n"),
        Version::Rfc6455 => ("Upgrade: websocket\r\n", "Sec-WebSocket-Version: 13\r\n"),
    };
    let origin = match version {
        Version::Hybi07 | Version::Hybi08 => "Sec-WebSocket-Origin",
        _ => "Origin",
    };
    let key =
        if version.is_hixie() { "" } else { "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" };
    let bytes = if version == Version::Hixie76 { "^n:ds[4U" } else { "" };
    format!(
        "GET {path} HTTP/1.1\r\n{first}Connection: Upgrade\r\nHost: example.com\r\n\
         {origin}: http://example.com\r\n{key}{own}{fields}\r\n{bytes}"
    )
    .into_bytes()
}

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
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.filter(|(known, _)| *known == name).map(|(_, value)| value).next()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
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
            Version::Hixie75 => assert!(head.contains("WebSocket-Location: ws://example.com/")),
            Version::Hixie76 => assert_eq!(self.read(16), b"8jKS'y:G*Co,Wxa-"),
            _ => assert!(head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n")),
        }
        head
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends each byte in a segment of its own.
    pub fn send_bytewise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]);
        }
    }

    pub fn text(&mut self, text: &str) {
        let bytes = self.text_bytes(text);
        self.send(&bytes);
    }

    /// A text message as this client's version writes it.
    pub fn text_bytes(&self, text: &str) -> Vec<u8> {
        if self.version.is_hixie() {
            [b"\0", text.as_bytes(), b"\xff"].concat()
        } else {
            masked(0x81, text.as_bytes())
        }
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
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        self.read_reply(method == "HEAD")
    }

    /// Reads one answer of plain HTTP, and nothing behind it.
    pub fn read_reply(&mut self, head_only: bool) -> Reply {
        let head = self.read_head();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect(&head);
        let mut reply = Reply { status, head, body: Vec::new() };
        let len = reply.field("Content-Length").map_or(0, |len| len.parse().unwrap());
        if !head_only {
            reply.body = self.read(len);
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

    /// Ends the connection by a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Whether there is nothing to read at this moment.
    pub fn has_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads what has come, without waiting for more; how much that was.
    pub fn take_what_is_there(&mut self) -> usize {
        self.stream.set_nonblocking(true).unwrap();
        let (mut total, mut buf) = (0, vec![0; 64 * 1024]);
        loop {
            match self.stream.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => total += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        total
    }
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
