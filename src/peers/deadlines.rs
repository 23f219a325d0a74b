//! Deadlines: what each is, when it falls due, and what follows when it is missed.
//!
//! | [`Overdue`] | begins | lasts | what follows |
//! |---|---|---|---|
//! | Handshake | accepted, or the last response written | `handshake_timeout` | 408; gone, if no request began |
//! | Ping | anything was read last | `ping_interval` | a ping |
//! | Pong | that ping | `pong_timeout` | cut |
//! | Idle | anything was read last | `idle_timeout` | cut |
//! | Stall | the kernel last took anything, while something waits | ping and pong together | cut |
//! | Close | the closing handshake began, or our end was sent | `close_timeout` | cut |

use std::time::Duration;

use super::connection::{Connection, ReadyState, Role};
use super::inbox::Inbox;
use super::sending::SendStatus;
use super::time::{Millis, NEVER, millis};
use super::{Peers, find};
use crate::config::Config;
use crate::http::response::Response;
use crate::ids::ConnId;
use crate::proto::close::code;

/// The times of a [`Config`] in milliseconds; [`NEVER`] where there is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    handshake: Millis,
    ping: Millis,
    pong: Millis,
    idle: Millis,
    close: Millis,
    /// How long queued bytes may wait with none taken by the peer: as long as a silent peer is
    /// kept, or the idle timeout if that is shorter.
    stall: Millis,
}

impl Times {
    pub(super) fn of(config: &Config) -> Times {
        let or_never = |time: Option<Duration>| time.map_or(NEVER, millis);
        let pong = millis(config.pong_timeout);
        let idle = or_never(config.idle_timeout);
        let silence = config.ping_interval.map_or(pong, millis).saturating_add(pong);
        Times {
            handshake: millis(config.handshake_timeout),
            ping: or_never(config.ping_interval),
            pong,
            idle,
            close: millis(config.close_timeout),
            stall: idle.min(silence),
        }
    }
}

/// Which deadline a connection missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Handshake,
    Ping,
    Pong,
    Idle,
    Stall,
    Close,
}

impl Connection {
    /// The next deadline, computed from the state alone.
    fn deadline(&self, times: &Times) -> (Millis, Overdue) {
        let after = |start: Millis, time: Millis| start.saturating_add(time);
        let stall = if self.writing.blocked { after(self.written, times.stall) } else { NEVER };
        let stall = (stall, Overdue::Stall);
        match (self.ready_state, self.role) {
            // Nothing else can be on its way yet.
            (ReadyState::Connecting, _) if self.stream.is_handshaking() => {
                (after(self.since, times.handshake), Overdue::Handshake)
            }
            // A response is on its way, or the refusal of a late request.
            (ReadyState::Connecting, _) if !self.writing.outbox.is_empty() => stall,
            (ReadyState::Connecting, _) => (after(self.since, times.handshake), Overdue::Handshake),
            // A sensor may be silent for days, and need not read what it is answered.
            (ReadyState::Open, Role::Lines) => (NEVER, Overdue::Stall),
            // A paused peer cannot be heard: that is not its fault.
            (ReadyState::Open, _) if self.is_paused() => stall,
            (ReadyState::Open, role) => {
                let ping = match role {
                    Role::WebSocket { awaiting_pong: true } => {
                        (after(self.since, times.pong), Overdue::Pong)
                    }
                    _ if self.version.is_hixie() => (NEVER, Overdue::Ping),
                    _ => (after(self.heard, times.ping), Overdue::Ping),
                };
                let idle = (after(self.heard, times.idle), Overdue::Idle);
                [ping, idle].into_iter().fold(stall, |a, b| if b.0 < a.0 { b } else { a })
            }
            (ReadyState::Closing | ReadyState::Closed, _) => {
                (after(self.since, times.close), Overdue::Close)
            }
        }
    }

    /// Whether a request is awaited or under way, so that its absence deserves an answer.
    fn owes_request(&self) -> bool {
        match (&self.inbox, self.role) {
            _ if self.stream.is_handshaking() => false,
            (Inbox::Head(kept), Role::Http { served }) => !served || !kept.is_empty(),
            _ => false,
        }
    }
}

impl Peers {
    /// Sees to it that the connection is looked at when its next deadline falls due.
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some(conn) = find(&mut self.conns, id).filter(|conn| !conn.is_gone()) else { return };
        let (at, _) = conn.deadline(&self.times);
        if at < conn.armed {
            conn.armed = at;
            self.deadlines.push(at, id);
        }
    }

    /// When the next deadline falls due, or earlier: one may have moved since.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.next()
    }

    /// Sees to all who missed a deadline.
    pub(crate) fn check_deadlines(&mut self) {
        while let Some((id, overdue)) = self.next_overdue() {
            self.missed(id, overdue);
        }
    }

    /// The next connection that missed a deadline; those whose deadline moved are put back.
    fn next_overdue(&mut self) -> Option<(ConnId, Overdue)> {
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
            let (at, overdue) = conn.deadline(&self.times);
            if at <= now {
                return Some((id, overdue));
            }
            self.arm(id);
        }
        None
    }

    #[cold]
    fn missed(&mut self, id: ConnId, overdue: Overdue) {
        let Some(conn) = self.get(id) else { return };
        match overdue {
            Overdue::Ping => self.ping_silent(id),
            Overdue::Pong => self.cut(id, "no answer to a ping"),
            Overdue::Idle => self.cut(id, "idle"),
            Overdue::Stall => self.stalled(id),
            Overdue::Close if !conn.close_sent => self.cut(id, "not done in time"),
            Overdue::Close => self.cut(id, "no answer to the close"),
            Overdue::Handshake if conn.owes_request() => {
                self.refuse(id, Response::text(408, "no request came in time\n"), false);
            }
            Overdue::Handshake => self.drop_now(id, code::NORMAL, "no further request"),
        }
    }

    /// Asks a silent peer for a sign of life.
    fn ping_silent(&mut self, id: ConnId) {
        let now = self.clock.now();
        let asked = self.ping(id, b"") != SendStatus::Dropped;
        if let Some(conn) = self.get_mut(id).filter(|conn| conn.is_open()) {
            if asked {
                conn.role = Role::WebSocket { awaiting_pong: true };
                conn.since = now;
            } else {
                // Too much waits for it to be asked; whether it takes that is watched otherwise.
                conn.heard = now;
            }
        }
        self.arm(id);
    }

    /// The kernel announces room only when a third of what it holds for the peer has gone. A slow
    /// reader may have made less, and takes something all the same: so ask before it is cut.
    pub(super) fn stalled(&mut self, id: ConnId) {
        self.flush(id);
        let now = self.clock.now();
        let deadline = self.get(id).filter(|c| !c.is_gone()).map(|conn| conn.deadline(&self.times));
        if deadline.is_some_and(|(at, kind)| kind == Overdue::Stall && at <= now) {
            self.cut(id, "takes nothing");
        }
        self.arm(id);
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
    }

    #[test]
    fn times_beyond_all_bounds_are_no_trouble() {
        let forever = Some(Duration::MAX);
        let config =
            Config { ping_interval: forever, pong_timeout: Duration::MAX, ..Config::default() };
        assert!(Times::of(&config).stall >= NEVER / 2);
    }
}
