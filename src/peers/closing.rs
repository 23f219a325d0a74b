//! How connections end: by close frames, by broken rules, by the end of the stream, at once, and by
//! the last response of plain HTTP. Whichever way it is, [`Engine::finish`] is where it ends.

use log::warn;

use crate::http::response::{Body, Response};
use crate::ids::ConnId;
use crate::peers::connection::{Ending, Inbox, ReadyState};
use crate::peers::{Engine, find};
use crate::proto::close::{self, code, truncate_reason};
use crate::proto::{self, Violation};

impl Engine {
    /// Starts the closing handshake (RFC 6455 section 7.1.2). False if there is nothing to close,
    /// or the code may not be sent.
    pub(crate) fn close(&mut self, id: ConnId, code: u16, reason: &str) -> bool {
        self.catch_up(id);
        let Some(version) = self.get(id).filter(|c| c.is_open()).map(|c| c.version) else {
            return false;
        };
        if !close::may_be_sent(version, code) {
            warn!("#{}: close code {code} may not be sent (RFC 6455 section 7.4.2)", id.serial());
            return false;
        }
        self.start_closing(id, Some((code, truncate_reason(reason))));
        // The Hixie clients of 2010 answer no close; they wait for the end of the stream. Whatever
        // they still send is read on, to see their end.
        if version.is_hixie()
            && let Some(conn) = self.get_mut(id)
        {
            conn.last_words = true;
            conn.linger = true;
        }
        true
    }

    fn start_closing(&mut self, id: ConnId, close: Option<(u16, &str)>) {
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        conn.ready_state = ReadyState::Closing;
        conn.close_sent = true;
        conn.since = now;
        conn.paused = false;
        let version = conn.version;
        self.leave_route(id);
        self.append(id, |out| proto::encode_close(version, close, out));
        self.mark_dirty(id);
        self.wake_reader(id);
        self.arm(id);
    }

    /// The peer's close frame has come: answer it, if ours did not go first (section 5.5.1).
    pub(crate) fn close_received(&mut self, id: ConnId, close: Option<(u16, &str)>) {
        self.catch_up(id);
        if self.is_open(id) {
            self.start_closing(id, close.map(|(code, _)| (code, "")));
        }
        let (code, reason) = close.unwrap_or((code::NO_STATUS, ""));
        self.end(id, code, reason);
        if let Some(conn) = self.get_mut(id) {
            conn.linger = false;
        }
    }

    /// The peer broke a rule or a limit: say so and read no more of it (section 7.1.7).
    pub(crate) fn fail(&mut self, id: ConnId, code: u16, reason: &'static str) {
        self.catch_up(id);
        self.stats.count_cut(reason);
        if self.is_open(id) {
            self.start_closing(id, Some((code, reason)));
        }
        self.end(id, code, reason);
        if let Some(conn) = self.get_mut(id) {
            conn.linger = true;
        }
    }

    pub(crate) fn violated(&mut self, id: ConnId, violation: Violation) {
        self.fail(id, violation.code(), violation.reason());
    }

    /// The peer's stream has ended. What it asked for before is still answered.
    pub(crate) fn read_ended(&mut self, id: ConnId) {
        self.catch_up(id);
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        conn.read_ended = true;
        if conn.ready_state != ReadyState::Closed {
            conn.since = now;
        }
        let ours_went_first = conn.close_sent && conn.version.is_hixie();
        if conn.is_open() {
            conn.ready_state = ReadyState::Closing;
            self.leave_route(id);
        }
        let code = if ours_went_first { code::NO_STATUS } else { code::ABNORMAL };
        self.end(id, code, "");
        self.arm(id);
    }

    /// It is known how the connection ends, and nothing more is read or queued; it ends once what
    /// is queued has been written.
    pub(crate) fn end(&mut self, id: ConnId, code: u16, reason: &str) {
        let Some(conn) = self.get_mut(id) else { return };
        if !conn.is_ending() {
            conn.rare_mut().ending = Some(Ending { code, reason: reason.to_string() });
        }
        conn.inbox = Inbox::Discard;
        conn.rare_mut().held = Vec::new();
        conn.paused = false;
        conn.last_words = true;
        self.mark_dirty(id);
    }

    /// Ends a connection that missed a deadline.
    pub(crate) fn cut(&mut self, id: ConnId, reason: &'static str) {
        if self.get(id).is_some_and(|conn| conn.ready_state != ReadyState::Closed) {
            self.stats.count_cut(reason);
        }
        self.drop_now(id, code::ABNORMAL, reason);
    }

    /// Ends a connection now: nothing is written, nothing waited for.
    pub(crate) fn drop_now(&mut self, id: ConnId, code: u16, reason: &str) {
        self.leave_route(id);
        self.end(id, code, reason);
        let Some(conn) = self.get_mut(id) else { return };
        conn.outbox.clear();
        conn.linger = false;
        self.finish(id);
    }

    /// Everything was written and nothing will be: end the stream, and report how it ended. Then
    /// either the socket goes too, or it lingers for the peer's end.
    pub(crate) fn finish(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        if conn.linger && !conn.read_ended {
            // An error here is the peer's end, which the next read tells as well.
            let _ = conn.stream.shutdown_write();
        }
        if !conn.is_ending() {
            return;
        }
        if conn.ready_state != ReadyState::Closed {
            conn.ready_state = ReadyState::Closed;
            conn.since = now;
        }
        conn.gone = !conn.linger || conn.read_ended;
        self.ended.push(id);
        self.wake_reader(id);
        self.arm(id);
    }

    /// The server stops: WebSockets are told, responses under way are finished, the rest goes.
    pub(crate) fn stop(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        match conn.ready_state {
            ReadyState::Open if conn.source => {
                self.drop_now(id, code::GOING_AWAY, "the server stops");
            }
            ReadyState::Open => {
                self.close(id, code::GOING_AWAY, "the server stops");
            }
            ReadyState::Connecting if !conn.outbox.is_empty() => {
                conn.ready_state = ReadyState::Closing;
                conn.since = now;
                conn.linger = true;
                self.end(id, code::GOING_AWAY, "the server stops");
                self.arm(id);
            }
            ReadyState::Connecting => self.drop_now(id, code::GOING_AWAY, "the server stops"),
            ReadyState::Closing | ReadyState::Closed => {}
        }
    }

    // Plain HTTP.

    /// Queues a response, and its body unless the request was a HEAD or the status has none.
    pub(crate) fn respond(
        &mut self,
        id: ConnId,
        response: Response,
        head_only: bool,
        keep_alive: bool,
    ) {
        self.stats.refused += u64::from(response.status >= 400);
        self.append(id, |out| response.write_head(keep_alive, out));
        let head_only = head_only || response.is_bodiless();
        match response.body {
            _ if head_only => {}
            Body::Bytes(bytes) => self.append(id, |out| out.extend_from_slice(&bytes)),
            Body::File { file, offset, len } => {
                if let Some(conn) = find(&mut self.conns, id) {
                    conn.outbox.append_file(&mut self.spares, file, offset, len);
                }
            }
        }
        if let Some(conn) = self.get_mut(id) {
            conn.served = true;
            conn.linger |= !keep_alive;
        }
        if !keep_alive {
            self.end(id, code::NORMAL, "");
        }
    }

    /// Queues a response and ends the connection behind it.
    pub(crate) fn respond_last(&mut self, id: ConnId, response: Response) {
        self.respond(id, response, false, false);
    }

    /// Whether a request is awaited or under way, so that its absence deserves an answer.
    pub(crate) fn owes_request(&self, id: ConnId) -> bool {
        let shaken = self.get(id).filter(|conn| !conn.stream.is_handshaking());
        shaken.is_some_and(|conn| match &conn.inbox {
            Inbox::Head(kept) => !conn.served || !kept.is_empty(),
            _ => false,
        })
    }
}
