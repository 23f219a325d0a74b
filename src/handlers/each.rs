//! A bridge: each connection has a source of its own, and each speaks to the other.

use std::collections::BTreeMap;

use super::cgi_variables;
use crate::{
    Answer, ConnId, Context, Handler, Message, Request, Response, SendStatus, Source, SourceEnd,
    SourceId, code,
};

const NO_ROOM: &str = "as many programs run as may\n";

/// Opens a source for each connection. What the client says goes to the source, and what comes of that
/// to the client: text for each of its lines, or binary messages for its bytes.
///
/// All of it comes, in both directions: who has more than 64 KiB waiting for the other is not read
/// until that is written. Who ends ends the other, behind what is queued: the client is closed with
/// 1000 if its source has ended, and with 1011 and the reason if that could not be had, or failed. A
/// message that is over [`Config::max_backlog`](crate::Config::max_backlog) ends it with 1009.
///
/// A program finds the [CGI variables](cgi_variables) of the request in its environment; there may be
/// [`Config::max_programs`](crate::Config::max_programs), and who comes while there are so many gets 503.
///
/// The subprotocol `binary` is agreed on if it is offered, as noVNC does.
///
/// ```no_run
/// use wsloop::handlers::Each;
/// use wsloop::{Server, Source};
///
/// fn main() -> std::io::Result<()> {
///     let mut server = Server::bind("127.0.0.1:8080")?;
///     server.route("/vnc", Each::new(Source::tcp(([127, 0, 0, 1], 5900).into())));
///     server.run()
/// }
/// ```
#[derive(Debug)]
pub struct Each {
    source: Source,
    sources: BTreeMap<ConnId, SourceId>,
    conns: BTreeMap<SourceId, ConnId>,
}

impl Each {
    /// With this source for each connection.
    pub fn new(source: Source) -> Each {
        Each { source, sources: BTreeMap::new(), conns: BTreeMap::new() }
    }

    /// Passes on what came of a source.
    fn pass<'m>(&self, ws: &mut Context<'_>, source: SourceId, message: impl Into<Message<'m>>) {
        let Some(&conn) = self.conns.get(&source) else { return };
        match ws.send_to(conn, message) {
            SendStatus::Queued => {}
            SendStatus::Backpressure => ws.pause_source(source),
            // What followed would be read as if nothing had been left out.
            SendStatus::Dropped => {
                ws.to(conn).close(code::POLICY, "backlog full");
            }
        }
    }
}

impl Handler for Each {
    fn on_request(&mut self, ws: &mut Context<'_>, request: &Request<'_>) -> Answer {
        if !ws.has_room_for(&self.source) {
            return Answer::Respond(Response::text(503, NO_ROOM).header("Retry-After", "1"));
        }
        super::binary_if_offered(request)
    }

    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        if !super::carries(ws, &self.source) {
            return;
        }
        let opened = match self.source.is_program() {
            true => ws.open(&self.source.clone().envs(cgi_variables(ws, request))),
            false => ws.open(&self.source),
        };
        match opened {
            Ok(source) => {
                self.sources.insert(ws.id(), source);
                self.conns.insert(source, ws.id());
            }
            Err(error) => {
                let end = SourceEnd::Unreachable(&error.to_string()).to_string();
                ws.close(code::INTERNAL_ERROR, &end);
            }
        }
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let Some(&source) = self.sources.get(&ws.id()) else { return };
        match ws.tell(source, message) {
            SendStatus::Queued => {}
            SendStatus::Backpressure => ws.pause(),
            // It has ended, which its connection is about to be told.
            SendStatus::Dropped if !ws.is_source_open(source) => {}
            SendStatus::Dropped => {
                ws.close(code::TOO_BIG, "more than may wait for the other side");
            }
        }
    }

    fn on_source_drain(&mut self, ws: &mut Context<'_>, source: SourceId) {
        if let Some(&conn) = self.conns.get(&source) {
            ws.to(conn).resume();
        }
    }

    fn on_line(
        &mut self,
        ws: &mut Context<'_>,
        source: SourceId,
        line: &str,
    ) -> Result<(), String> {
        self.pass(ws, source, line);
        Ok(())
    }

    fn on_bytes(&mut self, ws: &mut Context<'_>, source: SourceId, bytes: &[u8]) {
        self.pass(ws, source, bytes);
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        if let Some(&source) = self.sources.get(&ws.id()) {
            ws.resume_source(source);
        }
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _: u16, _: &str) {
        if let Some(source) = self.sources.remove(&ws.id()) {
            self.conns.remove(&source);
            ws.close_source(source);
        }
    }

    fn on_source_end(&mut self, ws: &mut Context<'_>, source: SourceId, end: SourceEnd<'_>) {
        // It may have ended because its connection did.
        let Some(conn) = self.conns.remove(&source) else { return };
        self.sources.remove(&conn);
        match end {
            SourceEnd::Ended => ws.to(conn).close(code::NORMAL, ""),
            SourceEnd::Stopped => ws.to(conn).close(code::GOING_AWAY, "the server stops"),
            end => ws.to(conn).close(code::INTERNAL_ERROR, &end.to_string()),
        };
    }
}
