//! Queueing and writing: messages for one connection or for all of a route, control frames, HTTP
//! responses.
//!
//! Whatever is queued passes [`Peers::outgoing`], which first queues what the room owes the
//! connection. Only this file can fill an outbox.

pub(crate) mod outbox;
mod responses;
mod telling;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

use log::Level;

use super::closing::Unsent;
use super::connection::Connection;
use super::memory::Memory;
use super::room::{Posted, Room, Wire};
use super::{Peers, find};
use crate::config::{Config, OnFull};
use crate::ids::{ConnId, RouteId};
use crate::proto::close::code;
use crate::proto::{self, Envelope, Framing, Message};
use crate::stats::Stats;
use outbox::{Left, Spares};

/// What became of a message. It is written when the turn ends, and a part of a large one at once; so
/// there is no `Sent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendStatus {
    /// Queued, to be written when this turn ends.
    Queued,
    /// Queued, but over 64 KiB wait now, so the peer does not keep up: send less until
    /// [`on_drain`](crate::Handler::on_drain).
    Backpressure,
    /// Not queued: the connection is not open, its backlog is full, its protocol version cannot
    /// carry the message, or there is no memory for it, which ends the connection.
    Dropped,
}

/// More waiting bytes than this are backpressure.
const PRESSURE: usize = 64 * 1024;
/// A payload of at least this size is offered to the kernel before it is copied: most of it is
/// taken.
const OFFER_FROM: usize = if cfg!(fuzzing) { 64 } else { 16 * 1024 };
/// Broadcasts of a turn that have at least this size together are shared, and left to the flush,
/// unless they are a small part of what lies in the room: who shares it keeps all of it. Other ones
/// are offered to the kernel, and what it does not take is copied.
const SHARE_FROM: usize = 4 * 1024;
/// The longest control frame in bytes.
const CONTROL: usize = 127;

/// A connection to queue for, and what queueing needs.
struct Outgoing<'a> {
    conn: &'a mut Connection,
    spares: &'a mut Spares,
    stats: &'a mut Stats,
    to_write: &'a mut VecDeque<ConnId>,
    memory: &'a mut Memory,
    config: &'a Config,
}

impl Outgoing<'_> {
    /// Whether something is queued for it, or will be: then nothing may be written past that.
    fn is_listed(&self) -> bool {
        self.conn.writing.is_listed()
    }

    /// Whether the backlog has room for so many bytes more.
    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what lies in memory")]
    fn has_room(&self, len: usize) -> bool {
        self.conn.queued() + len <= self.config.max_backlog
    }

    /// Queues what `write` appends: about `len` bytes. False, and nothing is queued, if there is no
    /// memory for so many.
    #[must_use]
    fn append(&mut self, len: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.conn.writing.outbox.append(self.spares, len, write)
    }

    /// Queues what `write` appends, which is no message. No memory is asked for beforehand.
    fn append_other(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // It cannot fail, since there is always memory for no bytes.
        let _ = self.append(0, write);
    }

    /// Writes these parts now, unless something is queued; returns how many bytes the kernel took.
    fn offer(&mut self, parts: &[IoSlice<'_>]) -> usize {
        if !self.conn.writing.outbox.is_empty() || self.conn.stream.is_tls() {
            return 0;
        }
        // The error does not count yet: the parts are queued, and the flush meets it again.
        let written = self.conn.stream.write(parts).map_or(0, |written| written.bytes);
        self.spares.count_written(written);
        written
    }

    /// Writes a large message now, unless something is queued, and queues the rest of it. Fails if
    /// there is no memory for that.
    #[inline(never)]
    fn offer_message(&mut self, envelope: Envelope, payload: &[u8]) -> Result<(), Unsent> {
        let head = envelope.head();
        self.offer_whole(&[head.as_slice(), payload, envelope.tail()])
    }

    /// The same for these parts.
    fn offer_whole(&mut self, parts: &[&[u8]; 3]) -> Result<(), Unsent> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let written = self.offer(&parts.map(IoSlice::new));
        let left = len.saturating_sub(written);
        match self.append(left, |out| proto::put_rest(parts, written, out)) {
            true => Ok(()),
            false => Err(Unsent::no_memory(written)),
        }
    }

    /// Something was queued: it is written when the turn ends.
    #[inline]
    fn queued(&mut self) -> SendStatus {
        self.conn.list_to_write(self.to_write);
        if self.conn.queued() > PRESSURE {
            self.conn.writing.pressed = true;
            SendStatus::Backpressure
        } else {
            SendStatus::Queued
        }
    }

    /// A message was queued.
    fn message_queued(&mut self) -> SendStatus {
        self.stats.messages_out = self.stats.messages_out.wrapping_add(1);
        self.queued()
    }
}

impl Peers {
    /// The connection, for something to be queued behind all that was broadcast to it before.
    #[inline]
    fn outgoing(&mut self, id: ConnId) -> Option<Outgoing<'_>> {
        if !self.to_deliver.is_empty() {
            self.catch_up(id);
        }
        self.outgoing_at_once(id)
    }

    /// The same without first queueing what its room owes it: for queueing just that.
    #[inline]
    fn outgoing_at_once(&mut self, id: ConnId) -> Option<Outgoing<'_>> {
        let conn = find(&mut self.conns, id)?;
        let (spares, stats, to_write) = (&mut self.spares, &mut self.stats, &mut self.to_write);
        let (memory, config) = (&mut self.memory, &self.config);
        Some(Outgoing { conn, spares, stats, to_write, memory, config })
    }

    #[expect(clippy::arithmetic_side_effects, reason = "lengths of what lies in memory")]
    pub(crate) fn send(&mut self, id: ConnId, message: Message<'_>) -> SendStatus {
        let Some(mut out) = self.outgoing(id).filter(|out| out.conn.is_open()) else {
            return SendStatus::Dropped;
        };
        let framing = out.conn.framing;
        let deflated = framing.deflate(message, &mut out.spares.pool);
        let Some(envelope) = framing.envelope(message, deflated.as_deref()) else {
            return self.send_without_envelope(id, message);
        };
        let payload = deflated.as_deref().unwrap_or(message.as_bytes());
        let len = envelope.len() + payload.len();
        if !out.has_room(len) {
            return self.unsent(id, Unsent::Full);
        }
        // Once a turn: what follows waits for the flush, which has a budget.
        if payload.len() >= OFFER_FROM && !out.is_listed() {
            if let Err(why) = out.offer_message(envelope, payload) {
                return self.unsent(id, why);
            }
        } else if !out.append(len, |out| envelope.put(payload, out)) {
            return self.unsent(id, Unsent::NoMemory);
        }
        out.spares.pool.give(deflated.unwrap_or_default());
        out.message_queued()
    }

    /// Queues bytes that are no message: heads, control frames.
    pub(crate) fn append(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(mut out) = self.outgoing(id) {
            out.append_other(write);
            out.conn.list_to_write(out.to_write);
        }
    }

    /// Schedules a flush at the end of the turn, and queues for it what was broadcast before.
    pub(super) fn write_this_turn(&mut self, id: ConnId) {
        if let Some(out) = self.outgoing(id) {
            out.conn.list_to_write(out.to_write);
        }
    }

    /// Bytes that wait for a connection to take them, in its outbox and in its room.
    pub(crate) fn backlog(&self, conn: &Connection) -> usize {
        let room = self.rooms.get(usize::from(conn.route));
        let room = room.filter(|room| room.has_member(conn.id, conn.membership.place));
        let wire = room.and_then(|room| room.wire(conn.framing));
        let owed = wire.map_or(0, |wire| wire.since(conn.membership.had).0.len());
        conn.queued().saturating_add(owed)
    }

    // To everyone on a route.

    /// Sends to everyone on the route but `except`, when the turn ends.
    pub(crate) fn broadcast(&mut self, route: RouteId, message: Message<'_>, except: ConnId) {
        if !self.to_deliver.is_empty() {
            self.catch_up(except);
        }
        if self.rooms.get(usize::from(route)).is_some_and(|room| room.last.is_kept()) {
            self.keep(route, message);
        }
        let Some(room) = self.rooms.get_mut(usize::from(route)) else { return };
        if room.members().is_empty() {
            return;
        }
        if room.posted() == 0 {
            self.to_deliver.push(route);
        }
        let posted = room.post(message, &mut self.spares.pool);
        if let Some(conn) = find(&mut self.conns, except)
            && room.has_member(except, conn.membership.place)
        {
            conn.membership.had = room.posted();
        }
        match posted {
            Posted::Waits => {}
            Posted::Full => self.deliver(route),
            Posted::NoMemory => self.end_those_who_miss(route, except),
        }
    }

    /// There was no memory for what was just broadcast, in some framing at least. Whoever was to have
    /// it in that has what was broadcast before, and ends.
    #[cold]
    fn end_those_who_miss(&mut self, route: RouteId, except: ConnId) {
        let Some(room) = self.rooms.get(usize::from(route)) else { return };
        let misses = |id: &ConnId| {
            let wire = self.get(*id).and_then(|conn| room.wire(conn.framing));
            *id != except && wire.is_some_and(Wire::is_incomplete)
        };
        let missing: Vec<ConnId> = room.members().iter().copied().filter(misses).collect();
        self.deliver(route);
        for id in missing {
            self.unsent(id, Unsent::NoMemory);
        }
    }

    /// Sends everyone what was broadcast in this turn.
    pub(crate) fn deliver_all(&mut self) {
        while let Some(route) = self.to_deliver.pop() {
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
        // Dealt with only after all were visited, since they may leave the room.
        let mut unsent = Vec::new();
        for &id in room.members() {
            if let Err(why) = self.deliver_to(id, &room, 0) {
                unsent.push((id, why));
            }
        }
        room.clear();
        self.put_back(route, room);
        for (id, why) in unsent {
            self.unsent(id, why);
        }
    }

    fn put_back(&mut self, route: RouteId, room: Room) {
        if let Some(place) = self.rooms.get_mut(usize::from(route)) {
            *place = room;
        }
    }

    /// Queues for one member what was broadcast in this turn, before it is sent something else.
    #[cold]
    fn catch_up(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id) else { return };
        let (route, member) = (conn.route, conn.membership);
        let behind =
            |room: &&mut Room| room.has_member(id, member.place) && member.had < room.posted();
        let Some(room) = self.rooms.get_mut(usize::from(route)).filter(behind) else { return };
        // Listed, so that this is not written at once: something comes behind it.
        conn.list_to_write(&mut self.to_write);
        let room = std::mem::take(room);
        let delivered = self.deliver_to(id, &room, room.posted());
        self.put_back(route, room);
        if let Err(why) = delivered {
            self.unsent(id, why);
        }
    }

    /// Sends a member what was posted in its room and it has not had, and notes what it `had` then.
    /// Fails if not all of it could be queued.
    fn deliver_to(&mut self, id: ConnId, room: &Room, had: u16) -> Result<(), Unsent> {
        let Some(mut out) = self.outgoing_at_once(id) else { return Ok(()) };
        let from = std::mem::replace(&mut out.conn.membership.had, had);
        let Some(wire) = room.wire(out.conn.framing) else { return Ok(()) };
        let (bytes, messages) = wire.since(from);
        if messages == 0 {
            return Ok(());
        }
        if !out.has_room(bytes.len()) {
            self.deliver_what_fits(id, wire, from);
            return Err(Unsent::Full);
        }
        out.stats.messages_out = out.stats.messages_out.wrapping_add(messages);
        if bytes.len() >= SHARE_FROM && wire.is_mostly(bytes) {
            let from = wire.bytes().len().saturating_sub(bytes.len());
            out.conn.writing.outbox.append_shared(out.spares, wire.bytes(), from);
            if wire.is_shared_for_the_first_time() {
                out.memory.share(wire.bytes());
            }
        } else {
            // Written at once, which saves queueing; but a connection that is owed `on_drain` waits
            // for a flush.
            let later = out.is_listed() || out.conn.writing.pressed;
            let written = if later { 0 } else { out.offer(&[IoSlice::new(bytes)]) };
            let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) else {
                return Ok(());
            };
            if !out.append(rest.len(), |out| out.extend_from_slice(rest)) {
                return Err(Unsent::no_memory(written));
            }
        }
        out.queued();
        Ok(())
    }

    /// Queues those messages that fit. If the first that does not fit ends the connection, none
    /// follows.
    fn deliver_what_fits(&mut self, id: ConnId, wire: &Wire, from: u16) {
        let Some(mut out) = self.outgoing_at_once(id) else { return };
        for bytes in wire.each_since(from) {
            if out.has_room(bytes.len())
                && out.append(bytes.len(), |out| out.extend_from_slice(bytes))
            {
                out.message_queued();
            } else if out.config.on_full == OnFull::Close {
                return;
            }
        }
    }

    // Control frames.

    pub(crate) fn ping(&mut self, id: ConnId, payload: &[u8]) -> SendStatus {
        let framing = self.get(id).filter(|conn| conn.is_open()).map(|conn| conn.framing);
        let Some(framing) = framing.filter(|framing| *framing != Framing::Hixie) else {
            return SendStatus::Dropped;
        };
        self.append_control(id, |out| {
            proto::encode_ping(framing, payload, out);
        })
    }

    pub(crate) fn pong(&mut self, id: ConnId, payload: &[u8]) {
        self.append_control(id, |out| proto::encode_pong(payload, out));
    }

    /// Control frames count too: a peer that never reads its pongs has a backlog like any other.
    fn append_control(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) -> SendStatus {
        // Catching up may have filled the backlog, and ended the connection.
        let Some(mut out) = self.outgoing(id).filter(|out| out.conn.is_open()) else {
            return SendStatus::Dropped;
        };
        if !out.has_room(CONTROL) {
            return self.unsent(id, Unsent::Full);
        }
        out.append_other(write);
        out.conn.list_to_write(out.to_write);
        SendStatus::Queued
    }

    // Writing.

    /// The next connection that has something to be written.
    pub(crate) fn next_to_write(&mut self) -> Option<ConnId> {
        let id = self.to_write.pop_front()?;
        if let Some(conn) = self.get_mut(id) {
            conn.writing.delist();
        }
        Some(id)
    }

    /// Writes what waits, as far as the kernel takes it, and puts the connection on the list for
    /// what comes next.
    pub(crate) fn flush(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else { return };
        let waited = !conn.writing.outbox.is_empty();
        match flush(conn, &mut self.spares) {
            Ok(Left::Nothing) => {
                let was_blocked = std::mem::take(&mut conn.writing.blocked);
                if was_blocked {
                    // Nothing was written, which tells nothing of whether it is reached.
                    if conn.is_opening() {
                        conn.writing.blocked = true;
                        return;
                    }
                    conn.took(now, true);
                    self.memory.count(conn);
                }
                if !conn.is_open() {
                    self.written_all(id, waited);
                } else if std::mem::take(&mut conn.writing.pressed) {
                    self.drained.push(id);
                }
                if !was_blocked {
                    return;
                }
                // The next deadline may come sooner than the stall's.
            }
            Ok(left) => {
                let progress = left != Left::Blocked { progress: false };
                let begins = !std::mem::replace(&mut conn.writing.blocked, true);
                if begins {
                    conn.written = now;
                } else if progress {
                    conn.took(now, false);
                }
                // Something may be queued though what TLS itself has to send waits since before.
                if begins || conn.writing.outbox.watched() == 0 {
                    conn.writing.outbox.watch(now);
                }
                if left == Left::Budget {
                    self.unfinished.push(id);
                }
                self.weigh(id);
            }
            Err(error) => return self.write_failed(id, &error),
        }
        self.arm(id);
    }

    #[cold]
    fn write_failed(&mut self, id: ConnId, error: &io::Error) {
        if error.kind() == ErrorKind::BrokenPipe && self.hear_out(id) {
            return;
        }
        // That the peer has gone is no news; that a file shrank is.
        if error.kind() == ErrorKind::UnexpectedEof {
            self.complain(Level::Warn, format_args!("#{} cut short: {error}", id.serial()));
        }
        self.drop_now(id, code::ABNORMAL, &error.to_string());
    }

    /// Schedules the connections whose budget is spent for the next turn.
    pub(crate) fn write_on_next_turn(&mut self) {
        if self.unfinished.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.unfinished) {
            if let Some(conn) = find(&mut self.conns, id) {
                conn.list_to_write(&mut self.to_write);
            }
        }
    }

    /// The next connection that is owed `on_drain`.
    pub(crate) fn next_drained(&mut self) -> Option<ConnId> {
        self.drained.pop()
    }
}

/// Writes of what waits as much as the kernel takes, within the budget.
fn flush(conn: &mut Connection, spares: &mut Spares) -> io::Result<Left> {
    let left = conn.writing.outbox.flush(&mut conn.stream, spares)?;
    if left != Left::Nothing {
        return Ok(left);
    }
    let last = conn.has_last_words();
    let written = if last { conn.stream.close()? } else { conn.stream.flush()? };
    Ok(if written.blocked { Left::Blocked { progress: written.taken > 0 } } else { left })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;
    use crate::net::stream::Stream;

    #[test]
    fn who_takes_much_just_before_being_cut_as_stalled_is_given_the_rest() {
        let mut peers = Peers::new(Config::default());
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let id = peers.admit(Stream::from_fd(ours.into()).unwrap().0, None);
        // More parts than one call takes, and more than the budget that tests have.
        let bytes = Rc::new(vec![b'x'; 5_000]);
        let out = peers.outgoing(id).unwrap();
        for _ in 0..20 {
            out.conn.writing.outbox.append_shared(out.spares, &bytes, 0);
        }
        // As if the kernel had taken nothing for long, and had never announced that it would again.
        out.conn.writing.blocked = true;
        peers.stalled(id);
        peers.write_on_next_turn();
        assert!(peers.has_left_over());
        assert_eq!(peers.next_to_write(), Some(id));
        peers.flush(id);
        peer.read_exact(&mut [0; 100_000]).unwrap();
    }

    #[test]
    fn what_the_kernel_takes_at_once_is_counted_as_written() {
        let mut peers = Peers::new(Config::default());
        peers.add_room();
        let (ours, _peer) = UnixStream::pair().unwrap();
        let id = peers.admit(Stream::from_fd(ours.into()).unwrap().0, None);
        peers.open(id);
        assert_eq!(peers.send(id, (&[0; 20_000][..]).into()), SendStatus::Queued);
        assert_eq!((peers.stats().backlog, peers.stats().bytes_out), (0, 20_004));
    }
}
