//! The loop: one poll, and the turn.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

use log::{debug, info};
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};

use crate::accept::Acceptor;
use crate::config::Config;
use crate::connection::{Overdue, ReadyState};
use crate::context::Context;
use crate::engine::{ConnId, Engine};
use crate::files::Site;
use crate::handler::Handler;
use crate::http::Response;
use crate::proto::close::code;
use crate::remote::{Command, Inlet, Remote, remote};
use crate::routes::Routes;
#[cfg(feature = "cli")]
use crate::signals::Signals;
use crate::transport::ListenAddr;

const WAKER: Token = Token(usize::MAX);
#[cfg(feature = "cli")]
const SIGNALS: Token = Token(usize::MAX - 1);
/// The first listener's token; the others' lie below it.
const LISTENERS: Token = Token(usize::MAX - 2);
/// How many listeners there may be: as many as have tokens above those of the connections.
const MAX_LISTENERS: usize = 256;

/// Most events taken from the kernel in one turn.
const EVENTS: usize = 1024;
/// The receive buffer, shared by all connections; also what files are read through.
const RECEIVE: usize = 64 * 1024;
/// Most reads from one connection in a turn, so that a busy peer starves nobody.
const READS_PER_TURN: usize = 4;
/// Most messages taken from other threads in a turn.
const COMMANDS_PER_TURN: usize = 256;

/// A WebSocket server: listeners, connections and handlers, on one thread.
///
/// ```no_run
/// use wsloop::{Context, Message, Server};
///
/// fn main() -> std::io::Result<()> {
///     let mut server = Server::bind("127.0.0.1:9999")?;
///     server.route("/", |ws: &mut Context<'_>, message: Message<'_>| {
///         ws.send(message);
///     });
///     server.run()
/// }
/// ```
///
/// # Inside another loop
///
/// A program with a loop of its own watches [`fd`](Server::fd) for readability, level-triggered,
/// waits no longer than [`poll_timeout`](Server::poll_timeout), and then calls
/// [`turn`](Server::turn) with a timeout of zero, whether the wait ended by readiness or by time.
/// All three are needed: after a turn there may be work that the descriptor does not announce,
/// and a loop that ignores the timeout would leave it lying for good.
pub struct Server {
    pub(crate) poll: Poll,
    events: Events,
    pub(crate) acceptor: Acceptor,
    pub(crate) engine: Engine,
    pub(crate) routes: Routes,
    pub(crate) site: Site,
    receive: Box<[u8]>,
    remote: Remote,
    inlet: Inlet,
    /// Other threads' messages that the budget left for the next turn.
    inlet_waits: bool,
    #[cfg(feature = "cli")]
    signals: Option<Signals>,
}

impl Server {
    /// A server that listens on one address, with the limits of [`Config::default`].
    ///
    /// # Errors
    /// As [`listen`](Server::listen).
    pub fn bind(addr: &str) -> io::Result<Server> {
        let mut server = Server::new(Config::default())?;
        server.listen(addr)?;
        Ok(server)
    }

    /// A server that listens nowhere yet.
    ///
    /// # Errors
    /// If the system has no descriptors left for the poll.
    pub fn new(config: Config) -> io::Result<Server> {
        let poll = Poll::new()?;
        let (remote, inlet) = remote(Waker::new(poll.registry(), WAKER)?);
        Ok(Server {
            poll,
            events: Events::with_capacity(EVENTS),
            acceptor: Acceptor::new(&config),
            engine: Engine::new(config),
            routes: Routes::default(),
            site: Site::None,
            receive: vec![0; RECEIVE].into(),
            remote,
            inlet,
            inlet_waits: false,
            #[cfg(feature = "cli")]
            signals: None,
        })
    }

    /// Listens on one more address: `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` (the first
    /// address of that name that can be had) or `unix:/path`. Port 0 lets the system choose; the
    /// answer tells which. A Unix socket that a dead server left behind is replaced.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another server listens there, and whatever else
    /// the system says.
    pub fn listen(&mut self, addr: &str) -> io::Result<ListenAddr> {
        let token = Token(LISTENERS.0 - self.acceptor.len());
        if self.acceptor.len() >= MAX_LISTENERS {
            return Err(io::Error::other(format!("more than {MAX_LISTENERS} listeners")));
        }
        self.acceptor.listen(addr, self.poll.registry(), token)
    }

    /// Has `handler` serve a path: WebSockets, and plain HTTP requests that it answers. Paths are
    /// compared as they were sent, without the query; `*` stands for all that no other route
    /// names. A path that was added before gets the new handler.
    pub fn route(&mut self, path: &str, handler: impl Handler + 'static) {
        if self.routes.add(path, Box::new(handler)) {
            self.engine.members.push(Vec::new());
        }
    }

    /// Serves the files of a folder to plain GET and HEAD requests that no handler answers.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn serve_folder(&mut self, root: impl AsRef<Path>) -> io::Result<()> {
        self.site = Site::folder(root.as_ref())?;
        Ok(())
    }

    /// Serves files that are part of the program: paths such as `/index.html`, and their content.
    pub fn serve_embedded(&mut self, files: &'static [(&'static str, &'static [u8])]) {
        self.site = Site::Embedded(files);
    }

    /// Stops the server when SIGTERM or SIGINT arrives; a second one ends the process at once.
    ///
    /// # Errors
    /// If the system refuses the signal handlers.
    #[cfg(feature = "cli")]
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        self.signals = Some(Signals::register(self.poll.registry(), SIGNALS)?);
        Ok(())
    }

    /// The address of the first listener.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if there is none.
    pub fn local_addr(&self) -> io::Result<ListenAddr> {
        self.acceptor.local_addr()
    }

    /// Reaches this server from other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// For use between turns: a context that belongs to no connection, but to a route, named as it
    /// was added. What is sent through it is written in the next turn.
    pub fn context(&mut self, path: &str) -> Option<Context<'_>> {
        let route = self.routes.named(path)?;
        Some(Context::new(&mut self.engine, ConnId::NONE, route))
    }

    /// Turns until the server is stopped and all connections have ended.
    ///
    /// # Errors
    /// As [`turn`](Server::turn).
    pub fn run(&mut self) -> io::Result<()> {
        while !self.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// One turn: waits for events, no longer than `timeout` and never past the next deadline, and
    /// does what they and the deadlines ask for. Returns how many events there were; a signal ends
    /// the wait with 0.
    ///
    /// # Errors
    /// If the poll fails, which means a bug here or a broken system. Nothing that a peer does is
    /// an error of the loop.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let wait = match (timeout, self.poll_timeout()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
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
        self.accept_waiting();
        if self.inlet_waits {
            self.take_commands();
        }
        self.take_overdue();
        self.take_timers();
        self.settle();
        Ok(count)
    }

    /// How long the next turn may wait: zero if there is work that no event will announce, `None`
    /// if nothing is due at any time.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let engine = &self.engine;
        if !engine.ready.is_empty() || engine.has_dirty() || self.inlet_waits {
            return Some(Duration::ZERO);
        }
        let due = [engine.deadlines.next(), engine.timers.next(), self.acceptor.due()];
        due.into_iter().flatten().min().map(|at| engine.clock.until(at))
    }

    /// The poll's descriptor, for a loop of another kind; see [Inside another
    /// loop](Server#inside-another-loop).
    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Begins to stop: nobody new is accepted and the addresses are free, every WebSocket is
    /// closed with 1001, and responses that are under way are finished. What has not ended by
    /// then is cut after [`Config::close_timeout`]. [`run`](Server::run) returns when all have
    /// ended; a program that turns the loop itself goes on until [`is_stopped`](Server::is_stopped).
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.engine.stopping, true) {
            return;
        }
        info!("stopping: {} connections", self.engine.conns.len());
        self.acceptor.close();
        let ids: Vec<ConnId> = self.engine.conns.iter().map(|(_, conn)| conn.id).collect();
        for id in ids {
            self.engine.stop(id);
        }
    }

    /// Whether the server was stopped and all its connections have ended.
    pub fn is_stopped(&self) -> bool {
        self.engine.stopping && self.engine.conns.is_empty()
    }

    fn take_event(&mut self, event: &Event) {
        match event.token() {
            WAKER => self.take_commands(),
            #[cfg(feature = "cli")]
            SIGNALS => self.take_signals(),
            Token(token) if LISTENERS.0 - token.min(LISTENERS.0) < MAX_LISTENERS => {
                self.acceptor.announce(LISTENERS.0 - token);
            }
            token => {
                let Some(id) = self.engine.by_token(token) else { return };
                if event.is_writable() {
                    self.engine.writable(id);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    if let Some(conn) = self.engine.get_mut(id) {
                        conn.readable = true;
                        conn.read_closed |= event.is_read_closed();
                    }
                    self.read(id);
                }
            }
        }
    }

    /// Reads what a connection has, within the budget; what is left is read next turn.
    fn read(&mut self, id: ConnId) {
        let mut receive = std::mem::take(&mut self.receive);
        if let Some(mut held) = self.engine.take_held(id) {
            self.take_in(id, &mut held);
        }
        for _ in 0..READS_PER_TURN {
            if !self.read_once(id, &mut receive) {
                break;
            }
        }
        self.engine.wake_reader(id);
        self.receive = receive;
    }

    /// One read. True if there may be more to read now.
    fn read_once(&mut self, id: ConnId, receive: &mut [u8]) -> bool {
        let now = self.engine.clock.now();
        let Some(conn) = self.engine.get_mut(id).filter(|conn| conn.may_read()) else {
            return false;
        };
        match conn.stream.read(receive) {
            Ok(0) => {
                conn.readable = false;
                self.engine.read_ended(id);
                false
            }
            Ok(n) => {
                conn.heard = now;
                // A short read has emptied the socket, unless its end was announced with it: that
                // is announced only once, so read on to find it.
                conn.readable = n == receive.len() || conn.read_closed;
                let more = conn.readable;
                self.take_in(id, &mut receive[..n]);
                more
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                conn.readable = false;
                false
            }
            Err(error) => {
                conn.readable = false;
                self.engine.drop_now(id, code::ABNORMAL, &error.to_string());
                false
            }
        }
    }

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
                Some(Command::Broadcast(path, message)) => match self.routes.named(&path) {
                    Some(route) => self.engine.broadcast(route, message.as_message(), ConnId::NONE),
                    None => debug!("another thread broadcasts to {path:?}, which is no route"),
                },
            }
        }
    }

    #[cfg(feature = "cli")]
    fn take_signals(&mut self) {
        if self.signals.as_mut().is_some_and(Signals::arrived) {
            self.stop();
        }
    }

    fn take_overdue(&mut self) {
        while let Some((id, overdue)) = self.engine.next_overdue() {
            match overdue {
                Overdue::Ping => self.engine.ping_silent(id),
                Overdue::Pong => self.engine.drop_now(id, code::ABNORMAL, "no answer to a ping"),
                Overdue::Idle => self.engine.drop_now(id, code::ABNORMAL, "idle"),
                Overdue::Stall => self.engine.drop_now(id, code::ABNORMAL, "takes nothing"),
                Overdue::Close => {
                    self.engine.drop_now(id, code::ABNORMAL, "no answer to the close")
                }
                Overdue::Handshake if self.engine.owes_request(id) => {
                    self.refuse(id, Response::text(408, "no request came in time\n"));
                }
                Overdue::Handshake => self.engine.drop_now(id, code::ABNORMAL, "no request"),
            }
        }
    }

    fn take_timers(&mut self) {
        let now = self.engine.clock.now();
        while let Some(timer) = self.engine.timers.pop_due(now) {
            if let Some(handler) = self.routes.handler(timer.route) {
                let mut ws = Context::new(&mut self.engine, timer.conn, timer.route);
                if ws.id() == ConnId::NONE || ws.ready_state() != ReadyState::Closed {
                    handler.on_timer(&mut ws, timer.tag);
                }
            }
        }
    }

    /// Writes to everyone who has something to be written, and reports who has ended, until
    /// neither leads to more of the other: a goodbye sent from `on_close` still goes out now.
    fn settle(&mut self) {
        let mut unfinished = Vec::new();
        loop {
            while let Some(id) = self.engine.next_dirty() {
                if self.engine.flush(id, &mut self.receive) {
                    self.with_handler(id, |handler, ws| handler.on_drain(ws));
                }
                if self.engine.wants_flush(id) {
                    unfinished.push(id);
                }
            }
            let ended = std::mem::take(&mut self.engine.ended);
            if ended.is_empty() {
                break;
            }
            for id in ended {
                self.report(id);
            }
        }
        for id in unfinished {
            self.engine.mark_dirty(id);
        }
    }

    /// Calls `on_close` if it is owed, and removes the connection if it is gone.
    fn report(&mut self, id: ConnId) {
        let Some(conn) = self.engine.get_mut(id) else { return };
        let gone = conn.gone;
        if std::mem::take(&mut conn.opened)
            && let Some(ending) = conn.ending.take()
        {
            let (version, code, reason) = (conn.version, ending.code, &ending.reason);
            let path = self.routes.path(conn.route);
            info!("#{} closed: {version} {path} {code} {reason:?}", id.serial());
            self.with_handler(id, |handler, ws| handler.on_close(ws, code, reason));
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

    fn accept_waiting(&mut self) {
        self.acceptor.accept(self.poll.registry(), &mut self.engine);
    }
}
