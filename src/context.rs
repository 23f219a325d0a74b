//! What a callback may do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::http::request::Request;
use crate::ids::{ConnId, RouteId, SourceId};
use crate::peers::Peers;
#[cfg(feature = "capi")]
use crate::peers::connection::Connection;
use crate::peers::connection::ReadyState;
use crate::peers::sending::SendStatus;
use crate::peers::time::{Timer, TimerId};
use crate::proto::close::code;
use crate::proto::{Message, Version};
use crate::source::Source;
use crate::stats::Stats;

/// Passed to every callback: the connection it is about, and through it the others.
///
/// Nothing here blocks, and nothing here calls a handler. Messages are queued, and written when the
/// turn ends; connections end then too.
#[derive(Debug)]
pub struct Context<'a> {
    peers: &'a mut Peers,
    id: ConnId,
    route: RouteId,
}

impl<'a> Context<'a> {
    pub(crate) fn new(peers: &'a mut Peers, id: ConnId, route: RouteId) -> Context<'a> {
        Context { peers, id, route }
    }

    /// The name of this connection. It may be kept, and is harmless after the connection has gone.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// A context of another connection, whichever route it is on.
    pub fn to(&mut self, id: ConnId) -> Context<'_> {
        let opened = self.peers.get(id).filter(|c| c.is_websocket() || c.is_listener());
        let route = opened.map_or(self.route, |conn| conn.route);
        Context::new(self.peers, id, route)
    }

    /// A context of this route without a connection: timers set through it outlive this connection,
    /// and fire without one.
    pub fn of_route(&mut self) -> Context<'_> {
        Context::new(self.peers, ConnId::NONE, self.route)
    }

    /// A context of any connection and any route.
    #[cfg(feature = "capi")]
    pub(crate) fn at(&mut self, id: ConnId, route: RouteId) -> Context<'_> {
        Context::new(self.peers, id, route)
    }

    /// Whether the connection still exists, even if it is ending.
    #[cfg(feature = "capi")]
    pub(crate) fn is_known(&self) -> bool {
        self.peers.get(self.id).is_some()
    }

    /// Writes a line to the log that a peer can cause as often as it likes.
    #[cfg(feature = "capi")]
    pub(crate) fn complain(&mut self, level: log::Level, line: std::fmt::Arguments<'_>) {
        self.peers.complain(level, line);
    }

    /// A source whose end was not reported yet.
    #[cfg(feature = "capi")]
    pub(crate) fn source(&self, source: SourceId) -> Option<&Connection> {
        self.peers.source(source)
    }

    /// Whether the server stops.
    #[cfg(feature = "capi")]
    pub(crate) fn is_stopping(&self) -> bool {
        self.peers.is_stopping()
    }

    /// How many routes there are.
    #[cfg(feature = "capi")]
    pub(crate) fn routes(&self) -> RouteId {
        self.peers.routes()
    }

    /// What the server counts about itself.
    pub fn stats(&self) -> Stats {
        self.peers.stats()
    }

    /// Queues a message for this connection.
    ///
    /// [`SendStatus::Dropped`] if the connection is not open, its protocol version is a Hixie one, or
    /// it listens by plain HTTP, and the message is binary, the backlog would grow over [`Config::max_backlog`]
    /// (see [`Config::on_full`]), or there is no memory for the message: then the connection ends
    /// with 1011, or with 1006 if a part of the message is written already.
    ///
    /// [`Config::max_backlog`]: crate::Config::max_backlog
    /// [`Config::on_full`]: crate::Config::on_full
    pub fn send<'m>(&mut self, message: impl Into<Message<'m>>) -> SendStatus {
        self.peers.send(self.id, message.into())
    }

    /// Queues a message for another connection, on this route or any other.
    pub fn send_to<'m>(&mut self, id: ConnId, message: impl Into<Message<'m>>) -> SendStatus {
        self.peers.send(id, message.into())
    }

    /// Queues a message for everyone on this route, this connection included. Connections that
    /// cannot take it are passed over or end, as [`send`](Context::send) says.
    pub fn broadcast<'m>(&mut self, message: impl Into<Message<'m>>) {
        self.peers.broadcast(self.route, message.into(), ConnId::NONE);
    }

    /// Queues a message for everyone on this route but this connection.
    pub fn broadcast_to_others<'m>(&mut self, message: impl Into<Message<'m>>) {
        self.peers.broadcast(self.route, message.into(), self.id);
    }

    /// The open connections on this route, in no particular order, and whoever listens there by plain
    /// HTTP ([`Server::events`](crate::Server::events)).
    pub fn members(&self) -> &[ConnId] {
        self.peers.members(self.route)
    }

    /// Queues a ping with up to 125 bytes; the rest of `payload` is cut off. The answer comes to
    /// [`on_pong`](crate::Handler::on_pong). Dropped in the Hixie versions, which have no ping; a
    /// comment, without payload and answer, for who listens by plain HTTP.
    pub fn ping(&mut self, payload: &[u8]) -> SendStatus {
        self.peers.ping(self.id, payload)
    }

    /// Queues a close frame behind what waits, and so starts the closing handshake. `reason` is cut
    /// to 123 bytes.
    ///
    /// Returns false and does nothing if the connection is not open, or if the code may not be
    /// sent: only 1000 to 1003, 1007 to 1014 and 3000 to 4999 may (RFC 6455 section 7.4).
    pub fn close(&mut self, code: u16, reason: &str) -> bool {
        self.peers.close(self.id, code, reason)
    }

    /// Ends the connection without a closing handshake, and drops what is queued. The kernel may
    /// have taken a part already of a large message (16 KiB and more), or of broadcasts that came
    /// to over 64 KiB in this turn.
    pub fn terminate(&mut self) {
        self.peers.drop_now(self.id, code::ABNORMAL, "terminated");
    }

    /// Stops reading from this connection until [`resume`](Context::resume): TCP then slows the
    /// peer down. Meanwhile the peer is neither pinged nor dropped for its silence, and its end is
    /// not noticed unless something is sent to it.
    pub fn pause(&mut self) {
        self.peers.pause(self.id);
    }

    /// Reads on after [`pause`](Context::pause).
    pub fn resume(&mut self) {
        self.peers.resume(self.id);
    }

    /// Calls [`on_timer`](crate::Handler::on_timer) with `tag` once, not before `after` has passed,
    /// and not if the connection has ended by then.
    pub fn set_timer(&mut self, after: Duration, tag: u64) -> TimerId {
        let at = self.peers.clock.after(after);
        self.peers.timers.set(at, Timer { conn: self.id, route: self.route, tag })
    }

    /// Clears a timer. If it has fired or was cleared before, nothing happens.
    pub fn clear_timer(&mut self, timer: TimerId) {
        self.peers.timers.clear(timer);
    }

    /// Opens a source, for this route: what comes of it is handed to the route's handler, by
    /// [`on_line`](crate::Handler::on_line) or [`on_bytes`](crate::Handler::on_bytes), and so is
    /// [how it ends](crate::Handler::on_source_end), even if it is never reached. It may be told
    /// something at once; that waits until it is reached.
    ///
    /// It counts as a connection where these are limited.
    ///
    /// # Errors
    /// If the system has no socket, or no path to the source, if there is no [room for
    /// it](Context::has_room_for), and if the server stops. Nothing is called then.
    pub fn open(&mut self, source: &Source) -> io::Result<SourceId> {
        self.peers.open_source(source, self.route)
    }

    /// Whether one more source like this may be opened: of programs there may be
    /// [`Config::max_programs`](crate::Config::max_programs).
    pub fn has_room_for(&self, source: &Source) -> bool {
        self.peers.has_room_for(source)
    }

    /// Whether a source takes what it is told: it has not ended, and is not to.
    pub fn is_source_open(&self, source: SourceId) -> bool {
        self.peers.takes_words(source)
    }

    /// Queues something for a source, on this route or any other: bytes for one that was opened for
    /// bytes, a line for any other, to which a line end is added.
    ///
    /// [`SendStatus::Dropped`] if the source has ended or [is to](Context::end_source), its backlog
    /// would grow over [`Config::max_backlog`](crate::Config::max_backlog), there is no memory for it,
    /// or it is standard input. The source stays, and after what did not fit
    /// [`on_source_drain`](crate::Handler::on_source_drain) is called once there is room.
    pub fn tell<'m>(&mut self, source: SourceId, message: impl Into<Message<'m>>) -> SendStatus {
        self.peers.tell(source, message.into())
    }

    /// Ends what a source is told, behind what is queued for it. What still comes of it is handed over
    /// until it ends as well; one that is silent for [`Config::close_timeout`] is cut, and every one
    /// after twelve times as long. A device ends at once, both ways.
    ///
    /// [`Config::close_timeout`]: crate::Config::close_timeout
    pub fn end_source(&mut self, source: SourceId) {
        self.peers.end_source(source);
    }

    /// Ends a source both ways: what it was told is written, and nothing that still comes of it is
    /// handed over. [`on_source_end`](crate::Handler::on_source_end) follows.
    pub fn close_source(&mut self, source: SourceId) {
        self.peers.close_source(source, code::NORMAL, "");
    }

    /// Stops reading from a source until [`resume_source`](Context::resume_source): it is slowed
    /// down, and its end is not noticed. It may be paused before it is reached, and after
    /// [`end_source`](Context::end_source), when its silence is not counted; but not after
    /// [`close_source`](Context::close_source).
    pub fn pause_source(&mut self, source: SourceId) {
        self.peers.pause(source.0);
    }

    /// Reads on after [`pause_source`](Context::pause_source).
    pub fn resume_source(&mut self, source: SourceId) {
        self.peers.resume(source.0);
    }

    /// Bytes queued for a source that the kernel has not taken yet.
    pub fn source_buffered_amount(&self, source: SourceId) -> usize {
        self.peers.untold(source)
    }

    /// Bytes queued for this connection that the kernel has not taken yet.
    pub fn buffered_amount(&self) -> usize {
        self.peers.get(self.id).map_or(0, |conn| self.peers.backlog(conn))
    }

    /// The value that the program keeps with this connection, such as an index or a key; 0 if none
    /// was set. It can still be read in [`on_close`](crate::Handler::on_close).
    pub fn data(&self) -> usize {
        self.peers.get(self.id).and_then(|conn| conn.extras()).map_or(0, |extras| extras.data)
    }

    /// Keeps a value with this connection, for [`data`](Context::data). False if the connection has
    /// gone.
    pub fn set_data(&mut self, data: usize) -> bool {
        let conn = self.peers.get_mut(self.id);
        conn.map(|conn| conn.extras_mut().data = data).is_some()
    }

    /// Where the connection stands; [`ReadyState::Closed`] if it has gone.
    pub fn ready_state(&self) -> ReadyState {
        self.peers.get(self.id).map_or(ReadyState::Closed, |conn| conn.ready_state())
    }

    /// The protocol version; `None` before the handshake is accepted, once the connection has gone,
    /// and for who listens by plain HTTP.
    pub fn version(&self) -> Option<Version> {
        let conn = self.peers.get(self.id)?;
        let shaken = conn.ready_state() != ReadyState::Connecting && !conn.is_listener();
        shaken.then_some(conn.version)
    }

    /// The subprotocol chosen in [`on_request`](crate::Handler::on_request), if any.
    pub fn protocol(&self) -> Option<&str> {
        self.peers.get(self.id)?.extras()?.protocol.as_deref()
    }

    /// Whether the client's connection is TLS: here, or in a proxy in front, as far as
    /// [`Config::secure_proxy`](crate::Config::secure_proxy) or
    /// [`Config::trust_proxy`](crate::Config::trust_proxy) lets that be known by its request.
    pub fn is_secure(&self, request: &Request<'_>) -> bool {
        self.peers.is_secure(self.id, request)
    }

    /// The client's address: that of its socket, or what the proxy says if
    /// [`Config::trust_proxy`](crate::Config::trust_proxy) is set (the port is 0 then). An IPv4 client
    /// has an IPv4 address, also on a socket for IPv6. `None` on a Unix socket.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peers.get(self.id)?.addr.get()
    }
}
