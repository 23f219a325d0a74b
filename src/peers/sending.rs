//! Queueing: messages for one connection or for all of a route, and the bytes between them.

pub(crate) mod outbox;

use std::collections::VecDeque;
use std::io::IoSlice;

use log::debug;

use crate::config::OnFull;
use crate::ids::{ConnId, RouteId};
use crate::peers::connection::Connection;
use crate::peers::room::{Room, Wire};
use crate::peers::{Engine, find};
use crate::proto::close::code;
use crate::proto::{self, Message};

/// What became of a message. It is written by the end of the turn, of a large one a part at once:
/// so never `Sent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// Queued, to be written when this turn ends.
    Queued,
    /// Queued, but so much waits already (64 KiB) that the peer does not keep up: send less until
    /// [`on_drain`](crate::Handler::on_drain).
    Backpressure,
    /// Not queued: the connection is not open, its backlog is full, or its protocol version cannot
    /// carry the message.
    Dropped,
}

/// So much waiting counts as backpressure.
const PRESSURE: usize = 64 * 1024;
/// A payload from this size on is offered to the kernel before it is copied: it takes most of it.
const OFFER_FROM: usize = if cfg!(fuzzing) { 64 } else { 16 * 1024 };
/// What was broadcast in a turn is shared from this size on, and left to the flush. Less is offered to
/// the kernel, and what it does not take is copied.
const SHARE_FROM: usize = 4 * 1024;

impl Engine {
    pub(crate) fn send(&mut self, id: ConnId, message: Message<'_>) -> SendStatus {
        self.catch_up(id);
        let Some(conn) = find(&mut self.conns, id).filter(|c| c.is_open()) else {
            return SendStatus::Dropped;
        };
        let framing = conn.framing();
        let deflated = framing.deflate(message, &mut self.spares.pool);
        let Some(wrapping) = framing.wrap(message, deflated.as_deref()) else {
            debug!("#{} cannot carry binary messages ({})", id.serial(), conn.version);
            return SendStatus::Dropped;
        };
        let payload = deflated.as_deref().unwrap_or(message.as_bytes());
        let len = wrapping.len() + payload.len();
        if conn.outbox.len() + len > self.config.max_backlog {
            return self.full(id);
        }
        // Once a turn: what follows waits for the flush, and its budget.
        if payload.len() >= OFFER_FROM && !conn.dirty {
            let head = wrapping.head();
            let parts = [head.as_slice(), payload, wrapping.tail()];
            let taken = conn.offer(&parts.map(IoSlice::new));
            self.stats.bytes_out += taken as u64;
            conn.outbox
                .append(&mut self.spares, len - taken, |out| proto::put_rest(&parts, taken, out));
        } else {
            conn.outbox.append(&mut self.spares, len, |out| wrapping.put(payload, out));
        }
        self.spares.pool.give(deflated.unwrap_or_default());
        self.stats.messages_out += 1;
        queued(conn, &mut self.dirty)
    }

    /// Sends to everyone on the route but `except`, once the turn ends.
    pub(crate) fn broadcast(&mut self, route: RouteId, message: Message<'_>, except: ConnId) {
        self.catch_up(except);
        let Some(room) = self.rooms.get_mut(usize::from(route)) else { return };
        if room.members().is_empty() {
            return;
        }
        if room.posted() == 0 {
            self.waiting.push(route);
        }
        let full = room.post(message, &mut self.spares.pool);
        if let Some(conn) = find(&mut self.conns, except)
            && room.has_member(except, conn.member)
        {
            conn.had = room.posted();
        }
        if full {
            self.deliver(route);
        }
    }

    /// Sends everyone what was broadcast in this turn.
    pub(crate) fn deliver_all(&mut self) {
        while let Some(route) = self.waiting.pop() {
            self.deliver(route);
        }
    }

    /// The same on one route.
    fn deliver(&mut self, route: RouteId) {
        let Some(place) = self.rooms.get_mut(usize::from(route)).filter(|room| room.posted() > 0)
        else {
            return;
        };
        let mut room = std::mem::take(place);
        // They may leave the room, so not before all have been gone through.
        let mut full = Vec::new();
        for &id in room.members() {
            if !self.deliver_to(id, &room, 0) {
                full.push(id);
            }
        }
        room.clear();
        self.rooms[usize::from(route)] = room;
        for id in full {
            self.full(id);
        }
    }

    /// Sends one what was broadcast in this turn, before it is sent something else.
    #[inline]
    pub(crate) fn catch_up(&mut self, id: ConnId) {
        if !self.waiting.is_empty() {
            self.catch_up_now(id);
        }
    }

    #[cold]
    fn catch_up_now(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let (route, member) = (usize::from(conn.route), conn.member);
        let behind = |room: &&mut Room| room.has_member(id, member) && conn.had < room.posted();
        let Some(room) = self.rooms.get_mut(route).filter(behind) else { return };
        // Not to be written at once: something comes behind it.
        conn.mark_dirty(&mut self.dirty);
        let room = std::mem::take(room);
        let all = self.deliver_to(id, &room, room.posted());
        self.rooms[route] = room;
        if !all {
            self.full(id);
        }
    }

    /// Sends a member what was posted in its room and it has not had, and notes what it `had` then.
    /// False if not all of it fits into its backlog.
    fn deliver_to(&mut self, id: ConnId, room: &Room, had: u16) -> bool {
        let Some(conn) = find(&mut self.conns, id) else { return true };
        let from = std::mem::replace(&mut conn.had, had);
        let Some(wire) = room.wire(conn.framing()) else { return true };
        let (bytes, messages) = wire.since(from);
        if messages == 0 {
            return true;
        }
        if conn.outbox.len() + bytes.len() > self.config.max_backlog {
            self.deliver_what_fits(id, wire, from);
            return false;
        }
        self.stats.messages_out += messages;
        if bytes.len() >= SHARE_FROM {
            let from = wire.bytes().len() - bytes.len();
            conn.outbox.append_shared(&mut self.spares, wire.bytes(), from);
        } else {
            // At once, since that spares queueing it; but whoever is owed `on_drain` waits for a flush.
            let taken =
                if conn.dirty || conn.pressed { 0 } else { conn.offer(&[IoSlice::new(bytes)]) };
            self.stats.bytes_out += taken as u64;
            let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) else {
                return true;
            };
            conn.outbox.append(&mut self.spares, rest.len(), |out| out.extend_from_slice(rest));
        }
        queued(conn, &mut self.dirty);
        true
    }

    /// Those messages that fit. Where the first that does not ends the connection, nothing follows.
    fn deliver_what_fits(&mut self, id: ConnId, wire: &Wire, from: u16) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        for bytes in wire.each_since(from) {
            if conn.outbox.len() + bytes.len() <= self.config.max_backlog {
                let spares = &mut self.spares;
                conn.outbox.append(spares, bytes.len(), |out| out.extend_from_slice(bytes));
                self.stats.messages_out += 1;
                queued(conn, &mut self.dirty);
            } else if self.config.on_full == OnFull::Close {
                return;
            }
        }
    }

    /// Bytes that wait for a connection to take them.
    pub(crate) fn backlog(&self, conn: &Connection) -> usize {
        let room = self.rooms.get(usize::from(conn.route));
        let room = room.filter(|room| room.has_member(conn.id, conn.member));
        let wire = room.and_then(|room| room.wire(conn.framing()));
        conn.outbox.len() + wire.map_or(0, |wire| wire.since(conn.had).0.len())
    }

    /// Queues bytes that are no message: heads, control frames.
    pub(crate) fn append(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.outbox.append(&mut self.spares, 0, write);
            self.mark_dirty(id);
        }
    }

    fn full(&mut self, id: ConnId) -> SendStatus {
        debug!("#{} does not keep up: its backlog is full", id.serial());
        match (self.config.on_full, self.get_mut(id)) {
            (OnFull::Close, _) => self.fail(id, code::POLICY, "backlog full"),
            (OnFull::Drop, Some(conn)) => conn.pressed = true,
            (OnFull::Drop, None) => {}
        }
        SendStatus::Dropped
    }

    pub(crate) fn ping(&mut self, id: ConnId, payload: &[u8]) -> SendStatus {
        self.catch_up(id);
        let Some(conn) = self.get(id).filter(|conn| conn.is_open() && !conn.version.is_hixie())
        else {
            return SendStatus::Dropped;
        };
        let version = conn.version;
        self.append_control(id, |out| {
            proto::encode_ping(version, payload, out);
        })
    }

    pub(crate) fn pong(&mut self, id: ConnId, payload: &[u8]) {
        self.catch_up(id);
        if self.is_open(id) {
            self.append_control(id, |out| proto::encode_pong(payload, out));
        }
    }

    /// Control frames count too: a peer that never reads its pongs has a backlog like any other.
    fn append_control(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) -> SendStatus {
        if self.get(id).is_some_and(|conn| conn.outbox.len() + 127 > self.config.max_backlog) {
            return self.full(id);
        }
        self.append(id, write);
        SendStatus::Queued
    }
}

/// A message was queued: it is written when the turn ends.
fn queued(conn: &mut Connection, dirty: &mut VecDeque<ConnId>) -> SendStatus {
    conn.mark_dirty(dirty);
    if conn.outbox.len() > PRESSURE {
        conn.pressed = true;
        SendStatus::Backpressure
    } else {
        SendStatus::Queued
    }
}
