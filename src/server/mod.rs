//! The server that a program sets up and runs; only this folder knows the poll. The turn is in
//! `turn.rs`; what a turn does with a connection is in `dispatch`.

mod accept;
mod alarm;
mod by_http;
mod listen;
mod machine;
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

use crate::config::Config;
use crate::context::Context;
use crate::dispatch::Dispatcher;
use crate::handler::Handler;
use crate::http::files::Site;
use crate::http::host::is_pattern;
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
/// Most listeners: as many as have tokens above those of the connections.
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
/// All three are needed: after a turn there may be work that the descriptor does not announce, and
/// a loop that ignores the timeout would never do it. On Linux, [`Config::fd_only`] makes the
/// descriptor announce that work too; then it alone is enough.
pub struct Server {
    poll: Poll,
    events: Events,
    acceptor: Acceptor,
    dispatcher: Dispatcher,
    /// The receive buffer, shared by all connections.
    receive: Box<[u8]>,
    /// Present with [`Config::fd_only`], and in [`run`](Server::run).
    alarm: Option<Alarm>,
    remote: Remote,
    inlet: Inlet,
    /// Other threads' messages may be waiting: a wake came, or the budget was spent.
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
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an entry of [`Config::hosts`] that is no host;
    /// [`Unsupported`](io::ErrorKind::Unsupported) for [`Config::fd_only`] where the system has no
    /// such timer.
    pub fn new(config: Config) -> io::Result<Server> {
        let max_memory = config.max_memory.unwrap_or_else(|| machine::memory() / 4);
        let config = Config { max_memory: Some(max_memory), ..config.within_bounds() };
        if let Some(name) = config.hosts.iter().find(|name| !is_pattern(name)) {
            let why = format!("'{name}' is no host like example.com, *.example.com, [::1] or *");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let poll = Poll::new()?;
        let alarm = if config.fd_only { Some(Alarm::new(poll.registry(), ALARM)?) } else { None };
        let (remote, inlet) = remote(Waker::new(poll.registry(), WAKER)?);
        let events = Events::with_capacity(config.max_events);
        let mut dispatcher = Dispatcher::new(config);
        Ok(Server {
            poll,
            events,
            acceptor: Acceptor::new(&mut dispatcher.peers),
            dispatcher,
            receive: vec![0; RECEIVE].into(),
            alarm,
            remote,
            inlet,
            inlet_waits: false,
            #[cfg(feature = "cli")]
            signals: None,
        })
    }

    /// Serves a path by `handler`: WebSockets, and plain HTTP requests that it answers. The path of a
    /// request is compared without its query and percent-decoded, as that of a file is: `/%63hat` is
    /// `/chat`, but an encoded slash is no slash. A route that is named encoded, `/a%20b`, is found
    /// by requests that spell it so. `*` stands for all that no other route names. A path that was
    /// added before gets the new handler, and offers nothing to plain HTTP until that is said anew. There may be 65,535 routes; one more is not added, which the
    /// log says.
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

    /// Adds a header field to every answer that [`serve_folder`](Server::serve_folder) or
    /// [`serve_embedded`](Server::serve_embedded) leads to, in place of one of the same name:
    /// `Content-Security-Policy`, for instance. `Cross-Origin-Resource-Policy: same-origin` is there
    /// anyway; `cross-origin` in its place lets pages of other sites show the images.
    pub fn site_header(&mut self, name: &'static str, value: impl Into<String>) {
        self.dispatcher.site_headers.push((name, value.into()));
    }

    /// Shows another certificate to clients that connect from now on; clients that are connected
    /// notice nothing. If the server had none, the addresses it listens on stay plain.
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, tls: Tls) {
        self.dispatcher.peers.config.tls = Some(tls);
    }

    /// Reads the certificate anew from its own files, which may have been renewed.
    ///
    /// # Errors
    /// If a file cannot be read, or is not what it should be; the old certificate stays then.
    /// [`Unsupported`](io::ErrorKind::Unsupported) if there is no certificate, or none from files.
    pub fn reload_tls(&mut self) -> io::Result<()> {
        let none = || io::Error::new(io::ErrorKind::Unsupported, "there is no certificate");
        let tls = self.dispatcher.peers.config.tls.as_ref().ok_or_else(none)?.reloaded()?;
        self.dispatcher.peers.config.tls = Some(tls);
        Ok(())
    }

    /// Stops the server when SIGTERM or SIGINT arrives; a second one ends the process at once. On
    /// SIGHUP the certificate is read anew, if there is one that came from files.
    ///
    /// Otherwise SIGHUP stops the server as well, if it would end the process: not if the process
    /// ignores it, as one that was started by `nohup` does, or has a handler of its own for it. Where
    /// there is no `/proc/self/status` to tell, which only Linux has, SIGHUP is left as it was.
    ///
    /// # Errors
    /// If the system refuses the signal handlers.
    #[cfg(feature = "cli")]
    pub fn stop_on_signals(&mut self) -> io::Result<()> {
        let hangup = self.has_tls_files() || signals::hangup_is_fatal();
        self.signals = Some(Signals::register(self.poll.registry(), SIGNALS, hangup)?);
        Ok(())
    }

    /// Whether there is a certificate that can be read anew.
    #[cfg(feature = "cli")]
    fn has_tls_files(&self) -> bool {
        self.dispatcher.peers.config.tls.as_ref().is_some_and(Tls::is_from_files)
    }

    /// What other threads reach this server by.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// A context of any connection and route, for the C API.
    #[cfg(feature = "capi")]
    pub(crate) fn context_of(&mut self, id: ConnId, route: RouteId) -> Context<'_> {
        self.dispatcher.peers.clock.tick();
        self.dispatcher.context(id, route)
    }

    /// The number of the route that was added as `path`.
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

    /// A context for use between turns. It belongs to no connection, but to the route that was
    /// added as `path`; `None` if there is no such route. What is sent through it is written in the
    /// next turn.
    pub fn context(&mut self, path: &str) -> Option<Context<'_>> {
        let route = self.dispatcher.routes.named(path)?;
        // The last turn may have been long ago, and periods that begin now begin now.
        self.dispatcher.peers.clock.tick();
        // Whatever is done through it comes before the next wait, which the alarm must end at once.
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

    /// Runs turns until the server is stopped and all connections have ended.
    ///
    /// # Errors
    /// As [`turn`](Server::turn).
    pub fn run(&mut self) -> io::Result<()> {
        // Waiting without a timeout is cheaper: the kernel would set and clear a timer for each
        // wait.
        if self.alarm.is_none() {
            self.alarm = Alarm::new(self.poll.registry(), ALARM).ok();
            self.set_alarm();
        }
        while !self.is_stopped() {
            self.turn(None)?;
        }
        Ok(())
    }

    /// Runs one turn: waits for events, no longer than `timeout` and never past the next deadline,
    /// and does what they and the deadlines ask for. Returns how many events there were; a signal
    /// ends the wait with 0.
    ///
    /// # Errors
    /// If the poll fails, which means a bug here or a broken system. Nothing that a peer does is
    /// an error of the loop.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let due = match &self.alarm {
            // The alarm ends the wait.
            Some(alarm) if alarm.is_set() && !self.has_left_over() => None,
            _ => {
                // To open a source leaves something to be done.
                self.watch_opened();
                self.poll_timeout()
            }
        };
        self.turn_within(timeout.into_iter().chain(due).min())
    }

    /// How long the next turn may wait: zero if there is work that no event will announce, `None`
    /// if nothing will ever be due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due().map(|at| self.dispatcher.peers.clock.until(at))
    }

    /// The poll's descriptor, for another loop; see [Inside another
    /// loop](Server#inside-another-loop).
    pub fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Begins to stop: clients are no longer accepted and the addresses become free, every
    /// WebSocket is closed with 1001, responses that are under way are finished, and clients that
    /// have no answer yet get a 503, those that wait to be accepted too (but not on a socket that was
    /// handed over: somebody who shares it may serve them). What has not ended after
    /// [`Config::close_timeout`] is cut. [`run`](Server::run) returns when all have ended; a program
    /// with its own loop goes on until [`is_stopped`](Server::is_stopped).
    pub fn stop(&mut self) {
        let peers = &mut self.dispatcher.peers;
        if peers.is_stopping() {
            return;
        }
        peers.clock.tick();
        info!("stopping: {} connections", peers.len());
        self.acceptor.close(self.poll.registry(), peers);
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
    /// Tells the handlers that every connection has ended.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.dispatcher.end();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;

    use super::*;
    use crate::peers::time::Clock;
    use crate::{Context, Message};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    /// A server that took its last turn twenty seconds ago, and the time to push further.
    fn after_a_long_silence(adopt: &[UnixStream]) -> (Server, Rc<Cell<Duration>>) {
        let time = Rc::new(Cell::new(Duration::ZERO));
        let mut server = Server::new(Config::default()).unwrap();
        server.dispatcher.peers.clock = Clock::given(time.clone());
        server.route("/", |_: &mut Context<'_>, _: Message<'_>| {});
        for socket in adopt {
            server.adopt(socket.try_clone().unwrap().into(), REQUEST).unwrap();
        }
        server.turn(Some(Duration::ZERO)).unwrap();
        time.set(Duration::from_secs(20));
        (server, time)
    }

    /// What the peer has been sent by now.
    fn sent(peer: &mut UnixStream) -> Vec<u8> {
        let mut bytes = vec![0; 1000];
        peer.set_nonblocking(true).unwrap();
        let count = peer.read(&mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    #[test]
    fn who_is_adopted_between_turns_has_all_its_time() {
        let (mut server, time) = after_a_long_silence(&[]);
        let (ours, mut peer) = UnixStream::pair().unwrap();
        server.adopt(ours.into(), b"").unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(sent(&mut peer), b"");
        time.set(Duration::from_millis(29_900));
        peer.write_all(REQUEST).unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        assert!(sent(&mut peer).starts_with(b"HTTP/1.1 101 "));
    }

    #[test]
    fn who_is_closed_between_turns_has_all_its_time_to_answer() {
        for by_stop in [false, true] {
            let (ours, mut peer) = UnixStream::pair().unwrap();
            let (mut server, time) = after_a_long_silence(&[ours]);
            assert!(sent(&mut peer).starts_with(b"HTTP/1.1 101 "));
            if by_stop {
                server.stop();
            } else {
                let mut ws = server.context("/").unwrap();
                let id = ws.members()[0];
                assert!(ws.to(id).close(1000, ""));
            }
            server.turn(Some(Duration::ZERO)).unwrap();
            assert!(sent(&mut peer).starts_with(b"\x88"));
            time.set(Duration::from_millis(24_900));
            server.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(server.stats().closed, 0, "by stop: {by_stop}");
            peer.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
            server.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!((server.stats().closed, server.stats().cut.len()), (1, 0));
        }
    }

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn what_a_hixie_client_does_not_acknowledge_ends_it() {
        let hixie = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\nUpgrade: WebSocket\r\n\
            Connection: Upgrade\r\n\r\n";
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for (request, pong, millis) in [
            (&hixie[..], 25, 120_000),
            (&hixie[..], 200, 225_000),
            (&hixie[..], u64::MAX, 0),
            (REQUEST, 25, 0),
        ] {
            let pong_timeout = Duration::from_secs(pong);
            let mut server = Server::new(Config { pong_timeout, ..Config::default() }).unwrap();
            server.route("/", |_: &mut Context<'_>, _: Message<'_>| {});
            let _peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ours = listener.accept().unwrap().0;
            server.adopt(ours.try_clone().unwrap().into(), request).unwrap();
            server.turn(Some(Duration::ZERO)).unwrap();
            assert_eq!(server.stats().opened, 1);
            assert_eq!(rustix::net::sockopt::tcp_user_timeout(&ours).unwrap(), millis);
        }
    }

    /// Adopts a client that comes from there; what it is told at once.
    fn comes_from(server: &mut Server, addr: &str) -> (UnixStream, Vec<u8>) {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let stream = crate::net::stream::Stream::from_fd(ours.into()).unwrap().0;
        server.adopt_stream(stream, Some(addr.parse().unwrap()), b"").unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        let told = sent(&mut peer);
        (peer, told)
    }

    #[test]
    fn who_has_too_many_connections_is_told_so_at_once() {
        let config = Config { max_per_address: Some(1), ..Config::default() };
        let mut server = Server::new(config).unwrap();
        let (one, told) = comes_from(&mut server, "192.0.2.1:1");
        assert_eq!(told, b"");
        let (_other, told) = comes_from(&mut server, "192.0.2.1:2");
        assert!(told.starts_with(b"HTTP/1.1 429 "));
        assert_eq!(comes_from(&mut server, "192.0.2.2:1").1, b"");
        drop((one, _other));
        while server.dispatcher.peers.len() > 0 {
            server.turn(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(comes_from(&mut server, "192.0.2.1:3").1, b"");
    }

    #[test]
    fn who_comes_while_there_is_no_memory_is_told_to_come_later() {
        let config = Config { max_memory: Some(300), ..Config::default() };
        let mut server = Server::new(config).unwrap();
        let (_one, told) = comes_from(&mut server, "192.0.2.1:1");
        assert_eq!(told, b"");
        let (_other, told) = comes_from(&mut server, "192.0.2.1:2");
        assert!(told.starts_with(b"HTTP/1.1 503 ") && told.ends_with(b"short of memory\n"));
    }

    #[cfg(feature = "capi")]
    #[test]
    fn who_is_closed_from_c_between_turns_has_all_its_time_to_answer() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let (mut server, time) = after_a_long_silence(&[ours]);
        let id = server.dispatcher.peers.members(0)[0];
        assert!(server.context_of(id, 0).close(1000, ""));
        server.turn(Some(Duration::ZERO)).unwrap();
        assert!(sent(&mut peer).ends_with(b"\x88\x02\x03\xe8"));
        time.set(Duration::from_millis(24_900));
        server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(server.stats().closed, 0);
    }

    #[test]
    fn once_nothing_is_left_to_do_the_wait_has_no_end() {
        let mut server = Server::bind("127.0.0.1:0").unwrap();
        server.remote().wake();
        assert_eq!(server.poll_timeout(), Some(Duration::ZERO), "somebody may wait");
        server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(server.poll_timeout(), None);
    }

    /// Stops the server when its timer fires.
    struct Stopping(Remote);

    impl Handler for Stopping {
        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}

        fn on_timer(&mut self, _: &mut Context<'_>, _: u64) {
            self.0.stop();
        }
    }

    #[test]
    fn a_timer_that_was_set_before_the_run_ends_its_first_wait() {
        let mut server = Server::new(Config::default()).unwrap();
        server.route("/", Stopping(server.remote()));
        server.context("/").unwrap().set_timer(Duration::from_millis(1), 0);
        server.run().unwrap();
        assert!(server.is_stopped());
    }
}
