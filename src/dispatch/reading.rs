//! From the socket to the handler: reads what a connection has sent, cuts it into heads, frames or
//! lines, and hands these over, until the connection's share of the turn is used up.

use std::io;

use log::debug;

use super::Dispatcher;
use crate::context::Context;
use crate::handler::Handler;
use crate::http::response::Response;
use crate::ids::{ConnId, RouteId, SourceId};
use crate::net::transfer::Received;
use crate::peers::Peers;
use crate::peers::connection::Connection;
use crate::peers::inbox::Inbox;
use crate::proto::Event;
use crate::proto::close::code;

/// Most reads from one connection in a turn, so that a busy peer starves nobody. They share
/// [`Config::read_budget`](crate::Config::read_budget).
const READS_PER_TURN: usize = 4;
/// Most work that what came with one read may cause; see [`Peers::work`]. A few bytes may be many
/// messages, each of which its handler sends to everybody, or may inflate to a thousand times as many.
pub(super) const WORK_BUDGET: u64 = 4096;

impl Dispatcher {
    /// Reads what a connection has sent, within the budget; the rest is read next turn. `receive`
    /// is the buffer that all connections share.
    pub(super) fn read(&mut self, id: ConnId, receive: &mut [u8]) {
        if let Some(mut unread) = self.peers.take_unread(id) {
            self.peers.weigh(id);
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
            Ok(Received::HalfEnd) => {
                self.process_last_line(id);
                self.peers.end_source(SourceId(id));
                None
            }
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
        // Room may have been made for more of a message, of which nothing came.
        self.peers.weigh_again(id);
        match error.kind() {
            io::ErrorKind::Interrupted => return Some(0),
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::Unsupported => {
                self.peers.tls_is_not_spoken();
                self.peers.refuse(id, plain_http(), false);
            }
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
                return self.peers.put_aside(id, rest);
            }
            rest = match &conn.inbox {
                Inbox::Frames(_) => self.process_frames(id, rest),
                _ => self.process_others(id, rest),
            };
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Processes what are no frames. Returns what of it is left, and nothing if that is not looked at.
    #[inline(never)]
    fn process_others<'i>(&mut self, id: ConnId, rest: &'i mut [u8]) -> &'i mut [u8] {
        match self.peers.get(id).map(|conn| &conn.inbox) {
            Some(Inbox::Head(_)) => self.process_head(id, rest),
            Some(Inbox::Challenge(_)) => self.process_challenge(id, rest),
            Some(Inbox::Post(_)) => self.process_post(id, rest),
            Some(Inbox::Lines(_)) => self.process_lines(id, rest),
            Some(Inbox::Bytes) => self.process_bytes(id, rest),
            Some(Inbox::Frames(_) | Inbox::Lent | Inbox::Discard) | None => &mut [],
        }
    }

    /// Cuts frames out of the input and calls the handler for each message. The decoder is out of
    /// the connection meanwhile, so that the handler can reach every connection, this one too.
    /// Gives back what has to wait because the handler paused this one, or because it caused so much
    /// work that it is the others' turn; the decoder takes back the last message then, since the next
    /// call may be long in coming.
    fn process_frames<'i>(&mut self, id: ConnId, mut input: &'i mut [u8]) -> &'i mut [u8] {
        let limits = self.peers.config.limits();
        let Some(conn) = self.peers.get_mut(id) else { return &mut [] };
        let (route, mut open) = (conn.route, conn.is_open());
        let Some(handler) = self.routes.handler(route) else { return &mut [] };
        let mut inbox = std::mem::replace(&mut conn.inbox, Inbox::Lent);
        let Inbox::Frames(decoder) = &mut inbox else { return &mut [] };
        let enough = self.peers.work().wrapping_add(WORK_BUDGET);
        while let Some(event) = decoder.next(&mut input, &limits, self.peers.pool()) {
            // What was sent before the peer saw our close is dropped, as the browser drops it.
            if open || !matches!(event, Event::Message(_) | Event::Pong(_)) {
                hand_over(handler, &mut self.peers, id, route, event);
            }
            if self.peers.take_changed() {
                let lent = |conn: &&Connection| matches!(conn.inbox, Inbox::Lent);
                let Some(conn) = self.peers.get(id).filter(lent) else { return &mut [] };
                if conn.is_paused() {
                    decoder.take_back(self.peers.pool());
                    break;
                }
                open = conn.is_open();
            }
            if self.peers.work() >= enough {
                decoder.take_back(self.peers.pool());
                self.peers.sate(id);
                break;
            }
        }
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
        Event::Begun(time) => peers.message_begun(id, time),
        Event::Ping(payload) => peers.pong(id, payload),
        Event::Close(close) => peers.close_received(id, close),
        Event::Failed(violation) => peers.violated(id, violation),
    }
}

/// The answer to plain HTTP on a port for TLS.
fn plain_http() -> Response {
    Response::text(400, "TLS is spoken on this port: the address begins with https:// or wss://\n")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::proto::Message;
    use crate::server::Server;

    /// A server with one client, on a WebSocket that is open.
    fn with_client(config: Config, handler: impl Handler + 'static) -> (Server, UnixStream) {
        let mut server = Server::new(config).unwrap();
        server.route("/", handler);
        let (ours, mut peer) = UnixStream::pair().unwrap();
        server.adopt(ours.into(), b"").unwrap();
        peer.write_all(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Extensions: permessage-deflate\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .unwrap();
        turn(&mut server);
        assert_eq!(server.stats().opened, 1);
        (server, peer)
    }

    fn turn(server: &mut Server) {
        server.turn(Some(Duration::ZERO)).unwrap();
    }

    #[test]
    fn limits_without_bounds_serve_a_request_and_a_message() {
        let config = Config {
            max_head: usize::MAX,
            max_headers: usize::MAX,
            max_message: usize::MAX,
            max_backlog: usize::MAX,
            max_events: usize::MAX,
            read_budget: usize::MAX,
            max_fragments: u32::MAX,
            max_connections: Some(usize::MAX),
            ..Config::default()
        };
        let sum = Rc::default();
        let (mut server, mut peer) = with_client(config, counting(&sum));
        // Whole, in two fragments, and one of which no more comes than its beginning.
        peer.write_all(b"\x82\x81\0\0\0\0a\x02\x81\0\0\0\0b\x80\x81\0\0\0\0c").unwrap();
        peer.write_all(&[&[0x82, 0xff][..], &(1_u64 << 28).to_be_bytes(), b"\0\0\0\0d"].concat())
            .unwrap();
        turn(&mut server);
        assert_eq!((sum.get(), server.stats().closed), (3, 0));
        let held = server.held();
        assert!((1..=2 + 64 * 1024).contains(&held), "{held}");
    }

    /// Adds up the lengths of the messages that come.
    fn counting(sum: &Rc<Cell<usize>>) -> impl Handler + use<> {
        let sum = Rc::clone(sum);
        move |_: &mut Context<'_>, message: Message<'_>| {
            sum.set(sum.get() + message.as_bytes().len());
        }
    }

    #[cfg(feature = "deflate")]
    fn deflating() -> Config {
        let deflate = Some(crate::proto::deflate::Deflate::default());
        Config { deflate, max_message: 32 << 20, ..Config::default() }
    }

    /// A message of so many zeros, compressed, in one frame.
    #[cfg(feature = "deflate")]
    fn deflated(len: usize) -> Vec<u8> {
        let (mut payload, mut deflater) = (vec![0; 64_000], zlib_rs::Deflate::new(9, false, 15));
        let zeros = vec![0; len];
        deflater.compress(&zeros, &mut payload, zlib_rs::DeflateFlush::SyncFlush).unwrap();
        assert_eq!(deflater.total_in(), len as u64);
        let made = deflater.total_out() as u16 - 4;
        payload.truncate(usize::from(made));
        [&[0xc2, 0xfe][..], &made.to_be_bytes(), &[0; 4], &payload].concat()
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn messages_that_inflate_to_much_are_taken_in_over_several_turns() {
        let sum = Rc::default();
        let (mut server, mut peer) = with_client(deflating(), counting(&sum));
        peer.write_all(&deflated(400_000).repeat(20)).unwrap();
        for turns in 1..=20 {
            turn(&mut server);
            // Each of them is enough for a turn.
            assert_eq!(sum.get(), 400_000 * turns);
            assert_eq!(server.poll_timeout() == Some(Duration::ZERO), turns < 20);
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn nothing_is_kept_of_a_message_that_used_up_what_may_be_inflated() {
        for messages in [&[WORK_BUDGET as usize * 64][..], &[200_000, 200_000], &[16 << 20]] {
            let sum = Rc::default();
            let (mut server, mut peer) = with_client(deflating(), counting(&sum));
            let bytes: Vec<u8> = messages.iter().flat_map(|len| deflated(*len)).collect();
            peer.write_all(&bytes).unwrap();
            turn(&mut server);
            assert_eq!(sum.get(), messages.iter().sum::<usize>());
            assert_eq!(server.held(), 0, "{messages:?}");
        }
    }

    /// Reads nothing after a message until its timer fires.
    struct Pausing(Rc<Cell<bool>>);

    impl Handler for Pausing {
        fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
            assert_eq!(message.as_bytes().len(), 200_000);
            ws.pause();
            ws.set_timer(Duration::ZERO, 0);
        }

        fn on_timer(&mut self, ws: &mut Context<'_>, _: u64) {
            ws.resume();
            self.0.set(true);
        }
    }

    #[test]
    fn nothing_is_kept_of_a_message_in_fragments_whose_handler_pauses() {
        let resumed = Rc::new(Cell::new(false));
        let (mut server, mut peer) = with_client(Config::default(), Pausing(Rc::clone(&resumed)));
        let half = [&[0x02, 0xff][..], &100_000_u64.to_be_bytes(), &[0; 100_004]].concat();
        let mut halves = half.repeat(2);
        halves[half.len()] = 0x80;
        let writer = std::thread::spawn(move || {
            peer.write_all(&halves).unwrap();
            peer
        });
        while server.stats().messages_in == 0 {
            server.turn(None).unwrap();
        }
        assert_eq!(server.held(), 0, "paused");
        while !resumed.get() {
            server.turn(None).unwrap();
        }
        turn(&mut server);
        assert_eq!(server.held(), 0, "resumed");
        drop(writer.join().unwrap());
    }
}
