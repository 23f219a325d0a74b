//! A server without a poll: the dispatcher and all below it, on a clock that stands still until it is
//! pushed, and on sockets that are played. It takes the steps of a turn as the server does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::kernel::Kernel;
use crate::config::Config;
use crate::context::Context;
use crate::dispatch::Dispatcher;
use crate::handler::Handler;
use crate::http::request::Request;
use crate::ids::ConnId;
use crate::net::played::Played;
use crate::net::stream::{Socket, Stream};
use crate::peers::time::{Clock, Millis};
use crate::proto::Message;

/// A request for a WebSocket of RFC 6455, and the head of the answer to it.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
pub const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A client's frame, masked with zeros.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    crate::proto::tests::masked(first, [0; 4], payload)
}

pub type Socketed = Rc<RefCell<Kernel>>;

/// A peer: its socket, and what the server calls it.
pub struct Peer {
    pub id: ConnId,
    pub socket: Socketed,
}

pub struct World {
    pub dispatcher: Dispatcher,
    time: Rc<Cell<Duration>>,
    receive: Box<[u8]>,
    /// What the handler was called for.
    pub calls: Rc<RefCell<Vec<String>>>,
    sockets: Vec<(ConnId, Socketed)>,
    /// The most events in a turn, as the poll has it.
    pub max_events: usize,
    /// How many turns there were.
    pub turns: u64,
}

/// Sends everything back, and writes down its calls.
struct Recorder {
    calls: Rc<RefCell<Vec<String>>>,
}

impl Recorder {
    fn note(&self, call: String) {
        self.calls.borrow_mut().push(call);
    }
}

impl Handler for Recorder {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        self.note(format!("open {}", ws.id().serial()));
    }

    /// `+N` is answered by so many bytes, `pause` pauses, all else comes back.
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self.note(format!("message {} {}", ws.id().serial(), message.as_bytes().len()));
        match message {
            Message::Text("pause") => ws.pause(),
            Message::Text(text) if text.starts_with('+') => {
                let count = text.parse().unwrap();
                ws.send(&vec![b'x'; count][..]);
            }
            _ => drop(ws.send(message)),
        }
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        self.note(format!("drain {}", ws.id().serial()));
    }

    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        self.note(format!("close {} {code} {reason}", ws.id().serial()));
    }
}

impl World {
    pub fn new(config: Config) -> World {
        let calls = Rc::new(RefCell::new(Vec::new()));
        let mut world = World::with_handler(config, Box::new(Recorder { calls: calls.clone() }));
        world.calls = calls;
        world
    }

    /// The same with another handler, which `calls` knows nothing of.
    pub fn with_handler(config: Config, handler: Box<dyn Handler>) -> World {
        let time = Rc::new(Cell::new(Duration::from_secs(1)));
        let max_events = config.max_events;
        let mut dispatcher = Dispatcher::new(config);
        dispatcher.peers.clock = Clock::given(time.clone());
        dispatcher.peers.clock.tick();
        dispatcher.route("/", handler);
        let receive = vec![0; 64 * 1024].into();
        let calls = Rc::default();
        World { dispatcher, time, receive, calls, sockets: Vec::new(), max_events, turns: 0 }
    }

    /// A client connects, and says nothing yet.
    pub fn connect(&mut self) -> Peer {
        self.connect_by(|stream| stream)
    }

    /// The same, with TLS or the like on its stream.
    pub fn connect_by(&mut self, wrap: impl FnOnce(Stream) -> Stream) -> Peer {
        let (socket, stream) = World::socket();
        self.dispatcher.peers.clock.tick();
        let id = self.dispatcher.peers.admit(wrap(stream), None);
        self.add(id, socket)
    }

    /// A source of lines connects.
    pub fn connect_source(&mut self) -> Peer {
        let (socket, stream) = World::socket();
        self.dispatcher.peers.clock.tick();
        let id = self.dispatcher.peers.admit_source(stream, None, 0);
        self.add(id, socket)
    }

    fn socket() -> (Socketed, Stream) {
        let socket = Rc::new(RefCell::new(Kernel::default()));
        let played = Played::new(socket.clone());
        (socket, Stream::plain(Socket::Played(played)))
    }

    fn add(&mut self, id: ConnId, socket: Socketed) -> Peer {
        self.sockets.push((id, socket.clone()));
        Peer { id, socket }
    }

    /// A client connects and opens a WebSocket.
    pub fn open(&mut self) -> Peer {
        let peer = self.connect();
        peer.sends(REQUEST);
        self.turn_until_quiet();
        assert_eq!(peer.takes(ANSWER.len()), ANSWER);
        peer
    }

    /// Time passes, and nothing else.
    pub fn pass(&mut self, time: Duration) {
        self.time.set(self.time.get() + time);
    }

    /// The time on the server's clock, in milliseconds.
    pub fn now(&self) -> Millis {
        self.dispatcher.peers.clock.now()
    }

    /// One turn, with at most as many events as the poll takes at once.
    pub fn turn(&mut self) {
        self.turn_from(0);
    }

    /// The same, and the poll tells first of this socket, and then of those behind it.
    pub fn turn_from(&mut self, first: usize) {
        self.turns += 1;
        let left_over = self.dispatcher.begin_turn();
        let mut room = self.max_events;
        let count = self.sockets.len();
        for place in (0..count).map(|place| (first + place) % count) {
            let (id, socket) = &self.sockets[place];
            let readiness = match room {
                0 => None,
                _ => socket.borrow_mut().take_announcement(),
            };
            if let Some(readiness) = readiness {
                room -= 1;
                self.dispatcher.announced(id.token(), readiness, &mut self.receive);
            }
        }
        self.dispatcher.read_on(left_over, &mut self.receive);
        self.dispatcher.end_turn(&mut self.receive);
    }

    /// Whether the loop would turn again at once, without waiting for anything.
    pub fn is_busy(&self) -> bool {
        let peers = &self.dispatcher.peers;
        let announced = |(id, socket): &(ConnId, Socketed)| {
            peers.get(*id).is_some() && socket.borrow().is_announced()
        };
        let due = |at| at <= self.now();
        self.sockets.iter().any(announced)
            || peers.has_left_over()
            || peers.next_deadline().is_some_and(due)
    }

    /// Turns while something is announced, or is left to do. How many turns it took.
    pub fn turn_until_quiet(&mut self) -> usize {
        for turns in 1..10_000 {
            self.turn();
            if !self.is_busy() {
                return turns;
            }
        }
        panic!("the loop does not come to rest");
    }

    /// Time passes in steps; after each there is a turn.
    pub fn turns_for(&mut self, time: Duration, step: Duration) {
        let end = self.time.get() + time;
        while self.time.get() < end {
            self.pass(step);
            self.turn_until_quiet();
        }
    }

    /// Whether the server still has the connection.
    pub fn has(&self, peer: &Peer) -> bool {
        self.dispatcher.peers.get(peer.id).is_some()
    }

    /// What `on_close` was told of a connection: code and reason.
    pub fn closed(&self, peer: &Peer) -> Option<String> {
        let of_it = format!("close {} ", peer.id.serial());
        let calls = self.calls.borrow();
        calls.iter().find_map(|call| call.strip_prefix(&of_it).map(str::to_string))
    }

    pub fn stop(&mut self) {
        self.dispatcher.peers.clock.tick();
        self.dispatcher.peers.stop();
    }
}

impl Peer {
    pub fn sends(&self, bytes: &[u8]) {
        self.socket.borrow_mut().peer_sends(bytes);
    }

    pub fn takes(&self, most: usize) -> Vec<u8> {
        self.socket.borrow_mut().peer_takes(most)
    }

    pub fn takes_all(&self) -> Vec<u8> {
        self.takes(usize::MAX)
    }

    pub fn ends(&self) {
        self.socket.borrow_mut().peer_ends();
    }
}
