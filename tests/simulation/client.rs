//! The other side: a peer of any version, what it says, and what it makes of what it is sent.

use std::collections::VecDeque;

use super::handler::{Said, word};
use super::schedule::{Chance, Deed, Kind, Manners, Saying};
use super::world::{Peer, World};
use crate::proto::Version;

/// The pages that the server has.
pub const PAGES: &[(&str, &[u8])] = &[
    ("/index.html", b"<!doctype html>a short page"),
    ("/empty.html", b""),
    ("/long.html", &[b'p'; 50_000]),
];

/// What a peer said, and what the server is to make of it.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// A request, which is answered by a page of this length, by a 404, or by a WebSocket.
    Page(Option<usize>),
    Upgrade,
    Message(Said),
    Ping(Vec<u8>),
    Close(u16),
    /// A line, and whether it is answered by an error.
    Line(Vec<u8>, bool),
    Broken,
    Nothing,
}

/// Something that a peer said: it ends at this byte of all that it says.
pub struct Spoken {
    pub meaning: Meaning,
    pub begin: u64,
    pub end: u64,
}

/// What a peer has made of what it was sent.
#[derive(Default)]
pub struct Ears {
    /// Bytes that are not looked at yet.
    kept: Vec<u8>,
    /// Bytes that were looked at before those.
    position: u64,
    open: bool,
    closed: bool,
    /// The messages that came, as far as nobody has looked at them.
    pub messages: Vec<Said>,
    pub pongs: VecDeque<Vec<u8>>,
    pub pings: usize,
    /// Where the last ping of the server's own ended.
    pub asked_at: Option<u64>,
    /// A close frame, and its code.
    pub close: Option<u16>,
    /// The pages that came, by their lengths; `None` is a 404.
    pub pages: VecDeque<Option<usize>>,
    /// The status of a response that was not asked for.
    pub refused: Option<u16>,
    pub lines: usize,
    /// The pings that are to be answered.
    unanswered: Vec<Vec<u8>>,
}

pub struct Client {
    pub manners: Manners,
    pub peer: Peer,
    /// All that was said.
    pub spoken: Vec<Spoken>,
    /// What was said and has not come to the server's kernel.
    outgoing: Vec<u8>,
    pub said: u64,
    pub sent: u64,
    pub taken: u64,
    pub ears: Ears,
    /// It says nothing more: it has closed, or broken a rule.
    pub done: bool,
    pub broken: bool,
    pub ended: bool,
    pub reset: bool,
    pub count: usize,
    chance: Chance,
    #[cfg(feature = "tls")]
    tls: Option<super::secure::Session>,
    /// What is to be said once TLS has shaken hands.
    #[cfg(feature = "tls")]
    waiting: Vec<(Vec<u8>, Meaning)>,
}

impl Client {
    /// A peer connects, and says the first that it has to say.
    pub fn connect(world: &mut World, manners: &Manners, chance: Chance) -> Client {
        let peer = match manners.kind {
            Kind::Source => world.connect_source(),
            #[cfg(feature = "tls")]
            _ if manners.tls => world.connect_by(super::secure::serve),
            _ => world.connect(),
        };
        let mut kernel = peer.socket.borrow_mut();
        kernel.set_room(manners.room);
        kernel.merges = manners.merges;
        drop(kernel);
        let mut client = Client {
            manners: manners.clone(),
            peer,
            spoken: Vec::new(),
            outgoing: Vec::new(),
            said: 0,
            sent: 0,
            taken: 0,
            ears: Ears::default(),
            done: false,
            broken: false,
            ended: false,
            reset: false,
            count: 0,
            chance,
            #[cfg(feature = "tls")]
            tls: manners.tls.then(super::secure::Session::new),
            #[cfg(feature = "tls")]
            waiting: Vec::new(),
        };
        if let Kind::WebSocket(version) = manners.kind {
            if let Some(page) = manners.page_first {
                client.ask_for(page);
            }
            let deflate = manners.deflate && version == Version::Rfc6455;
            client.speak(&upgrade(version, deflate), Meaning::Upgrade);
        }
        client
    }

    pub fn is_websocket(&self) -> bool {
        matches!(self.manners.kind, Kind::WebSocket(_))
    }

    pub fn is_hixie(&self) -> bool {
        matches!(self.manners.kind, Kind::WebSocket(version) if version.is_hixie())
    }

    /// Whether its stream is of bytes that come in records.
    pub fn is_secret(&self) -> bool {
        self.manners.tls
    }

    fn speak(&mut self, bytes: &[u8], meaning: Meaning) {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.tls {
            let encrypted = match session.is_shaking_hands() {
                true => {
                    self.waiting.push((bytes.to_vec(), meaning));
                    return self.shake_hands();
                }
                false => session.encrypt(bytes),
            };
            return self.speak_raw(&encrypted, meaning);
        }
        self.speak_raw(bytes, meaning);
    }

    fn speak_raw(&mut self, bytes: &[u8], meaning: Meaning) {
        let begin = self.said;
        self.outgoing.extend_from_slice(bytes);
        self.said += bytes.len() as u64;
        self.spoken.push(Spoken { meaning, begin, end: self.said });
    }

    /// Says what TLS itself has to say, and once hands were shaken what had to wait for that.
    #[cfg(feature = "tls")]
    fn shake_hands(&mut self) {
        let Some(session) = &mut self.tls else { return };
        let own = session.encrypt(b"");
        let done = !session.is_shaking_hands();
        if !own.is_empty() {
            self.speak_raw(&own, Meaning::Nothing);
        }
        if done {
            for (bytes, meaning) in std::mem::take(&mut self.waiting) {
                self.speak(&bytes, meaning);
            }
        }
    }

    fn ask_for(&mut self, page: usize) {
        let (name, len) = match PAGES.get(page) {
            Some((name, page)) => (*name, Some(page.len())),
            None => ("/none", None),
        };
        let request = format!("GET {name} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.speak(request.as_bytes(), Meaning::Page(len));
    }

    /// Says something, unless it has nothing more to say, or no words for it.
    pub fn say(&mut self, saying: &Saying, limits: (usize, usize), deflate: bool) {
        if self.done || self.ended || self.reset {
            return;
        }
        match (saying, self.manners.kind) {
            (Saying::Page(page), Kind::Http) => self.ask_for(*page),
            (Saying::Line { size, good }, Kind::Source) => self.line(*size, *good),
            (Saying::Broken(_), Kind::Http) => {
                self.speak(b"GET / HTTP/1.1\nHost: a\n\n", Meaning::Broken);
                (self.done, self.broken) = (true, true);
            }
            (_, Kind::Http | Kind::Source) => {}
            (Saying::Message { deed, text, size, fragments, deflated }, _) => {
                let text = *text || self.is_hixie();
                let payload = self.payload(*deed, text, (*size).min(limits.0));
                let deflated = *deflated && deflate && self.manners.deflate;
                let bytes = match self.is_hixie() {
                    true => [&[0], &payload[..], &[0xff]].concat(),
                    false => {
                        let fragments = (*fragments).min(limits.1);
                        self.frames(text, &payload, fragments, deflated)
                    }
                };
                self.speak(&bytes, Meaning::Message((text, payload)));
            }
            (Saying::Close, Kind::WebSocket(version)) => {
                let (bytes, code) = match version {
                    Version::Hixie75 => return,
                    Version::Hixie76 => (vec![0xff, 0], 1005),
                    _ => (self.frame(0x88, b"\x0b\xb8bye"), 3000),
                };
                self.done = true;
                self.speak(&bytes, Meaning::Close(code));
            }
            (Saying::Broken(which), _) => {
                let bytes = self.broken(*which, limits.0);
                (self.done, self.broken) = (true, true);
                self.speak(&bytes, Meaning::Broken);
            }
            _ if self.is_hixie() => {}
            (Saying::Ping(size), _) => {
                let payload: Vec<u8> = (0..*size).map(|_| self.chance.next() as u8).collect();
                let frame = self.frame(0x89, &payload);
                self.speak(&frame, Meaning::Ping(payload));
            }
            _ => {
                let frame = self.frame(0x8a, b"unasked");
                self.speak(&frame, Meaning::Nothing);
            }
        }
    }

    fn line(&mut self, size: usize, good: bool) {
        self.count += 1;
        let start = if good { "line" } else { "bad" };
        let line = format!("{start}{}:{}", self.count, "x".repeat(size.min(60_000)));
        let end = if self.chance.one_in(2) { "\n" } else { "\r\n" };
        self.speak(format!("{line}{end}").as_bytes(), Meaning::Line(line.into_bytes(), !good));
    }

    /// A payload of about this size: the deed, a number, and more or less varied bytes.
    fn payload(&mut self, deed: Deed, text: bool, size: usize) -> Vec<u8> {
        self.count += 1;
        let mut payload = format!("{}:{}:", word(deed), self.count).into_bytes();
        let varied = self.chance.one_in(3);
        while payload.len() + 4 <= size {
            match (text, varied) {
                (false, true) => payload.extend((self.chance.next() as u32).to_le_bytes()),
                (true, true) => {
                    let letter = self.chance.pick(&["a", "\u{e9}", "\u{20ac}", "\u{1f600}"]);
                    payload.extend(letter.as_bytes());
                }
                _ => payload.extend(b"over"),
            }
        }
        payload
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = super::world::masked(first, payload);
        // With a mask that is not all zeros.
        let (start, key) = (bytes.len() - payload.len(), (self.chance.next() as u32).to_ne_bytes());
        bytes[start - 4..start].copy_from_slice(&key);
        for (place, byte) in bytes[start..].iter_mut().enumerate() {
            *byte ^= key[place % 4];
        }
        bytes
    }

    /// A message in so many fragments, with pings between them.
    fn frames(&mut self, text: bool, payload: &[u8], count: usize, deflated: bool) -> Vec<u8> {
        let shrunk = if deflated { deflate(payload) } else { payload.to_vec() };
        let (mut bytes, mut rest) = (Vec::new(), &shrunk[..]);
        for index in 0..count {
            let len =
                if index + 1 == count { rest.len() } else { self.chance.size(rest.len() + 1) };
            let (piece, behind) = rest.split_at(len.min(rest.len()));
            rest = behind;
            let opcode = match index {
                0 => (if text { 1 } else { 2 }) | if deflated { 0x40 } else { 0 },
                _ => 0,
            };
            let fin = if index + 1 == count { 0x80 } else { 0 };
            bytes.extend(self.frame(fin | opcode, piece));
            if fin == 0 && self.chance.one_in(3) {
                bytes.extend(self.frame(0x8a, b"between"));
            }
        }
        bytes
    }

    fn broken(&mut self, which: usize, max_message: usize) -> Vec<u8> {
        if self.is_hixie() {
            return b"\x80\xff\xff\xff\xff\xff\xff\x7f".to_vec();
        }
        match which {
            0 => b"\x81\x01a".to_vec(),
            1 => self.frame(0xb1, b"a"),
            2 => self.frame(0x83, b"a"),
            3 => self.frame(0x80, b"a"),
            4 => self.frame(0x81, b"ab\xff"),
            5 => {
                let len = (max_message as u64 + 1).max(65_536).to_be_bytes();
                [&[0x82, 0xff], &len[..], &[0; 4]].concat()
            }
            6 => self.frame(0x88, b"\x03"),
            7 => self.frame(0x89, &[0; 126]),
            _ => self.frame(0x09, b"a"),
        }
    }

    /// So much of what was said comes to the server's kernel. True if that was anything.
    pub fn send(&mut self, most: usize) -> bool {
        let count = most.min(self.outgoing.len());
        if count == 0 || self.ended || self.reset {
            return false;
        }
        self.peer.sends(&self.outgoing[..count]);
        self.outgoing.drain(..count);
        self.sent += count as u64;
        true
    }

    pub fn end(&mut self) {
        if !self.ended && !self.reset {
            self.ended = true;
            self.peer.ends();
        }
    }

    pub fn reset(&mut self) {
        self.reset = true;
        self.peer.socket.borrow_mut().peer_resets();
    }

    /// Takes so much of what the server's kernel has for it. True if that was anything.
    pub fn take(&mut self, most: usize) -> Result<bool, String> {
        if self.reset {
            return Ok(false);
        }
        let bytes = self.peer.takes(most);
        if bytes.is_empty() {
            return Ok(false);
        }
        self.taken += bytes.len() as u64;
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.tls {
            let records = session.decrypt(&bytes)?;
            self.shake_hands();
            for (plain, position) in records {
                self.ears.hear(&plain, self.manners.kind, Some(position))?;
            }
            self.answer();
            return Ok(true);
        }
        self.ears.hear(&bytes, self.manners.kind, None)?;
        self.answer();
        Ok(true)
    }

    /// Answers the pings and the close that came, if it does that.
    fn answer(&mut self) {
        let pings = std::mem::take(&mut self.ears.unanswered);
        if self.done || self.ended || self.reset {
            return;
        }
        if self.manners.answers_pings {
            for ping in pings {
                let frame = self.frame(0x8a, &ping);
                self.speak(&frame, Meaning::Nothing);
            }
        }
        if let Some(code) = self.ears.close
            && self.manners.answers_closes
        {
            self.done = true;
            let (bytes, code) = match self.is_hixie() {
                true => (vec![0xff, 0], 1005),
                false => (self.frame(0x88, &code.to_be_bytes()), code),
            };
            self.speak(&bytes, Meaning::Close(code));
        }
    }
}

impl Ears {
    /// Takes in what came. In TLS it came up to this byte of the stream.
    fn hear(&mut self, bytes: &[u8], kind: Kind, position: Option<u64>) -> Result<(), String> {
        self.kept.extend_from_slice(bytes);
        loop {
            let used = match kind {
                Kind::Source => self.hear_line()?,
                Kind::WebSocket(version) if self.open && version.is_hixie() => self.hear_hixie()?,
                Kind::WebSocket(_) if self.open => self.hear_frame(position)?,
                Kind::WebSocket(version) => self.hear_response(Some(version))?,
                Kind::Http => self.hear_response(None)?,
            };
            let Some(used) = used else { return Ok(()) };
            self.kept.drain(..used);
            self.position += used as u64;
        }
    }

    fn hear_line(&mut self) -> Result<Option<usize>, String> {
        let Some(end) = self.kept.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        if !self.kept.starts_with(b"error: line ") {
            return Err(format!("a source is told {:?}", self.kept[..end].escape_ascii()));
        }
        self.lines += 1;
        Ok(Some(end + 1))
    }

    fn hear_response(&mut self, version: Option<Version>) -> Result<Option<usize>, String> {
        let Some(end) = self.kept.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(&self.kept[..end + 2]).into_owned();
        let status = head.get(9..12).and_then(|status| status.parse().ok());
        let length = head.split_once("Content-Length: ").and_then(|(_, behind)| {
            let (length, _) = behind.split_once("\r\n")?;
            length.parse::<usize>().ok()
        });
        let mut size = end + 4;
        match (status, version, length) {
            (Some(101), Some(version), None) => {
                if version == Version::Hixie76 {
                    size += 16;
                    let Some(digest) = self.kept.get(end + 4..size) else { return Ok(None) };
                    if digest != b"8jKS'y:G*Co,Wxa-" {
                        return Err("a wrong digest".to_string());
                    }
                }
                self.open = true;
            }
            (Some(status), _, Some(length)) => {
                size += length;
                if self.kept.len() < size {
                    return Ok(None);
                }
                match status {
                    200 => self.pages.push_back(Some(length)),
                    404 => self.pages.push_back(None),
                    _ => self.refused = Some(status),
                }
            }
            _ => return Err(format!("no response: {head:?}")),
        }
        Ok(Some(size))
    }

    fn hear_hixie(&mut self) -> Result<Option<usize>, String> {
        match self.kept.first() {
            None => Ok(None),
            Some(0) if !self.closed => {
                let Some(end) = self.kept.iter().position(|&byte| byte == 0xff) else {
                    return Ok(None);
                };
                self.messages.push((true, self.kept[1..end].to_vec()));
                Ok(Some(end + 1))
            }
            Some(0xff) if !self.closed => {
                if self.kept.len() < 2 {
                    return Ok(None);
                }
                self.closed = true;
                self.close = Some(1005);
                Ok(Some(2))
            }
            Some(other) => Err(format!("a frame of Hixie begins with {other:x}")),
        }
    }

    fn hear_frame(&mut self, position: Option<u64>) -> Result<Option<usize>, String> {
        let kept = &self.kept;
        let (Some(&first), Some(&len)) = (kept.first(), kept.get(1)) else { return Ok(None) };
        let size = |bytes: &[u8]| bytes.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
        let (head, len) = match len {
            0..=125 => (2, usize::from(len)),
            126 if kept.len() >= 4 => (4, size(&kept[2..4])),
            127 if kept.len() >= 10 => (10, size(&kept[2..10])),
            126 | 127 => return Ok(None),
            _ => return Err("a masked frame".to_string()),
        };
        let Some(payload) = kept.get(head..head + len) else { return Ok(None) };
        let payload = payload.to_vec();
        if self.closed {
            return Err(format!("a frame {first:x} behind the close frame"));
        }
        match first {
            0x81 | 0x82 => self.messages.push((first == 0x81, payload)),
            0xc1 | 0xc2 if cfg!(feature = "deflate") => {
                self.messages.push((first == 0xc1, inflate(&payload)))
            }
            0x89 => {
                if payload.is_empty() {
                    self.asked_at = position.or(Some(self.position + (head + len) as u64));
                } else {
                    self.pings += 1;
                }
                self.unanswered.push(payload);
            }
            0x8a => self.pongs.push_back(payload),
            0x88 => {
                self.closed = true;
                self.close = Some(match payload[..] {
                    [high, low, ..] => u16::from_be_bytes([high, low]),
                    _ => 1005,
                });
            }
            _ => return Err(format!("a frame that begins with {first:x}")),
        }
        Ok(Some(head + len))
    }
}

/// A request for a WebSocket of this version.
fn upgrade(version: Version, deflate: bool) -> Vec<u8> {
    let fields = match version {
        Version::Hixie75 => "Origin: http://a\r\n\r\n".to_string(),
        Version::Hixie76 => "Origin: http://a\r\n\
            Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
            Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U"
            .to_string(),
        _ => {
            let number = match version {
                Version::Hybi07 => 7,
                Version::Hybi08 => 8,
                _ => 13,
            };
            let offer = match deflate {
                true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                false => "",
            };
            format!(
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Version: {number}\r\n{offer}\r\n"
            )
        }
    };
    let first = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n";
    format!("{first}{fields}").into_bytes()
}

/// A message compressed, by RFC 7692.
#[cfg(feature = "deflate")]
fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut deflater = zlib_rs::Deflate::new(1, false, 15);
    let mut out = vec![0; payload.len() + payload.len() / 8 + 64];
    deflater.compress(payload, &mut out, zlib_rs::DeflateFlush::SyncFlush).unwrap();
    out.truncate(deflater.total_out() as usize - 4);
    out
}

#[cfg(feature = "deflate")]
fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut inflater = zlib_rs::Inflate::new(false, 15);
    let input = [payload, b"\x00\x00\xff\xff"].concat();
    let mut out = vec![0; 2 << 20];
    inflater.decompress(&input, &mut out, zlib_rs::InflateFlush::SyncFlush).unwrap();
    out.truncate(inflater.total_out() as usize);
    out
}

#[cfg(not(feature = "deflate"))]
fn deflate(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}

#[cfg(not(feature = "deflate"))]
fn inflate(payload: &[u8]) -> Vec<u8> {
    payload.to_vec()
}
