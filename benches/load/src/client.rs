//! Clients on plain sockets: the handshake, and the frames that a server sends.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// Those of RFC 6455 section 1.3, so that the answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Connections from one source address; each address has ports of its own.
const PER_SOURCE: usize = 8_000;
/// Handshakes under way at a time.
const AT_A_TIME: usize = 250;
const PATIENCE: Duration = Duration::from_secs(20);

const PING: u8 = 9;
const CLOSE: u8 = 8;

/// One end of a WebSocket.
pub struct Client {
    pub stream: TcpStream,
    frames: Frames,
    /// Answers to pings that wait for the end of what is being written.
    pub pongs: Vec<u8>,
}

/// A server's frames, cut anywhere.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; 10],
    head_len: usize,
    left: u64,
    ping: Vec<u8>,
}

/// What a server's bytes are.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// Some of a message's payload.
    Payload(&'a [u8]),
    /// The end of a message.
    End,
    Ping(Vec<u8>),
    Close,
}

impl Frames {
    /// Cuts off the next piece; `None` once all is taken in.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, String> {
        loop {
            let whole = self.head_len >= 2 && self.head_len == head_len(self.head[1]);
            if !whole {
                let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
                self.head[self.head_len] = byte;
                self.head_len += 1;
                *input = rest;
                if self.head_len >= 2 && self.head_len == head_len(self.head[1]) {
                    self.begin()?;
                }
                continue;
            }
            let (first, opcode) = (self.head[0], self.head[0] & 0xf);
            let len = input.len().min(self.left as usize);
            let (payload, rest) = input.split_at(len);
            if self.left > 0 && len == 0 {
                return Ok(None);
            }
            *input = rest;
            self.left -= len as u64;
            match opcode {
                PING => self.ping.extend_from_slice(payload),
                0..3 if len > 0 => return Ok(Some(Piece::Payload(payload))),
                _ => {}
            }
            if self.left == 0 {
                self.head_len = 0;
                match opcode {
                    PING => return Ok(Some(Piece::Ping(std::mem::take(&mut self.ping)))),
                    CLOSE => return Ok(Some(Piece::Close)),
                    0..3 if first & 0x80 != 0 => return Ok(Some(Piece::End)),
                    _ => {}
                }
            }
        }
    }

    fn begin(&mut self) -> Result<(), String> {
        let [first, second, two @ ..] = self.head;
        self.left = match second {
            126 => u64::from(u16::from_be_bytes([two[0], two[1]])),
            127 => u64::from_be_bytes(two),
            short => u64::from(short),
        };
        let known = matches!(first & 0x7f, 0..=2 | 8..=10);
        if known && second < 128 { Ok(()) } else { Err(format!("frame head {:02x?}", self.head)) }
    }
}

fn head_len(second: u8) -> usize {
    match second & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// A client's frame with FIN, masked with `key`.
pub fn frame(opcode: u8, key: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
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
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A WebSocket request, as short as it may be.
pub fn request(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
}

/// Whether a head is the right answer to [`request`].
pub fn is_accepted(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    head.starts_with("HTTP/1.1 101 ") && head.contains(ACCEPT)
}

/// A connected socket; `index` chooses its source address.
pub fn dial(addr: SocketAddr, index: usize) -> io::Result<TcpStream> {
    dial_with(socket(AddressFamily::INET, SocketType::STREAM, None)?, addr, index)
}

/// One for which the kernel keeps little, at either end: as on a network, its segments are small,
/// and by them it measures the server's buffer. The loopback's would have room for a MiB.
pub fn dial_narrow(addr: SocketAddr, index: usize) -> io::Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    set_socket_recv_buffer_size(&socket, 4096)?;
    socket2::SockRef::from(&socket).set_tcp_mss(1400)?;
    dial_with(socket, addr, index)
}

fn dial_with(socket: OwnedFd, addr: SocketAddr, index: usize) -> io::Result<TcpStream> {
    if index >= PER_SOURCE {
        let source = Ipv4Addr::new(127, 0, 1, (index / PER_SOURCE % 250 + 1) as u8);
        bind(&socket, &SocketAddr::new(IpAddr::V4(source), 0))?;
    }
    connect(&socket, &addr)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Client {
    pub fn new(stream: TcpStream) -> Client {
        Client { stream, frames: Frames::default(), pongs: Vec::new() }
    }

    /// Reads once, and cuts what came into pieces. Answers pings. `busy` says that a frame is half
    /// written.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        busy: bool,
        mut take: impl FnMut(Piece<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let len = match self.stream.read(buffer) {
            Ok(0) => return Err("the server closed a connection".to_string()),
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let mut input = &buffer[..len];
        while let Some(piece) = self.frames.next(&mut input)? {
            match piece {
                Piece::Ping(payload) => self.pongs.extend(frame(10, [1, 2, 3, 4], &payload)),
                Piece::Close => return Err("the server sent a close".to_string()),
                piece => take(piece)?,
            }
        }
        if busy { Ok(()) } else { self.flush_pongs() }
    }

    pub fn flush_pongs(&mut self) -> Result<(), String> {
        if self.pongs.is_empty() {
            return Ok(());
        }
        let pongs = std::mem::take(&mut self.pongs);
        (&self.stream).write_all(&pongs).map_err(|error| error.to_string())
    }
}

/// Opens so many WebSockets on one path, and leaves them in non-blocking mode.
pub fn open_all(addr: SocketAddr, path: &str, count: usize) -> Result<Vec<Client>, String> {
    open_with(dial, addr, path, count)
}

/// The same by another way to dial.
pub fn open_with(
    dial: fn(SocketAddr, usize) -> io::Result<TcpStream>,
    addr: SocketAddr,
    path: &str,
    count: usize,
) -> Result<Vec<Client>, String> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let first = clients.len();
        let streams = (first..count.min(first + AT_A_TIME)).map(|index| dial(addr, index));
        let streams = streams.collect::<io::Result<Vec<_>>>();
        let streams = streams.map_err(|error| format!("connection {first} and on: {error}"))?;
        for stream in &streams {
            (&mut &*stream)
                .write_all(request(path).as_bytes())
                .map_err(|error| error.to_string())?;
        }
        for stream in streams {
            clients.push(finish(stream).map_err(|error| format!("handshake: {error}"))?);
        }
    }
    Ok(clients)
}

/// Reads the answer byte by byte, so that nothing behind it is lost.
fn finish(stream: TcpStream) -> io::Result<Client> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (&mut &stream).read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !is_accepted(&head) {
        return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
    }
    stream.set_read_timeout(None)?;
    stream.set_nonblocking(true)?;
    Ok(Client::new(stream))
}

/// The whole of a head behind which nothing comes unasked.
pub fn read_head(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut room) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut room)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => head.extend_from_slice(&room[..len]),
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(input: &[u8], at: usize) -> Vec<String> {
        let (mut frames, mut found) = (Frames::default(), Vec::new());
        for mut part in [&input[..at], &input[at..]] {
            while let Some(piece) = frames.next(&mut part).unwrap() {
                found.push(format!("{piece:?}"));
            }
        }
        found
    }

    #[test]
    fn frames_may_be_cut_anywhere() {
        let input = b"\x01\x01a\x89\x02pi\x80\x7e\x00\x01b\x81\x00\x88\x02\x03\xe8";
        let pieces = ["Payload([97])", "Ping([112, 105])", "Payload([98])", "End", "End", "Close"];
        for at in 0..=input.len() {
            assert_eq!(cut(input, at), pieces);
        }
        let masked = Frames::default().next(&mut &b"\x81\x80"[..]);
        assert!(masked.is_err());
    }

    #[test]
    fn what_is_sent_is_masked() {
        let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(frame(1, [0x37, 0xfa, 0x21, 0x3d], b"Hello"), hello);
    }
}
