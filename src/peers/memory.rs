//! What all connections hold together, and who goes when it is too much.
//!
//! Counted is what messages, heads and lines take as they come, and what is queued, by the memory that
//! it has and not by its length. It is counted when a connection is left holding something: after it
//! was read, or when the kernel takes no more of what is sent to it. A connection that holds nothing is
//! never looked at.

use std::rc::{Rc, Weak};

use log::Level;

use super::connection::Connection;
use super::inbox::Inbox;
use super::{Peers, find};
use crate::ids::ConnId;
use crate::proto::close::code;

/// What a connection takes that holds nothing, with its place among the deadlines.
const IDLE: usize = 200;
/// The same for its TLS session: its keys, and buffers for a record each way.
const TLS: usize = 40 * 1024;
/// Who is to be told why it ends has no more than this waiting before that.
const LITTLE: usize = 64 * 1024;
const KIB: usize = 1024;
/// Once there is too much, this part of what there may be is freed, so that it is done seldom.
const FREED: usize = 16;
const WHY: &str = "short of memory";

/// What is held in all.
#[derive(Debug, Default)]
pub(super) struct Memory {
    max: usize,
    /// By the connections, each for itself: the sum of their weights, in KiB.
    own: usize,
    /// How many of them have TLS.
    sessions: usize,
    /// By the last messages of rooms.
    kept: usize,
    /// By those buffers that several may share, as far as they still do.
    shared: usize,
    buffers: Vec<Weak<Vec<u8>>>,
}

impl Memory {
    pub(super) fn new(max: Option<usize>) -> Memory {
        Memory { max: max.unwrap_or(usize::MAX), ..Memory::default() }
    }

    fn held(&self) -> usize {
        let sessions = self.sessions.saturating_mul(TLS);
        let together = self.shared.saturating_add(self.kept).saturating_add(sessions);
        self.own.saturating_mul(KIB).saturating_add(together)
    }

    /// Counts anew what a connection holds.
    pub(super) fn count(&mut self, conn: &mut Connection) {
        let weight = u32::try_from(conn.memory().div_ceil(KIB)).unwrap_or(u32::MAX);
        self.set_weight(conn, weight);
    }

    /// The connection goes.
    pub(super) fn forget(&mut self, conn: &mut Connection) {
        self.set_weight(conn, 0);
    }

    fn set_weight(&mut self, conn: &mut Connection, weight: u32) {
        let before = std::mem::replace(&mut conn.writing.weight, weight);
        self.own = self.own.saturating_sub(before as usize).saturating_add(weight as usize);
    }

    pub(super) fn session_begins(&mut self) {
        self.sessions = self.sessions.saturating_add(1);
    }

    pub(super) fn session_ends(&mut self) {
        self.sessions = self.sessions.saturating_sub(1);
    }

    /// A buffer is shared from now on, until all have written it.
    pub(super) fn share(&mut self, buffer: &Rc<Vec<u8>>) {
        self.shared = self.shared.saturating_add(buffer.capacity());
        self.buffers.push(Rc::downgrade(buffer));
        // Looked through each time that twice as many have come.
        if self.buffers.len() == self.buffers.capacity() {
            self.recount();
        }
    }

    /// Drops the buffers that nobody shares any more.
    fn recount(&mut self) {
        self.buffers.retain(|buffer| buffer.strong_count() > 0);
        let held = self.buffers.iter().filter_map(Weak::upgrade).map(|buffer| buffer.capacity());
        self.shared = held.fold(0, usize::saturating_add);
    }
}

impl Connection {
    /// Bytes of memory that it holds for itself, beside [`IDLE`] and [`TLS`].
    fn memory(&self) -> usize {
        let incoming = match &self.inbox {
            Inbox::Head(head) => head.capacity(),
            Inbox::Post(post) => post.held(),
            Inbox::Challenge(challenge) => challenge.head.capacity(),
            // A message that has begun with nothing is looked at again when more of it has come.
            Inbox::Frames(decoder) if decoder.under_way().is_some() => decoder.held().max(1),
            Inbox::Frames(decoder) => decoder.held(),
            Inbox::Lines(lines) => lines.held(),
            Inbox::Bytes | Inbox::Lent | Inbox::Discard => 0,
        };
        let unread = self.extras().map_or(0, |extras| extras.unread.capacity());
        // What is queued is mostly written when the turn ends.
        let outgoing = if self.writing.blocked { self.writing.outbox.memory() } else { 0 };
        incoming.saturating_add(unread).saturating_add(outgoing)
    }
}

impl Peers {
    /// A connection is left holding something, so it is weighed each time from now on, until it holds
    /// nothing any more.
    pub(super) fn mark(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            self.memory.set_weight(conn, conn.writing.weight.max(1));
        }
    }

    /// Counts anew what a connection holds, and makes room if it is too much in all.
    #[cold]
    pub(crate) fn weigh(&mut self, id: ConnId) {
        if let Some(conn) = find(&mut self.conns, id) {
            self.memory.count(conn);
        }
        if self.held_in_all() > self.memory.max {
            self.make_room();
        }
    }

    /// The same, if it held something when it was last counted.
    pub(crate) fn weigh_again(&mut self, id: ConnId) {
        if self.get(id).is_some_and(|conn| conn.writing.weight > 0) {
            self.weigh(id);
        }
    }

    /// What a room keeps has grown or shrunk.
    pub(super) fn count_kept(&mut self, before: usize, now: usize) {
        self.memory.kept = self.memory.kept.saturating_sub(before).saturating_add(now);
        if self.held_in_all() > self.memory.max {
            self.make_room();
        }
    }

    /// A client of a port for TLS does not speak it, and goes on without.
    pub(crate) fn tls_is_not_spoken(&mut self) {
        self.memory.session_ends();
    }

    /// Whether there is no room for one connection more.
    pub(crate) fn is_short_of_memory(&mut self) -> bool {
        let is_short = |peers: &Peers| peers.held_in_all().saturating_add(IDLE) > peers.memory.max;
        if is_short(self) {
            self.memory.recount();
        }
        is_short(self)
    }

    /// What is held by all, as far as it is counted.
    pub(crate) fn held_in_all(&self) -> usize {
        let idle = self.conns.len().saturating_mul(IDLE);
        self.memory.held().saturating_add(idle)
    }

    /// Those that hold the most go first, until there is some room again.
    #[cold]
    fn make_room(&mut self) {
        self.memory.recount();
        let max = self.memory.max;
        if self.held_in_all() <= max {
            return;
        }
        let holders = self.conns.iter().filter(|(_, conn)| !conn.is_gone());
        let mut holders: Vec<(usize, ConnId)> =
            holders.map(|(_, conn)| (conn.memory().max(conn.queued()), conn.id)).collect();
        holders.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        let enough = max.saturating_sub(max / FREED);
        for (held, id) in holders {
            if held == 0 || self.held_in_all() <= enough {
                break;
            }
            let (id_shown, all) = (id.serial(), self.held_in_all());
            let line = format_args!(
                "#{id_shown} ends: it holds {held} bytes, the most of {all} in all, and there may be {max}"
            );
            self.complain(Level::Warn, line);
            self.give_up_for_room(id);
            self.memory.recount();
        }
    }

    /// Ends a connection so that it holds nothing: with a close frame, if not much waits before that.
    fn give_up_for_room(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        let waits = conn.writing.outbox.memory().max(conn.queued());
        if conn.is_open() && conn.is_websocket() && waits <= LITTLE {
            self.fail(id, code::TRY_AGAIN_LATER, WHY);
        } else {
            self.stats.count_cut(WHY);
            self.drop_now(id, code::TRY_AGAIN_LATER, WHY);
        }
        if let Some(conn) = find(&mut self.conns, id) {
            self.memory.count(conn);
        }
    }
}

#[cfg(test)]
impl Peers {
    /// How what a connection holds and what is counted of it differ, if they do.
    pub(crate) fn miscounted(&self, id: ConnId) -> Option<(usize, u32)> {
        let conn = self.get(id)?;
        let (held, weight) = (conn.memory(), conn.writing.weight as usize * KIB);
        // A control frame that is not whole is not counted: 125 bytes, in twice as much at most.
        let missing = held.saturating_sub(weight + 250);
        let too_much = weight.saturating_sub(held + KIB - 1);
        (missing + too_much > 0).then_some((held, conn.writing.weight))
    }

    /// What all connections hold that is not shared, as it is counted.
    pub(crate) fn counted(&self) -> usize {
        self.memory.own * KIB
    }

    /// What is shared.
    pub(crate) fn counted_as_shared(&mut self) -> usize {
        self.memory.recount();
        self.memory.shared
    }
}
