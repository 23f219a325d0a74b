//! What knows the poll: the server that a program sets up and runs. Its turn is in `turn.rs`; what a
//! turn does with a connection is in `dispatch`.

mod accept;
mod alarm;
mod listen;
pub(crate) mod remote;
#[cfg(feature = "cli")]
mod signals;
mod turn;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use log::info;
use mio::{Events, Poll, Token, Waker};

use crate::code;
use crate::config::Config;
use crate::context::Context;
use crate::dispatch::Dispatcher;
use crate::handler::Handler;
use crate::http::files::Site;
use crate::ids::ConnId;
#[cfg(feature = "capi")]
use crate::ids::RouteId;
#[cfg(any(feature = "cli", feature = "tls"))]
use crate::net::tls::Tls;
use crate::stats::Stats;
use accept::Acceptor;
use alarm::Alarm;
use remote::{Inlet, Remote, remote};
#[cfg(feature = "cli")]
use signals::Signals;

const WAKER: Token = Token(usize::MAX);
#[cfg(feature = "cli")]
const SIGNALS: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);
/// The first listener's token; the others' lie below it.
const LISTENERS: usize = usize::MAX - 3;
/// How many listeners there may be: as many as have tokens above those of the connections.
const MAX_LISTENERS: usize = 256;
const LAST_LISTENER: usize = LISTENERS - MAX_LISTENERS + 1;

/// The size of the receive buffer, which all connections share.
const RECEIVE: usize = 64 * 1024;

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
/// and a loop that ignores the timeout would leave it lying for good. On Linux,
/// [`Config::fd_only`] has the descriptor announce that work too; then it alone is enough.
pub struct Server {
    poll: Poll,
    events: Events,
    acceptor: Acceptor,
    dispatcher: Dispatcher,
    /// The receive buffer, shared by all connections.
    receive: Box<[u8]>,
    /// With [`Config::fd_only`], and in [`run`](Server::run).
    alarm: Option<Alarm>,
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
    /// If the system has no descriptors left for the poll;
    /// [`Unsupported`](io::ErrorKind::Unsupported) for [`Config::fd_only`] where it cannot be had.
    pub fn new(config: Config) -> io::Result<Server> {
        let config = config.within_bounds();
        let poll = Poll::new()?;
        let alarm = if config.fd_only { Some(Alarm::new(poll.registry(), ALARM)?) } else { None };
        let (remote, inlet) = remote(Waker::new(poll.registry(), WAKER)?);
        Ok(Server {
            poll,
            events: Events::with_capacity(config.max_events),
            acceptor: Acceptor::new(&config),
            dispatcher: Dispatcher::new(config),
            receive: vec![0; RECEIVE].into(),
            alarm,
            remote,
            inlet,
            inlet_waits: false,
            #[cfg(feature = "cli")]
            signals: None,
        })
    }

    /// Serves a path by `handler`: WebSockets, and plain HTTP requests that it answers. Paths are
    /// compared as they were sent, without the query; `*` stands for all that no other route
    /// names. A path that was added before gets the new handler.
    pub fn route(&mut self, path: &str, handler: impl Handler + 'static) {
        self.dispatcher.route(path, Box::new(handler));
    }

    /// Serves the files of a folder to plain GET and HEAD requests that no handler answers.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn serve_folder(&mut self, root: impl AsRef<Path>) -> io::Result<()> {
        self.dispatcher.site = Site::folder(root.as_ref())?;
        Ok(())
    }

    /// Serves files that are part of the program: paths such as `/index.html`, and their content.
    pub fn serve_embedded(&mut self, files: &'static [(&'static str, &'static [u8])]) {
        self.dispatcher.site = Site::Embedded(files);
    }

    /// Shows another certificate to clients that connect from now on; those who are connected notice
    /// nothing. For a server that had none, the addresses it listens on stay plain.
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: Tls) {
        self.dispatcher.peers.config.tls = Some(tls);
    }

    /// The same with the certificate's own files, read anew: they may have been renewed.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it should be, and the old certificate stays;
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the server has none, or it came from no file.
    pub fn reload_tls(&mut self) -> io::Result<()> {
        let none = || io::Error::new(io::ErrorKind::Unsupported, "there is no certificate");
        let tls = self.dispatcher.peers.config.tls.as_ref().ok_or_else(none)?.reloaded()?;
        self.dispatcher.peers.config.tls = Some(tls);
        Ok(())
    }

    /// Stops the server when SIGTERM or SIGINT arrives; a second one ends the process at once. On
    /// SIGHUP the certificate is read anew, if there is one that came from files.
    ///
    /// # Errors
    /// If the system refuses the signal handlers.
    #[cfg(feature = "cli")]
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        let hangup = self.dispatcher.peers.config.tls.as_ref().is_some_and(Tls::is_from_files);
        self.signals = Some(Signals::register(self.poll.registry(), SIGNALS, hangup)?);
        Ok(())
    }

    /// Reaches this server from other threads.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// A context of any connection and route, for the C API.
    #[cfg(feature = "capi")]
    pub(crate) fn context_of(&mut self, id: ConnId, route: RouteId) -> Context<'_> {
        self.dispatcher.context(id, route)
    }

    /// The number of a route, named as it was added.
    #[cfg(feature = "capi")]
    pub(crate) fn route_named(&self, path: &str) -> Option<RouteId> {
        self.dispatcher.routes.named(path)
    }

    /// The path of a route.
    #[cfg(feature = "capi")]
    pub(crate) fn route_path(&self, route: RouteId) -> &str {
        self.dispatcher.routes.path(route)
    }

    /// How many routes there are.
    #[cfg(feature = "capi")]
    pub(crate) fn routes(&self) -> RouteId {
        self.dispatcher.peers.routes()
    }

    /// For use between turns: a context that belongs to no connection, but to a route, named as it
    /// was added. What is sent through it is written in the next turn.
    pub fn context(&mut self, path: &str) -> Option<Context<'_>> {
        let route = self.dispatcher.routes.named(path)?;
        // Whatever will be done through it is done before anybody asks again.
        if let Some(alarm) = &mut self.alarm {
            alarm.set(0, &self.dispatcher.peers.clock);
        }
        Some(self.dispatcher.context(ConnId::NONE, route))
    }

    /// Bytes of memory that incomplete messages of all connections hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.dispatcher.peers.held()
    }

    /// What the server counts about itself. Linear in the number of connections.
    pub fn stats(&self) -> Stats {
        self.dispatcher.peers.stats()
    }

    /// Turns until the server is stopped and all connections have ended.
    ///
    /// # Errors
    /// As [`turn`](Server::turn).
    pub fn run(&mut self) -> io::Result<()> {
        // Waiting without a timeout is cheaper: for each the kernel sets a timer, and clears it.
        if self.alarm.is_none() {
            self.alarm = Alarm::new(self.poll.registry(), ALARM).ok();
            self.set_alarm();
        }
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
        let due = match self.alarm {
            // It ends the wait.
            Some(_) if !self.has_left_over() => None,
            _ => self.poll_timeout(),
        };
        self.turn_within(timeout.into_iter().chain(due).min())
    }

    /// How long the next turn may wait: zero if there is work that no event will announce, `None`
    /// if nothing is due at any time.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due().map(|at| self.dispatcher.peers.clock.until(at))
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
        let peers = &mut self.dispatcher.peers;
        if peers.is_stopping() {
            return;
        }
        info!("stopping: {} connections", peers.len());
        self.acceptor.close();
        peers.stop();
        self.set_alarm();
    }

    /// Whether the server was stopped and all its connections have ended.
    pub fn is_stopped(&self) -> bool {
        self.dispatcher.peers.is_stopping() && self.dispatcher.peers.len() == 0
    }
}

impl AsFd for Server {
    /// The same as [`fd`](Server::fd), borrowed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.registry().as_fd()
    }
}

impl Drop for Server {
    /// Handlers are told of the end of every connection, of this one too.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let peers = &mut self.dispatcher.peers;
        for id in peers.ids() {
            peers.drop_now(id, code::ABNORMAL, "the server is gone");
        }
        self.dispatcher.settle();
    }
}
