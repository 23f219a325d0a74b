//! What happens in a turn: events, deadlines, timers, and the writing at its end.
//!
//! Nearly all turns take the same steps. What most of them pass by is kept out of line, here and in the
//! files they call: the compiler would build it in, and since the kernel's own code pushes ours out of
//! the processor's cache between two turns, all that lies among the steps would be fetched for nothing.

use std::io;
use std::time::Duration;

use log::{debug, info};
use mio::event::Event;
use mio::{Events, Token};

use crate::context::Context;
use crate::handler::Handler;
use crate::http::response::Response;
use crate::ids::ConnId;
use crate::peers::connection::{Connection, Fresh, Overdue, ReadyState};
use crate::peers::time::{Millis, NEVER, Timer};
use crate::peers::{Owed, find};
use crate::proto::close::code;
use crate::server::remote::Command;
use crate::server::{ALARM, LISTENERS, MAX_LISTENERS, Server, WAKER};
#[cfg(feature = "cli")]
use crate::server::{SIGNALS, signals::Signals};

/// Most reads from one connection in a turn, so that a busy peer starves nobody. They share
/// [`Config::read_budget`](crate::Config::read_budget).
const READS_PER_TURN: usize = 4;
/// Most messages taken from other threads in a turn.
const COMMANDS_PER_TURN: usize = 256;

impl Server {
    /// Waits for events, and does what they and the deadlines ask for.
    pub(crate) fn take_turn(&mut self, wait: Option<Duration>) -> io::Result<usize> {
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        }
        self.engine.clock.tick();
        let left_over = std::mem::take(&mut self.engine.ready);
        // Lent for this turn; an empty list takes no memory.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut count = 0;
        for event in &events {
            self.take_event(event);
            count += 1;
        }
        self.events = events;
        for id in left_over {
            if let Some(conn) = self.engine.get_mut(id) {
                conn.ready = false;
            }
            self.read(id);
        }
        self.acceptor.accept(self.poll.registry(), &mut self.engine);
        if self.inlet_waits {
            self.take_commands();
        }
        self.take_overdue();
        self.take_timers();
        self.settle();
        self.set_alarm();
        Ok(count)
    }

    /// Whether there is work that no event will announce.
    pub(crate) fn has_left_over(&self) -> bool {
        !self.engine.ready.is_empty() || self.engine.has_dirty() || self.inlet_waits
    }

    /// When the next turn must come, be there an event or not; 0 if it is time.
    pub(crate) fn due(&self) -> Option<Millis> {
        if self.has_left_over() { Some(0) } else { self.next_deadline() }
    }

    fn next_deadline(&self) -> Option<Millis> {
        let (deadlines, timers) = (self.engine.deadlines.next(), self.engine.timers.next());
        let due = [deadlines, timers, self.acceptor.due()];
        let first = due.into_iter().fold(NEVER, |first, at| first.min(at.unwrap_or(NEVER)));
        (first != NEVER).then_some(first)
    }

    /// Has the alarm, if there is one, tell when the next turn must come.
    pub(crate) fn set_alarm(&mut self) {
        let due = match self.alarm {
            None => None,
            Some(_) if !self.has_left_over() => self.next_deadline(),
            // What is left over need not be announced to this loop, only to one around it.
            Some(_) => self.engine.config.fd_only.then_some(0),
        };
        if let (Some(alarm), Some(at)) = (&mut self.alarm, due) {
            alarm.set(at, &self.engine.clock);
        }
    }

    #[cold]
    fn alarm_went_off(&mut self) {
        if let Some(alarm) = &mut self.alarm {
            alarm.went_off();
        }
    }

    fn take_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => self.take_commands(),
            ALARM => self.alarm_went_off(),
            #[cfg(feature = "cli")]
            SIGNALS => self.take_signals(),
            Token(token) if LISTENERS.0 - token.min(LISTENERS.0) < MAX_LISTENERS => {
                self.acceptor.announce(LISTENERS.0 - token);
            }
            _ => {
                if let Some(id) = self.engine.announced(event) {
                    self.read(id);
                }
            }
        }
    }

    /// Reads what a connection has, within the budget; what is left is read next turn.
    fn read(&mut self, id: ConnId) {
        let mut receive = std::mem::take(&mut self.receive);
        if let Some(mut held) = self.engine.get_mut(id).and_then(Connection::take_held) {
            self.take_in(id, &mut held);
        }
        let mut budget = self.engine.config.read_budget.max(1);
        for _ in 0..READS_PER_TURN {
            let most = budget.min(receive.len());
            let Some(bytes) = self.read_once(id, &mut receive[..most]) else { break };
            budget = budget.saturating_sub(bytes);
            if budget == 0 {
                break;
            }
        }
        self.engine.end_reading(id);
        self.receive = receive;
    }

    /// One read. How much it brought, if there may be more to read now.
    fn read_once(&mut self, id: ConnId, receive: &mut [u8]) -> Option<usize> {
        let now = self.engine.clock.now();
        let conn = find(&mut self.engine.conns, id).filter(|conn| conn.may_read())?;
        match conn.read(receive) {
            Ok(Fresh { bytes: 0, .. }) => {
                conn.readable = false;
                self.take_last_line(id);
                self.engine.read_ended(id);
                None
            }
            Ok(fresh) => {
                // A short read has emptied the socket, unless its end was announced with it: that
                // is announced only once, so read on to find it.
                conn.readable = fresh.more || conn.read_closed;
                let more = conn.readable;
                let bytes = fresh.bytes;
                self.engine.stats.bytes_in += bytes as u64;
                conn.heard = now;
                if std::mem::take(&mut conn.awaiting_pong) {
                    // What is due next may be due sooner than the pong was.
                    self.engine.arm(id);
                }
                match fresh.behind {
                    Some(mut behind) => self.take_in(id, &mut behind),
                    None => self.take_in(id, &mut receive[..bytes]),
                }
                more.then_some(bytes)
            }
            Err(error) => self.read_failed(id, &error),
        }
    }

    /// As [`read_once`](Server::read_once).
    #[inline(never)]
    fn read_failed(&mut self, id: ConnId, error: &io::Error) -> Option<usize> {
        if error.kind() == io::ErrorKind::Interrupted {
            return Some(0);
        }
        if let Some(conn) = self.engine.get_mut(id) {
            conn.readable = false;
        }
        match error.kind() {
            io::ErrorKind::WouldBlock => {}
            io::ErrorKind::Unsupported => self.refuse(id, plain_http(), false),
            _ => {
                debug!("#{} lost: {error}", id.serial());
                self.engine.drop_now(id, code::ABNORMAL, &error.to_string());
            }
        }
        None
    }

    #[inline(never)]
    fn take_commands(&mut self) {
        if self.inlet.take_stop() {
            self.stop();
        }
        if self.inlet.take_wake() {
            for route in self.routes.ids() {
                if let Some(handler) = self.routes.handler(route) {
                    handler.on_wake(&mut Context::new(&mut self.engine, ConnId::NONE, route));
                }
            }
        }
        self.inlet_waits = true;
        for _ in 0..COMMANDS_PER_TURN {
            match self.inlet.next() {
                None => {
                    self.inlet_waits = false;
                    return;
                }
                Some(Command::Send(id, message)) => {
                    self.engine.send(id, message.as_message());
                }
                Some(Command::Route(route, message)) => {
                    self.engine.broadcast(route, message.as_message(), ConnId::NONE);
                }
                Some(Command::Broadcast(path, message)) => match self.routes.named(&path) {
                    Some(route) => self.engine.broadcast(route, message.as_message(), ConnId::NONE),
                    None => debug!("another thread broadcasts to {path:?}, which is no route"),
                },
            }
        }
    }

    #[cfg(feature = "cli")]
    #[cold]
    fn take_signals(&mut self) {
        let asked = self.signals.as_mut().map(Signals::arrived).unwrap_or_default();
        if asked.reload {
            match self.reload_tls() {
                Ok(()) => info!("the certificate was read anew"),
                Err(error) => log::error!("the certificate stays as it is: {error}"),
            }
        }
        if asked.stop {
            self.stop();
        }
    }

    fn take_overdue(&mut self) {
        while let Some((id, overdue)) = self.engine.next_overdue() {
            self.missed(id, overdue);
        }
    }

    #[cold]
    fn missed(&mut self, id: ConnId, overdue: Overdue) {
        match overdue {
            Overdue::Ping => self.engine.ping_silent(id),
            Overdue::Pong => self.engine.cut(id, "no answer to a ping"),
            Overdue::Idle => self.engine.cut(id, "idle"),
            Overdue::Stall => self.stalled(id),
            Overdue::Close if self.engine.get(id).is_some_and(|conn| !conn.close_sent) => {
                self.engine.cut(id, "not done in time");
            }
            Overdue::Close => self.engine.cut(id, "no answer to the close"),
            Overdue::Handshake if self.engine.owes_request(id) => {
                self.refuse(id, Response::text(408, "no request came in time\n"), false);
            }
            Overdue::Handshake => self.engine.drop_now(id, code::NORMAL, "no further request"),
        }
    }

    /// The kernel announces room only when a third of what it holds for the peer has gone. A slow
    /// reader may have made less, and takes something all the same: so ask before it is cut.
    fn stalled(&mut self, id: ConnId) {
        match self.engine.flush(id, &mut self.receive) {
            Owed::Nothing => {}
            Owed::Drain => self.with_handler(id, |handler, ws| handler.on_drain(ws)),
            Owed::Rest => self.engine.mark_dirty(id),
        }
        if self.engine.is_stalled(id) {
            self.engine.cut(id, "takes nothing");
        }
        self.engine.arm(id);
    }

    fn take_timers(&mut self) {
        let now = self.engine.clock.now();
        while let Some(timer) = self.engine.timers.pop_due(now) {
            self.fire(timer);
        }
    }

    #[inline(never)]
    fn fire(&mut self, timer: Timer) {
        if let Some(handler) = self.routes.handler(timer.route) {
            let mut ws = Context::new(&mut self.engine, timer.conn, timer.route);
            if ws.id() == ConnId::NONE || ws.ready_state() != ReadyState::Closed {
                handler.on_timer(&mut ws, timer.tag);
            }
        }
    }

    /// Writes to everyone who has something to be written, and reports who has ended, until
    /// neither leads to more of the other: a goodbye sent from `on_close` still goes out now.
    pub(crate) fn settle(&mut self) {
        let mut unfinished = Vec::new();
        let mut drained = Vec::new();
        loop {
            self.engine.deliver_all();
            while let Some(id) = self.engine.next_dirty() {
                match self.engine.flush(id, &mut self.receive) {
                    Owed::Nothing => {}
                    Owed::Drain => drained.push(id),
                    Owed::Rest => unfinished.push(id),
                }
            }
            if self.engine.ended.is_empty() {
                break;
            }
            for id in std::mem::take(&mut self.engine.ended) {
                self.report(id);
            }
        }
        for id in unfinished {
            self.engine.mark_dirty(id);
        }
        // What these queue is written next turn: a handler that refills the backlog of a fast
        // reader would hold this one for good.
        for id in drained {
            if self.engine.is_open(id) {
                self.with_handler(id, |handler, ws| handler.on_drain(ws));
            }
        }
    }

    /// Calls `on_close` if it is owed, and removes the connection if it is gone.
    #[inline(never)]
    fn report(&mut self, id: ConnId) {
        let Some(conn) = self.engine.get_mut(id) else { return };
        let (opened, source) = (std::mem::take(&mut conn.opened), std::mem::take(&mut conn.source));
        let (gone, ending) = (conn.gone, conn.rare_mut().ending.take());
        if let Some(ending) = ending.filter(|_| opened) {
            let (version, route) = (conn.version, conn.route);
            self.engine.stats.closed += 1;
            let (path, code, reason) = (self.routes.path(route), ending.code, &ending.reason);
            info!("#{} closed: {version} {path} {code} {reason:?}", id.serial());
            self.with_handler(id, |handler, ws| handler.on_close(ws, code, reason));
        }
        if source {
            self.report_source(id);
        }
        if gone {
            self.engine.remove(id);
            self.acceptor.resume();
        }
    }

    /// Calls the handler of a connection's route.
    pub(crate) fn with_handler(
        &mut self,
        id: ConnId,
        call: impl FnOnce(&mut dyn Handler, &mut Context<'_>),
    ) {
        let Some(route) = self.engine.get(id).map(|conn| conn.route) else { return };
        if let Some(handler) = self.routes.handler(route) {
            call(handler, &mut Context::new(&mut self.engine, id, route));
        }
    }
}

/// For who speaks HTTP where TLS is spoken.
fn plain_http() -> Response {
    Response::text(400, "TLS is spoken on this port: the address begins with https:// or wss://\n")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;
    use crate::config::Config;

    #[test]
    fn who_takes_much_just_before_being_cut_as_stalled_is_given_the_rest() {
        let mut server = Server::new(Config::default()).unwrap();
        let (ours, mut peer) = UnixStream::pair().unwrap();
        server.adopt(ours.into(), b"").unwrap();
        // More parts than one call takes, and more than the budget that tests have.
        let bytes = Rc::new(vec![b'x'; 5_000]);
        let conn = &mut server.engine.conns[0];
        let id = conn.id;
        for _ in 0..20 {
            conn.outbox.append_shared(&mut server.engine.spares, &bytes, 0);
        }
        // As if the kernel had taken nothing for long, and had never said that it would again.
        conn.blocked = true;
        server.stalled(id);
        assert!(server.has_left_over());
        server.turn(Some(Duration::ZERO)).unwrap();
        peer.read_exact(&mut [0; 100_000]).unwrap();
    }
}
