//! Deadlines: what each is, when it falls due, and what follows when it is missed.
//!
//! | [`Overdue`] | begins | lasts | what follows |
//! |---|---|---|---|
//! | Handshake | accepted, or the last response written | `handshake_timeout` | 408; gone, if no request began |
//! | Handshake | a message by POST began | as for Message | 408 |
//! | Connect | a handler opened a source | `handshake_timeout` | cut |
//! | Ping | the peer last sent or took anything | `ping_interval` | a ping |
//! | Ping | a listener came, had the last one or took anything | `ping_interval` | a comment |
//! | Pong | that ping left for the peer | `pong_timeout` | cut |
//! | Message | a message began that is not whole yet | `message_timeout`, and a second for each [`LEAST_RATE`] bytes that have come | closed, 1008 |
//! | Idle | the peer last sent or took anything | `idle_timeout` | cut |
//! | Stall | the peer last took anything, while something waits | `stall_timeout`: ping and pong together | cut |
//! | Rate | a response had to wait, or the last minute of that ended | a minute | cut, unless 16 KiB were taken |
//! | Close | closing began, or the peer last took anything | `close_timeout` | cut |
//! | Close, of a program | its input ended, or it was sent a signal | `program_grace` | the next signal |
//!
//! A peer that is slow but takes what is sent to it is alive. The kernel says that it has taken
//! something by having room again; as long as there is none, a peer is neither pinged nor judged by
//! an answer that it cannot give yet. And what a peer has sent was sent in time, however late it is
//! read: so nobody is cut before the kernel was asked for what it holds.
//!
//! Hixie clients and sources of lines cannot be pinged, and those who listen by plain HTTP answer
//! nothing. Of these, those that have vanished are found by the keep-alive of TCP, which every socket
//! has, after two minutes. So no deadline of their own is needed: a page that only listens, and a sensor
//! that is silent for days, are as alive as any. Only a source that a handler opened has to take what it
//! is told, unless the handler says otherwise: there may be a client who waits for that.

use std::time::Duration;

use super::connection::{Connection, ReadyState, Role};
use super::inbox::Inbox;
use super::sending::SendStatus;
use super::sources::TAKES_NOTHING;
use super::time::{Millis, NEVER, millis};
use super::{Peers, find};
use crate::config::Config;
use crate::http::response::Response;
use crate::ids::ConnId;
use crate::net::stream::KEEP_ALIVE;
use crate::proto::close::code;

/// A closing that makes progress may last this many times the close timeout on the whole.
const CLOSE_ON_THE_WHOLE: Millis = 12;
/// The kernel has room again once a third of what it holds for a peer has gone, so what is left takes
/// about this many times as long as the peer took for that.
const LEFT_IN_KERNEL: Millis = 4;
/// Of a response that has to wait, no less than this is taken in each period: 270 bytes a second, a
/// tenth of what the slowest telephone line carries. Who takes less may hold a file open for days.
const LEAST_TAKEN: u64 = 16 * 1024;
const RATE_PERIOD: Millis = 60_000;
/// So many entries among the deadlines may be stale, and as many more as there are connections.
const STALE: usize = 64;

/// The fewest bytes a second that let a message take longer than the message timeout.
const LEAST_RATE: u64 = 4 * 1024;

/// The times of a [`Config`] in milliseconds; [`NEVER`] where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    handshake: Millis,
    ping: Millis,
    pong: Millis,
    idle: Millis,
    message: Millis,
    close: Millis,
    grace: Millis,
    /// How long queued bytes may wait while the peer takes none: if nothing else is set, as long as a
    /// silent peer is kept; or the idle timeout if that is shorter.
    stall: Millis,
}

impl Times {
    pub(super) fn of(config: &Config) -> Times {
        let or_never = |time: Option<Duration>| time.map_or(NEVER, finite);
        let pong = finite(config.pong_timeout);
        let idle = or_never(config.idle_timeout);
        let silence = config.ping_interval.map_or(pong, finite).saturating_add(pong);
        Times {
            handshake: finite(config.handshake_timeout),
            ping: or_never(config.ping_interval),
            pong,
            idle,
            message: or_never(config.message_timeout),
            close: finite(config.close_timeout),
            grace: finite(config.program_grace),
            stall: idle.min(config.stall_timeout.map_or(silence, finite)),
        }
    }

    /// How long what was sent to a peer without ping may stay unacknowledged; meanwhile keep-alive
    /// cannot ask whether it is still there. No less than keep-alive takes itself, whose questions this
    /// would cut short.
    pub(super) fn unacknowledged(&self) -> Option<Duration> {
        let stall = Some(self.stall).filter(|stall| *stall != NEVER)?;
        Some(Duration::from_millis(stall).max(KEEP_ALIVE))
    }
}

/// In milliseconds; [`NEVER`] where that is longer than any server runs, so that such a deadline is
/// none.
fn finite(time: Duration) -> Millis {
    let time = millis(time);
    if time < NEVER / 2 { time } else { NEVER }
}

/// Which deadline a connection missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Handshake,
    Connect,
    Ping,
    Pong,
    Idle,
    Message,
    Stall,
    Rate,
    Close,
}

impl Connection {
    /// The next deadline, computed from the state alone.
    fn deadline(&self, times: &Times) -> (Millis, Overdue) {
        let after = |start: Millis, time: Millis| start.saturating_add(time);
        let stall = if self.writing.blocked { after(self.written, times.stall) } else { NEVER };
        let stall = (stall, Overdue::Stall);
        match (self.ready_state, self.role) {
            (ReadyState::Connecting, Role::Source { .. }) => {
                (after(self.since, times.handshake), Overdue::Connect)
            }
            // Nothing else can be on its way yet.
            (ReadyState::Connecting, _) if self.stream.is_handshaking() => {
                (after(self.since, times.handshake), Overdue::Handshake)
            }
            // A response is on its way, or the refusal of a late request.
            (ReadyState::Connecting, _) if !self.writing.outbox.is_empty() => {
                let rate = match self.writing.blocked {
                    true => after(self.writing.outbox.watched(), RATE_PERIOD),
                    false => NEVER,
                };
                if rate < stall.0 { (rate, Overdue::Rate) } else { stall }
            }
            (ReadyState::Connecting, _) if matches!(self.inbox, Inbox::Post(_)) => {
                (self.message_due(times), Overdue::Handshake)
            }
            (ReadyState::Connecting, _) => (after(self.since, times.handshake), Overdue::Handshake),
            // A sensor may be silent for days, and need not read what it is answered.
            (ReadyState::Open, Role::Source { .. }) => match self.writing.never_stalls {
                true => (NEVER, Overdue::Stall),
                false => stall,
            },
            // It never says anything.
            (ReadyState::Open, Role::Listener) => {
                let last = self.since.max(self.heard);
                let at = if self.writing.blocked { NEVER } else { after(last, times.ping) };
                if at < stall.0 { (at, Overdue::Ping) } else { stall }
            }
            // A paused peer cannot be heard: that is not its fault.
            (ReadyState::Open, _) if self.is_paused() => stall,
            (ReadyState::Open, role) => {
                let ping = match role {
                    // It lies behind what the peer has not taken.
                    _ if self.writing.blocked => (NEVER, Overdue::Ping),
                    Role::WebSocket { awaiting_pong: true } => {
                        (after(self.since.max(self.written), times.pong), Overdue::Pong)
                    }
                    _ if self.version.is_hixie() => (NEVER, Overdue::Ping),
                    _ => (after(self.heard, times.ping), Overdue::Ping),
                };
                let idle = (after(self.heard, times.idle), Overdue::Idle);
                let message = (self.message_due(times), Overdue::Message);
                [ping, idle, message].into_iter().fold(stall, |a, b| if b.0 < a.0 { b } else { a })
            }
            (ReadyState::Closed, _) if self.stream.is_program() => {
                (after(self.since, times.grace), Overdue::Close)
            }
            (ReadyState::Closing | ReadyState::Closed, _) => {
                // A source is told no more, and may still have much to say.
                let said = if self.is_source() { self.heard } else { 0 };
                let step = match self.is_paused() && !self.writing.blocked {
                    true => NEVER,
                    false => after(self.since.max(self.written).max(said), times.close),
                };
                (step.min(self.latest_close(times)), Overdue::Close)
            }
        }
    }

    /// When the message that is under way has to be whole, as it looks by now.
    fn message_due(&self, times: &Times) -> Millis {
        let under_way = match &self.inbox {
            Inbox::Frames(decoder) => decoder.under_way(),
            Inbox::Post(post) => Some((self.since, post.body.len())),
            _ => None,
        };
        let Some((begun, come)) = under_way else { return NEVER };
        let more = (come as u64).saturating_mul(1000) / LEAST_RATE;
        begun.saturating_add(times.message).saturating_add(more)
    }

    /// When closing ends, whatever progress it makes.
    fn latest_close(&self, times: &Times) -> Millis {
        self.since.saturating_add(times.close.saturating_mul(CLOSE_ON_THE_WHOLE))
    }

    /// The kernel, which had no room, has taken more: so the peer has taken something, which is a sign
    /// of life as good as any. With `all`, nothing waits here any more.
    pub(super) fn took(&mut self, now: Millis, all: bool) {
        self.reached(now);
        let pace = now.saturating_sub(self.written);
        let left = if all { pace.saturating_mul(LEFT_IN_KERNEL) } else { 0 };
        self.written = now.saturating_add(left);
        self.heard = now;
    }

    /// What kept it from closing.
    fn why_not_closed(&self, now: Millis, times: &Times) -> &'static str {
        if now >= self.latest_close(times) {
            "takes too long to close"
        } else if self.writing.blocked {
            "takes nothing"
        } else if self.close_sent {
            "no answer to the close"
        } else {
            "not done in time"
        }
    }

    /// Whether a request is awaited or under way, so that its absence deserves an answer.
    fn owes_request(&self) -> bool {
        match (&self.inbox, self.role) {
            _ if self.stream.is_handshaking() => false,
            (Inbox::Head(kept), Role::Http { served }) => !served || !kept.is_empty(),
            (Inbox::Post(_), _) => true,
            _ => false,
        }
    }
}

impl Peers {
    /// Makes sure that the connection is looked at when its next deadline falls due.
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else { return };
        let (at, _) = conn.deadline(&self.times);
        self.arm_for(id, at);
    }

    /// Makes sure that it is looked at by then.
    fn arm_for(&mut self, id: ConnId, at: Millis) {
        let Some(conn) = find(&mut self.conns, id).filter(|conn| at < conn.armed) else { return };
        conn.armed = at;
        self.deadlines.push(at, id);
        if self.deadlines.len() > self.conns.len().saturating_mul(2).saturating_add(STALE) {
            self.forget_stale();
        }
    }

    /// A message has begun that is not whole yet, and that is to be whole in time.
    pub(crate) fn message_begun(&mut self, id: ConnId, begun: &mut Millis) {
        let now = self.clock.now();
        *begun = now;
        self.mark(id);
        // Not by the state, since the decoder is lent to who hands over its events.
        self.arm_for(id, now.saturating_add(self.times.message));
    }

    /// Drops the entries that do not count. They are at least half of all, so that this costs no more
    /// than the pushes before it.
    #[cold]
    fn forget_stale(&mut self) {
        let conns = &self.conns;
        let counts = |at, conn: &Connection| conn.armed == at && !conn.is_gone();
        self.deadlines.retain(|at, id| {
            let conn = conns.get(id.slot()).filter(|conn| conn.id == id);
            id == ConnId::NONE || conn.is_some_and(|conn| counts(at, conn))
        });
    }

    /// Entries among the deadlines.
    #[cfg(test)]
    pub(crate) fn deadlines(&self) -> usize {
        self.deadlines.len()
    }

    /// When to look next: at the next deadline, or earlier, since one may have moved.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.next()
    }

    /// The next connection that missed a deadline; those whose deadline moved are put back.
    pub(crate) fn next_overdue(&mut self) -> Option<ConnId> {
        let now = self.clock.now();
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            // Nobody's: lines of the log were left out.
            if id == ConnId::NONE {
                self.count_left_out(now);
            }
            let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else {
                continue;
            };
            if conn.armed != at {
                continue;
            }
            conn.armed = NEVER;
            if conn.deadline(&self.times).0 <= now {
                return Some(id);
            }
            self.arm(id);
        }
        None
    }

    /// Whether a connection that is late is to be read before it is judged: what it has sent may lie in
    /// the kernel since long before, if this program was stopped meanwhile, or had much to do.
    pub(crate) fn is_to_be_heard(&mut self, id: ConnId) -> bool {
        let Some(conn) = find(&mut self.conns, id) else { return false };
        let hears = match conn.deadline(&self.times).1 {
            // It is only asked, or asked to take something.
            Overdue::Connect | Overdue::Ping | Overdue::Stall | Overdue::Rate => false,
            Overdue::Handshake
            | Overdue::Pong
            | Overdue::Idle
            | Overdue::Message
            | Overdue::Close => true,
        };
        if hears {
            conn.reading.announced(false);
        }
        hears
    }

    /// Does what follows if the connection is still late.
    #[cold]
    pub(crate) fn judge(&mut self, id: ConnId) {
        let now = self.clock.now();
        let Some(conn) = self.get(id).filter(|conn| !conn.is_gone()) else { return };
        let (at, overdue) = conn.deadline(&self.times);
        if at > now {
            return self.arm(id);
        }
        // It has sent more than its share of this turn: what comes next may be what is missing. That it
        // is on the list counts: of who has to take its answers first, nothing is read.
        if conn.is_read_next()
            && (overdue != Overdue::Close || now < conn.latest_close(&self.times))
        {
            return self.unheard.push(id);
        }
        match overdue {
            Overdue::Ping => self.ping_silent(id),
            Overdue::Pong => self.cut(id, "no answer to a ping"),
            Overdue::Idle => self.cut(id, "idle"),
            Overdue::Message => self.fail(id, code::POLICY, "message not finished in time"),
            Overdue::Stall | Overdue::Rate | Overdue::Close => self.stalled(id),
            Overdue::Handshake if conn.owes_request() => {
                self.refuse(id, Response::text(408, "no request came in time\n"), false);
            }
            Overdue::Handshake => self.drop_now(id, code::NORMAL, "no further request"),
            Overdue::Connect => self.cut(id, "no answer in time"),
        }
    }

    /// Those that are late and could not be judged yet are judged next turn.
    pub(crate) fn judge_next_turn(&mut self) {
        while let Some(id) = self.unheard.pop() {
            self.arm(id);
        }
    }

    /// Asks a silent peer for a sign of life.
    fn ping_silent(&mut self, id: ConnId) {
        let now = self.clock.now();
        let asked = self.ping(id, b"") != SendStatus::Dropped;
        if let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open()) {
            if asked {
                if let Role::WebSocket { awaiting_pong } = &mut conn.role {
                    *awaiting_pong = true;
                }
                conn.since = now;
            } else if conn.queued() > 0 {
                // No ping fits before that is written, and if it cannot be, no ping is due.
                return self.unheard.push(id);
            } else {
                // None ever fits.
                conn.heard = now;
            }
        }
        self.arm(id);
    }

    /// The kernel announces room only when a third of what it holds for the peer has gone. A slow
    /// reader may take bytes and still make less room: so try to write before it is cut.
    pub(super) fn stalled(&mut self, id: ConnId) {
        self.flush(id);
        let now = self.clock.now();
        let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else { return };
        match conn.deadline(&self.times) {
            (at, Overdue::Rate) if at <= now => match conn.writing.outbox.watch(now) {
                0..LEAST_TAKEN => self.cut(id, "takes too little"),
                _ => self.arm(id),
            },
            (at, Overdue::Stall) if at <= now => self.cut(id, TAKES_NOTHING),
            (at, Overdue::Close) if at <= now => {
                let why = conn.why_not_closed(now, &self.times);
                self.cut(id, why);
            }
            _ => self.arm(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_reader_is_kept_no_longer_than_a_silent_one() {
        let stall = |idle: Option<u64>| {
            let idle_timeout = idle.map(Duration::from_secs);
            Times::of(&Config { idle_timeout, ..Config::default() }).stall
        };
        assert_eq!((stall(None), stall(Some(7)), stall(Some(70))), (50_000, 7_000, 50_000));
        let stall_timeout = Some(Duration::from_secs(60));
        assert_eq!(Times::of(&Config { stall_timeout, ..Config::default() }).stall, 60_000);
    }

    #[test]
    fn times_beyond_all_bounds_are_no_trouble() {
        let forever = Some(Duration::MAX);
        let config =
            Config { ping_interval: forever, pong_timeout: Duration::MAX, ..Config::default() };
        assert_eq!(Times::of(&config).stall, NEVER);
    }
}
