//! What handlers can reach through a [`Context`](crate::Context): the connections, who is on which
//! route, what is dirty, what is at its end. No poll and no handler is known here, so nothing in
//! this file can call one; the server does, when all borrows have ended.

pub(crate) mod addr;
mod closing;
pub(crate) mod connection;
pub(crate) mod room;
pub(crate) mod sending;
pub(crate) mod time;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;

use log::warn;
use mio::Registry;
use mio::event::Event;
use slab::Slab;

use crate::config::{Config, Times};
use crate::ids::{self, ConnId, RouteId};
use crate::net::stream::Stream;
use crate::peers::connection::{Connection, Inbox, Overdue, ReadyState};
use crate::peers::room::Room;
use crate::peers::sending::SendStatus;
use crate::peers::sending::outbox::{Flushed, Spares};
use crate::peers::time::{Clock, Deadlines, Millis, Timers};
use crate::proto::close::code;
use crate::proto::pool::Pool;
use crate::stats::Stats;

/// What is left to do once a connection's backlog was written, as far as it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Nothing,
    /// The handler was told of backpressure, and is to hear that there is none any more.
    Drain,
    /// The kernel would take more, but it is the others' turn.
    Rest,
}

/// The state of a server but for its poll and its handlers.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) config: Config,
    times: Times,
    pub(crate) clock: Clock,
    pub(crate) conns: Slab<Connection>,
    /// One for each route.
    pub(crate) rooms: Vec<Room>,
    /// The routes in whose rooms something waits, or did in this turn; some may be named twice.
    pub(crate) waiting: Vec<RouteId>,
    pub(crate) deadlines: Deadlines,
    pub(crate) timers: Timers,
    /// Connections with something to write, or to finish.
    pub(crate) dirty: VecDeque<ConnId>,
    /// Connections to read on, since their last read was cut short by the budget.
    pub(crate) ready: Vec<ConnId>,
    /// Connections that became Closed or gone, for the server to report and remove.
    pub(crate) ended: Vec<ConnId>,
    pub(crate) stopping: bool,
    pub(crate) spares: Spares,
    pub(crate) stats: Stats,
    serial: u32,
}

/// The connection of this name, if it is still there. For where the rest of the engine is in use.
pub(crate) fn find(conns: &mut Slab<Connection>, id: ConnId) -> Option<&mut Connection> {
    conns.get_mut(id.slot()).filter(|conn| conn.id == id)
}

impl Engine {
    pub(crate) fn new(config: Config) -> Engine {
        Engine {
            times: Times::of(&config),
            spares: Spares::new(Pool::new(config.deflate)),
            config,
            clock: Clock::new(),
            conns: Slab::new(),
            rooms: Vec::new(),
            waiting: Vec::new(),
            deadlines: Deadlines::default(),
            timers: Timers::default(),
            dirty: VecDeque::new(),
            ready: Vec::new(),
            ended: Vec::new(),
            stopping: false,
            stats: Stats::default(),
            serial: 0,
        }
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.conns.get(id.slot()).filter(|conn| conn.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        find(&mut self.conns, id)
    }

    pub(crate) fn is_open(&self, id: ConnId) -> bool {
        self.get(id).is_some_and(Connection::is_open)
    }

    /// Takes a client in. Both directions are registered once; edge-triggered, that is all the
    /// kernel ever needs to be told.
    pub(crate) fn admit(
        &mut self,
        registry: &Registry,
        mut stream: Stream,
        addr: Option<SocketAddr>,
    ) -> std::io::Result<ConnId> {
        self.serial = self.serial.wrapping_add(1);
        self.stats.accepted += 1;
        let entry = self.conns.vacant_entry();
        let id = ConnId::new(entry.key() as u32, self.serial);
        stream.register(registry, id.token())?;
        entry.insert(Connection::new(id, stream, addr, self.clock.now()));
        self.arm(id);
        Ok(id)
    }

    /// Takes in a source of lines for a route.
    pub(crate) fn admit_source(
        &mut self,
        registry: &Registry,
        stream: Stream,
        addr: Option<SocketAddr>,
        route: RouteId,
    ) -> std::io::Result<ConnId> {
        let id = self.admit(registry, stream, addr)?;
        if let Some(conn) = self.get_mut(id) {
            conn.source = true;
            conn.route = route;
            conn.ready_state = ReadyState::Open;
            conn.inbox = Inbox::Lines(Box::default());
            // A file is never announced; a pipe with nothing in it costs one look.
            conn.readable = true;
        }
        self.wake_reader(id);
        Ok(id)
    }

    /// Removes a connection; its socket closes, which also takes it out of the poll.
    pub(crate) fn remove(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.timers.clear_all(id);
            self.conns.remove(id.slot());
        }
    }

    pub(crate) fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.mark_dirty(&mut self.dirty);
        }
    }

    /// The connection is none of its route's any more. What waits in the room is not sent to it: that
    /// is for [`catch_up`](Engine::catch_up) before.
    pub(crate) fn leave_route(&mut self, id: ConnId) {
        let Some(conn) = self.get(id).filter(|conn| conn.opened) else { return };
        let (route, member, framing) = (usize::from(conn.route), conn.member, conn.framing());
        let Some(room) = self.rooms.get_mut(route).filter(|room| room.has_member(id, member))
        else {
            return;
        };
        if let Some(moved) = room.leave(member, framing)
            && let Some(conn) = self.get_mut(moved)
        {
            conn.member = member;
        }
    }

    /// The handshake is done: the connection is one of its route's.
    pub(crate) fn open(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id) else { return };
        conn.ready_state = ReadyState::Open;
        conn.opened = true;
        self.stats.opened += 1;
        conn.since = now;
        conn.heard = now;
        if let Some(room) = self.rooms.get_mut(usize::from(conn.route)) {
            conn.member = room.join(id, conn.framing());
            // That was posted before it came.
            conn.had = room.posted();
        }
        self.arm(id);
    }

    /// What the kernel says of a connection. The connection, if it is to be read now.
    pub(crate) fn announced(&mut self, event: &Event) -> Option<ConnId> {
        let conn = self.conns.get_mut(ids::slot(event.token()))?;
        // It was for one that had this slot before.
        if conn.id.token() != event.token() {
            return None;
        }
        if event.is_writable() && std::mem::take(&mut conn.blocked) {
            conn.mark_dirty(&mut self.dirty);
        }
        if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
            return None;
        }
        conn.readable = true;
        conn.read_closed |= event.is_read_closed();
        // What was left over by the last turn is read anyway, and not twice.
        (!conn.ready).then_some(conn.id)
    }

    // Reading.

    /// Has the connection read on in the next turn, if there may be anything to read.
    pub(crate) fn wake_reader(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.mark_ready(&mut self.ready);
        }
    }

    pub(crate) fn resume(&mut self, id: ConnId) {
        let now = self.clock.now();
        if let Some(conn) = self.get_mut(id)
            && std::mem::replace(&mut conn.paused, false)
        {
            conn.heard = now;
            conn.awaiting_pong = false;
            self.wake_reader(id);
            self.arm(id);
        }
    }

    /// Has bytes that were read by somebody else looked at in the next turn.
    pub(crate) fn hold(&mut self, id: ConnId, bytes: &[u8]) {
        if let Some(conn) = self.get_mut(id) {
            if conn.stream.unread(bytes) {
                conn.readable = true;
            } else {
                conn.rare_mut().held = bytes.to_vec();
            }
        }
        self.wake_reader(id);
    }

    /// Reading ends for this turn: what is left waits for the next, and what TLS has to say by itself
    /// is written at this one's end.
    pub(crate) fn end_reading(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        conn.sated = false;
        if conn.stream.is_tls() {
            conn.mark_dirty(&mut self.dirty);
        }
        conn.mark_ready(&mut self.ready);
    }

    // Writing.

    pub(crate) fn has_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.waiting.is_empty()
    }

    pub(crate) fn next_dirty(&mut self) -> Option<ConnId> {
        let id = self.dirty.pop_front()?;
        if let Some(conn) = self.get_mut(id) {
            conn.dirty = false;
        }
        Some(id)
    }

    /// Writes what waits, as far as the kernel takes it. What is left to do then.
    pub(crate) fn flush(&mut self, id: ConnId, scratch: &mut [u8]) -> Owed {
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id).filter(|c| !c.gone) else {
            return Owed::Nothing;
        };
        let counter = &mut self.stats.bytes_out;
        let owed = match conn.flush(scratch, &mut self.spares, counter) {
            Ok(Flushed::All) => {
                conn.blocked = false;
                if !conn.is_open() {
                    self.flushed_last(id);
                } else if std::mem::take(&mut conn.pressed) {
                    return Owed::Drain;
                }
                return Owed::Nothing;
            }
            Ok(Flushed::Budget) => {
                conn.taken = now;
                conn.blocked = false;
                Owed::Rest
            }
            Ok(Flushed::Blocked { progress }) => {
                if progress || !conn.blocked {
                    conn.taken = now;
                }
                conn.blocked = true;
                Owed::Nothing
            }
            Err(error) => {
                self.write_failed(id, &error);
                Owed::Nothing
            }
        };
        self.arm(id);
        owed
    }

    #[cold]
    fn write_failed(&mut self, id: ConnId, error: &std::io::Error) {
        // The peer's going is no news; a file that shrank is.
        if error.kind() == ErrorKind::UnexpectedEof {
            warn!("#{} cut short: {error}", id.serial());
        }
        self.drop_now(id, code::ABNORMAL, &error.to_string());
    }

    /// All is written of a connection that is not open: a response, a goodbye, a part of TLS's handshake.
    #[inline(never)]
    fn flushed_last(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        if conn.last_words {
            return self.finish(id);
        }
        if conn.ready_state == ReadyState::Connecting {
            if conn.served {
                conn.since = now;
                self.wake_reader(id);
            }
            self.arm(id);
        }
    }

    // Deadlines.

    /// Whether the peer has taken nothing for too long.
    pub(crate) fn is_stalled(&self, id: ConnId) -> bool {
        let deadline = self.get(id).filter(|c| !c.gone).map(|conn| conn.deadline(&self.times));
        deadline.is_some_and(|(at, kind)| kind == Overdue::Stall && at <= self.clock.now())
    }

    /// Sees to it that the connection is looked at when its next deadline falls due.
    pub(crate) fn arm(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id).filter(|c| !c.gone) else { return };
        let (at, _) = conn.deadline(&self.times);
        if at < conn.armed {
            conn.armed = at;
            self.deadlines.push(at, id);
        }
    }

    /// The next connection that missed a deadline; those whose deadline moved are put back.
    pub(crate) fn next_overdue(&mut self) -> Option<(ConnId, Overdue)> {
        let now = self.clock.now();
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            let Some(conn) = find(&mut self.conns, id).filter(|c| !c.gone) else {
                continue;
            };
            if conn.armed != at {
                continue;
            }
            conn.armed = Millis::MAX;
            let (at, overdue) = conn.deadline(&self.times);
            if at <= now {
                return Some((id, overdue));
            }
            self.arm(id);
        }
        None
    }

    /// Asks a silent peer for a sign of life.
    pub(crate) fn ping_silent(&mut self, id: ConnId) {
        let now = self.clock.now();
        let asked = self.ping(id, b"") != SendStatus::Dropped;
        if let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open()) {
            if asked {
                conn.awaiting_pong = true;
                conn.since = now;
            } else {
                // Too much waits for it to be asked; whether it takes that is watched otherwise.
                conn.heard = now;
            }
        }
        self.arm(id);
    }
}
