//! Connections of all versions that open, talk, stall and die at random, for as long as asked: a
//! minute, or `WSLOOP_SOAK_SECONDS`. At the end every message is accounted for, every opening has
//! its end, and descriptors and memory are back where they were. Linux only, for `/proc`.
//!
//! The server is a process of its own, so that its memory is not mixed with that of the clients. It
//! is this very program, started once more with `WSLOOP_SOAK_SERVER` set; it writes its side of the
//! books to standard output.
//!
//! `WSLOOP_SOAK_SEED` repeats the choices of an earlier run; each prints its seed.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{VERSIONS, masked, masked_close, request, text_message};
use crate::serving::{config, listening, tcp_addr};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wsloop::{ConnId, Context, Handler, Message, Request, SendStatus, Server, Version};

/// Threads of clients, each with a room of its own.
const THREADS: usize = 3;
/// Connections of each thread that are open at a time.
const SLOTS: usize = 350;
const LARGEST: usize = 70_000;
/// How much more memory the server may hold after the second half than after the first, in KiB:
/// what its pool keeps, and what the allocator does not give back.
const MEMORY: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

// What is accounted for.

/// One connection as the server saw it.
#[derive(Debug)]
struct Served {
    key: u64,
    received: usize,
    /// Of all messages in their order.
    digest: u64,
    code: u16,
    reason: String,
}

/// One connection as its client saw it.
#[derive(Debug)]
struct Seen {
    key: u64,
    version: Version,
    /// Messages sent whole, and for each count of them the digest.
    digests: Vec<u64>,
    /// How many must have been received.
    at_least: usize,
    /// The code it ended with, where that is certain; nothing is written behind that end.
    code: Option<u16>,
}

fn digest(before: u64, is_text: bool, payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (before, is_text, payload).hash(&mut hasher);
    hasher.finish()
}

/// The server's side of the books.
struct Books {
    to_everyone: bool,
    open: HashMap<ConnId, Served>,
}

impl Handler for Books {
    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let key = request.query().parse().unwrap();
        let fresh = Served { key, received: 0, digest: 0, code: 0, reason: String::new() };
        assert!(self.open.insert(ws.id(), fresh).is_none(), "opened twice");
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let served = self.open.get_mut(&ws.id()).expect("open");
        served.received += 1;
        served.digest =
            digest(served.digest, matches!(message, Message::Text(_)), message.as_bytes());
        if self.to_everyone {
            ws.broadcast(message);
        } else if ws.send(message) == SendStatus::Dropped {
            // Only for the one reason, which then is the reason of its end.
            served.reason = "backlog full".to_string();
        }
    }

    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        let mut served = self.open.remove(&ws.id()).expect("closed once, and open before");
        assert!(served.reason.is_empty() || served.reason == reason, "{reason}");
        served.code = code;
        served.reason = reason.to_string();
        println!("{}", served.to_line());
    }
}

impl Served {
    fn to_line(&self) -> String {
        let Served { key, received, digest, code, reason } = self;
        format!("closed {key} {received} {digest} {code} {reason}")
    }

    fn from_line(line: &str) -> Served {
        let mut words = line.splitn(6, ' ').skip(1);
        let mut number = || words.next().unwrap().parse::<u64>().unwrap();
        let (key, received, digest, code) = (number(), number(), number(), number());
        let (received, code) = (received as usize, code as u16);
        Served { key, received, digest, code, reason: words.next().unwrap().to_string() }
    }
}

/// What the other process does, until its standard input ends.
fn serve() {
    let mut server: Server = listening(config(|config| {
        // Pings as well, for those whose turn does not come.
        config.ping_interval = Some(Duration::from_secs(1));
        config.pong_timeout = Duration::from_secs(600);
    }));
    let books = |to_everyone| Books { to_everyone, open: HashMap::new() };
    server.route("/echo", books(false));
    for number in 0..THREADS {
        server.route(&format!("/room{number}"), books(true));
    }
    let remote = server.remote();
    thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        remote.stop();
    });
    // The test harness has begun a line.
    println!("\nready {}", tcp_addr(&server));
    server.run().unwrap();
    let stats = server.stats();
    assert_eq!((stats.open, stats.backlog, stats.refused), ([0; 5], 0, 0));
    let total = (stats.accepted, stats.opened, stats.closed, stats.messages_in);
    println!("total {} {} {} {}", total.0, total.1, total.2, total.3);
}

/// The other process.
struct Serving {
    child: Child,
    addr: SocketAddr,
    closed: Receiver<Served>,
    /// Connections accepted, opened and closed, and messages received.
    total: Receiver<[u64; 4]>,
}

impl Serving {
    fn start() -> Serving {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "soak::everything_at_random_for_a_while", "--ignored", "--nocapture"])
            .env("WSLOOP_SOAK_SERVER", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let addr = lines.by_ref().find_map(|line| line.strip_prefix("ready ")?.parse().ok());
        let (closed_sender, closed) = channel();
        let (total_sender, total) = channel();
        thread::spawn(move || {
            for line in lines {
                if line.starts_with("closed ") {
                    closed_sender.send(Served::from_line(&line)).unwrap();
                } else if let Some(numbers) = line.strip_prefix("total ") {
                    let numbers: Vec<u64> =
                        numbers.split(' ').map(|n| n.parse().unwrap()).collect();
                    total_sender.send(numbers.try_into().unwrap()).unwrap();
                }
            }
        });
        Serving { child, addr: addr.expect("the server starts"), closed, total }
    }

    /// But for the alarm, which is made when the loop begins.
    fn descriptors(&self) -> usize {
        let all = std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let alarm = std::path::Path::new("anon_inode:[timerfd]");
        let is_alarm = |path| std::fs::read_link(path).is_ok_and(|to| to == alarm);
        all.filter(|entry| !is_alarm(entry.as_ref().unwrap().path())).count()
    }

    /// What the process holds for itself, in KiB.
    fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops it, and waits for its end.
    fn stop(&mut self) -> [u64; 4] {
        drop(self.child.stdin.take());
        let total = self.total.recv_timeout(PATIENCE).expect("the server adds up");
        assert!(self.child.wait().unwrap().success(), "the server fails");
        total
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Where the test failed; else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// Random numbers: SplitMix64.

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A size: mostly small, often next to where the length is written in another way.
    fn size(&mut self) -> usize {
        match self.below(10) {
            0 => [0, 1, 125, 126, 127, 65_535, 65_536, LARGEST][self.below(8)],
            1 => self.below(LARGEST + 1),
            2..=4 => self.below(5000),
            _ => self.below(200),
        }
    }

    fn text(&mut self, size: usize) -> Vec<u8> {
        let mut text = String::with_capacity(size + 4);
        let start = self.below(64);
        let mut signs = "abc dé€😀xyz0123456789".chars().cycle().skip(start % 22);
        while text.len() < size {
            text.push(signs.next().unwrap());
        }
        while text.len() > size {
            text.pop();
        }
        // So that no message is like another.
        text.push_str(&format!("{:x}", self.next()));
        text.into_bytes()
    }

    fn binary(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&self.next().to_be_bytes());
        }
        bytes.truncate(size);
        bytes
    }
}

// Clients.

#[derive(Debug, Clone, PartialEq)]
struct Said {
    is_text: bool,
    payload: Vec<u8>,
}

/// What came from the server.
#[derive(Debug)]
enum Came {
    Message(Said),
    Close(Option<u16>),
    End,
}

struct Peer {
    stream: TcpStream,
    version: Version,
    buffer: Vec<u8>,
    /// How much of the buffer was looked at.
    used: usize,
    /// Pings whose pongs are to come.
    pings: VecDeque<Vec<u8>>,
    /// Messages whose echoes are to come.
    owed: VecDeque<Said>,
    seen: Seen,
}

impl Peer {
    fn open(addr: SocketAddr, version: Version, path: &str, key: u64) -> Peer {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let seen = Seen { key, version, digests: vec![0], at_least: 0, code: None };
        let mut peer = Peer {
            stream,
            version,
            buffer: Vec::new(),
            used: 0,
            pings: VecDeque::new(),
            owed: VecDeque::new(),
            seen,
        };
        peer.write(&request(version, &format!("{path}?{key}"), ""));
        let end = loop {
            if let Some(end) = peer.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(peer.fill(), "no answer");
        };
        let head = peer.take(end);
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        if version == Version::Hixie76 {
            assert_eq!(peer.take(16), b"8jKS'y:G*Co,Wxa-");
        }
        peer
    }

    fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_else(|error| panic!("{:?}: {error}", self.seen.key));
    }

    /// Reads more; false at the end of the stream.
    fn fill(&mut self) -> bool {
        // What was looked at goes, and so does the room for what was long once.
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.len() < 64 * 1024 {
            self.buffer.shrink_to(128 * 1024);
        }
        let before = self.buffer.len();
        self.buffer.resize(before + 16 * 1024, 0);
        let len = self.stream.read(&mut self.buffer[before..]).unwrap_or_else(|error| {
            panic!("#{} {} reads: {error}", self.seen.key, self.version);
        });
        self.buffer.truncate(before + len);
        len > 0
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() - self.used < len {
            assert!(self.fill(), "#{} {} ends in the midst", self.seen.key, self.version);
        }
        self.used += len;
        self.buffer[self.used - len..self.used].to_vec()
    }

    /// The next message, or the end. Pings are answered, pongs compared.
    fn next(&mut self) -> Came {
        loop {
            if self.used == self.buffer.len() && !self.fill() {
                return Came::End;
            }
            let first = self.take(1)[0];
            if self.version.is_hixie() {
                if first == 0xff {
                    assert_eq!(self.take(1), [0]);
                    return Came::Close(None);
                }
                assert_eq!(first, 0);
                return Came::Message(Said { is_text: true, payload: self.hixie_text() });
            }
            let payload = self.payload();
            match first {
                0x81 | 0x82 => return Came::Message(Said { is_text: first == 0x81, payload }),
                0x89 if self.seen.code.is_some() => {}
                0x89 => self.write(&masked(0x8a, &payload)),
                0x8a => assert_eq!(Some(payload), self.pings.pop_front()),
                0x88 => {
                    let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    return Came::Close(code);
                }
                _ => panic!("{first:x}"),
            }
        }
    }

    fn hixie_text(&mut self) -> Vec<u8> {
        let mut searched = 0;
        loop {
            let ahead = &self.buffer[self.used + searched..];
            if let Some(end) = ahead.iter().position(|byte| *byte == 0xff) {
                let mut text = self.take(searched + end + 1);
                text.pop();
                return text;
            }
            searched += ahead.len();
            assert!(self.fill(), "the end in the midst of a text");
        }
    }

    fn payload(&mut self) -> Vec<u8> {
        let len = match self.take(1)[0] {
            126 => usize::from(u16::from_be_bytes(self.take(2).try_into().unwrap())),
            127 => u64::from_be_bytes(self.take(8).try_into().unwrap()) as usize,
            len => usize::from(len),
        };
        self.take(len)
    }

    fn random_message(&self, random: &mut Random) -> Said {
        let is_text = self.version.is_hixie() || random.below(2) == 0;
        let size = random.size();
        let payload = if is_text { random.text(size) } else { random.binary(size) };
        Said { is_text, payload }
    }

    /// The bytes of a message; cut up and with pings between if chance will have it.
    fn bytes(&mut self, said: &Said, random: &mut Random) -> Vec<u8> {
        if self.version.is_hixie() {
            return text_message(self.version, &said.payload);
        }
        let opcode = if said.is_text { 1 } else { 2 };
        let mut bytes = Vec::new();
        let mut rest = &said.payload[..];
        let mut first = opcode;
        for _ in 0..[0, 0, 1, 5][random.below(4)] {
            let (fragment, behind) = rest.split_at(random.below(rest.len() + 1));
            bytes.extend(masked(first, fragment));
            (first, rest) = (0, behind);
            if random.below(3) == 0 {
                let size = random.below(126);
                let ping = random.binary(size);
                bytes.extend(masked(0x89, &ping));
                self.pings.push_back(ping);
            }
        }
        bytes.extend(masked(0x80 | first, rest));
        bytes
    }

    /// Sends a message and enters it in the books.
    fn say(&mut self, said: &Said, random: &mut Random) {
        let bytes = self.bytes(said, random);
        self.write(&bytes);
        self.enter(said);
    }

    fn enter(&mut self, said: &Said) {
        let last = self.seen.digests[self.seen.digests.len() - 1];
        self.seen.digests.push(digest(last, said.is_text, &said.payload));
    }

    fn say_something(&mut self, random: &mut Random) {
        let said = self.random_message(random);
        self.say(&said, random);
        self.owed.push_back(said);
    }

    fn hear(&mut self, expected: &Said) {
        match self.next() {
            Came::Message(said) if said == *expected => {}
            Came::Message(said) => panic!(
                "#{} {}: {} bytes in place of {}",
                self.seen.key,
                self.version,
                said.payload.len(),
                expected.payload.len()
            ),
            other => panic!("#{} {}: {other:?}", self.seen.key, self.version),
        }
    }

    /// Reads all echoes that are owed, and pongs behind them.
    fn hear_all(&mut self) {
        while let Some(expected) = self.owed.pop_front() {
            self.hear(&expected);
        }
        self.seen.at_least = self.seen.digests.len() - 1;
    }

    /// Ends in one of the ways there are.
    fn end(mut self, random: &mut Random) -> Seen {
        match random.below(6) {
            0 => self.reset(),
            1 => {
                let said = self.random_message(random);
                let bytes = self.bytes(&said, random);
                self.write(&bytes[..random.below(bytes.len())]);
                self.reset()
            }
            2 => self.fin(),
            3 => {
                let bytes = if self.version.is_hixie() {
                    b"\0half".to_vec()
                } else {
                    let whole = masked(0x82, &[7; 300]);
                    whole[..random.below(whole.len() - 1) + 1].to_vec()
                };
                self.write(&bytes);
                self.fin()
            }
            _ => self.close(),
        }
    }

    fn reset(self) -> Seen {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
        self.seen
    }

    /// The end of the stream: what was asked for before it is still answered.
    fn fin(mut self) -> Seen {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self.seen.code = Some(1006);
        self.hear_all();
        assert!(matches!(self.next(), Came::End));
        self.seen
    }

    /// The way it should be.
    fn close(mut self) -> Seen {
        match self.version {
            Version::Hixie75 => return self.fin(),
            Version::Hixie76 => self.write(&[0xff, 0]),
            _ => self.write(&masked_close(1000, "done")),
        }
        self.seen.code = Some(if self.version.is_hixie() { 1005 } else { 1000 });
        self.hear_all();
        let expected = (!self.version.is_hixie()).then_some(1000);
        assert!(matches!(self.next(), Came::Close(code) if code == expected));
        assert!(matches!(self.next(), Came::End));
        assert!(self.pings.is_empty());
        self.seen
    }
}

/// One thread's clients.
struct Crowd {
    addr: SocketAddr,
    number: usize,
    random: Random,
    keys: u64,
    ended: Vec<Seen>,
    rooms: usize,
}

impl Crowd {
    fn open(&mut self, path: &str) -> Peer {
        let version = VERSIONS[self.random.below(5)];
        self.keys += 1;
        Peer::open(self.addr, version, path, self.keys * THREADS as u64 + self.number as u64)
    }

    fn run(&mut self, until: Instant) {
        let mut slots: Vec<Option<Peer>> = (0..SLOTS).map(|_| None).collect();
        while Instant::now() < until {
            let place = self.random.below(SLOTS);
            let Some(mut peer) = slots[place].take() else {
                slots[place] = Some(self.open("/echo"));
                continue;
            };
            match self.random.below(100) {
                0..20 => {
                    // Something may be on its way when it ends.
                    for _ in 0..self.random.below(3) {
                        peer.say_something(&mut self.random);
                    }
                    let seen = peer.end(&mut self.random);
                    self.ended.push(seen);
                    continue;
                }
                20..23 => {
                    // Sends and does not read; whether it comes to that is chance.
                    for _ in 0..1 + self.random.below(40) {
                        peer.say_something(&mut self.random);
                    }
                }
                23 => {
                    let seen = self.overflow(peer);
                    self.ended.push(seen);
                    continue;
                }
                24..27 => self.room(),
                _ => {
                    for _ in 0..1 + self.random.below(4) {
                        peer.say_something(&mut self.random);
                    }
                    peer.hear_all();
                }
            }
            // What stalled has at most this much to come, so that its backlog is never full.
            if peer.owed.iter().map(|said| said.payload.len()).sum::<usize>() > 1 << 20 {
                peer.hear_all();
            }
            slots[place] = Some(peer);
        }
        for peer in slots.into_iter().flatten() {
            let seen = peer.end(&mut self.random);
            self.ended.push(seen);
        }
    }

    /// Sends until the server has enough of it, or more than any kernel holds; reads nothing.
    fn overflow(&mut self, mut peer: Peer) -> Seen {
        let is_text = peer.version.is_hixie();
        let payload = vec![b'o'; LARGEST];
        let said = Said { is_text, payload };
        let bytes = match is_text {
            true => text_message(peer.version, &said.payload),
            false => masked(0x82, &said.payload),
        };
        for _ in 0..150 {
            // Entered before: it may be taken in though the write fails.
            peer.enter(&said);
            if peer.stream.write_all(&bytes).is_err() {
                break;
            }
        }
        peer.reset()
    }

    /// Members of a room say things to everyone, and everyone who is still there hears them.
    fn room(&mut self) {
        self.rooms += 1;
        let path = format!("/room{}", self.number);
        let mut members: Vec<Peer> =
            (0..2 + self.random.below(8)).map(|_| self.open(&path)).collect();
        for _ in 0..self.random.below(12) {
            let speaker = self.random.below(members.len());
            let said = members[speaker].random_message(&mut self.random);
            members[speaker].say(&said, &mut self.random);
            // Heard by one at least, so that it has been said before the next thing happens. The
            // others read it now, or when they are about to end: they have stalled meanwhile.
            for (place, member) in members.iter_mut().enumerate() {
                if said.is_text || !member.version.is_hixie() {
                    member.owed.push_back(said.clone());
                }
                if place == speaker || self.random.below(2) == 0 {
                    member.hear_all();
                }
            }
            if members.len() > 2 && self.random.below(3) == 0 {
                let gone = members.swap_remove(self.random.below(members.len()));
                let seen = gone.end(&mut self.random);
                self.ended.push(seen);
            }
        }
        // In any order; the last messages are read by those who end well.
        while let Some(member) = members.pop() {
            let seen = member.end(&mut self.random);
            self.ended.push(seen);
        }
    }
}

// The whole.

/// Half of the run: all crowds until then, and then every connection accounted for. How many there
/// were, and how many messages.
fn half(crowds: &mut [Crowd], time: Duration, closed: &Receiver<Served>) -> (usize, usize) {
    let until = Instant::now() + time;
    thread::scope(|scope| {
        for crowd in crowds.iter_mut() {
            scope.spawn(move || crowd.run(until));
        }
    });
    let seen: Vec<Seen> = crowds.iter_mut().flat_map(|crowd| crowd.ended.drain(..)).collect();
    let mut served = HashMap::new();
    for _ in &seen {
        let one = closed.recv_timeout(PATIENCE).expect("every connection has its end");
        assert!(served.insert(one.key, one).is_none(), "an end twice");
    }
    assert!(closed.try_recv().is_err(), "an end too many");
    let mut messages = 0;
    for seen in &seen {
        let served = served.remove(&seen.key).expect("an opening for each");
        let sent = seen.digests.len() - 1;
        assert!((seen.at_least..=sent).contains(&served.received), "{served:?} {}", seen.version);
        assert_eq!(served.digest, seen.digests[served.received], "{served:?} {}", seen.version);
        if let Some(code) = seen.code {
            assert_eq!((code, sent), (served.code, served.received), "{served:?} {}", seen.version);
        } else {
            assert!(matches!(served.code, 1006 | 1008), "{served:?}");
        }
        messages += served.received;
    }
    (seen.len(), messages)
}

#[test]
#[ignore = "takes a minute; cargo test --release --test process -- --ignored"]
fn everything_at_random_for_a_while() {
    if std::env::var_os("WSLOOP_SOAK_SERVER").is_some() {
        return serve();
    }
    let number = |name: &str, default| {
        std::env::var(name).map_or(default, |word| word.parse::<u64>().expect(name))
    };
    let seconds = number("WSLOOP_SOAK_SECONDS", 60);
    let seed = number("WSLOOP_SOAK_SEED", RandomState::new().hash_one(0));
    println!("WSLOOP_SOAK_SECONDS={seconds} WSLOOP_SOAK_SEED={seed}");
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();

    let mut server = Serving::start();
    let mut crowds: Vec<Crowd> = (0..THREADS)
        .map(|number| Crowd {
            addr: server.addr,
            number,
            random: Random(seed.wrapping_add(number as u64)),
            keys: 0,
            ended: Vec::new(),
            rooms: 0,
        })
        .collect();
    let descriptors_before = server.descriptors();
    let back_again = |server: &Serving| {
        let start = Instant::now();
        // The sockets of those that were reported go in the same turn, a moment later.
        while server.descriptors() != descriptors_before {
            let now = server.descriptors();
            assert!(start.elapsed() < PATIENCE, "{now} descriptors, {descriptors_before} before");
            thread::sleep(Duration::from_millis(20));
        }
    };

    let time = Duration::from_secs(seconds) / 2;
    let (warm_connections, warm_messages) = half(&mut crowds, time, &server.closed);
    back_again(&server);
    let memory_before = server.memory();
    let (connections, messages) = half(&mut crowds, time, &server.closed);
    back_again(&server);
    let memory_after = server.memory();
    let rooms: usize = crowds.iter().map(|crowd| crowd.rooms).sum();
    let total = (warm_connections + connections) as u64;
    let messages = (warm_messages + messages) as u64;
    println!(
        "{total} connections, {messages} messages received, {rooms} rooms; \
         {descriptors_before} descriptors; {memory_before} KiB of the server's own after the \
         first half, {memory_after} after the second",
    );
    assert!(memory_after < memory_before + MEMORY, "{memory_before} KiB, then {memory_after}");
    assert_eq!(server.stop(), [total, total, total, messages]);
    // So much must have been done for this to say anything.
    assert!(total > 20 * seconds && rooms > 0, "{total} connections in {seconds} s");
}
