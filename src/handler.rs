//! What a program does with its connections.

use crate::context::Context;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::ids::SourceId;
use crate::proto::Message;

/// The callbacks of one route. There is one handler for all connections on it, and it is called
/// by one thread: its state is plain fields.
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
/// connection that opens, whichever way it ends, and nothing is called for it after `on_close`.
/// What a callback sends is written when the turn ends.
pub trait Handler {
    /// A request for this path: to open a WebSocket, or plain HTTP. Called before anything is
    /// answered; `ws` has no connection to send to yet. By default WebSockets are opened, without
    /// a subprotocol, and plain HTTP is left to the site.
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

    /// A pong, with the payload of the ping it answers, 125 bytes at most; those that answer the
    /// server's own pings, which are empty, come here too. Pings are answered by the server.
    fn on_pong(&mut self, ws: &mut Context<'_>, payload: &[u8]) {
        let _ = (ws, payload);
    }

    /// After [`SendStatus::Backpressure`](crate::SendStatus::Backpressure), or a message dropped
    /// because the backlog was full: everything that waited has been written. Where nothing
    /// waited, for the message was over the limit by itself, this is called after the next one.
    fn on_drain(&mut self, ws: &mut Context<'_>) {
        let _ = ws;
    }

    /// The connection has ended. `code` is the peer's close code; [`NO_STATUS`](crate::code::NO_STATUS)
    /// if its close named none, [`ABNORMAL`](crate::code::ABNORMAL) if it ended without a closing
    /// handshake, or the code sent to a peer that broke a rule or a limit. Sending to `ws` does
    /// nothing; sending to others works.
    fn on_close(&mut self, ws: &mut Context<'_>, code: u16, reason: &str) {
        let _ = (ws, code, reason);
    }

    /// A timer set by [`Context::set_timer`] has fired.
    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        let _ = (ws, tag);
    }

    /// A line has come from a source that feeds this route ([`Server::feed`](crate::Server::feed)).
    /// `ws` belongs to no connection. By default the line is sent to everyone on the route.
    ///
    /// # Errors
    /// What is wrong with the line; the source is told, with the line's number, and goes on.
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

    /// A source has ended; its last line was handed over before.
    fn on_source_end(&mut self, ws: &mut Context<'_>, source: SourceId) {
        let _ = (ws, source);
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
    /// Open the WebSocket without a subprotocol; leave plain HTTP to the site.
    Proceed,
    /// Open the WebSocket with this subprotocol, which must be one of those the client offers
    /// ([`Request::protocols`]); any other is left out. Plain HTTP is left to the site.
    Protocol(String),
    /// Send this response. It refuses a WebSocket, and then ends the connection.
    Respond(Response),
}

impl<F: FnMut(&mut Context<'_>, Message<'_>)> Handler for F {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        self(ws, message)
    }
}
