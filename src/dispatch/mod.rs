//! Calls handlers: turns bytes into requests, messages and lines, and tells handlers whatever else
//! they are to know. Nothing in this folder knows the poll.

mod by_http;
mod reading;
mod requests;
pub(crate) mod routes;
mod sources;

use log::info;

use crate::config::Config;
use crate::context::Context;
use crate::handler::Handler;
use crate::http::files::Site;
use crate::ids::{ConnId, RouteId};
use crate::net::stream::Readiness;
use crate::peers::Peers;
use crate::peers::closing::Report;
use crate::peers::complaints::quoted;
use crate::peers::connection::{ReadyState, Role};
use crate::peers::time::{NEVER, Timer};
pub(crate) use requests::too_many_from_there;
use routes::Routes;

/// The peers, and the handlers and files that serve them.
pub(crate) struct Dispatcher {
    pub(crate) peers: Peers,
    pub(crate) routes: Routes,
    pub(crate) site: Site,
    /// What the program adds to the site's answers.
    pub(crate) site_headers: Vec<(&'static str, String)>,
    /// Clients connect by loopback addresses alone, as far as they do by TCP.
    pub(crate) is_local: bool,
}

impl Dispatcher {
    pub(crate) fn new(config: Config) -> Dispatcher {
        Dispatcher {
            peers: Peers::new(config),
            routes: Routes::default(),
            site: Site::None,
            site_headers: Vec::new(),
            is_local: false,
        }
    }

    /// Adds a route, or gives an existing one a new handler.
    pub(crate) fn route(&mut self, path: &str, handler: Box<dyn Handler>) {
        if self.routes.add(path, handler) {
            self.peers.add_room();
        }
        if let Some(route) = self.routes.named(path)
            && let Some(handler) = self.routes.handler(route)
        {
            handler.on_start(&mut Context::new(&mut self.peers, ConnId::NONE, route));
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

    /// Calls `on_wake` of every handler, because another thread asked for it.
    pub(crate) fn wake(&mut self) {
        for route in self.routes.ids() {
            if let Some(handler) = self.routes.handler(route) {
                handler.on_wake(&mut Context::new(&mut self.peers, ConnId::NONE, route));
            }
        }
    }

    // A turn's steps; between them the server accepts, and sees to other threads.

    /// Begins a turn: time goes on. Returns the connections whose reading the last turn cut short, to
    /// be handed to [`read_on`](Dispatcher::read_on): this turn's events may list more, for the next.
    pub(crate) fn begin_turn(&mut self) -> Vec<ConnId> {
        self.peers.clock.tick();
        self.peers.take_to_read()
    }

    /// The kernel announces something of a connection.
    pub(crate) fn announced(&mut self, token: usize, what: Readiness, receive: &mut [u8]) {
        if let Some(id) = self.peers.announced(token, what) {
            self.read(id, receive);
        }
    }

    /// Reads on where the last turn stopped.
    pub(crate) fn read_on(&mut self, left_over: Vec<ConnId>, receive: &mut [u8]) {
        for id in left_over {
            self.peers.delist(id);
            self.read(id, receive);
        }
    }

    /// Ends a turn: sees to who is late, fires timers, writes, and reports who has ended. True if a
    /// connection was removed.
    pub(crate) fn end_turn(&mut self, receive: &mut [u8]) -> bool {
        self.check_deadlines(receive);
        self.fire_timers();
        self.settle()
    }

    /// Sees to all that missed a deadline.
    fn check_deadlines(&mut self, receive: &mut [u8]) {
        while let Some(id) = self.peers.next_overdue() {
            if self.peers.is_to_be_heard(id) {
                self.read(id, receive);
            }
            self.peers.judge(id);
        }
        self.peers.judge_next_turn();
    }

    /// Calls the handlers whose timers are due.
    fn fire_timers(&mut self) {
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

    /// Does what is left before the next wait: writes to all that have something to be written, and
    /// reports those that ended. Each can lead to more of the other, so it goes on until nothing is
    /// left: a goodbye sent from `on_close` still goes out now. True if a connection was removed.
    fn settle(&mut self) -> bool {
        let mut removed = false;
        loop {
            self.peers.deliver_all();
            while let Some(id) = self.peers.next_to_write() {
                self.peers.flush(id);
            }
            if !self.peers.has_ended() {
                break;
            }
            for id in self.peers.take_ended() {
                removed |= self.report(id);
            }
        }
        self.peers.write_on_next_turn();
        // What these queue is written next turn: otherwise a handler that refills the backlog of a
        // fast reader would keep this turn from ending.
        while let Some(id) = self.peers.next_drained() {
            self.drained(id);
        }
        removed
    }

    /// Tells a handler that nothing waits any more for a connection or a source.
    #[inline(never)]
    fn drained(&mut self, id: ConnId) {
        let Some(conn) = self.peers.get(id).filter(|conn| conn.is_open()) else { return };
        if conn.is_websocket() {
            self.with_handler(id, |handler, ws| handler.on_drain(ws));
        } else if conn.is_source() {
            self.with_source(id, |handler, ws, source| handler.on_source_drain(ws, source));
        }
    }

    /// Ends all connections at once; their handlers are told.
    pub(crate) fn end(&mut self) {
        self.peers.end_all();
        self.settle();
        self.peers.count_left_out(NEVER);
    }

    /// Calls `on_close` or `on_source_end` if it is owed, and removes the connection if it is gone.
    /// True if it was removed.
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
            (Role::Source { reach, .. }, ending) => self.source_ended(id, reach, ending),
            (Role::Listener, Some(ending)) => self.events_ended(id, &ending),
            _ => {}
        }
        if gone {
            self.peers.remove(id);
        }
        gone
    }
}
