//! What happens in one simulation, made of one number: the settings of the server, who connects, and
//! the steps that everybody takes. Each step stands for itself, so that any of them can be left out. A
//! number makes the same schedule whatever the features are, less TLS and compression.

use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

use super::kernel::{Fault, ROOM};
use crate::config::{Config, OnFull};
use crate::proto::Version;
use crate::proto::deflate::Deflate;
use crate::proto::memory::scarcity::Scarcity;

/// Numbers that look random, and are the same for the same seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A number up to this one: most are small, and each size is as likely as the next larger one.
    pub fn size(&mut self, most: usize) -> usize {
        let bits = self.below(most.ilog2() as usize + 2) as u32;
        self.below(most.min(1 << bits) + 1)
    }
}

/// What kind of peer connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    WebSocket(Version),
    /// A client that only asks for pages.
    Http,
    /// A source of lines.
    Source,
}

/// How a peer behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    pub kind: Kind,
    /// Over TLS.
    pub tls: bool,
    /// Offers compression.
    pub deflate: bool,
    /// Asks for a page before it opens a WebSocket.
    pub page_first: Option<usize>,
    /// Takes nothing.
    pub deaf: bool,
    pub answers_pings: bool,
    pub answers_closes: bool,
    /// How many bytes its kernel takes for it.
    pub room: usize,
    /// Its kernel announces as epoll does: see [`Kernel`](super::kernel::Kernel).
    pub merges: bool,
}

/// What a handler does, or a program between two turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Nothing,
    Echo,
    /// Sends so many bytes.
    Send(usize),
    /// Sends so many bytes to everyone.
    Broadcast(usize),
    /// Sends so many bytes to the client of this number.
    SendTo(usize, usize),
    Ping,
    Close,
    Pause,
    Resume,
    Terminate,
}

/// What a peer says.
#[derive(Debug, Clone)]
pub enum Saying {
    /// A message of this size, which asks for a deed.
    Message {
        deed: Deed,
        text: bool,
        size: usize,
        fragments: usize,
        deflated: bool,
    },
    Ping(usize),
    Pong,
    Close,
    /// A request for a page; beyond the last there is none.
    Page(usize),
    Line {
        size: usize,
        good: bool,
    },
    /// Something that breaks a rule.
    Broken(usize),
}

/// One step of a schedule. The first number tells which peer it is about.
#[derive(Debug, Clone)]
pub enum Step {
    Connect(usize),
    Say(usize, Saying),
    /// So many bytes of what was said come to the server's kernel.
    Send(usize, usize),
    /// The peer takes so many bytes.
    Take(usize, usize),
    End(usize),
    Reset(usize),
    /// The program does something between two turns.
    Do(usize, Deed),
    ReadFault(usize, Fault),
    WriteFault(usize, Fault),
    /// An announcement without a reason.
    Announce(usize),
    /// The poll tells nothing of this socket for so many turns.
    Delay(usize, usize),
    /// One turn; the poll tells of this socket first.
    Turn(usize),
    /// Turns until nothing is left to do.
    Turns,
    /// Time passes, in milliseconds, without a turn.
    Pass(u64),
    /// From now on the system has so little memory for messages.
    Memory(Scarcity),
    Stop,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Connect(who) => write!(f, "{who} connects"),
            Step::Say(who, saying) => write!(f, "{who} says {saying:?}"),
            Step::Send(who, most) => write!(f, "of what {who} said, up to {most} bytes arrive"),
            Step::Take(who, most) => write!(f, "{who} takes up to {most} bytes"),
            Step::End(who) => write!(f, "{who} ends its stream"),
            Step::Reset(who) => write!(f, "{who} resets the connection"),
            Step::Do(who, deed) => write!(f, "the program, between turns, for {who}: {deed:?}"),
            Step::ReadFault(who, fault) => write!(f, "the next read from {who}: {fault:?}"),
            Step::WriteFault(who, fault) => write!(f, "the next write to {who}: {fault:?}"),
            Step::Announce(who) => write!(f, "the poll tells of {who} without a reason"),
            Step::Delay(who, turns) => write!(f, "the poll tells of {who} {turns} turns late"),
            Step::Turn(first) => write!(f, "a turn, in which socket {first} is told of first"),
            Step::Turns => write!(f, "turns until all is quiet"),
            Step::Pass(time) => write!(f, "{time} ms pass"),
            Step::Memory(scarcity) => write!(f, "memory that is refused: {scarcity:?}"),
            Step::Stop => write!(f, "the server stops"),
        }
    }
}

/// A simulation from its beginning to where faults stop.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub config: Config,
    pub peers: Vec<Manners>,
    pub steps: Vec<Step>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.config)?;
        for (number, manners) in self.peers.iter().enumerate() {
            writeln!(f, "{number}: {manners:?}")?;
        }
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl Schedule {
    pub fn of(seed: u64) -> Schedule {
        let mut chance = Chance::new(seed);
        let large = chance.one_in(3);
        let config = config(&mut chance, large);
        let count = 1 + chance.below(8);
        // A handshake of TLS costs as much as a whole schedule without.
        let tls = chance.one_in(8) && cfg!(feature = "tls");
        let peers = (0..count).map(|_| manners(&mut chance, tls, large)).collect();
        let steps = (0..count).map(Step::Connect).collect();
        let mut maker = Maker { chance, large, made: Schedule { config, peers, steps } };
        for _ in 0..100 + maker.chance.below(200) {
            let who = maker.chance.below(count);
            maker.step(who);
        }
        // Of other numbers, so that the steps of a seed are the same with and without these.
        maker.chance = Chance::new(seed.rotate_left(32));
        if maker.chance.one_in(4) {
            maker.run_out_of_memory();
        }
        maker.made
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Each setting is the default, or so small that it matters. What is large is not read a byte at a
/// time.
fn config(chance: &mut Chance, large: bool) -> Config {
    Config {
        on_full: chance.pick(&[OnFull::Close, OnFull::Drop]),
        ping_interval: chance.pick(&[Some(seconds(25)), Some(seconds(2)), Some(seconds(2)), None]),
        pong_timeout: chance.pick(&[seconds(25), seconds(1)]),
        idle_timeout: chance.pick(&[None, None, Some(seconds(30)), Some(seconds(3))]),
        close_timeout: chance.pick(&[seconds(5), seconds(1)]),
        handshake_timeout: chance.pick(&[seconds(10), seconds(2)]),
        max_message: chance.pick(&[1 << 20, 1 << 20, 200]),
        max_fragments: chance.pick(&[131_072, 3]),
        max_backlog: chance.pick(&[4 << 20, 4 << 20, 70_000, 300]),
        max_head: chance.pick(&[8192, 300]),
        max_headers: 20,
        max_events: chance.pick(&[1024, 2, 1]),
        read_budget: chance.pick(if large { &[65_536, 1000] } else { &[65_536, 100, 7, 1] }),
        deflate: chance.pick(&[None, None, Some(1024), Some(1)]).and_then(compression),
        ..Config::default()
    }
}

#[cfg(feature = "deflate")]
fn compression(threshold: usize) -> Option<Deflate> {
    Some(Deflate { threshold, level: 1 })
}

#[cfg(not(feature = "deflate"))]
fn compression(_: usize) -> Option<Deflate> {
    None
}

fn manners(chance: &mut Chance, tls: bool, large: bool) -> Manners {
    let kind = match chance.below(12) {
        0 => Kind::Source,
        1 | 2 => Kind::Http,
        3..=6 => Kind::WebSocket(chance.pick(&Version::ALL)),
        _ => Kind::WebSocket(Version::Rfc6455),
    };
    Manners {
        kind,
        tls: tls && kind != Kind::Source,
        deflate: kind == Kind::WebSocket(Version::Rfc6455) && chance.one_in(2),
        page_first: chance.one_in(6).then(|| chance.below(if large { 3 } else { 2 })),
        deaf: chance.one_in(12),
        answers_pings: !chance.one_in(6),
        answers_closes: !chance.one_in(6),
        room: chance.pick(if large { &[ROOM, ROOM, 10_000] } else { &[ROOM, ROOM, 1000, 100, 1] }),
        merges: chance.one_in(2),
    }
}

/// What a schedule is made with.
struct Maker {
    chance: Chance,
    /// Some of what is sent is large.
    large: bool,
    made: Schedule,
}

impl Maker {
    /// Adds the next step of a peer, or of all, and now and then a few that belong together.
    fn step(&mut self, who: usize) {
        let most = if self.chance.one_in(2) { usize::MAX } else { self.chance.size(100_000) };
        let kind = self.chance.below(100);
        let step = match kind {
            0..30 => {
                let saying = self.saying(who);
                self.made.steps.push(Step::Say(who, saying));
                Step::Send(who, most)
            }
            30..45 => Step::Send(who, most),
            45..59 if self.made.peers[who].deaf => return,
            45..59 => Step::Take(who, most),
            59..72 => Step::Turn(self.chance.below(16)),
            72..80 => Step::Turns,
            80..85 => {
                let time = self.time();
                self.made.steps.push(Step::Pass(time));
                // What is late is met by what comes, or by what was just queued.
                match self.chance.below(4) {
                    0 => {
                        let saying = self.saying(who);
                        self.made.steps.push(Step::Say(who, saying));
                        self.made.steps.push(Step::Send(who, usize::MAX));
                    }
                    1 => {
                        let size = 100 + self.chance.below(200);
                        self.made.steps.push(Step::Do(who, Deed::Send(size)));
                    }
                    _ => {}
                }
                if self.chance.one_in(3) { Step::Turn(who) } else { Step::Turns }
            }
            85 => Step::End(who),
            86 => Step::Reset(who),
            87 => Step::Connect(who),
            88..91 => {
                let deed = match self.chance.below(8) {
                    0..3 => Deed::Resume,
                    3 => Deed::Pause,
                    _ => self.deed(),
                };
                Step::Do(who, deed)
            }
            91..94 => Step::ReadFault(who, self.fault()),
            94..96 => Step::WriteFault(who, self.fault()),
            96 => Step::Announce(who),
            97 | 98 => Step::Delay(who, 1 + self.chance.below(5)),
            _ if self.chance.one_in(8) => Step::Stop,
            _ => return,
        };
        self.made.steps.push(step);
    }

    /// Now and then the system has no memory for a message.
    fn run_out_of_memory(&mut self) {
        let mut place = self.made.peers.len();
        while place < self.made.steps.len() {
            let scarcity = match self.chance.below(4) {
                0 => Scarcity::None,
                1 => Scarcity::Over(self.chance.size(if self.large { 300_000 } else { 3000 })),
                _ => Scarcity::After(self.chance.size(20)),
            };
            self.made.steps.insert(place, Step::Memory(scarcity));
            place += 1 + self.chance.below(40);
        }
    }

    /// Any time, or one of the periods to the millisecond.
    fn time(&mut self) -> u64 {
        let config = &self.made.config;
        let periods = [
            config.ping_interval.unwrap_or_default(),
            config.pong_timeout,
            config.idle_timeout.unwrap_or_default(),
            config.close_timeout,
            config.handshake_timeout,
        ];
        match self.chance.below(3) {
            0 => self.chance.pick(&periods).as_millis() as u64,
            _ => self.chance.size(32_000) as u64,
        }
    }

    fn fault(&mut self) -> Fault {
        match self.chance.below(20) {
            // What a kernel says that is out of memory, and of a peer that is not to be reached.
            0 => Fault::Error(ErrorKind::OutOfMemory),
            1 => Fault::Error(ErrorKind::TimedOut),
            2..7 => Fault::Error(ErrorKind::Interrupted),
            7..12 => Fault::Error(ErrorKind::WouldBlock),
            _ => Fault::Short(1 + self.chance.size(2000)),
        }
    }

    fn deed(&mut self) -> Deed {
        let size = match self.chance.below(6) {
            0 if self.large => self.chance.size(300_000),
            // The smallest backlog is about full with one or two of these.
            0 | 1 => 100 + self.chance.below(200),
            _ => self.chance.size(2000),
        };
        match self.chance.below(40) {
            0..16 => Deed::Echo,
            16..22 => Deed::Send(size),
            22..26 => Deed::Broadcast(size),
            26..30 => Deed::SendTo(self.chance.below(self.made.peers.len()), size),
            30..33 => Deed::Ping,
            33 => Deed::Close,
            34..36 => Deed::Pause,
            36 => Deed::Terminate,
            _ => Deed::Nothing,
        }
    }

    fn saying(&mut self, who: usize) -> Saying {
        let most = match self.large && self.chance.one_in(4) {
            true => 100_000,
            false => self.chance.pick(&[100, 2000]),
        };
        let chance = &mut self.chance;
        match self.made.peers[who].kind {
            Kind::Source => Saying::Line { size: chance.size(most), good: !chance.one_in(4) },
            Kind::Http if chance.one_in(20) => Saying::Broken(0),
            Kind::Http if self.large => Saying::Page(chance.pick(&[0, 1, 2, 2, 3])),
            Kind::Http => Saying::Page(chance.pick(&[0, 1, 3])),
            Kind::WebSocket(_) => match chance.below(40) {
                0 => Saying::Close,
                1 => Saying::Broken(chance.below(9)),
                2..5 => Saying::Ping(chance.below(126)),
                5 => Saying::Pong,
                _ => Saying::Message {
                    deed: self.deed(),
                    text: self.chance.one_in(2),
                    size: self.chance.size(most),
                    fragments: if self.chance.one_in(4) { 1 + self.chance.below(4) } else { 1 },
                    deflated: self.chance.one_in(2),
                },
            },
        }
    }
}
