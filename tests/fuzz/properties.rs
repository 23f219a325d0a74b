//! What holds for any bytes that a peer may send: the properties that the fuzz targets of
//! `tests/fuzz` look for exceptions to. Built with `--cfg fuzzing` only, which cargo-fuzz sets.
//! Each function takes one input, and panics where its property does not hold.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::config::Config;
use crate::context::Context;
use crate::handler::{Answer, Handler};
use crate::http::files::Site;
use crate::http::origin::{OriginRule, admitted};
use crate::http::request::{self, HeadEnd, Request, find_head_end};
use crate::http::response::{Body, Response};
use crate::net::stream::{Socket, Stream};
use crate::proto::deflate::{self, Agreed, Deflate, Inflater};
use crate::proto::handshake::{self, Offer};
use crate::proto::pool::Pool;
use crate::proto::{self, Decoder, Event, Framing, Limits, Message, Version};
use crate::server::Server;

#[path = "properties/compressed.rs"]
mod compressed;
#[path = "properties/tls.rs"]
mod tls;

pub use compressed::compressed;
pub use tls::tls;

/// The lengths of the pieces that an input is cut into; they are used in turn.
type Cuts = [u8; 3];

/// 1 to 4,065 bytes, the small lengths closer together.
fn pieces(mut bytes: &[u8], cuts: Cuts) -> impl Iterator<Item = &[u8]> {
    let mut lengths = cuts.into_iter().map(|cut| 1 + usize::from(cut).pow(2) / 16).cycle();
    std::iter::from_fn(move || {
        let len = lengths.next()?.min(bytes.len());
        let (piece, rest) = bytes.split_at(len);
        bytes = rest;
        (len > 0).then_some(piece)
    })
}

/// Each byte a character.
fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn has_controls(bytes: &[u8]) -> bool {
    bytes.iter().any(|&byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
}

// Request heads.

/// `cuts[3] head`: the end of a head is found where it is, however its bytes arrive; what is
/// taken for a request can be read in one way only; and no answer to it can be split.
pub fn head(input: &[u8]) {
    let Some((cuts, bytes)) = input.split_first_chunk() else { return };
    let end = find_head_end(bytes, 0);
    assert_eq!(find_in_pieces(bytes, *cuts), end);
    match end {
        HeadEnd::At(end) => take_head(&bytes[..end]),
        // The server asks for no such thing, but it must do no harm.
        _ => drop(request::parse(bytes, &mut [httparse::EMPTY_HEADER; 16])),
    }
}

fn find_in_pieces(bytes: &[u8], cuts: Cuts) -> HeadEnd {
    let mut searched = 0;
    for piece in pieces(bytes, cuts) {
        let came = searched + piece.len();
        match find_head_end(&bytes[..came], searched) {
            HeadEnd::Missing => searched = came,
            found => return found,
        }
    }
    HeadEnd::Missing
}

fn take_head(head: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; 16];
    let request = match request::parse(head, &mut slots) {
        Ok(request) => request,
        Err(refusal) => return check_response(&refusal),
    };
    check_request(&request, head);
    match handshake::offer(request, &Version::ALL) {
        Ok(None) => {}
        Ok(Some(offer)) => check_offer(&request, &offer),
        Err(refusal) => check_response(&refusal),
    }
}

/// Reads the head once more, by the letter of RFC 9112.
fn check_request(request: &Request<'_>, head: &[u8]) {
    let head = latin1(head);
    // An empty line in front is allowed for (section 2.2).
    let lines = head.strip_prefix("\r\n").unwrap_or(&head).strip_suffix("\r\n\r\n").unwrap();
    let mut lines = lines.split("\r\n");

    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let [method, target, version] = line[..] else { panic!("{line:?} was taken") };
    assert_eq!(method, request.method());
    assert_eq!(version, if request.is_http_1_1() { "HTTP/1.1" } else { "HTTP/1.0" });
    assert!(request.target().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    assert!(request.target().starts_with('/') || request.target() == "*");
    let absolute = target.contains("://") && !target.starts_with('/');
    let path = if absolute && request.target() == "/" { target } else { request.target() };
    assert!(target == path || (absolute && target.ends_with(path)), "{target:?} became {path:?}");

    let mut hosts = 0;
    let mut fields = request.headers();
    for line in lines {
        let (name, value) = fields.next().unwrap();
        let (expected_name, expected) = line.split_once(':').unwrap();
        assert_eq!((name, &*latin1(value)), (expected_name, expected.trim_matches([' ', '\t'])));
        let separators = b"\"(),/:;<=>?@[\\]{}";
        let of_a_token = |byte: u8| byte.is_ascii_graphic() && !separators.contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(of_a_token), "{name:?}");
        assert!(!has_controls(value), "{value:?}");
        assert!(!name.eq_ignore_ascii_case("Transfer-Encoding"));
        hosts += usize::from(name.eq_ignore_ascii_case("Host"));
    }
    assert!(fields.next().is_none());
    assert!(hosts == 1 || (hosts == 0 && !request.is_http_1_1()));
}

fn check_offer(request: &Request<'_>, offer: &Offer<'_>) {
    assert!(request.method() == "GET" && request.is_http_1_1());
    for protocol in [None, request.protocols().next(), request.protocols().last()] {
        for secure in [false, true] {
            let mut answer = Vec::new();
            offer.accept(protocol, None, secure, &mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 101 "));
            let most = 5 + usize::from(protocol.is_some());
            let count = check_answer(&answer);
            assert!(count <= most, "{}", answer.escape_ascii());
        }
    }
    if let Some(parts) = offer.challenge() {
        assert_eq!(offer.version, Version::Hixie76);
        handshake::digest(parts, *b"^n:ds[4U");
    }
    check_origin(offer.origin(), request.header("Host"));
}

fn check_origin(origin: Option<&[u8]>, host: Option<&str>) {
    for secure in [false, true] {
        let admits = |rule| admitted(&[rule], origin, host, secure);
        assert!(admits(OriginRule::Any));
        assert!(!admits(OriginRule::SameOrigin) || admits(OriginRule::SameHost));
        if !admits(OriginRule::SameHost) {
            continue;
        }
        let Some(origin) = origin else { continue };
        let lower = |text: &str| text.to_ascii_lowercase();
        let (origin, host) = (lower(std::str::from_utf8(origin).unwrap()), lower(host.unwrap()));
        let without_port = |authority: &str| match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => {
                name.to_string()
            }
            _ => authority.to_string(),
        };
        let page = without_port(origin.split_once("://").unwrap().1);
        assert!(!page.is_empty() && page == without_port(&host), "{origin:?} at {host:?}");
    }
}

fn check_response(response: &Response) {
    assert!((200..=599).contains(&response.status));
    for keep_alive in [false, true] {
        let mut head = Vec::new();
        response.write_head(keep_alive, &mut head);
        check_answer(&head);
    }
}

/// One empty line, at the end; no field twice. How many fields there are.
fn check_answer(answer: &[u8]) -> usize {
    let text = latin1(answer);
    let lines = text.strip_suffix("\r\n\r\n").expect("no empty line at the end");
    let mut names = Vec::new();
    for (place, line) in lines.split("\r\n").enumerate() {
        assert!(!line.is_empty(), "an empty line within {text:?}");
        let controls = |c: char| c.is_ascii_control() && c != '\t';
        assert!(!line.contains(controls), "control bytes in {text:?}");
        if place > 0 {
            let (name, _) = line.split_once(": ").expect("a line that is no field");
            let name = name.to_ascii_lowercase();
            assert!(!names.contains(&name), "{name} twice");
            names.push(name);
        }
    }
    names.len()
}

// Frames.

const LIMITS: Limits = Limits { message: 1024, fragments: 64 };
/// A buffer doubles when it is full; so much for a control frame beside it.
const MOST_HELD: usize = 2 * LIMITS.message + 512;
/// And so much while a message is delivered whose wrong bytes have been mended, to three each.
const MOST_LENT: usize = MOST_HELD + 3 * LIMITS.message;

/// `version[1] cuts[3] bytes`, as the RFC 6455 decoder and its drafts' read them.
pub fn hybi(input: &[u8]) {
    frames(input, &[Version::Rfc6455, Version::Hybi08, Version::Hybi07]);
}

/// `version[1] cuts[3] bytes`, as the decoder of Hixie-75 and -76 reads them.
pub fn hixie(input: &[u8]) {
    frames(input, &[Version::Hixie75, Version::Hixie76]);
}

/// The same events come of the same bytes, however they arrive; nothing comes behind the end;
/// nothing is over its limit; and what was read can be written and read again.
fn frames(input: &[u8], versions: &[Version]) {
    let Some(([version, cuts @ ..], bytes)) = input.split_first_chunk::<4>() else { return };
    let version = versions[usize::from(*version) % versions.len()];
    let whole = decode(version, None, [bytes], false);
    let split = |landing| decode(version, None, pieces(bytes, *cuts), landing);
    assert_eq!(split(false), whole, "{version}, in pieces");
    if !version.is_hixie() {
        assert_eq!(split(true), whole, "{version}, in pieces that land");
    }
    for seen in &whole {
        check_seen(version, seen);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Failed(proto::Violation),
}

/// What a fresh decoder makes of these reads. With `landing`, those in the midst of a large message
/// go where it wants them, as a connection's do.
fn decode<'a>(
    version: Version,
    deflate: Option<Agreed>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    landing: bool,
) -> Vec<Seen> {
    let mut decoder = Decoder::new(version, deflate);
    let (mut pool, mut seen) = (Pool::default(), Vec::new());
    for mut piece in pieces {
        while landing
            && !piece.is_empty()
            && let Some(message) = decoder.landing()
        {
            let room = message.capacity() - message.len();
            let (now, later) = piece.split_at(piece.len().min(room));
            assert!(!now.is_empty(), "no room to land in");
            message.extend_from_slice(now);
            let mut behind = decoder.landed(now.len()).unwrap();
            feed(&mut decoder, &mut behind, &mut pool, &mut seen);
            piece = later;
        }
        if !piece.is_empty() {
            feed(&mut decoder, &mut piece.to_vec(), &mut pool, &mut seen);
        }
    }
    seen
}

fn feed(decoder: &mut Decoder, mut piece: &mut [u8], pool: &mut Pool, all: &mut Vec<Seen>) {
    let (len, before) = (piece.len(), all.len());
    while let Some(event) = decoder.next(&mut piece, &LIMITS, pool) {
        let ended = matches!(all.last(), Some(Seen::Close(_) | Seen::Failed(_)));
        assert!(!ended, "{event:?} behind the end");
        all.push(match event {
            // That depends on how the bytes are cut.
            Event::Begun(_) => continue,
            Event::Message(Message::Text(text)) => Seen::Text(text.to_string()),
            Event::Message(Message::Binary(bytes)) => Seen::Binary(bytes.to_vec()),
            Event::Ping(payload) => Seen::Ping(payload.to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.to_vec()),
            Event::Close(close) => Seen::Close(close.map(|(code, why)| (code, why.to_string()))),
            Event::Failed(violation) => Seen::Failed(violation),
        });
        assert!(decoder.held() <= MOST_LENT + Inflater::SIZE, "{} bytes held", decoder.held());
        // A frame has two bytes at least, the first of them perhaps in an earlier piece; and those
        // of one that is refused are not taken.
        let used = len - piece.len();
        assert!(all.len() - before <= used / 2 + 2, "events out of nothing");
    }
    assert_eq!(piece.len(), 0);
    assert!(decoder.held() <= MOST_HELD + Inflater::SIZE, "{} bytes held", decoder.held());
}

fn check_seen(version: Version, seen: &Seen) {
    let hixie = version.is_hixie();
    let mut bytes = Vec::new();
    match seen {
        Seen::Text(text) => {
            // Mending replaces a byte by three.
            assert!(text.len() <= LIMITS.message * if hixie { 3 } else { 1 });
            bytes = encode(version, text.into());
        }
        Seen::Binary(payload) => {
            assert!(!hixie && payload.len() <= LIMITS.message);
            bytes = encode(version, payload[..].into());
        }
        Seen::Ping(payload) => {
            assert!(!hixie && payload.len() <= 125);
            proto::encode_ping(Framing::of(version, None), payload, &mut bytes);
        }
        Seen::Close(close) => {
            assert!(version != Version::Hixie75);
            let close = close.as_ref().map(|(code, reason)| (*code, &**reason));
            assert!(close.is_none_or(|(_, reason)| reason.len() <= 123));
            proto::encode_close(version, close, &mut bytes);
        }
        Seen::Pong(_) => return assert!(!hixie),
        Seen::Failed(_) => return,
    }
    if !hixie {
        mask(&mut bytes);
    } else if bytes.len() > LIMITS.message {
        // A mended text may be longer than any that is read.
        return;
    }
    assert_eq!(decode(version, None, [&bytes[..]], true), std::slice::from_ref(seen));
}

// Compressed messages.

/// `mode[1] cuts[3] bytes`: with bit 0 of the mode the bytes are frames, where compression was
/// agreed on; else they are the payload of a compressed message, of a text with bit 1. Bits 2 to 4
/// choose the window of what is sent back.
///
/// The same comes of the same bytes, in one frame or many, however they arrive, and nothing over
/// its limit; what was read can be compressed, twice to the same bytes, and read again.
pub fn inflate(input: &[u8]) {
    let Some(([mode, cuts @ ..], bytes)) = input.split_first_chunk::<4>() else { return };
    let agreed = agree(8 + (mode >> 2 & 7));
    let opcode = if mode & 2 == 0 { 2 } else { 1 };
    let frames = match mode & 1 {
        0 => frame(0xc0 | opcode, bytes),
        _ => bytes.to_vec(),
    };
    let read = |pieces: &[&[u8]], landing| {
        decode(Version::Rfc6455, agreed, pieces.iter().copied(), landing)
    };
    let whole = read(&[&frames], false);
    let cut: Vec<&[u8]> = pieces(&frames, *cuts).collect();
    for landing in [false, true] {
        assert_eq!(read(&cut, landing), whole, "in pieces, landing: {landing}");
    }
    // The length of one frame is known before any of it has come.
    if mode & 1 == 0 && bytes.len() <= LIMITS.message {
        let mut fragments: Vec<&[u8]> = pieces(bytes, *cuts).take(40).collect();
        let taken = fragments.iter().map(|fragment| fragment.len()).sum();
        fragments.push(&bytes[taken..]);
        let last = fragments.len() - 1;
        let frames = fragments.iter().enumerate().flat_map(|(place, fragment)| {
            let first = if place == 0 { 0x40 | opcode } else { 0 };
            frame(if place == last { 0x80 | first } else { first }, fragment)
        });
        let frames: Vec<u8> = frames.collect();
        assert_eq!(read(&[&frames], false), whole, "in fragments");
    }
    for seen in &whole {
        match seen {
            Seen::Text(text) => check_deflated(agreed, text[..].into(), seen),
            Seen::Binary(bytes) => check_deflated(agreed, bytes[..].into(), seen),
            _ => {}
        }
    }
}

fn agree(window_bits: u8) -> Option<Agreed> {
    let offer = format!("permessage-deflate; server_max_window_bits={window_bits}");
    let agreed = deflate::agree([offer.as_bytes()].into_iter());
    assert!(agreed.is_some());
    agreed
}

fn check_deflated(agreed: Option<Agreed>, message: Message<'_>, seen: &Seen) {
    assert!(message.as_bytes().len() <= LIMITS.message);
    let mut pool = Pool::new(Some(Deflate { threshold: 1, ..Deflate::default() }));
    let framing = Framing::of(Version::Rfc6455, agreed);
    let mut made = Vec::new();
    assert!(framing.encode(message, &mut pool, &mut made).unwrap());
    assert!(made.len() <= message.as_bytes().len() + 10);
    let mut again = Vec::new();
    assert!(framing.encode(message, &mut pool, &mut again).unwrap());
    assert!(made == again, "the message before is remembered");
    mask(&mut made);
    let back = decode(Version::Rfc6455, agreed, [&made[..]], true);
    assert_eq!(back, std::slice::from_ref(seen));
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = match payload.len() {
        len @ 0..=125 => vec![first, len as u8],
        len => [&[first, 126][..], &(len as u16).to_be_bytes()].concat(),
    };
    frame.extend_from_slice(payload);
    mask(&mut frame);
    frame
}

fn encode(version: Version, message: Message<'_>) -> Vec<u8> {
    let envelope = Framing::of(version, None).envelope(message, None).unwrap();
    let head = envelope.head();
    [head.as_slice(), message.as_bytes(), envelope.tail()].concat()
}

/// Makes a server's frame a client's.
fn mask(frame: &mut Vec<u8>) {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let head = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame[1] |= 0x80;
    for (byte, key) in frame[head..].iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
    frame.splice(head..head, key);
}

// Connections.

/// `mode[1] cuts[3] bytes`: a connection comes to the same end, with the same bytes sent and the
/// same calls made on the way, however the peer's bytes arrive.
///
/// The low three bits of the mode say which opening is sent in front: of the five versions, of the
/// last of them with an offer to compress, or none. With bit 3 the end of the stream comes with the last bytes, else after they were
/// answered. With bit 4 pages of all origins may connect, through a proxy that is believed.
///
/// What the peer sees in any case: every byte up to the end of our stream. What may differ:
/// whether bytes behind the end (of a refused request, of a closed or failed WebSocket) are read
/// and dropped, or meet a socket that is gone (EPIPE, or ECONNRESET once all was read): neither
/// side can tell one from the other by what it was sent, so both count as the end of the stream.
/// A handler that calls `terminate` makes another difference, since that drops what is queued: the
/// one used here does not.
pub fn connection(input: &[u8]) {
    let Some(([mode, cuts @ ..], bytes)) = input.split_first_chunk::<4>() else { return };
    let bytes = [OPENINGS[usize::from(mode & 7)], bytes].concat();
    same_however_cut(*mode, &bytes, *cuts);
}

/// What comes of a connection, whether its bytes are cut or not.
fn same_however_cut(mode: u8, bytes: &[u8], cuts: Cuts) -> Outcome {
    log_to_nowhere();
    let whole = converse(mode, [bytes]);
    // Boundaries come near the beginning or nowhere, and turns take long.
    let mut rest = bytes;
    let mut cut: Vec<&[u8]> = Vec::new();
    for piece in pieces(bytes, cuts).take(100) {
        cut.push(piece);
        rest = &rest[piece.len()..];
    }
    cut.push(rest);
    let split = converse(mode, cut.into_iter().filter(|piece| !piece.is_empty()));
    assert_eq!(split.calls, whole.calls, "calls, in pieces and whole");
    assert!(
        split.bytes == whole.bytes,
        "in pieces: {}\nwhole: {}",
        split.bytes.escape_ascii(),
        whole.bytes.escape_ascii()
    );
    whole
}

const OPENINGS: [&[u8]; 8] = [
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Origin: http://a\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 7\r\n\r\n",
    b"GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nSec-WebSocket-Protocol: sample\r\n\
      Upgrade: WebSocket\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
      Origin: http://example.com\r\n\r\n^n:ds[4U",
    b"GET /demo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: example.com\r\n\
      Origin: http://example.com\r\n\r\n",
    b"",
    b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
      Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n\
      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"",
];

/// What came of a connection.
struct Outcome {
    /// What the server sent, without the values of its `Date` fields.
    bytes: Vec<u8>,
    calls: Vec<String>,
}

/// Echoes, closes for a message that begins with C, and pauses for one that begins with P.
#[derive(Clone, Default)]
struct Recorder {
    calls: Rc<RefCell<Vec<String>>>,
    paused: Rc<Cell<bool>>,
}

impl Recorder {
    fn note(&self, call: String) {
        self.calls.borrow_mut().push(call);
    }
}

impl Handler for Recorder {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        self.note(format!("request {} {}", request.method(), request.target()));
        match request.protocols().next() {
            Some(protocol) => Answer::Protocol(protocol.to_string()),
            None => Answer::Proceed,
        }
    }

    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let (version, protocol, addr) = (ws.version(), ws.protocol(), ws.remote_addr());
        self.note(format!("open {version:?} {protocol:?} {addr:?} {}", request.target()));
        ws.send("hello");
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        assert!(!self.paused.get(), "{message:?} for one who is paused");
        self.note(format!("message {message:?}"));
        ws.send(message);
        match message.as_bytes().first() {
            Some(b'C') => assert!(ws.close(3000, "because you said so")),
            Some(b'P') => {
                ws.pause();
                self.paused.set(true);
            }
            _ => {}
        }
    }

    fn on_close(&mut self, _: &mut Context<'_>, code: u16, reason: &str) {
        self.note(format!("close {code} {reason:?}"));
    }
}

/// One connection from its beginning to its end.
fn converse<'a>(mode: u8, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let ends_at_once = mode & 8 != 0;
    let mut talk = Talk::new(mode & 16 != 0);
    let mut pieces = pieces.into_iter().peekable();
    while let Some(piece) = pieces.next() {
        talk.send(piece);
        match pieces.peek() {
            Some(_) => drop(talk.turn()),
            None if ends_at_once => {}
            None => talk.turn_until_quiet(),
        }
    }
    // An error here says that the server's end came first.
    let _ = talk.peer.shutdown(Shutdown::Write);
    talk.turn_until_quiet();
    talk.wait_for_end();
    assert!(talk.server.context("*").unwrap().members().is_empty());
    talk.server.stop();
    assert!(talk.server.is_stopped(), "the connection outlived both ends of it");

    let calls = talk.handler.calls.take();
    let place = |word: &str| calls.iter().position(|call| call.starts_with(word));
    let count = |word: &str| calls.iter().filter(|call| call.starts_with(word)).count();
    assert!(count("open ") <= 1 && count("open ") == count("close "), "{calls:?}");
    let in_order = place("open ").is_none_or(|open| {
        place("message ").is_none_or(|message| open < message)
            && place("close ") == calls.len().checked_sub(1)
    });
    assert!(in_order && (place("open ").is_some() || count("message ") == 0), "{calls:?}");
    without_dates(&mut talk.bytes);
    Outcome { bytes: talk.bytes, calls }
}

/// A server with one connection, and its peer.
struct Talk {
    server: Server,
    handler: Recorder,
    peer: UnixStream,
    /// What the peer has read, and whether the end too.
    bytes: Vec<u8>,
    ended: bool,
}

impl Talk {
    fn new(open: bool) -> Talk {
        // No deadline falls due while a debugger, or the machine, takes its time.
        let hour = Duration::from_secs(3600);
        let mut server = Server::new(Config {
            max_head: 1024,
            max_headers: 16,
            max_message: 4096,
            max_fragments: 64,
            max_backlog: 64 * 1024 * 1024,
            handshake_timeout: hour,
            close_timeout: hour,
            ping_interval: None,
            pong_timeout: hour,
            max_connections: Some(2),
            origins: vec![if open { OriginRule::Any } else { OriginRule::SameHost }],
            trust_proxy: open,
            deflate: Some(Deflate { threshold: 16, ..Deflate::default() }),
            ..Config::default()
        })
        .unwrap();
        server.serve_folder(root()).unwrap();
        let handler = Recorder::default();
        server.route("*", handler.clone());
        let (ours, peer) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        peer.set_nonblocking(true).unwrap();
        let ours = Stream::plain(Socket::Unix(mio::net::UnixStream::from_std(ours)));
        server.adopt_stream(ours, None, b"").unwrap();
        Talk { server, handler, peer, bytes: Vec::new(), ended: false }
    }

    fn send(&mut self, mut bytes: &[u8]) {
        let mut refused = 0;
        while !bytes.is_empty() {
            // Not by write(2): libFuzzer's main leaves SIGPIPE at its default.
            match rustix::net::send(&self.peer, bytes, SendFlags::NOSIGNAL) {
                Ok(taken) => {
                    bytes = &bytes[taken..];
                    refused = 0;
                }
                Err(Errno::AGAIN) => {
                    refused += 1;
                    assert!(refused < 3, "the server has stopped reading");
                    self.turn_until_quiet();
                }
                Err(_) => return,
            }
        }
    }

    /// True if anything happened, or will.
    fn turn(&mut self) -> bool {
        let events = self.server.turn(Some(Duration::ZERO)).unwrap();
        let received = self.receive();
        let resumed = self.handler.paused.take();
        if resumed {
            let mut ws = self.server.context("*").unwrap();
            if let [id] = *ws.members() {
                ws.to(id).resume();
            }
        }
        let due = self.server.poll_timeout() == Some(Duration::ZERO);
        events > 0 || received || resumed || due
    }

    fn turn_until_quiet(&mut self) {
        let quiet = (0..20_000).any(|_| !self.turn());
        assert!(quiet, "the loop does not come to rest");
    }

    /// The server has closed its socket, but the kernel ends the stream only when nobody else holds
    /// it either: some process may be looking at /proc/PID/fd just now.
    fn wait_for_end(&mut self) {
        self.peer.set_nonblocking(false).unwrap();
        self.peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.receive();
        assert!(self.ended, "the peer's end was not answered by ours");
    }

    /// Reads what there is. True if there was anything.
    fn receive(&mut self) -> bool {
        let before = (self.bytes.len(), self.ended);
        let mut buffer = [0; 4096];
        while !self.ended {
            match self.peer.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(read) => self.bytes.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.ended = true,
                Err(error) => panic!("{error}"),
            }
        }
        before != (self.bytes.len(), self.ended)
    }
}

/// `Date: Sun, 06 Nov 1994 08:49:37 GMT`, the value replaced.
fn without_dates(bytes: &mut [u8]) {
    const NAME: &[u8] = b"\r\nDate: ";
    for at in 0..bytes.len() {
        let Some(value) = bytes[at..].strip_prefix(NAME).and_then(|value| value.get(..29)) else {
            continue;
        };
        if value.ends_with(b" GMT") {
            bytes[at + NAME.len()..][..29].fill(b'x');
        }
    }
}

/// A log that is formatted and looked at: what a peer sends must not reach it as it is.
fn log_to_nowhere() {
    struct Log;
    impl log::Log for Log {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.target().starts_with("wsloop")
        }

        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                let line = record.args().to_string();
                assert!(!line.contains(char::is_control), "in the log: {line:?}");
            }
        }

        fn flush(&self) {}
    }
    // An error says that it has been set before.
    let _ = log::set_logger(&Log);
    log::set_max_level(log::LevelFilter::Debug);
}

// Static files.

/// What may not be served consists of nothing but these, and nothing else has any.
const SECRET: u8 = b'!';

/// In the folder: the names that are served, as they are on disk.
const PUBLIC: [&[u8]; 9] = [
    b"index.html",
    b"digits.txt",
    b"sub/index.html",
    b"sub/a b.txt",
    b"sub/%41",
    b"sub/\xff\xfe",
    b"back\\slash",
    b".well-known/security.txt",
    b"..%2f",
];

const PAGES: Site = Site::Embedded(&[
    ("/index.html", b"a page"),
    ("/a/index.html", b"another page"),
    ("/a/b%20c.html", b"a third page"),
]);

/// The folder as a site.
fn folder() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| Site::folder(root()).unwrap())
}

/// A folder to serve, made once for the process, and left to who set TMPDIR.
fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let scratch = std::env::temp_dir().join(format!("wsloop-fuzz-{}", std::process::id()));
        let root = scratch.join("root");
        let _ = fs::remove_dir_all(&scratch);
        for folder in ["root/sub/empty", "root/.git", "root/.well-known", "root-beside"] {
            fs::create_dir_all(scratch.join(folder)).unwrap();
        }
        for name in PUBLIC {
            // A name that begins with a dot is served from .well-known only; this one never is.
            let secret = name.starts_with(b"..");
            let content = if secret { [SECRET; 40].to_vec() } else { content_of(name) };
            fs::write(root.join(OsStr::from_bytes(name)), content).unwrap();
        }
        for name in [".git/config", ".env", "sub/.hidden", ".well-known/.hidden"] {
            fs::write(root.join(name), [SECRET; 40]).unwrap();
        }
        for name in ["root-beside/a", "beside"] {
            fs::write(scratch.join(name), [SECRET; 40]).unwrap();
        }
        symlink("../beside", root.join("out")).unwrap();
        symlink("../root-beside", root.join("outside")).unwrap();
        symlink("..", root.join("sub/up")).unwrap();
        symlink("../..", root.join("sub/far")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("digits.txt", root.join("in")).unwrap();
        let fifo = root.join("fifo");
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
        root
    })
}

fn content_of(name: &[u8]) -> Vec<u8> {
    [b"content of ", name, b"."].concat()
}

/// `target LF fields`: whatever is asked for, only what is public comes, and no redirect leads
/// off this host, or in a circle.
pub fn path(input: &[u8]) {
    log_to_nowhere();
    let (target, fields) = match memchr::memchr(b'\n', input) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &b""[..]),
    };
    for method in ["GET", "HEAD"] {
        let head = head_of(method, target, fields);
        ask(&head, |site, request| check_served(site, request, &site.respond(request)));
    }
}

fn head_of(method: &str, target: &[u8], fields: &[u8]) -> Vec<u8> {
    let end: &[u8] =
        if fields.is_empty() || fields.ends_with(b"\r\n") { b"\r\n" } else { b"\r\n\r\n" };
    [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: a\r\n", fields, end].concat()
}

/// Puts a request to both kinds of site. False if it is none.
fn ask(head: &[u8], check: impl Fn(&Site, &Request<'_>)) -> bool {
    let HeadEnd::At(end) = find_head_end(head, 0) else { return false };
    let mut slots = [httparse::EMPTY_HEADER; 32];
    let Ok(request) = request::parse(&head[..end], &mut slots) else { return false };
    check(folder(), &request);
    check(&PAGES, &request);
    true
}

fn check_served(site: &Site, request: &Request<'_>, response: &Response) {
    let target = request.target();
    check_response(response);
    let content = match &response.body {
        Body::Events => panic!("a site has no events"),
        Body::Bytes(bytes) => bytes.to_vec(),
        Body::File { file, offset, len } => {
            assert!(*len < 1000);
            let mut content = vec![0; *len as usize];
            file.read_exact_at(&mut content, *offset).unwrap();
            content
        }
    };
    assert!(!content.contains(&SECRET), "{target} is served");
    let mut answer = Vec::new();
    response.write_head(true, &mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        answer.lines().find_map(|line| line.strip_prefix(&*prefix)).map(str::to_string)
    };
    match response.status {
        200 | 206 => {
            assert!(!is_hidden(request.path()), "{target} is hidden");
            let whole = match site {
                Site::Embedded(pages) => pages.iter().map(|(_, page)| page.to_vec()).collect(),
                _ => PUBLIC.map(content_of).to_vec(),
            };
            let part = |whole: &Vec<u8>| match field("Content-Range") {
                None => *whole == content,
                Some(range) => {
                    let (range, len) =
                        range.strip_prefix("bytes ").unwrap().split_once('/').unwrap();
                    let (first, last) = range.split_once('-').unwrap();
                    let (first, last): (usize, usize) =
                        (first.parse().unwrap(), last.parse().unwrap());
                    len == whole.len().to_string()
                        && whole.get(first..=last).is_some_and(|part| part == content)
                }
            };
            assert!(whole.iter().any(part), "{target}: {}", content.escape_ascii());
        }
        301 => {
            assert!(!is_hidden(request.path()), "{target} is hidden");
            let location = field("Location").unwrap();
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
            let elsewhere = location.starts_with("//") || location.starts_with("/\\");
            assert!(location.starts_with('/') && !elsewhere, "{location}");
            let there = head_of("GET", location.as_bytes(), b"");
            let found = ask(&there, |site, request| {
                assert_ne!(site.respond(request).status, 400, "{location}");
            });
            assert!(found, "{location} is no target");
            let circle = ask(&there, |other, request| {
                let same = matches!(other, Site::Folder(_)) == matches!(site, Site::Folder(_));
                assert!(!same || site.respond(request).status != 301, "{location}");
            });
            assert!(circle);
        }
        304 | 412 | 416 => assert!(!is_hidden(request.path()), "{target} is hidden"),
        400 | 404 => {}
        status => panic!("{target}: {status}"),
    }
}

/// Whether a component of the path, decoded, begins with a dot, or leads up.
fn is_hidden(path: &str) -> bool {
    path.split('/').any(|name| {
        let name: Vec<u8> = percent_encoding::percent_decode_str(name).collect();
        name.starts_with(b".") && name != b".well-known"
    })
}
