//! What a program does with its connections.

use crate::context::Context;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::ids::SourceId;
use crate::proto::Message;
use crate::source::SourceEnd;

/// The callbacks of one route. One handler serves all its connections, and only one thread calls
/// it: its state can be plain fields.
///
/// A closure that takes a [`Context`] and a [`Message`] is a handler too.
///
/// ```
/// use wsloop::{Context, Handler, Message, Request};
///
/// #[derive(Default)]
/// struct Counter {
///     visits: u64,
/// }
///
/// impl Handler for Counter {
///     fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
///         self.visits += 1;
///         ws.send(&format!("you are visitor {}", self.visits));
///     }
///
///     fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
/// }
/// ```
///
/// [`on_open`](Handler::on_open) and [`on_close`](Handler::on_close) are called once each for every
/// connection that opens, whichever way it ends; nothing is called for it after `on_close`. What a
/// callback sends is written when the turn ends. Of those who listen by plain HTTP
/// ([`Server::events`](crate::Server::events)) a handler is told nothing but their request.
pub trait Handler {
    /// The handler was given its route ([`Server::route`](crate::Server::route)): called once, before
    /// anything else. `ws` belongs to no connection.
    fn on_start(&mut self, ws: &mut Context<'_>) {
        let _ = ws;
    }

    /// A request for this path: to open a WebSocket, or plain HTTP. Called before anything is
    /// answered; `ws` is not open yet, so nothing can be sent to it. By default WebSockets are
    /// opened, without a subprotocol, and plain HTTP is left to what the route offers to it
    /// ([`Server::events`](crate::Server::events), [`Server::publish`](crate::Server::publish)) and to
    /// the site.
    fn on_request(&mut self, ws: &mut Context<'_>, request: &Request<'_>) -> Answer {
        let _ = (ws, request);
        Answer::Proceed
    }

    /// The opening handshake is done; messages can be sent.
    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let _ = (ws, request);
    }

    /// One whole message. It is borrowed from the receive buffer: copy what must be kept.
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>);

    /// A message has come by plain HTTP, a POST to this path, where that is allowed
    /// ([`Server::publish`](crate::Server::publish)); [`on_request`](Handler::on_request) was asked
    /// before. `ws` is not open, so nothing can be sent to it. By default the message is sent to
    /// everyone on the route.
    fn on_publish(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        ws.broadcast(message);
    }

    /// A pong has come, with the payload of the ping it answers, 125 bytes at most. Answers to the
    /// server's own pings, which are empty, come here too. The server answers pings by itself.
    fn on_pong(&mut self, ws: &mut Context<'_>, payload: &[u8]) {
        let _ = (ws, payload);
    }

    /// Everything that waited has been written, after
    /// [`SendStatus::Backpressure`](crate::SendStatus::Backpressure) or after a message was dropped
    /// because the backlog was full. If nothing waited then, because the message alone was over the
    /// limit, this is called after the next message.
    fn on_drain(&mut self, ws: &mut Context<'_>) {
        let _ = ws;
    }

    /// The connection has ended. `code` is the peer's close code;
    /// [`NO_STATUS`](crate::code::NO_STATUS) if its close frame had none,
    /// [`ABNORMAL`](crate::code::ABNORMAL) if it ended without a closing handshake, or the code
    /// sent to a peer that broke a rule or a limit. Sending to `ws` does nothing; sending to others
    /// works.
    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        let _ = (ws, code, reason);
    }

    /// A timer set by [`Context::set_timer`] has fired.
    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        let _ = (ws, tag);
    }

    /// A line has come from a source of this route: one that feeds it
    /// ([`Server::feed`](crate::Server::feed)), or that was [opened](Context::open) for lines.
    /// `ws` belongs to no connection. By default the line is sent to everyone on the route.
    ///
    /// # Errors
    /// What is wrong with the line. A source that came by a feed is told, with the line's number, and
    /// may go on; for one that was opened, the log is.
    fn on_line(
        &mut self,
        ws: &mut Context<'_>,
        source: SourceId,
        line: &str,
    ) -> Result<(), String> {
        let _ = source;
        ws.broadcast(line);
        Ok(())
    }

    /// Bytes have come from a source that was [opened](Context::open) for bytes; they are cut anywhere.
    /// `ws` belongs to no connection. By default they are sent to everyone on the route.
    fn on_bytes(&mut self, ws: &mut Context<'_>, source: SourceId, bytes: &[u8]) {
        let _ = source;
        ws.broadcast(bytes);
    }

    /// As [`on_drain`](Handler::on_drain), for what a source was [told](Context::tell).
    fn on_source_drain(&mut self, ws: &mut Context<'_>, source: SourceId) {
        let _ = (ws, source);
    }

    /// A source has ended, for this reason; all that came of it was handed over before. Called once for
    /// each that came by a feed, and for each that was [opened](Context::open), reached or not.
    fn on_source_end(&mut self, ws: &mut Context<'_>, source: SourceId, end: SourceEnd<'_>) {
        let _ = (ws, source, end);
    }

    /// [`Remote::wake`](crate::Remote::wake) was called, once or more. `ws` belongs to no
    /// connection, but [`broadcast`](Context::broadcast) and [`send_to`](Context::send_to) work.
    fn on_wake(&mut self, ws: &mut Context<'_>) {
        let _ = ws;
    }
}

/// What a handler makes of a request.
#[derive(Debug)]
pub enum Answer {
    /// Open the WebSocket without a subprotocol; answer plain HTTP with what the route offers to it, and
    /// leave the rest to the site.
    Proceed,
    /// Open the WebSocket with this subprotocol, which must be one of those the client offers
    /// ([`Request::protocols`]); any other is ignored. To plain HTTP it says no
    /// more than [`Proceed`](Answer::Proceed).
    Protocol(String),
    /// Send this response. To a request for a WebSocket it is a refusal, and ends the connection.
    Respond(Response),
}

impl<F: FnMut(&mut Context<'_>, Message<'_>)> Handler for F {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self(ws, message)
    }
}
