//! From the socket to the handler: reads what a connection has sent, cuts it into heads, frames or
//! lines, and hands these over, until the connection's share of the turn is used up.

use std::io;

use log::debug;

use super::Dispatcher;
use crate::context::Context;
use crate::handler::Handler;
use crate::http::response::Response;
use crate::ids::{ConnId, RouteId};
use crate::net::transfer::Received;
use crate::peers::Peers;
use crate::peers::connection::Connection;
use crate::peers::inbox::Inbox;
use crate::proto::Event;
use crate::proto::close::code;

/// Most reads from one connection in a turn, so that a busy peer starves nobody. They share
/// [`Config::read_budget`](crate::Config::read_budget).
const READS_PER_TURN: usize = 4;
/// Most bytes inflated from one read: a few compressed bytes may become a thousand times as many.
const INFLATE_BUDGET: usize = 1024 * 1024;

impl Dispatcher {
    /// Reads what a connection has sent, within the budget; the rest is read next turn. `receive`
    /// is the buffer that all connections share.
    pub(super) fn read(&mut self, id: ConnId, receive: &mut [u8]) {
        if let Some(mut unread) = self.peers.take_unread(id) {
            self.process(id, &mut unread);
        }
        let mut budget = self.peers.config.read_budget.max(1);
        for _ in 0..READS_PER_TURN {
            let most = budget.min(receive.len());
            let room = receive.get_mut(..most).unwrap_or_default();
            let Some(count) = self.read_once(id, room) else { break };
            budget = budget.saturating_sub(count);
            if budget == 0 {
                break;
            }
        }
        self.peers.end_reading(id);
    }

    /// Reads once. Returns how many bytes came, if there may be more to read now.
    fn read_once(&mut self, id: ConnId, receive: &mut [u8]) -> Option<usize> {
        match self.peers.read(id, receive)? {
            Ok(Received::Bytes { count, more }) => {
                self.process(id, receive.get_mut(..count).unwrap_or_default());
                more.then_some(count)
            }
            // Part of a large message, read straight to its place.
            Ok(Received::Onto { count, more }) => {
                let mut behind = self.peers.landed(id, count);
                self.process(id, &mut behind);
                more.then_some(count)
            }
            Ok(Received::Nothing { more }) => more.then_some(0),
            Ok(Received::End) => {
                self.process_last_line(id);
                self.peers.read_ended(id);
                None
            }
            Err(error) => self.read_failed(id, &error),
        }
    }

    /// Returns the same as [`read_once`](Dispatcher::read_once).
    #[inline(never)]
    fn read_failed(&mut self, id: ConnId, error: &io::Error) -> Option<usize> {
        match error.kind() {
            io::ErrorKind::Interrupted => return Some(0),
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::Unsupported => self.peers.refuse(id, plain_http(), false),
            _ => {
                debug!("#{} lost: {error}", id.serial());
                self.peers.drop_now(id, code::ABNORMAL, &error.to_string());
            }
        }
        None
    }

    /// Processes bytes that were read: all of them, unless the connection has to wait. There may be
    /// none, when a read has completed a large message in its own place.
    fn process(&mut self, id: ConnId, input: &mut [u8]) {
        let mut rest = input;
        loop {
            let Some(conn) = self.peers.get_mut(id) else { return };
            if conn.has_to_wait() {
                return conn.put_aside(rest);
            }
            rest = match &conn.inbox {
                Inbox::Head(_) => self.process_head(id, rest),
                Inbox::Challenge(_) => self.process_challenge(id, rest),
                Inbox::Frames(_) => self.process_frames(id, rest),
                Inbox::Lines(_) => return self.process_lines(id, rest),
                Inbox::Lent | Inbox::Discard => return,
            };
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Cuts frames out of the input and calls the handler for each message. The decoder is out of
    /// the connection meanwhile, so that the handler can reach every connection, this one too.
    /// Returns what has to wait, because the handler paused this one, or because so much was
    /// inflated that the others must have their turn.
    fn process_frames<'i>(&mut self, id: ConnId, mut input: &'i mut [u8]) -> &'i mut [u8] {
        let limits = self.peers.config.limits();
        let Some(conn) = self.peers.get_mut(id) else { return &mut [] };
        let (route, mut open) = (conn.route, conn.is_open());
        let mut share = conn.deflate.map(|_| INFLATE_BUDGET);
        let Some(handler) = self.routes.handler(route) else { return &mut [] };
        let mut inbox = std::mem::replace(&mut conn.inbox, Inbox::Lent);
        let Inbox::Frames(decoder) = &mut inbox else { return &mut [] };
        while let Some(event) = decoder.next(&mut input, &limits, self.peers.pool()) {
            if let (Some(share), Event::Message(message)) = (&mut share, &event) {
                *share = share.saturating_sub(message.as_bytes().len());
            }
            // What was sent before the peer saw our close is dropped, as the browser drops it.
            if open || !matches!(event, Event::Message(_) | Event::Pong(_)) {
                hand_over(handler, &mut self.peers, id, route, event);
            }
            let lent = |conn: &&Connection| matches!(conn.inbox, Inbox::Lent);
            let Some(conn) = self.peers.get(id).filter(lent) else { return &mut [] };
            if conn.is_paused() {
                break;
            }
            open = conn.is_open();
            if share == Some(0) {
                self.peers.sate(id);
                break;
            }
        }
        decoder.release(self.peers.pool());
        self.peers.return_inbox(id, inbox);
        input
    }
}

/// Hands one event of the decoder to the handler, or to the peers' state.
fn hand_over(
    handler: &mut dyn Handler,
    peers: &mut Peers,
    id: ConnId,
    route: RouteId,
    event: Event<'_>,
) {
    match event {
        Event::Message(message) => {
            peers.stats.messages_in = peers.stats.messages_in.wrapping_add(1);
            handler.on_message(&mut Context::new(peers, id, route), message);
        }
        Event::Pong(payload) => handler.on_pong(&mut Context::new(peers, id, route), payload),
        Event::Ping(payload) => peers.pong(id, payload),
        Event::Close(close) => peers.close_received(id, close),
        Event::Failed(violation) => peers.violated(id, violation),
    }
}

/// The answer to plain HTTP on a port for TLS.
fn plain_http() -> Response {
    Response::text(400, "TLS is spoken on this port: the address begins with https:// or wss://\n")
}
