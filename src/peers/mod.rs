//! Everybody who is connected, and the lists of what is to be done for them: the state of a server
//! without its poll and its handlers. This folder knows no handler, so nothing in it can call one:
//! what handlers are to be told is put on a list, which `dispatch` goes through once all borrows
//! have ended.
//!
//! This file has the list of peers and how they come, open and go. What is done with a peer is in the
//! files beside it, by subject: `sending`, `closing`, `deadlines`.

pub(crate) mod addr;
mod by_http;
pub(crate) mod closing;
pub(crate) mod complaints;
pub(crate) mod connection;
mod deadlines;
pub(crate) mod inbox;
mod last;
mod memory;
pub(crate) mod room;
pub(crate) mod sending;
pub(crate) mod sources;
pub(crate) mod time;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;

use log::Level;
use slab::Slab;

use crate::config::Config;
use crate::ids::{self, ConnId, RouteId};
use crate::net::stream::{Readiness, Stream};
use crate::net::transfer::Received;
use crate::proto::pool::Pool;
use crate::proto::{Framing, Version};
use crate::stats::Stats;
use addr::Visitors;
use complaints::Allowance;
use connection::{Connection, ReadyState, Role};
use deadlines::Times;
use inbox::Inbox;
use memory::Memory;
use room::{Membership, Room};
use sending::outbox::Spares;
use time::{Clock, Deadlines, Timers};

/// All peers. Handlers reach them through a [`Context`](crate::Context).
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    /// Timers that handlers set.
    pub(crate) timers: Timers,
    pub(crate) stats: Stats,
    times: Times,
    conns: Slab<Connection>,
    /// One for each route.
    rooms: Vec<Room>,
    deadlines: Deadlines,
    memory: Memory,
    visitors: Visitors,
    spares: Spares,
    /// How many lines of the log peers may cause.
    complaints: BTreeMap<Level, Allowance>,
    /// Most [descriptors](Peers::descriptors) of all together, and most files under way.
    places: (usize, usize),
    /// How many were admitted so far; it wraps.
    serial: u32,
    stopping: bool,
    /// A connection was paused, began to close or ended since somebody asked.
    changed: bool,

    /// Connections to read from again, since the budget cut their last read short.
    to_read: Vec<ConnId>,
    /// Routes whose rooms have something to deliver, or had in this turn; one may be here twice.
    to_deliver: Vec<RouteId>,
    /// Connections with something to write, or to finish.
    to_write: VecDeque<ConnId>,
    /// Connections that have spent their budget for writing; they go on next turn.
    unfinished: Vec<ConnId>,
    /// Connections that are owed `on_drain`, since nothing waits any more.
    drained: Vec<ConnId>,
    /// Connections that are late, and are to be looked at again next turn.
    unheard: Vec<ConnId>,
    /// Connections that became Closed or gone, to be reported and removed.
    ended: Vec<ConnId>,
    /// Sources that were opened and are not in the poll yet.
    opened: VecDeque<ConnId>,
    /// How many programs there are: those that are to be started, that run, and that are to end.
    programs: usize,
}

/// The connection of this name, if it still exists. For use while other fields are borrowed.
fn find(conns: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    conns.get_mut(id.slot()).filter(|conn| conn.id == id)
}

impl Peers {
    pub(crate) fn new(config: Config) -> Peers {
        Peers {
            times: Times::of(&config),
            memory: Memory::new(config.max_memory),
            visitors: Visitors::new(config.max_per_address, config.trust_proxy),
            spares: Spares::new(Pool::new(config.deflate)),
            config,
            clock: Clock::new(),
            timers: Timers::default(),
            stats: Stats::default(),
            conns: Slab::new(),
            rooms: Vec::new(),
            deadlines: Deadlines::default(),
            complaints: BTreeMap::new(),
            places: (usize::MAX, usize::MAX),
            serial: 0,
            stopping: false,
            changed: false,
            to_read: Vec::new(),
            to_deliver: Vec::new(),
            to_write: VecDeque::new(),
            unfinished: Vec::new(),
            drained: Vec::new(),
            unheard: Vec::new(),
            ended: Vec::new(),
            opened: VecDeque::new(),
            programs: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.conns.len()
    }

    /// How many files are under way to peers. Each holds a descriptor.
    pub(crate) fn files(&self) -> usize {
        self.spares.files()
    }

    /// Bounds the files under way: so many, and so many descriptors for all together.
    pub(crate) fn limit_files(&mut self, places: usize, files: usize) {
        self.places = (places, files);
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.conns.get(id.slot()).filter(|conn| conn.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        find(&mut self.conns, id)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// The names of all connections.
    pub(crate) fn ids(&self) -> Vec<ConnId> {
        self.conns.iter().map(|(_, conn)| conn.id).collect()
    }

    /// Adds a room, for a route that was added.
    pub(crate) fn add_room(&mut self) {
        self.rooms.push(Room::default());
    }

    /// How many routes there are.
    #[cfg(feature = "capi")]
    pub(crate) fn routes(&self) -> RouteId {
        self.rooms.len() as RouteId
    }

    /// The open connections on a route, in no order.
    pub(crate) fn members(&self, route: RouteId) -> &[ConnId] {
        self.rooms.get(usize::from(route)).map_or(&[], Room::members)
    }

    /// The counters, and what only a look at each connection tells. The cost is linear in their
    /// number.
    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats { uptime: self.clock.uptime(), ..self.stats.clone() };
        stats.bytes_out = self.spares.written;
        for (_, conn) in &self.conns {
            stats.backlog = stats.backlog.saturating_add(self.backlog(conn) as u64);
            stats.listening = stats.listening.saturating_add(u64::from(conn.is_listener()));
            let version = Version::ALL.iter().position(|version| *version == conn.version);
            if let Some(open) = version.and_then(|place| stats.open.get_mut(place))
                && conn.is_websocket()
            {
                *open = open.saturating_add(1);
            }
        }
        stats
    }

    // Coming and going.

    /// The name that the next peer to be admitted will have.
    pub(crate) fn next_id(&self) -> ConnId {
        ConnId::new(self.conns.vacant_key() as u32, self.serial.wrapping_add(1))
    }

    /// Admits a client, under the name of [`next_id`](Peers::next_id), by which its stream is in
    /// the poll.
    pub(crate) fn admit(&mut self, stream: Stream, addr: Option<SocketAddr>) -> ConnId {
        self.stats.accepted = self.stats.accepted.wrapping_add(1);
        let id = self.insert(stream, addr);
        self.arm(id);
        id
    }

    fn insert(&mut self, stream: Stream, addr: Option<SocketAddr>) -> ConnId {
        let id = self.next_id();
        self.serial = id.serial();
        if stream.is_tls() {
            self.memory.session_begins();
        }
        self.visitors.comes(addr.into());
        self.conns.insert(Connection::new(id, stream, addr, self.clock.now()));
        id
    }

    /// The handshake is done: the connection joins the room of its route.
    pub(crate) fn open(&mut self, id: ConnId) {
        self.stats.opened = self.stats.opened.wrapping_add(1);
        self.enter(id, Role::WebSocket { awaiting_pong: false });
    }

    /// It joins the room of its route, as a client of this kind.
    fn enter(&mut self, id: ConnId, role: Role) {
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id) else { return };
        conn.ready_state = ReadyState::Open;
        conn.role = role;
        conn.since = now;
        conn.heard = now;
        // Those that answer no ping.
        if matches!(conn.framing, Framing::Hixie | Framing::Events)
            && let Some(time) = self.times.unacknowledged()
        {
            conn.stream.limit_unacknowledged(time);
        }
        let (route, mut keeps_last) = (conn.route, false);
        if let Some(room) = self.rooms.get_mut(usize::from(route)) {
            conn.membership = room.join(id, conn.framing);
            keeps_last = room.last.is_kept();
        }
        self.weigh_again(id);
        self.arm(id);
        if keeps_last {
            self.send_last(id, route);
        }
    }

    /// The connection leaves the room of its route. What waits there is not sent to it: it has
    /// caught up before, or is not to have it.
    fn leave_room(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        let (route, framing) = (usize::from(conn.route), conn.framing);
        let Membership { place, .. } = conn.membership;
        let Some(room) = self.rooms.get_mut(route).filter(|room| room.has_member(id, place)) else {
            return;
        };
        if let Some(moved) = room.leave(place, framing)
            && let Some(conn) = self.get_mut(moved)
        {
            conn.membership.place = place;
        }
    }

    /// Whether any ended since they were last taken.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Those that ended since the last call, some perhaps twice.
    pub(crate) fn take_ended(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ended)
    }

    /// Removes a connection; its socket closes, which also takes it out of the poll.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            self.memory.forget(conn);
            self.visitors.goes(conn.addr);
            if conn.stream.is_tls() {
                self.memory.session_ends();
            }
            if conn.stream.is_program() {
                self.programs = self.programs.saturating_sub(1);
            }
            // A C program may have forked. As long as the child has a copy of the descriptor, closing
            // ours ends nothing, and the peer would wait until the child ends. Programs in Rust start
            // others by exec, which closes the copy, so they do without this system call.
            if cfg!(feature = "capi") {
                conn.stream.shutdown();
            }
            self.timers.clear_all(id);
            self.conns.remove(id.slot());
        }
    }

    /// Bytes of memory that incomplete messages of all connections hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        let of_each = self.conns.iter().map(|(_, conn)| match &conn.inbox {
            Inbox::Frames(decoder) => decoder.held(),
            Inbox::Post(post) => post.held(),
            _ => 0,
        });
        of_each.sum()
    }

    /// Spare buffers.
    pub(crate) fn pool(&mut self) -> &mut Pool {
        &mut self.spares.pool
    }

    // Reading.

    /// Notes what the kernel announces of a connection. Returns its name, if it is to be read now.
    pub(crate) fn announced(&mut self, token: usize, what: Readiness) -> Option<ConnId> {
        let conn = self.conns.get_mut(ids::slot(token))?;
        // The event is for an earlier connection in this slot.
        if conn.id.token() != token {
            return None;
        }
        if what.writable && conn.writing.blocked {
            if conn.is_opening() && conn.stream.is_connected() {
                conn.reached(self.clock.now());
            }
            conn.list_to_write(&mut self.to_write);
        }
        if !what.readable {
            return None;
        }
        conn.reading.announced(what.read_closed);
        // What the last turn left over is read anyway, and not twice.
        (!conn.reading.is_listed()).then_some(conn.id)
    }

    /// Those to read from again in this turn.
    pub(crate) fn take_to_read(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.to_read)
    }

    /// A connection that was on that list is read now.
    pub(crate) fn delist(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            conn.reading.delist();
        }
    }

    /// Schedules another read next turn, if there may be anything to read.
    fn read_next_turn(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.list_to_read(&mut self.to_read);
        }
    }

    /// Reads from a connection once, if there may be anything to read. `more` says that the next
    /// read may bring something, even if only the end.
    pub(crate) fn read(&mut self, id: ConnId, receive: &mut [u8]) -> Option<io::Result<Received>> {
        let now = self.clock.now();
        let conn = find(&mut self.conns, id).filter(|conn| conn.may_read())?;
        let mut read = conn.read(receive);
        match &mut read {
            Ok(Received::Bytes { count, more } | Received::Onto { count, more }) => {
                *more = *more || conn.reading.emptied();
                self.stats.bytes_in = self.stats.bytes_in.wrapping_add(*count as u64);
            }
            Ok(Received::Nothing { more }) => *more = *more || conn.reading.emptied(),
            Ok(Received::HalfEnd) => conn.reading.would_block(),
            Ok(Received::End) => conn.reading.ended(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => conn.reading.would_block(),
        }
        // A part of a TLS record is a sign of life as well.
        if !matches!(read, Ok(Received::End) | Err(_)) {
            conn.heard = now;
            if conn.stop_awaiting_pong() {
                // The next deadline may come sooner than the pong's.
                self.arm(id);
            }
        }
        Some(read)
    }

    /// This many bytes were read onto a message. Returns those that lie behind its frame.
    pub(crate) fn landed(&mut self, id: ConnId, count: usize) -> Vec<u8> {
        let landed = match self.get_mut(id).map(|conn| &mut conn.inbox) {
            Some(Inbox::Frames(decoder)) => decoder.landed(count),
            _ => Ok(Vec::new()),
        };
        landed.unwrap_or_else(|violation| {
            self.violated(id, violation);
            Vec::new()
        })
    }

    /// Ends the reading of this turn: what is left waits for the next, and what TLS itself has to
    /// send is written when this turn ends.
    pub(crate) fn end_reading(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        conn.reading.hunger();
        if conn.stream.is_tls() {
            conn.list_to_write(&mut self.to_write);
        }
        conn.list_to_read(&mut self.to_read);
    }

    /// Gives back what was lent for a handler's call, unless the connection ended meanwhile.
    pub(crate) fn return_inbox(&mut self, id: ConnId, inbox: Inbox) {
        if let Some(conn) = self.get_mut(id).filter(|conn| matches!(conn.inbox, Inbox::Lent)) {
            conn.inbox = inbox;
            if conn.writing.weight > 0 {
                self.weigh(id);
            }
        }
    }

    /// What was done so far, in units of about 100 ns: how many messages were queued, counted once for
    /// each connection, and what was inflated and compressed.
    #[inline]
    pub(crate) fn work(&self) -> u64 {
        self.stats.messages_out.wrapping_add(self.spares.pool.work())
    }

    /// The connection has caused enough work in this turn; the rest waits for the next.
    pub(crate) fn sate(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            conn.reading.sate();
        }
    }

    /// Keeps bytes that have to wait.
    #[cold]
    pub(crate) fn put_aside(&mut self, id: ConnId, bytes: &[u8]) {
        if let Some(conn) = self.get_mut(id) {
            conn.put_aside(bytes);
        }
        self.weigh(id);
    }

    /// Bytes that were put aside and may be looked at now.
    pub(crate) fn take_unread(&mut self, id: ConnId) -> Option<Vec<u8>> {
        self.get_mut(id)?.take_unread()
    }

    /// Whether any connection was paused, began to close or ended since this was last asked: then it
    /// may be the one that is being read, which need not look after itself otherwise.
    #[inline]
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn pause(&mut self, id: ConnId) {
        self.changed = true;
        if let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open() || conn.is_heard()) {
            conn.reading.pause();
        }
    }

    pub(crate) fn resume(&mut self, id: ConnId) {
        let now = self.clock.now();
        if let Some(conn) = self.get_mut(id)
            && conn.reading.resume()
        {
            conn.heard = now;
            // Nor could it finish what it had begun.
            if let Inbox::Frames(decoder) = &mut conn.inbox {
                decoder.begin_again(now);
            }
            conn.stop_awaiting_pong();
            self.read_next_turn(id);
            self.arm(id);
        }
    }

    /// Puts back bytes that the program read, to be looked at next turn.
    pub(crate) fn unread(&mut self, id: ConnId, bytes: &[u8]) {
        if let Some(conn) = self.get_mut(id) {
            if conn.stream.unread(bytes) {
                conn.reading.announced(false);
            } else {
                conn.put_aside(bytes);
            }
        }
        self.read_next_turn(id);
    }

    /// Whether there is work that no event will announce.
    pub(crate) fn has_left_over(&self) -> bool {
        let to_do = !self.to_read.is_empty() || !self.to_write.is_empty();
        to_do || !self.to_deliver.is_empty() || !self.opened.is_empty()
    }
}
