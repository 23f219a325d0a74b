//! Every way a connection ends; each leads to [`Peers::finish`] or [`Peers::drop_now`].
//!
//! | who | calls | close frame | what is queued | the socket |
//! |---|---|---|---|---|
//! | a handler: `Context::close` | `close` | ours | written | goes once the peer's close has come |
//! | the same on a Hixie connection | `close` | `FF 00` in 76 | written | goes with the peer's end |
//! | the same on a listener | `close` | none | written | waits for the peer's end |
//! | the peer: its close frame | `close_received` | answered | written | goes |
//! | the peer: a broken rule | `violated`, `fail` | ours | written | waits for the peer's end |
//! | a full backlog | `fail` | ours | written | waits for the peer's end |
//! | no memory for a message | `violated` | ours | written | waits for the peer's end |
//! | the same, and a part of it is written | `cut` | none | dropped | goes at once |
//! | the peer: the end of its stream | `read_ended` | none | written | goes |
//! | a handler: `Context::end_source` | `end_source` | none | written | goes with the source's end |
//! | the same: `Context::close_source` | `close_source` | none | written | waits for the source's end |
//! | a source that has gone, when it is told something | `hear_out` | none | dropped | goes with the source's end |
//! | a source that speaks no lines | `refuse_source` | none | written | waits for the peer's end |
//! | the last HTTP response | `end` | none | written | waits for the peer's end |
//! | a deadline | `cut` | none | dropped | goes at once |
//! | an error of the socket, `Context::terminate` | `drop_now` | none | dropped | goes at once |
//! | the last three, of a program | `drop_now` | none | dropped | goes when all its group has ended |
//! | the server stops | `stop` | depends on where it stands | written | as above; but who asked nothing is answered 503, and goes |

use log::{Level, debug};

use super::connection::{Connection, Ending, Exit, Reach, ReadyState, Role};
use super::inbox::Inbox;
use super::sending::SendStatus;
use super::{Peers, find};
use crate::config::OnFull;
use crate::http::response::Response;
use crate::ids::{ConnId, SourceId};
use crate::proto::close::{self, code, truncate_reason};
use crate::proto::{self, Violation};

impl Connection {
    /// Whether nothing more may be queued.
    pub(crate) fn has_last_words(&self) -> bool {
        self.exit != Exit::None
    }

    /// Whether a request is on its way: a part of it has come, or TLS is being agreed on for it.
    fn is_asking(&self) -> bool {
        let unread = self.extras().is_some_and(|extras| !extras.unread.is_empty());
        match &self.inbox {
            Inbox::Head(kept) if kept.is_empty() => {
                unread || self.stream.is_handshaking() || self.stream.has_unread()
            }
            Inbox::Head(_) | Inbox::Post(_) => true,
            _ => false,
        }
    }

    /// Whether the peer has had no answer yet to anything.
    fn is_unanswered(&self) -> bool {
        matches!((&self.inbox, self.role), (Inbox::Head(_), Role::Http { served: false }))
    }

    /// Nothing that has come or comes is looked at any more, and nothing of it is kept.
    fn discard_incoming(&mut self) {
        self.inbox = Inbox::Discard;
        self.extras_mut().unread = Vec::new();
    }

    /// Keeps how it ended: the first reason counts.
    fn note_ending(&mut self, code: u16, reason: &str) {
        let ending = &mut self.extras_mut().ending;
        if ending.is_none() {
            *ending = Some(Ending { code, reason: reason.to_string() });
        }
    }
}

/// Why a message was not queued.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unsent {
    /// The backlog is full.
    Full,
    /// There is no memory for it.
    NoMemory,
    /// The same, and a part of it is written, so that nothing can follow.
    CutShort,
}

impl Unsent {
    /// There is no memory for what is left of a message of which so many bytes are written.
    pub(super) fn no_memory(written: usize) -> Unsent {
        if written == 0 { Unsent::NoMemory } else { Unsent::CutShort }
    }
}

/// How a connection ended, for its handler and the log.
#[derive(Debug)]
pub(crate) struct Report {
    /// What its handler is owed, once.
    pub(crate) role: Role,
    pub(crate) ending: Option<Ending>,
    /// To be removed.
    pub(crate) gone: bool,
}

impl Peers {
    /// What there is to report of a connection that ended. Its role is reported once.
    pub(crate) fn take_report(&mut self, id: ConnId) -> Option<Report> {
        let conn = self.get_mut(id)?;
        let role = std::mem::replace(&mut conn.role, Role::Reported);
        Some(Report { role, ending: conn.extras_mut().ending.take(), gone: conn.is_gone() })
    }

    /// Starts the closing handshake (RFC 6455 section 7.1.2). False if there is nothing to close,
    /// or the code may not be sent.
    pub(crate) fn close(&mut self, id: ConnId, code: u16, reason: &str) -> bool {
        let Some(conn) = self.get(id).filter(|conn| conn.is_open()) else { return false };
        let (version, listens) = (conn.version, conn.is_listener());
        if !close::may_be_sent(version, code) {
            let id = id.serial();
            self.complain(
                Level::Warn,
                format_args!("#{id}: close code {code} may not be sent (RFC 6455 section 7.4.2)"),
            );
            return false;
        }
        if !self.start_closing(id, Some((code, truncate_reason(reason)))) {
            return false;
        }
        // To a listener the end of the response is all.
        if listens {
            self.end(id, code, reason, true);
        }
        // The Hixie clients of 2010 answer no close; they wait for the end of the stream. What they
        // still send is read, to see their end.
        if version.is_hixie()
            && let Some(conn) = self.get_mut(id)
        {
            conn.exit = Exit::LastWords { linger: true };
            // Behind TLS's own goodbye nothing is decrypted any more.
            if conn.stream.is_tls() {
                conn.inbox = Inbox::Discard;
            }
        }
        true
    }

    /// Queues our close frame behind all that was sent, and reads on for the peer's; a listener has
    /// neither. False if the connection is not open.
    fn start_closing(&mut self, id: ConnId, close: Option<(u16, &str)>) -> bool {
        // What was broadcast before still goes to it. It may not fit, which ends the connection
        // too.
        self.write_this_turn(id);
        let now = self.clock.now();
        self.changed = true;
        let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open()) else { return false };
        conn.ready_state = ReadyState::Closing;
        conn.close_sent = true;
        conn.since = now;
        conn.reading.resume();
        let version = (!conn.is_listener()).then_some(conn.version);
        self.leave_room(id);
        if let Some(version) = version {
            self.append(id, |out| proto::encode_close(version, close, out));
        }
        self.read_next_turn(id);
        self.arm(id);
        true
    }

    /// The peer's close frame has come: answer it, if ours did not go first (section 5.5.1).
    pub(crate) fn close_received(&mut self, id: ConnId, close: Option<(u16, &str)>) {
        self.start_closing(id, close.map(|(code, _)| (code, "")));
        let (code, reason) = close.unwrap_or((code::NO_STATUS, ""));
        self.end(id, code, reason, false);
    }

    /// The peer broke a rule or a limit: tells it so, and reads no more from it (section 7.1.7).
    pub(super) fn fail(&mut self, id: ConnId, code: u16, reason: &'static str) {
        self.stats.count_cut(reason);
        self.start_closing(id, Some((code, reason)));
        self.end(id, code, reason, true);
    }

    pub(crate) fn violated(&mut self, id: ConnId, violation: Violation) {
        // The others are no news to an operator; this one is a limit set higher than the machine's.
        if violation == Violation::NoMemory {
            self.complain(Level::Warn, format_args!("#{} ends: {violation}", id.serial()));
        }
        self.fail(id, violation.code(), violation.reason());
    }

    /// A message was not queued. What becomes of the connection.
    #[cold]
    pub(super) fn unsent(&mut self, id: ConnId, why: Unsent) -> SendStatus {
        match why {
            Unsent::Full => self.full(id),
            Unsent::NoMemory => self.violated(id, Violation::NoMemory),
            Unsent::CutShort => {
                let why = Violation::NoMemory.reason();
                self.complain(Level::Warn, format_args!("#{} ends: {why}", id.serial()));
                self.cut(id, why);
            }
        }
        SendStatus::Dropped
    }

    fn full(&mut self, id: ConnId) {
        debug!("#{} does not keep up: its backlog is full", id.serial());
        match (self.config.on_full, self.get_mut(id)) {
            (OnFull::Close, _) => self.fail(id, code::POLICY, "backlog full"),
            (OnFull::Drop, Some(conn)) => conn.writing.pressed = true,
            (OnFull::Drop, None) => {}
        }
    }

    /// The peer's stream has ended. What it asked for before is still answered.
    pub(crate) fn read_ended(&mut self, id: ConnId) {
        self.write_this_turn(id);
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        if conn.ready_state != ReadyState::Closed || conn.stream.has_left_others() {
            conn.since = now;
        }
        let ours_went_first = conn.close_sent && conn.version.is_hixie();
        if conn.is_open() {
            conn.ready_state = ReadyState::Closing;
            self.leave_room(id);
        }
        let code = if ours_went_first { code::NO_STATUS } else { code::ABNORMAL };
        self.end(id, code, "", false);
        self.arm(id);
    }

    /// A source turns out to be none: tells it so, and reads no more from it.
    pub(crate) fn refuse_source(&mut self, id: ConnId, answer: &str) {
        const NO_SOURCE: &str = "speaks another protocol to a feed";
        let takes_answers = self.get(id).is_some_and(|conn| conn.stream.takes_answers());
        if takes_answers {
            self.append(id, |out| out.extend_from_slice(answer.as_bytes()));
        }
        if !self.get(id).is_some_and(Connection::is_open) {
            return;
        }
        self.stats.count_cut(NO_SOURCE);
        self.end_both_ways(id, code::POLICY, NO_SOURCE, takes_answers);
    }

    /// It is known how the connection ends: nothing more is read or queued, and it ends once what
    /// is queued has been written. With `linger`, its socket then waits for the peer's end.
    pub(super) fn end(&mut self, id: ConnId, code: u16, reason: &str, linger: bool) {
        let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else { return };
        self.changed = true;
        conn.note_ending(code, reason);
        conn.discard_incoming();
        self.memory.count(conn);
        conn.reading.resume();
        if conn.exit != Exit::Lingering || !linger {
            conn.exit = Exit::LastWords { linger };
        }
        conn.list_to_write(&mut self.to_write);
    }

    /// Ends a connection that missed a deadline, or that cannot be written to any more.
    pub(super) fn cut(&mut self, id: ConnId, reason: &'static str) {
        if self.get(id).is_some_and(|conn| conn.ready_state != ReadyState::Closed) {
            self.stats.count_cut(reason);
        }
        self.drop_now(id, code::ABNORMAL, reason);
    }

    /// Ends a connection now: nothing is written, nothing waited for.
    pub(crate) fn drop_now(&mut self, id: ConnId, code: u16, reason: &str) {
        self.leave_room(id);
        self.changed = true;
        let Some(conn) = find(&mut self.conns, id) else { return };
        conn.note_ending(code, reason);
        conn.discard_incoming();
        conn.writing.outbox.clear();
        conn.ready_state = ReadyState::Closed;
        // A program has to be ended, and that takes longer than to end a stream.
        let stays = conn.stream.urge();
        conn.exit = if stays { Exit::Lingering } else { Exit::Gone };
        self.ended.push(id);
        if stays {
            self.put_off(id);
        }
    }

    /// A program has been sent a signal: it has time to obey.
    #[inline(never)]
    fn put_off(&mut self, id: ConnId) {
        let now = self.clock.now();
        if let Some(conn) = self.get_mut(id) {
            conn.since = now;
            conn.writing.blocked = false;
        }
        self.arm(id);
    }

    /// All is written to a connection that is not open: a response, a goodbye, or only what TLS itself
    /// had to say, if nothing `waited`. That would begin no period anew: it follows each read.
    #[inline(never)]
    pub(super) fn written_all(&mut self, id: ConnId, waited: bool) {
        let now = self.clock.now();
        self.weigh_again(id);
        let Some(conn) = self.get_mut(id) else { return };
        if conn.has_last_words() {
            return self.finish(id);
        }
        if conn.ready_state == ReadyState::Connecting {
            if waited && conn.was_answered() {
                conn.since = now;
                self.read_next_turn(id);
            }
            self.arm(id);
        }
    }

    /// Everything was written and nothing more will be: ends the stream, and reports how the
    /// connection ended. Then either the socket goes too, or it waits for the peer's end.
    fn finish(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id) else { return };
        let lingers = matches!(conn.exit, Exit::LastWords { linger: true } | Exit::Lingering)
            && !conn.reading.has_ended()
            || conn.stream.has_left_others();
        if lingers && conn.exit != Exit::Lingering {
            // An error here is the peer's end, which the next read reports as well.
            let _ = conn.stream.shutdown_write();
        }
        conn.exit = if lingers { Exit::Lingering } else { Exit::Gone };
        // A Hixie connection that we closed ends when the peer ends it.
        if lingers && !conn.is_ending() {
            return;
        }
        if conn.ready_state != ReadyState::Closed {
            conn.ready_state = ReadyState::Closed;
            conn.since = now;
        }
        conn.stream.turn_away();
        self.ended.push(id);
        self.read_next_turn(id);
        self.arm(id);
    }

    /// The server stops: WebSockets are told, responses under way are finished, clients without an
    /// answer get one, and the rest goes.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        for id in self.ids() {
            self.stop_one(id);
        }
    }

    /// The server goes, and everybody with it at once; nobody is opened any more.
    pub(crate) fn end_all(&mut self) {
        self.stopping = true;
        for id in self.ids() {
            let is_source = self.get(id).is_some_and(Connection::is_source);
            let code = if is_source { code::GOING_AWAY } else { code::ABNORMAL };
            self.drop_now(id, code, "the server is gone");
        }
    }

    fn stop_one(&mut self, id: ConnId) {
        const WHY: &str = "the server stops";
        let now = self.clock.now();
        let Some(conn) = self.get_mut(id) else { return };
        match conn.ready_state {
            // What it was told is still written.
            _ if conn.is_heard()
                && matches!(conn.role, Role::Source { reach: Reach::Opened, .. }) =>
            {
                self.close_source(SourceId(id), code::GOING_AWAY, WHY);
            }
            _ if conn.is_heard() || conn.is_opening() => {
                self.drop_now(id, code::GOING_AWAY, WHY);
            }
            ReadyState::Open => {
                self.close(id, code::GOING_AWAY, WHY);
            }
            ReadyState::Connecting => {
                let under_way = conn.has_last_words() || !conn.writing.outbox.is_empty();
                let asking = conn.is_asking();
                if !under_way && !asking && !conn.is_unanswered() {
                    // A client that may send another request expects to be closed at any time.
                    return self.drop_now(id, code::GOING_AWAY, WHY);
                }
                conn.ready_state = ReadyState::Closing;
                conn.since = now;
                if !under_way {
                    let later = Response::text(503, "the server is stopping\n");
                    self.respond(id, later.header("Retry-After", "1"), false, false);
                }
                // Browsers open connections ahead of need, and may not notice that one ends. To
                // linger for those would make every stop last as long as the close timeout.
                self.end(id, code::GOING_AWAY, WHY, under_way || asking);
                self.arm(id);
            }
            ReadyState::Closing | ReadyState::Closed => {}
        }
    }
}
