//! Clients that send, and check what comes back: an echo to each, or one message to all.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::client::{Client, Piece, frame, open_all};
use crate::poll::Poll;
use crate::server::{Server, Times};

/// Nothing for so long means that an answer is lost.
const PATIENCE: Duration = Duration::from_secs(60);
const RECEIVE: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// ASCII.
    Text,
    /// Characters of one to four bytes.
    Mixed,
    Binary,
    /// ASCII in binary messages, that may come back cut otherwise, as TCP does it.
    Stream,
}

/// What is sent and how much of it at a time.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    pub connections: usize,
    /// Messages written at once; the next ones follow when all of them are back.
    pub depth: usize,
    pub size: usize,
    pub kind: Kind,
    /// One sends and all receive, on `/broadcast`. Otherwise all send, and each has an echo.
    pub fan_out: bool,
}

/// What one run used.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Messages delivered: echoes, or what the receivers of a fan-out got.
    pub messages: u64,
    /// From the first written to the last delivered.
    pub time: Duration,
    pub server: Times,
    /// From writing to the last answer, in nanoseconds, one for each batch and receiver.
    pub latencies: Vec<u32>,
}

impl Sample {
    /// Processor time of the server for one message, in microseconds.
    pub fn cost(&self) -> f64 {
        self.server.cpu as f64 / 1e3 / self.messages.max(1) as f64
    }

    /// Messages in a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.time.as_secs_f64()
    }
}

/// Open connections with a batch of messages each.
pub struct Fleet {
    work: Work,
    poll: Poll,
    members: Vec<Member>,
    receive: Vec<u8>,
    /// Who still lacks an answer.
    lacking: usize,
    latencies: Vec<u32>,
    delivered: u64,
}

struct Member {
    client: Client,
    /// Frames ready to be written.
    batch: Vec<u8>,
    depth: usize,
    /// How much of them has been.
    written: usize,
    watched: bool,
    /// The payload that must come next; its first bytes are its number.
    expected: Vec<u8>,
    number: u32,
    /// Bytes of it that have come.
    come: usize,
    /// Messages of this batch that are missing.
    missing: usize,
    sent: Instant,
    /// The number of the next message sent.
    next: u32,
}

impl Fleet {
    pub fn open(server: &Server, work: Work) -> Result<Fleet, String> {
        Fleet::open_flooded(server, work, work.depth)
    }

    /// The first connection has another depth; with one, its round trips do not count.
    pub fn open_flooded(server: &Server, work: Work, flood: usize) -> Result<Fleet, String> {
        let path = if work.fan_out { "/broadcast" } else { "/mirror" };
        let poll = Poll::new()?;
        let clients = open_all(server.addr, path, work.connections)?;
        let mut members = Vec::with_capacity(clients.len());
        for (place, client) in clients.into_iter().enumerate() {
            poll.add(&client.stream, place)?;
            let depth = if place == 0 { flood } else { work.depth };
            members.push(Member::new(client, place, Work { depth, ..work }));
        }
        let (receive, latencies) = (vec![0; RECEIVE], Vec::new());
        Ok(Fleet { work, poll, members, receive, lacking: 0, latencies, delivered: 0 })
    }

    /// Sends for so long, and waits for the last answer.
    pub fn run(&mut self, server: &Server, time: Duration) -> Result<Sample, String> {
        let start = Instant::now();
        self.run_while(server, |_| start.elapsed() < time)
    }

    /// Sends so many batches, more only if there are more connections.
    pub fn run_batches(&mut self, server: &Server, batches: u64) -> Result<Sample, String> {
        self.run_while(server, |batch| batch < batches)
    }

    /// Sends a batch behind each that is back, while `more` says so of the number sent.
    fn run_while(&mut self, server: &Server, more: impl Fn(u64) -> bool) -> Result<Sample, String> {
        let before = server.times();
        let start = Instant::now();
        (self.latencies, self.delivered) = (Vec::new(), 0);
        let senders = if self.work.fan_out { 1 } else { self.members.len() };
        for place in 0..senders {
            self.send(place)?;
        }
        let mut batches = senders as u64;
        while self.lacking > 0 {
            let ready = self.poll.wait(PATIENCE)?;
            if ready.is_empty() {
                return Err(format!("{} answers are missing", self.lacking));
            }
            for ready in ready {
                if ready.writable {
                    self.write(ready.place)?;
                }
                if ready.readable && self.read(ready.place)? {
                    let whole = !self.work.fan_out || self.lacking == 0;
                    if whole && more(batches) {
                        batches += 1;
                        self.send(if self.work.fan_out { 0 } else { ready.place })?;
                    }
                }
            }
        }
        let time = start.elapsed();
        std::thread::sleep(Duration::from_millis(1)); // until the server waits again
        let used = server.times().since(before);
        let latencies = std::mem::take(&mut self.latencies);
        Ok(Sample { messages: self.delivered, time, server: used, latencies })
    }

    /// Numbers a batch and writes it; from now on its answers are missing.
    fn send(&mut self, place: usize) -> Result<(), String> {
        self.members[place].renumber();
        let now = Instant::now();
        let receivers = if self.work.fan_out { 0..self.members.len() } else { place..place + 1 };
        self.lacking += receivers.len();
        for member in &mut self.members[receivers] {
            (member.missing, member.sent) = (member.depth, now);
        }
        self.write(place)
    }

    fn write(&mut self, place: usize) -> Result<(), String> {
        let member = &mut self.members[place];
        while member.written < member.batch.len() {
            match (&member.client.stream).write(&member.batch[member.written..]) {
                Ok(len) => member.written += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        let blocked = member.written < member.batch.len();
        if blocked != member.watched {
            member.watched = blocked;
            self.poll.watch(&member.client.stream, place, blocked)?;
        }
        if blocked { Ok(()) } else { member.client.flush_pongs() }
    }

    /// True when this ended the batch.
    fn read(&mut self, place: usize) -> Result<bool, String> {
        let counts = self.members[place].depth == self.work.depth;
        let Member { client, batch, written, expected, number, come, missing, sent, .. } =
            &mut self.members[place];
        let mut done = 0;
        let is_stream = self.work.kind == Kind::Stream;
        client.read(&mut self.receive, *written < batch.len(), |piece| {
            match piece {
                Piece::Payload(mut bytes) if is_stream => {
                    while !bytes.is_empty() {
                        let (now, later) = bytes.split_at(bytes.len().min(expected.len() - *come));
                        if expected.get(*come..*come + now.len()) != Some(now) || *missing == done {
                            return Err(format!("connection {place}: message {number} is wrong"));
                        }
                        bytes = later;
                        *come += now.len();
                        if *come == expected.len() {
                            done += 1;
                            (*come, *number) = (0, number.wrapping_add(1));
                            write_number(expected, *number);
                        }
                    }
                }
                _ if is_stream => {}
                Piece::Payload(bytes) => {
                    if expected.get(*come..*come + bytes.len()) != Some(bytes) {
                        return Err(format!("connection {place}: message {number} is wrong"));
                    }
                    *come += bytes.len();
                }
                _ if *come != expected.len() || *missing == done => {
                    return Err(format!("connection {place}: message {number} is not whole"));
                }
                _ => {
                    done += 1;
                    (*come, *number) = (0, number.wrapping_add(1));
                    write_number(expected, *number);
                }
            }
            Ok(())
        })?;
        *missing -= done;
        self.delivered += done as u64;
        let ended = done > 0 && *missing == 0;
        if ended {
            self.lacking -= 1;
        }
        if ended && counts {
            self.latencies.push(sent.elapsed().as_nanos().min(u32::MAX.into()) as u32);
        }
        Ok(ended)
    }
}

impl Member {
    fn new(client: Client, place: usize, work: Work) -> Member {
        let author = if work.fan_out { 0 } else { place };
        let expected = payload(author, work.size, work.kind);
        let opcode = if matches!(work.kind, Kind::Binary | Kind::Stream) { 2 } else { 1 };
        let sends = !work.fan_out || place == 0;
        let one = if sends { frame(opcode, key(author), &expected) } else { Vec::new() };
        let batch = one.repeat(work.depth);
        let sent = Instant::now();
        let (written, watched, number, come, missing, next) = (batch.len(), false, 0, 0, 0, 0);
        let depth = work.depth;
        Member {
            client,
            batch,
            depth,
            written,
            watched,
            expected,
            number,
            come,
            missing,
            sent,
            next,
        }
    }

    fn renumber(&mut self) {
        let frame_len = self.batch.len() / self.depth;
        let head_len = frame_len - self.expected.len();
        for frame in self.batch.chunks_exact_mut(frame_len) {
            let (head, payload) = frame.split_at_mut(head_len);
            let key = &head[head_len - 4..];
            write_number(payload, self.next);
            let number_len = payload.len().min(8);
            for (byte, key) in payload[..number_len].iter_mut().zip(key.iter().cycle()) {
                *byte ^= key;
            }
            self.next = self.next.wrapping_add(1);
        }
        self.written = 0;
    }
}

fn key(author: usize) -> [u8; 4] {
    (author as u32).wrapping_mul(0x9e37_79b9).wrapping_add(0x1234_5678).to_be_bytes()
}

/// Eight hexadecimal digits at the front, where there is room.
fn write_number(payload: &mut [u8], number: u32) {
    let Some(front) = payload.first_chunk_mut::<8>() else { return };
    for (place, byte) in front.iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[(number >> (28 - 4 * place) & 15) as usize];
    }
}

/// Each author's is another.
fn payload(author: usize, size: usize, kind: Kind) -> Vec<u8> {
    let mut payload: Vec<u8> = match kind {
        Kind::Binary => (0..size).map(|i| (i * 7 + author * 13) as u8).collect(),
        Kind::Text | Kind::Stream => {
            (0..size).map(|i| b' ' + ((i * 7 + author * 13) % 90) as u8).collect()
        }
        Kind::Mixed => {
            let text = "00000000".to_string() + &"a\u{e9}bc\u{20ac}d \u{1f600}".repeat(size / 8);
            text[..(0..=size).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)].into()
        }
    };
    payload.resize(size, b'x');
    write_number(&mut payload, 0);
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_are_what_they_say() {
        for size in [0, 5, 8, 32, 1000] {
            for kind in [Kind::Text, Kind::Mixed, Kind::Stream] {
                let text = payload(3, size, kind);
                assert!(text.len() == size && str::from_utf8(&text).is_ok());
            }
            assert_eq!(payload(3, size, Kind::Binary).len(), size);
        }
        assert_ne!(payload(1, 32, Kind::Text), payload(2, 32, Kind::Text));
        assert!(!payload(0, 100, Kind::Mixed).is_ascii());
    }

    #[test]
    fn numbers_are_hexadecimal() {
        let mut payload = *b"xxxxxxxxxx";
        write_number(&mut payload, 0xbeef);
        assert_eq!(&payload, b"0000beefxx");
    }
}
