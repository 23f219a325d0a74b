//! What comes of sources: a sensor, a log or a script writes lines to a TCP port or to standard input,
//! and what a handler has opened sends lines or bytes. All is handed to the handler of the route.

use log::{Level, debug, info};

use super::Dispatcher;
use super::reading::WORK_BUDGET;
use crate::context::Context;
use crate::handler::Handler;
use crate::ids::{ConnId, SourceId};
use crate::peers::complaints::quoted;
use crate::peers::connection::{Connection, Ending, Reach};
use crate::peers::inbox::Inbox;
use crate::peers::sources::source_end;
use crate::proto::close::code;
use crate::proto::lines::{BadLine, Lines, MAX_LINE};
use crate::source::SourceEnd;

/// A source that does not read its answers gets no more of them while this many bytes wait.
const MAX_ANSWERS: usize = 64 * 1024;

/// What is refused.
enum Refused {
    /// One line, for this reason.
    Line(String),
    /// The source: it speaks this protocol.
    Source(&'static str),
}

impl Dispatcher {
    /// Hands a source's lines to the handler of its route. Their buffer is out of the connection
    /// meanwhile, as the decoder is for frames. Gives back what has to wait, because the lines before it
    /// caused so much work that it is the others' turn.
    #[inline(never)]
    pub(super) fn process_lines<'i>(
        &mut self,
        id: ConnId,
        mut input: &'i mut [u8],
    ) -> &'i mut [u8] {
        let Some(mut lines) = self.lend_lines(id) else { return &mut [] };
        let enough = self.peers.work().wrapping_add(WORK_BUDGET);
        while let Some(line) = lines.next(&mut input) {
            let outcome = self.hand_line_over(id, line);
            if !self.answer(id, lines.count, outcome) {
                return &mut [];
            }
            if self.peers.work() >= enough {
                self.peers.sate(id);
            }
            // The handler may have paused it as well.
            if self.peers.get(id).is_some_and(Connection::has_to_wait) {
                break;
            }
        }
        self.peers.return_inbox(id, Inbox::Lines(lines));
        self.peers.weigh(id);
        input
    }

    /// Hands a source's bytes to the handler of its route.
    #[inline(never)]
    pub(super) fn process_bytes<'i>(&mut self, id: ConnId, input: &mut [u8]) -> &'i mut [u8] {
        self.with_source(id, |handler, ws, source| handler.on_bytes(ws, source, input));
        &mut []
    }

    /// The source has ended: hands over its last line, if that had no line end.
    pub(super) fn process_last_line(&mut self, id: ConnId) {
        let Some(mut lines) = self.lend_lines(id) else { return };
        if let Some(line) = lines.last() {
            let outcome = self.hand_line_over(id, line);
            self.answer(id, lines.count, outcome);
        }
        self.peers.return_inbox(id, Inbox::Lines(lines));
    }

    fn lend_lines(&mut self, id: ConnId) -> Option<Box<Lines>> {
        let conn = self.peers.get_mut(id).filter(|conn| matches!(conn.inbox, Inbox::Lines(_)))?;
        match std::mem::replace(&mut conn.inbox, Inbox::Lent) {
            Inbox::Lines(lines) => Some(lines),
            _ => None,
        }
    }

    fn hand_line_over(&mut self, id: ConnId, line: Result<&str, BadLine>) -> Result<(), Refused> {
        let line = line.map_err(|bad| match bad {
            BadLine::TooLong => Refused::Line(format!("over {MAX_LINE} bytes")),
            BadLine::NotUtf8 => Refused::Line("not UTF-8".to_string()),
            BadLine::OfProtocol(protocol) => Refused::Source(protocol),
        })?;
        let call = |handler: &mut dyn Handler, ws: &mut Context<'_>, source: SourceId| {
            handler.on_line(ws, source, line)
        };
        self.with_source(id, call).unwrap_or(Ok(())).map_err(Refused::Line)
    }

    /// Calls the handler of a source's route.
    pub(super) fn with_source<R>(
        &mut self,
        id: ConnId,
        call: impl FnOnce(&mut dyn Handler, &mut Context<'_>, SourceId) -> R,
    ) -> Option<R> {
        let route = self.peers.get(id)?.route;
        let handler = self.routes.handler(route)?;
        Some(call(handler, &mut Context::new(&mut self.peers, ConnId::NONE, route), SourceId(id)))
    }

    /// Tells a source which of its lines was wrong, and why. False if it is turned away for that, and
    /// no more of its lines are to be looked at.
    fn answer(&mut self, id: ConnId, number: u64, outcome: Result<(), Refused>) -> bool {
        match outcome {
            Ok(()) => true,
            Err(Refused::Line(why)) => {
                self.refuse_line(id, number, &why);
                true
            }
            Err(Refused::Source(protocol)) => {
                self.turn_away(id, protocol);
                false
            }
        }
    }

    /// The source stays connected.
    fn refuse_line(&mut self, id: ConnId, number: u64, why: &str) {
        debug!("#{} line {number}: {}", id.serial(), quoted(why));
        let Some(conn) = self.peers.get(id) else { return };
        if !conn.is_told_of_lines() {
            let (path, why) = (self.routes.path(conn.route), quoted(why));
            self.peers.complain(Level::Warn, format_args!("feed {path}: line {number}: {why}"));
        } else if conn.queued() < MAX_ANSWERS {
            let answer = format!("error: line {number}: {why}\n");
            self.peers.append(id, |out| out.extend_from_slice(answer.as_bytes()));
        }
    }

    /// Ends a source that is none: a web page may be behind it. Its handler has seen nothing of it.
    #[inline(never)]
    fn turn_away(&mut self, id: ConnId, protocol: &'static str) {
        let Some(conn) = self.peers.get(id) else { return };
        let (number, path, from) = (id.serial(), self.routes.path(conn.route), conn.addr);
        let line = format_args!("#{number} source of {path} refused: {from} speaks {protocol}");
        self.peers.complain(Level::Warn, line);
        let answer =
            format!("error: line 1: lines of text are read here, and this is {protocol}\n");
        self.peers.refuse_source(id, &answer);
    }

    /// Tells the handler and the log how a source has ended.
    pub(super) fn source_ended(&mut self, id: ConnId, reach: Reach, ending: Option<Ending>) {
        let Some(conn) = self.peers.get(id) else { return };
        let (route, exit) = (conn.route, conn.stream.exit_status());
        let ending = ending.as_ref().map_or((code::ABNORMAL, ""), |e| (e.code, e.reason.as_str()));
        let end = source_end(reach, ending.0, ending.1, exit);
        let (serial, path) = (id.serial(), self.routes.path(route));
        match end {
            SourceEnd::Ended => info!("#{serial} source of {path} ended"),
            end => info!("#{serial} source of {path} ended: {}", quoted(&end.to_string())),
        }
        self.with_source(id, |handler, ws, source| handler.on_source_end(ws, source, end));
    }
}
