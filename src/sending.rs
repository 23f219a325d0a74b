//! Queueing: messages for one connection or for all of a route, and the octets between them.

use std::collections::VecDeque;
use std::rc::Rc;

use log::debug;

use crate::config::OnFull;
use crate::connection::Connection;
use crate::engine::{ConnId, Engine, RouteId, find};
use crate::pool::Pool;
use crate::proto::close::code;
use crate::proto::{self, Framing, Message};

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
/// Broadcast payloads from this size on are shared; smaller ones are copied, which is cheaper.
const SHARE_FROM: usize = 4 * 1024;

impl Engine {
    pub(crate) fn send(&mut self, id: ConnId, message: Message<'_>) -> SendStatus {
        let Some(conn) = find(&mut self.conns, id).filter(|c| c.is_open()) else {
            return SendStatus::Dropped;
        };
        let framing = conn.framing();
        let deflated = framing.deflate(message, &mut self.pool);
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
        let taken = if payload.len() >= OFFER_FROM && !conn.dirty {
            conn.offer([wrapping.head(), payload, wrapping.tail])
        } else {
            0
        };
        self.stats.bytes_out += taken as u64;
        conn.outbox.append(&mut self.pool, len - taken, |out| wrapping.put(payload, taken, out));
        self.pool.give(deflated.unwrap_or_default());
        self.stats.messages_out += 1;
        queued(conn, &mut self.dirty)
    }

    /// Sends to everyone on the route but `except`. The octets are made once for each way to frame
    /// them.
    pub(crate) fn broadcast(&mut self, route: RouteId, message: Message<'_>, except: ConnId) {
        let Some(members) = self.members.get(usize::from(route)) else { return };
        let mut encoded = [const { None }; Framing::KINDS];
        // They may leave the route, so not before all have been gone through.
        let mut full = Vec::new();
        for &id in members.iter().filter(|id| **id != except) {
            let Some(conn) = find(&mut self.conns, id) else { continue };
            let framing = conn.framing();
            let Some(octets) = encoded[framing.kind()]
                .get_or_insert_with(|| encode(framing, message, &mut self.pool))
            else {
                continue;
            };
            if conn.outbox.len() + octets.len() > self.config.max_backlog {
                full.push(id);
                continue;
            }
            append_encoded(conn, octets, &mut self.pool);
            self.stats.messages_out += 1;
            queued(conn, &mut self.dirty);
        }
        for id in full {
            self.full(id);
        }
    }

    /// Queues octets that are no message: heads, control frames.
    pub(crate) fn append(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = find(&mut self.conns, id) {
            conn.outbox.append(&mut self.pool, 0, write);
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

/// Queues the octets of a broadcast.
fn append_encoded(conn: &mut Connection, octets: &Rc<[u8]>, pool: &mut Pool) {
    if octets.len() >= SHARE_FROM {
        conn.outbox.append_shared(pool, octets);
    } else {
        conn.outbox.append(pool, octets.len(), |out| out.extend_from_slice(octets));
    }
}

/// The octets of a message, to be shared.
fn encode(framing: Framing, message: Message<'_>, pool: &mut Pool) -> Option<Rc<[u8]>> {
    let mut octets = Vec::new();
    framing.encode(message, pool, &mut octets).then(|| octets.into())
}
