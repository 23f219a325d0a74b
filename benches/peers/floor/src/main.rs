//! The floor: what the kernel makes an echo cost. One epoll loop that believes everything: it
//! expects heads to come whole, checks neither masks, lengths, opcodes nor UTF-8, and has no
//! limits, no deadlines and no pings. Not a server to be run, but one to be measured against.
//!
//! Usage: `floor PORT`. `/broadcast` sends everything to everyone there; other paths echo.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, listen, recv, send};
use sha1::{Digest, Sha1};

const LISTENER: u64 = u64::MAX;
const RECEIVE: usize = 256 * 1024;

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    room: Vec<usize>,
    /// What is to be sent back for the bytes of one read.
    out: Vec<u8>,
}

struct Conn {
    stream: TcpStream,
    state: State,
    /// A frame's head that has not come whole.
    cut: [u8; 14],
    cut_len: u8,
    closing: bool,
    mask: [u8; 4],
    /// Bytes of the payload still to come.
    left: u64,
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Head,
    Echo,
    Broadcast,
}

/// What most connections never have.
#[derive(Default)]
struct Rare {
    /// What the socket did not take, and from where on.
    unsent: VecDeque<(Rc<Vec<u8>>, usize)>,
    /// What of a message for all has come.
    building: Vec<u8>,
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("floor PORT");
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    listen(&listener, 4096)?; // std asks for fewer
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let (conns, free, room, out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut server = Server { epoll, listener, conns, free, room, out };
    let mut events: Vec<Event> = Vec::with_capacity(1024);
    let mut receive = vec![0; RECEIVE];
    loop {
        events.clear();
        match epoll::wait(&server.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {} // strace interrupts it
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (token, flags) = (event.data.u64(), event.flags);
            if token == LISTENER {
                server.accept()?;
            } else {
                server.serve(token as usize, flags.contains(EventFlags::OUT), &mut receive);
            }
        }
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or(self.conns.len());
            epoll::add(&self.epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN)?;
            let conn = Conn {
                stream,
                state: State::Head,
                cut: [0; 14],
                cut_len: 0,
                closing: false,
                mask: [0; 4],
                left: 0,
                rare: None,
            };
            if place == self.conns.len() {
                self.conns.push(None);
            }
            self.conns[place] = Some(conn);
        }
        Ok(())
    }

    fn serve(&mut self, place: usize, writable: bool, receive: &mut [u8]) {
        let Some(conn) = self.conns[place].as_mut() else { return };
        if writable {
            if conn.flush().is_err() {
                self.close(place);
            } else if !conn.is_blocked() {
                watch(&self.epoll, conn, place, EventFlags::IN);
            }
            return;
        }
        match recv(&conn.stream, &mut *receive, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => {}
            Err(_) | Ok((_, 0)) => self.close(place),
            Ok((_, len)) => self.take(place, &receive[..len]),
        }
    }

    fn take(&mut self, place: usize, input: &[u8]) {
        let Some(conn) = self.conns[place].as_mut() else { return };
        match conn.state {
            State::Head => {
                let (path, answer) = upgrade(input);
                conn.state = if path == b"/broadcast" { State::Broadcast } else { State::Echo };
                if conn.state == State::Broadcast {
                    self.room.push(place);
                }
                self.out.clear();
                self.out.extend_from_slice(&answer);
                self.send_out(place);
            }
            State::Echo => {
                self.out.clear();
                conn.decode(input, &mut self.out);
                self.send_out(place);
            }
            State::Broadcast => self.broadcast(place, input),
        }
    }

    fn send_out(&mut self, place: usize) {
        let Some(conn) = self.conns[place].as_mut() else { return };
        match conn.write(&self.out) {
            Err(_) => self.close(place),
            Ok(sent) if sent < self.out.len() => {
                let rest = Rc::new(self.out[sent..].to_vec());
                conn.rare().unsent.push_back((rest, 0));
                watch(&self.epoll, conn, place, EventFlags::OUT);
            }
            Ok(_) if conn.closing => self.close(place),
            Ok(_) => {}
        }
    }

    /// Once all messages are whole, everyone gets them in one piece of memory.
    fn broadcast(&mut self, place: usize, input: &[u8]) {
        let Some(conn) = self.conns[place].as_mut() else { return };
        let mut out = conn.rare.as_mut().map(|rare| std::mem::take(&mut rare.building));
        let mut out = out.take().unwrap_or_default();
        conn.decode(input, &mut out);
        if conn.left > 0 || conn.cut_len > 0 {
            conn.rare().building = out;
            return;
        }
        let shared = Rc::new(out);
        let closing = conn.closing;
        let mut lost = Vec::new();
        for &to in self.room.iter().filter(|&&to| !closing || to == place) {
            let Some(conn) = self.conns[to].as_mut() else { continue };
            let sent = if conn.is_blocked() { Ok(0) } else { conn.write(&shared) };
            match sent {
                Ok(sent) if sent == shared.len() => {}
                Ok(sent) => {
                    conn.rare().unsent.push_back((Rc::clone(&shared), sent));
                    watch(&self.epoll, conn, to, EventFlags::IN | EventFlags::OUT);
                }
                Err(_) => lost.push(to),
            }
        }
        lost.extend(closing.then_some(place));
        for place in lost {
            self.close(place);
        }
    }

    fn close(&mut self, place: usize) {
        if self.conns[place].take().is_some_and(|conn| conn.state == State::Broadcast) {
            self.room.retain(|&member| member != place);
        }
        self.free.push(place);
    }
}

fn watch(epoll: &OwnedFd, conn: &Conn, place: usize, flags: EventFlags) {
    epoll::modify(epoll, &conn.stream, EventData::new_u64(place as u64), flags)
        .expect("a descriptor that is watched");
}

impl Conn {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn is_blocked(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.unsent.is_empty())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match send(&self.stream, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) => Ok(0),
            result => Ok(result?),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(mut rare) = self.rare.take() else { return Ok(()) };
        while let Some((bytes, from)) = rare.unsent.front_mut() {
            *from += self.write(&bytes[*from..])?;
            if *from < bytes.len() {
                break;
            }
            rare.unsent.pop_front();
        }
        if !rare.unsent.is_empty() || !rare.building.is_empty() {
            self.rare = Some(rare);
        }
        Ok(())
    }

    /// Turns a client's frames into a server's, as far as they have come.
    fn decode(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while self.left > 0 || !input.is_empty() {
            if self.left == 0 && !self.head(&mut input, out) {
                return;
            }
            let len = input.len().min(self.left.min(usize::MAX as u64) as usize);
            let (payload, rest) = input.split_at(len);
            unmask(payload, &mut self.mask, out);
            self.left -= len as u64;
            if self.left > 0 {
                return;
            }
            input = rest;
        }
    }

    /// Takes a frame's head, and writes one. False if it is cut.
    fn head(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> bool {
        if self.cut_len > 0 {
            let Some((&byte, rest)) = input.split_first() else { return false };
            self.cut[self.cut_len as usize] = byte;
            self.cut_len += 1;
            *input = rest;
            let cut = self.cut;
            let done = self.parse(&cut[..self.cut_len as usize], out).is_some();
            if done {
                self.cut_len = 0;
            }
            return done || self.head(input, out);
        }
        if let Some(len) = self.parse(input, out) {
            *input = &input[len..];
            return true;
        }
        self.cut[..input.len()].copy_from_slice(input);
        self.cut_len = input.len() as u8;
        *input = &[];
        false
    }

    fn parse(&mut self, input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let (&[first, second], rest) = input.split_first_chunk()?;
        let (extended, len) = match second & 0x7f {
            126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (0, u64::from(short)),
        };
        self.mask = *rest.get(extended..)?.first_chunk()?;
        self.left = len;
        self.closing |= first & 0xf == 8;
        out.extend_from_slice(&[first, second & 0x7f]);
        out.extend_from_slice(&rest[..extended]);
        Some(2 + extended + 4)
    }
}

fn unmask(payload: &[u8], mask: &mut [u8; 4], out: &mut Vec<u8>) {
    let [a, b, c, d] = *mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let start = out.len();
    out.resize(start + payload.len(), 0);
    let (from, from_rest) = payload.as_chunks::<8>();
    let (to, to_rest) = out[start..].as_chunks_mut::<8>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = (u64::from_ne_bytes(*from) ^ wide).to_ne_bytes();
    }
    for ((to, from), key) in to_rest.iter_mut().zip(from_rest).zip([a, b, c, d, a, b, c, d]) {
        *to = from ^ key;
    }
    mask.rotate_left(payload.len() % 4);
}

/// The path of a request, and the answer to it.
fn upgrade(head: &[u8]) -> (&[u8], Vec<u8>) {
    let path = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    let field = b"\nSec-WebSocket-Key: ";
    let at = head.windows(field.len()).position(|window| window == field).unwrap_or(0);
    let key = &head[at + field.len()..][..24];
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        BASE64.encode(digest.finalize())
    );
    (path, answer.into_bytes())
}
