//! The smallest handlers, and bridges, ready to use. The programs in `demo/` have more, to start from.

mod cgi;
mod each;
mod shared;

pub use cgi::cgi_variables;
pub use each::Each;
pub use shared::Shared;

use crate::{Answer, Context, Handler, Message, Request, Source, Version, code};

/// Agrees on the subprotocol `binary` if it is offered, as noVNC does.
fn binary_if_offered(request: &Request<'_>) -> Answer {
    match request.protocols().find(|protocol| *protocol == "binary") {
        Some(protocol) => Answer::Protocol(protocol.to_string()),
        None => Answer::Proceed,
    }
}

/// Whether the client's version carries what comes of the source: Hixie's frames carry text alone. A
/// client for whom it does not is closed.
fn carries(ws: &mut Context<'_>, source: &Source) -> bool {
    let carries = source.is_lines() || !ws.version().is_some_and(Version::is_hixie);
    if !carries {
        ws.close(code::UNSUPPORTED_DATA, "this version of the protocol carries no bytes");
    }
    carries
}

/// Sends every message back untouched.
#[derive(Debug, Default, Clone, Copy)]
pub struct Mirror;

impl Handler for Mirror {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        ws.send(message);
    }
}

/// Sends text back with a few words before it, and binary untouched.
#[derive(Debug, Clone)]
pub struct Echo {
    prefix: String,
}

impl Echo {
    /// An echo with these words before each text.
    pub fn new(prefix: impl Into<String>) -> Echo {
        Echo { prefix: prefix.into() }
    }
}

impl Default for Echo {
    /// `echo: ` before each text.
    fn default() -> Echo {
        Echo::new("echo: ")
    }
}

impl Handler for Echo {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        match message {
            Message::Text(text) => {
                let mut answer = String::new();
                let len = self.prefix.len().saturating_add(text.len());
                // The copy of a large message can be more than the system has.
                if answer.try_reserve_exact(len).is_err() {
                    ws.close(code::INTERNAL_ERROR, "no memory for the answer");
                    return;
                }
                answer.push_str(&self.prefix);
                answer.push_str(text);
                ws.send(&answer);
            }
            Message::Binary(_) => {
                ws.send(message);
            }
        }
    }
}

/// Sends what comes of feeds to everyone on the route. What clients say is not looked at; what comes by
/// POST, where that is allowed, is sent to everyone too.
#[derive(Debug, Default, Clone, Copy)]
pub struct Feed;

impl Handler for Feed {
    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// Sends every message to everyone on the route, its sender included.
#[derive(Debug, Default, Clone, Copy)]
pub struct Broadcast;

impl Handler for Broadcast {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        ws.broadcast(message);
    }
}
