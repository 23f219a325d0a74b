//! What calls handlers: bytes become requests, messages and lines, and whatever else a handler is to
//! be told. Nothing in this folder knows the poll.

mod feed;
mod reading;
mod requests;
pub(crate) mod routes;

use log::info;

use crate::config::Config;
use crate::context::Context;
use crate::handler::Handler;
use crate::http::files::Site;
use crate::ids::{ConnId, RouteId};
use crate::peers::Peers;
use crate::peers::closing::Report;
use crate::peers::complaints::quoted;
use crate::peers::connection::{ReadyState, Role};
use crate::peers::time::Timer;
use routes::Routes;

/// The peers, and the handlers and files that serve them.
pub(crate) struct Dispatcher {
    pub(crate) peers: Peers,
    pub(crate) routes: Routes,
    pub(crate) site: Site,
}

impl Dispatcher {
    pub(crate) fn new(config: Config) -> Dispatcher {
        Dispatcher { peers: Peers::new(config), routes: Routes::default(), site: Site::None }
    }

    /// Adds a route, or gives an old one a new handler.
    pub(crate) fn route(&mut self, path: &str, handler: Box<dyn Handler>) {
        if self.routes.add(path, handler) {
            self.peers.add_room();
        }
    }

    /// A context of a route, or of a connection on it.
    pub(crate) fn context(&mut self, id: ConnId, route: RouteId) -> Context<'_> {
        Context::new(&mut self.peers, id, route)
    }

    /// Calls the handler of a connection's route.
    fn with_handler(&mut self, id: ConnId, call: impl FnOnce(&mut dyn Handler, &mut Context<'_>)) {
        let Some(route) = self.peers.get(id).map(|conn| conn.route) else { return };
        if let Some(handler) = self.routes.handler(route) {
            call(handler, &mut Context::new(&mut self.peers, id, route));
        }
    }

    /// Another thread wakes all handlers.
    pub(crate) fn wake(&mut self) {
        for route in self.routes.ids() {
            if let Some(handler) = self.routes.handler(route) {
                handler.on_wake(&mut Context::new(&mut self.peers, ConnId::NONE, route));
            }
        }
    }

    /// Calls the handlers whose timers are due.
    pub(crate) fn fire_timers(&mut self) {
        let now = self.peers.clock.now();
        while let Some(timer) = self.peers.timers.pop_due(now) {
            self.fire(timer);
        }
    }

    #[inline(never)]
    fn fire(&mut self, timer: Timer) {
        if let Some(handler) = self.routes.handler(timer.route) {
            let mut ws = Context::new(&mut self.peers, timer.conn, timer.route);
            if ws.id() == ConnId::NONE || ws.ready_state() != ReadyState::Closed {
                handler.on_timer(&mut ws, timer.tag);
            }
        }
    }

    /// What is left to do before the next wait: writes to everyone who has something to be written,
    /// and reports who has ended, until neither leads to more of the other: a goodbye sent from
    /// `on_close` still goes out now. True if a connection was removed.
    pub(crate) fn settle(&mut self) -> bool {
        let mut removed = false;
        loop {
            self.peers.deliver_all();
            while let Some(id) = self.peers.next_to_write() {
                self.peers.flush(id);
            }
            let ended = self.peers.take_ended();
            if ended.is_empty() {
                break;
            }
            for id in ended {
                removed |= self.report(id);
            }
        }
        self.peers.write_on_next_turn();
        // What these queue is written next turn: a handler that refills the backlog of a fast
        // reader would hold this one for good.
        for id in self.peers.take_drained() {
            if self.peers.is_open(id) {
                self.with_handler(id, |handler, ws| handler.on_drain(ws));
            }
        }
        removed
    }

    /// Calls `on_close` or `on_source_end` if it is owed, and removes the connection if it is gone:
    /// true then.
    #[inline(never)]
    fn report(&mut self, id: ConnId) -> bool {
        let Some(Report { role, ending, gone }) = self.peers.take_report(id) else { return false };
        match (role, ending) {
            (Role::WebSocket { .. }, Some(ending)) => {
                let Some(conn) = self.peers.get(id) else { return false };
                let (version, path) = (conn.version, self.routes.path(conn.route));
                let (code, reason) = (ending.code, &ending.reason);
                info!("#{} closed: {version} {path} {code} {}", id.serial(), quoted(reason));
                self.peers.stats.closed = self.peers.stats.closed.wrapping_add(1);
                self.with_handler(id, |handler, ws| handler.on_close(ws, code, reason));
            }
            (Role::Lines, _) => self.source_ended(id),
            _ => {}
        }
        if gone {
            self.peers.remove(id);
        }
        gone
    }
}
