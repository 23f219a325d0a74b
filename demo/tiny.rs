//! A WebSocket server on one page, without the library. Run `cargo run --example tiny`, then in a
//! browser's console, where it shows what was sent
//!     ws = new WebSocket("ws://localhost:9999/echo"); ws.onmessage = e => console.log(e.data)
//!     ws.send("hi")
//! On `/echo` a message goes back to its sender, on any other path to everyone on that path.
//!
//! Read it from the top: the loop, a connection, the request head that opens it, the frames that
//! carry its messages. The library in `src` has the same shape. Wherever this page does less, a
//! comment says so and names the file that does it properly. Sections are those of RFC 6455, unless
//! a draft is named.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind, Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use md5::Md5;
use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};
use sha1::{Digest, Sha1};
use slab::Slab;

use ReadyState::{Closed, Closing, Connecting, Open};
use Version::{Hixie75, Hixie76, Hybi};

// Whatever a peer can make grow has a limit; the library has a setting for each (src/config.rs).
const MAX_CONNECTIONS: usize = 500;
const MAX_HEAD: usize = 8 * 1024;
const MAX_MESSAGE: usize = 64 * 1024;
/// What may wait to be written to one client.
const MAX_BACKLOG: usize = 256 * 1024;
/// What is read from one client before the others have their turn.
const READ_BUDGET: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9999".to_string());
    let mut listener = TcpListener::bind(addr.parse().map_err(io::Error::other)?)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    let (poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    // A connection's token is its key in the slab, which never gets as large as this one.
    poll.registry().register(&mut listener, Token(usize::MAX), Interest::READABLE)?;
    let mut server = Server { poll, listener, connections: Slab::new(), unread: BTreeSet::new() };
    loop {
        server.turn(&mut events)?;
    }
}

/// In the library the poll is in src/server, what calls the program in src/dispatch, and the
/// connections are in src/peers/mod.rs.
struct Server {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    /// Connections that may have more to read, although no further event will say so.
    unread: BTreeSet<Token>,
}

impl Server {
    /// Waits for events, then reads, writes and accepts, as src/server/turn.rs does. There are no
    /// deadlines: a client that is silent keeps its place for ever (src/peers/deadlines.rs).
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = (!self.unread.is_empty()).then_some(std::time::Duration::ZERO);
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        // An event only says where to look; the read or write itself says what there is.
        let mut ready = std::mem::take(&mut self.unread);
        ready.extend(events.iter().map(|event| event.token()));
        ready.into_iter().for_each(|Token(key)| self.read(key));
        // As in asyncore, every connection is asked in every turn; the library keeps a list of
        // those that have something to write (src/peers/sending.rs). Slots become free only here,
        // so that a key means the same connection as long as there are events of this turn.
        self.connections.iter_mut().filter(|(_, c)| c.writable()).for_each(|(_, c)| c.write());
        self.connections.retain(|_, c| c.readable() || c.writable());
        self.accept();
        Ok(())
    }

    /// Accepts all who wait, while there is room: in every turn, because a client is announced only
    /// once, not again when there is room for it at last. The library calls accept only if there is
    /// somebody, answers 503 if there is no room, and tells errors apart (src/server/accept.rs).
    fn accept(&mut self) {
        while self.connections.len() < MAX_CONNECTIONS {
            let Ok((mut stream, _)) = self.listener.accept() else { return };
            let slot = self.connections.vacant_entry();
            let (token, both) = (Token(slot.key()), Interest::READABLE | Interest::WRITABLE);
            // A small message is not to wait until the peer has confirmed the one before.
            let _ = stream.set_nodelay(true);
            // Once, for both directions. The poll is edge-triggered: it tells when there is
            // something to read, or room to write, after there was none. So reading and writing
            // go on until WouldBlock; before that, no further event need come.
            if self.poll.registry().register(&mut stream, token, both).is_ok() {
                slot.insert(Connection::new(stream));
            }
        }
    }

    /// Reads once, and again next turn, until the socket says WouldBlock, so that one busy client
    /// does not hold up the others. The library reads several times, and can mostly tell without a
    /// further call that nothing is left (src/dispatch/reading.rs).
    fn read(&mut self, key: usize) {
        let found = self.connections.get_mut(key).filter(|connection| connection.readable());
        let Some(connection) = found else { return };
        let mut bytes = [0; READ_BUDGET];
        match connection.stream.read(&mut bytes) {
            Ok(n @ 1..) => {
                connection.read_buffer.extend(&bytes[..n]);
                self.unread.insert(Token(key));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The peer sends no more, but may still read: what is queued is written.
            Ok(_) | Err(_) => connection.ready_state = Closed,
        }
        while let Some(connection) = self.connections.get_mut(key) {
            match connection.next_message() {
                Ok(message) => self.deliver(key, &message),
                Err(MORE) => return,
                Err(code) => connection.fail(code),
            }
        }
    }

    /// What this program does with a message. The library calls a handler for that
    /// (src/dispatch/reading.rs), and encodes a broadcast once for all (src/peers/room.rs).
    fn deliver(&mut self, key: usize, message: &Frame) {
        let Some(sender) = self.connections.get(key) else { return };
        let path = sender.path.clone();
        for (other, member) in &mut self.connections {
            let is_meant = if path == "/echo" { other == key } else { member.path == path };
            if is_meant && member.ready_state == Open {
                member.send(encode(&member.version, message.opcode, &message.payload));
            }
        }
    }
}

/// Where a connection stands, in the words of the browser's API.
#[derive(PartialEq)]
enum ReadyState {
    /// The opening handshake is not done.
    Connecting,
    /// Messages go both ways.
    Open,
    /// The server has queued its last bytes. What the peer still sends is read and thrown away.
    Closing,
    /// Nothing more is read. The socket is closed when everything queued is written.
    Closed,
}

#[derive(PartialEq)]
enum Version {
    /// The drafts of 2009 and 2010, called after their author, Ian Hickson. They carry only text.
    Hixie75,
    Hixie76,
    /// RFC 6455, and the drafts 07 and 08 of the HyBi group, whose frames are the same.
    Hybi,
}

/// One client. A VecDeque is a ring, whose bytes may lie in two pieces: so they need not be moved
/// when some leave at the front. It keeps its memory when it is empty; the library gives it back
/// (src/peers/connection.rs).
struct Connection {
    stream: TcpStream,
    ready_state: ReadyState,
    version: Version,
    path: String,
    read_buffer: VecDeque<u8>,
    write_buffer: VecDeque<u8>,
    /// A message of which only the first fragments have come.
    message: Option<Frame>,
}

/// Errors below are codes to end the connection with: an HTTP status if it is Connecting, a close
/// code (section 7.4.1) if it is Open: 1002 for a broken rule, 1007 for text that is not UTF-8,
/// 1009 for a message that is too long. MORE is none of them: more bytes must come first.
const MORE: u16 = 0;

fn check(is_right: bool, code: u16) -> Result<(), u16> {
    if is_right { Ok(()) } else { Err(code) }
}

impl Connection {
    fn new(stream: TcpStream) -> Connection {
        let (ready_state, version, path) = (Connecting, Hybi, String::new());
        let (read_buffer, write_buffer) = (VecDeque::new(), VecDeque::new());
        Connection { stream, ready_state, version, path, read_buffer, write_buffer, message: None }
    }

    /// The loop asks this before it reads, and `writable` before it writes. If neither, it is over.
    fn readable(&self) -> bool {
        self.ready_state != Closed
    }

    fn writable(&self) -> bool {
        !self.write_buffer.is_empty()
    }

    /// Writes until nothing is left or the socket has no room; when it has, an event comes. A
    /// client that does not read is dropped when too much waits for it. The library does not copy
    /// long messages to get them here (src/peers/sending/outbox.rs, src/net/stream.rs).
    fn write(&mut self) {
        while self.writable() {
            let may_wait = self.write_buffer.len() <= MAX_BACKLOG;
            match self.stream.write(self.write_buffer.as_slices().0) {
                Ok(n) => drop(self.write_buffer.drain(..n)),
                Err(error) if error.kind() == ErrorKind::WouldBlock && may_wait => return,
                Err(_) => (self.ready_state, self.write_buffer) = (Closed, VecDeque::new()),
            }
        }
        if self.ready_state == Closing {
            // The peer sees the end, and ends too. To close the socket before that would reset
            // the connection if more bytes come, and the peer might lose what was written last.
            let _ = self.stream.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Queues and writes at once, as asyncore's dispatcher_with_send does. The library only queues,
    /// and writes once when the turn ends (src/peers/sending.rs).
    fn send(&mut self, bytes: Vec<u8>) {
        self.write_buffer.extend(bytes);
        self.write();
    }

    /// Ends the connection because of what the peer sent, and tells it why (section 7.1.7). The
    /// library adds a reason in words, and can close without such a cause (src/peers/closing.rs).
    fn fail(&mut self, code: u16) {
        let last = match std::mem::replace(&mut self.ready_state, Closing) {
            Connecting => format!("HTTP/1.1 {code} Refused\r\n{UPGRADE}{REFUSAL}").into_bytes(),
            _ => encode(&self.version, CLOSE, &code.to_be_bytes()),
        };
        self.send(last);
    }

    /// The next message, after answering what comes before it.
    fn next_message(&mut self) -> Result<Frame, u16> {
        if self.ready_state == Connecting {
            self.open()?;
        }
        while self.ready_state == Open {
            let parse = if self.version == Hybi { parse_hybi } else { parse_hixie };
            let (mut frame, size) = parse(self.read_buffer.make_contiguous())?;
            self.read_buffer.drain(..size);
            match frame.opcode {
                PONG => {} // Section 5.5.3: nobody waits for it.
                PING => self.send(encode(&self.version, PONG, &frame.payload)), // Section 5.5.2.
                CLOSE => self.answer_close(&frame.payload)?,
                opcode => {
                    // Section 5.4: the frames of a message after its first are continuations.
                    check(self.message.is_some() == (opcode == CONTINUATION), 1002)?;
                    let message = self.message.get_or_insert(Frame { payload: vec![], ..frame });
                    message.payload.append(&mut frame.payload);
                    check(message.payload.len() <= MAX_MESSAGE, 1009)?;
                    if frame.fin {
                        // Section 8.1. The library checks pieces as they come (src/proto/utf8.rs).
                        let is_text = message.opcode == TEXT;
                        check(!is_text || str::from_utf8(&message.payload).is_ok(), 1007)?;
                        return self.message.take().ok_or(MORE);
                    }
                }
            }
        }
        self.read_buffer.clear(); // Closing or Closed.
        Err(MORE)
    }

    /// Sends the code of a close frame back (section 5.5.1). Then the server is the first to close
    /// the TCP connection (section 7.1.1).
    fn answer_close(&mut self, payload: &[u8]) -> Result<(), u16> {
        let code = payload.first_chunk().map_or(1000, |code| u16::from_be_bytes(*code));
        // Sections 5.5.1 and 7.4. The library lets the drafts have 1004 too (src/proto/close.rs).
        check(payload.len() != 1 && matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999), 1002)?;
        check(str::from_utf8(payload.get(2..).unwrap_or_default()).is_ok(), 1007)?;
        self.send(encode(&self.version, CLOSE, payload.get(..2).unwrap_or_default()));
        self.ready_state = Closed;
        Ok(())
    }

    /// The opening handshake, once all of the request has come. The library reads heads more
    /// strictly, and serves plain HTTP too (src/http/request.rs, src/dispatch/requests.rs).
    fn open(&mut self) -> Result<(), u16> {
        let bytes = &*self.read_buffer.make_contiguous();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        check(end.unwrap_or(bytes.len()) <= MAX_HEAD, 431)?;
        let (head, behind) = bytes.split_at(end.ok_or(MORE)? + 4);
        let head = str::from_utf8(head).unwrap_or_default();
        // Parts of the head are sent back to Hixie clients, so no line may hold a bare CR or LF.
        check(!head.replace("\r\n", "").contains(char::is_control), 400)?;
        let first: Vec<&str> = head.lines().next().unwrap_or_default().split(' ').collect();
        let ["GET", target, "HTTP/1.1"] = first[..] else { return Err(400) };
        let (version, answer) = handshake(head, target, behind)?;
        let size = head.len() + if version == Hixie76 { 8 } else { 0 };
        self.path = target.split('?').next().unwrap_or_default().to_string();
        self.read_buffer.drain(..size);
        (self.version, self.ready_state) = (version, Open);
        self.send(answer);
        Ok(())
    }
}

/// In every answer. Hixie clients compare these two lines byte by byte.
const UPGRADE: &str = "Upgrade: WebSocket\r\nConnection: Upgrade\r\n";
const REFUSAL: &str = "Connection: close\r\nSec-WebSocket-Version: 13, 8, 7\r\n\
    Content-Length: 17\r\n\r\nWebSockets only.\n";

/// The value of a field; empty if the field is missing, or there more than once.
fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut values = fields.filter(|field| field.0.eq_ignore_ascii_case(name));
    values.next().filter(|_| values.next().is_none()).map_or("", |field| field.1.trim())
}

/// The version that a request asks for, and the answer (sections 4.2 and 4.4; hixie-76 section 5;
/// hixie-75 section 4). Subprotocols and extensions are declined by not naming them; the library
/// speaks some, and knows Hixie-75 by more than what is missing (src/proto/handshake.rs). Pages of
/// all sites may connect, which the library leaves to a setting (src/http/origin.rs).
fn handshake(head: &str, target: &str, behind: &[u8]) -> Result<(Version, Vec<u8>), u16> {
    let get = |name| field(head, name);
    let (host, origin, key1) = (get("Host"), get("Origin"), get("Sec-WebSocket-Key1"));
    check(get("Upgrade").eq_ignore_ascii_case("websocket"), 426)?;
    check(get("Connection").to_ascii_lowercase().contains("upgrade") && !host.is_empty(), 400)?;
    let is_75 = !origin.is_empty() && !head.to_ascii_lowercase().contains("\nsec-websocket-");
    // Hixie clients compare both with what they know. Without TLS the scheme is always ws.
    let hixie = |name| format!("{name}-Origin: {origin}\r\n{name}-Location: ws://{host}{target}");
    let (version, words, fields) = match get("Sec-WebSocket-Version") {
        "13" | "8" | "7" => (Hybi, "Switching Protocols", hybi(get("Sec-WebSocket-Key"))?),
        "" if !key1.is_empty() => (Hixie76, "WebSocket Protocol Handshake", hixie("Sec-WebSocket")),
        "" if is_75 => (Hixie75, "Web Socket Protocol Handshake", hixie("WebSocket")),
        _ => return Err(426),
    };
    let mut answer = format!("HTTP/1.1 101 {words}\r\n{UPGRADE}{fields}\r\n\r\n").into_bytes();
    if version == Hixie76 {
        let (key1, key2) = (hixie_key(key1)?, hixie_key(get("Sec-WebSocket-Key2"))?);
        // Eight bytes follow the head. A proxy may hold them back until it has seen the answer's
        // head, so the library sends that at once (src/dispatch/requests.rs).
        answer.extend(Md5::digest([&key1, &key2, behind.get(..8).ok_or(MORE)?].concat()));
    }
    Ok((version, answer))
}

/// What shows that the server has understood the request (section 4.2.2).
fn hybi(key: &str) -> Result<String, u16> {
    // Section 4.2.1. The library accepts any key from clients of the drafts.
    check(BASE64.decode(key).is_ok_and(|bytes| bytes.len() == 16), 400)?;
    let hash = Sha1::digest([key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
    Ok(format!("Sec-WebSocket-Accept: {}", BASE64.encode(hash)))
}

/// Hixie-76 section 5.2, steps 4 to 7: the digits, as one number, divided by the count of spaces.
fn hixie_key(key: &str) -> Result<[u8; 4], u16> {
    let digits: String = key.chars().filter(char::is_ascii_digit).collect();
    let (number, spaces) = (digits.parse().unwrap_or(u64::MAX), key.matches(' ').count() as u64);
    check(spaces > 0 && number.is_multiple_of(spaces), 400)?;
    u32::try_from(number / spaces).map(u32::to_be_bytes).map_err(|_| 400)
}

// Opcodes (section 5.2). Those from CLOSE on are control frames.
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// A frame, or a message of one or more frames: then `fin` is that of the first.
struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
}

/// The first frame and its size. It is copied when all of it has come; the library unmasks each
/// piece where it lies (src/proto/hybi.rs), and wants lengths in the shortest form
/// (src/proto/frame.rs).
fn parse_hybi(bytes: &[u8]) -> Result<(Frame, usize), u16> {
    let [first, second, rest @ ..] = bytes else { return Err(MORE) };
    let (fin, opcode, short) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    check(first & 0x70 == 0, 1002)?; // Section 5.2: reserved bits.
    check(matches!(opcode, 0x0..=0x2 | 0x8..=0xa), 1002)?; // Section 5.2: reserved opcodes.
    check(second & 0x80 != 0, 1002)?; // Section 5.1: a client masks.
    check(opcode < CLOSE || (fin && short <= 125), 1002)?; // Section 5.5: control frames.
    let (len, rest) = match short {
        126 => rest.split_at_checked(2).ok_or(MORE)?,
        127 => rest.split_at_checked(8).ok_or(MORE)?,
        _ => (&[short][..], rest),
    };
    let len = len.iter().fold(0, |len, byte| len << 8 | u64::from(*byte));
    check(len <= MAX_MESSAGE as u64, 1009)?; // Before the payload is waited for.
    let (key, rest) = rest.split_at_checked(4).ok_or(MORE)?;
    let (payload, rest) = rest.split_at_checked(len as usize).ok_or(MORE)?;
    // Section 5.3: the key is used again and again.
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Ok((Frame { fin, opcode, payload }, bytes.len() - rest.len()))
}

/// The same for Hixie (hixie-76 section 5.3): text stands between 00 and FF; FF 00 closes. What is
/// not UTF-8 is replaced, since browsers sent it. The library skips other frames, which no browser
/// sent (in Hixie-75, FF 00 is one), and looks at each byte only once (src/proto/hixie.rs).
fn parse_hixie(bytes: &[u8]) -> Result<(Frame, usize), u16> {
    match bytes {
        [] | [0xff] => Err(MORE),
        [0xff, 0x00, ..] => Ok((Frame { fin: true, opcode: CLOSE, payload: vec![] }, 2)),
        [0x00, rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == 0xff);
            check(end.unwrap_or(rest.len()) <= MAX_MESSAGE, 1009)?;
            let (text, _) = rest.split_at(end.ok_or(MORE)?);
            let payload = String::from_utf8_lossy(text).into_owned().into_bytes();
            Ok((Frame { fin: true, opcode: TEXT, payload }, text.len() + 2))
        }
        _ => Err(1002),
    }
}

/// A frame to a client: not masked (section 5.1). What Hixie has no frame for is left out.
fn encode(version: &Version, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = match payload.len() {
        len @ ..126 => vec![len as u8],
        len @ ..0x1_0000 => vec![126, (len >> 8) as u8, len as u8],
        len => [&[127], &(len as u64).to_be_bytes()[..]].concat(),
    };
    match (version, opcode) {
        (Hybi, _) => [&[0x80 | opcode], &len[..], payload].concat(),
        (_, TEXT) => [&[0x00], payload, &[0xff]].concat(),
        (Hixie76, CLOSE) => vec![0xff, 0x00],
        _ => vec![],
    }
}
