//! What a route offers to plain HTTP: its messages as Server-Sent Events, and to say one by POST.
//!
//! Both are let in as WebSockets are, by the rules for origins and by what the handler answers. The
//! stream of events has no length, and ends with the connection: clients of HTTP/1.0 and 1.1 know that
//! alike (RFC 9112 section 6.3), and no message needs a chunk around it.

use log::{Level, info};

use super::Dispatcher;
use super::routes::Offers;
use crate::handler::Answer;
use crate::http::origin::admitted;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::ids::{ConnId, RouteId};
use crate::peers::complaints::{quoted, shown};
use crate::peers::connection::Ending;
use crate::peers::inbox::{Inbox, Post};
use crate::proto::memory::make_room;
use crate::proto::{Message, take};

/// What a request wants of what a route offers.
#[derive(Clone, Copy)]
enum Wanted {
    Events,
    Post,
    /// To know what it may ask for: a browser does so on its own, before a page may ask.
    Options,
    /// Another method.
    Unknown,
}

impl Wanted {
    fn of(request: &Request<'_>, offers: Offers) -> Option<Wanted> {
        match request.method() {
            "GET" | "HEAD" if offers.events && request.accepts("text/event-stream") => {
                Some(Wanted::Events)
            }
            "GET" | "HEAD" => None,
            "OPTIONS" if offers.events || offers.posts => Some(Wanted::Options),
            "POST" if offers.posts => Some(Wanted::Post),
            _ if offers.posts => Some(Wanted::Unknown),
            _ => None,
        }
    }
}

impl Dispatcher {
    /// Serves a request for what the route offers to plain HTTP. False if this is none.
    #[inline(never)]
    pub(super) fn serve_offer(
        &mut self,
        id: ConnId,
        route: RouteId,
        request: &Request<'_>,
    ) -> bool {
        let offers = self.routes.offers(route);
        let Some(wanted) = Wanted::of(request, offers) else { return false };
        let origin = request.header_bytes("Origin");
        if let Err(response) = self.check_origin(id, request, origin) {
            self.peers.refuse(id, response, request.is_head());
            return true;
        }
        let origin = request.header("Origin");
        let response = match wanted {
            Wanted::Options => options(offers),
            Wanted::Unknown => method_not_allowed(offers),
            Wanted::Events | Wanted::Post => match self.ask(id, route, request) {
                Some(Answer::Respond(response)) => response,
                _ if matches!(wanted, Wanted::Post) => return self.begin_post(id, route, request),
                _ => return self.begin_events(id, route, request),
            },
        };
        // What follows a body that is not read cannot be told from it.
        let keep_alive = request.keeps_alive() && request.content_length() == 0;
        self.peers.respond(id, let_read(response, origin), request.is_head(), keep_alive);
        true
    }

    /// Refuses pages of origins that no rule admits.
    pub(super) fn check_origin(
        &mut self,
        id: ConnId,
        request: &Request<'_>,
        origin: Option<&[u8]>,
    ) -> Result<(), Response> {
        let (secure, host) = (self.peers.is_secure(id, request), request.header("Host"));
        if admitted(&self.peers.config.origins, origin, host, secure) {
            return Ok(());
        }
        let (id, origin) = (id.serial(), shown(origin.unwrap_or_default()));
        let line = format_args!("#{id} refused: pages of {origin} may not connect");
        self.peers.complain(Level::Warn, line);
        Err(Response::text(403, "pages of this origin may not connect\n"))
    }

    fn begin_events(&mut self, id: ConnId, route: RouteId, request: &Request<'_>) -> bool {
        let response = let_read(Response::events(), request.header("Origin"));
        if request.is_head() {
            self.peers.respond(id, response, true, false);
            return true;
        }
        self.peers.respond_with_events(id, &response, route);
        // The handler may have ended it.
        if let Some(conn) = self.peers.get(id).filter(|conn| conn.is_listener()) {
            let path = shown(request.path().as_bytes());
            info!("#{} listens: {path} from {}", id.serial(), conn.addr);
        }
        true
    }

    /// Somebody hears no more events.
    pub(super) fn events_ended(&mut self, id: ConnId, ending: &Ending) {
        let Some(conn) = self.peers.get(id) else { return };
        let (path, code) = (self.routes.path(conn.route), ending.code);
        info!("#{} listens no more: {path} {code} {}", id.serial(), quoted(&ending.reason));
    }

    /// Takes the head of a message by POST: from now on its body is awaited.
    fn begin_post(&mut self, id: ConnId, route: RouteId, request: &Request<'_>) -> bool {
        let origin = request.header("Origin");
        let max = self.peers.config.max_message;
        let refusal = if request.header("Content-Length").is_none() {
            Some(Response::text(411, "a message needs a Content-Length\n"))
        } else if request.content_length() > max as u64 {
            Some(Response::text(413, format!("a message may have {max} bytes\n")))
        } else {
            None
        };
        if let Some(response) = refusal {
            self.peers.refuse(id, let_read(response, origin), false);
            return true;
        }
        if request.is_http_1_1() && request.has_token("Expect", "100-continue") {
            self.peers.append(id, |out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        let post = Post {
            body: Vec::new(),
            len: usize::try_from(request.content_length()).unwrap_or(usize::MAX),
            is_binary: request.has_type("application/octet-stream"),
            origin: origin.map(str::to_string),
            keep_alive: request.keeps_alive(),
        };
        self.peers.await_post(id, route, post);
        // There may be nothing to wait for.
        self.process_post(id, &mut []);
        true
    }

    /// Collects a message that comes by POST, and hands it over once it is whole. Returns what lies
    /// behind it. One message of this connection is enough for a turn: each may go to everybody.
    #[inline(never)]
    pub(super) fn process_post<'i>(&mut self, id: ConnId, mut input: &'i mut [u8]) -> &'i mut [u8] {
        let Some(conn) = self.peers.get_mut(id) else { return &mut [] };
        let Inbox::Post(post) = &mut conn.inbox else { return &mut [] };
        let piece = take(&mut input, post.len.saturating_sub(post.body.len()));
        if make_room(&mut post.body, piece.len()).is_err() {
            let response = Response::text(503, "there is no memory for this message\n");
            self.peers.refuse(id, response.header("Retry-After", "5"), false);
            return &mut [];
        }
        post.body.extend_from_slice(piece);
        if post.body.len() < post.len {
            self.peers.weigh(id);
            return &mut [];
        }
        let Inbox::Post(post) = std::mem::replace(&mut conn.inbox, Inbox::Head(Vec::new())) else {
            return input;
        };
        self.peers.weigh_again(id);
        let response = match self.hand_post_over(id, &post) {
            Ok(()) => Response::new(204),
            Err(response) => response,
        };
        let response = let_read(response, post.origin.as_deref());
        self.peers.respond(id, response, false, post.keep_alive);
        self.peers.sate(id);
        input
    }

    fn hand_post_over(&mut self, id: ConnId, post: &Post) -> Result<(), Response> {
        let message = match str::from_utf8(&post.body) {
            _ if post.is_binary => Message::Binary(&post.body),
            Ok(text) => Message::Text(text),
            Err(_) => {
                let why = "a text is UTF-8; bytes are sent as application/octet-stream\n";
                return Err(Response::text(400, why));
            }
        };
        self.peers.stats.messages_in = self.peers.stats.messages_in.wrapping_add(1);
        self.with_handler(id, |handler, ws| handler.on_publish(ws, message));
        Ok(())
    }
}

/// Lets the page that asks read the answer: its origin was let in. A cache must not show the answer to
/// another page. Who may read what a handler answers, the handler may have said: twice is not at all.
fn let_read(response: Response, origin: Option<&str>) -> Response {
    const ALLOW: &str = "Access-Control-Allow-Origin";
    let response = response.header("Vary", "Origin");
    match origin {
        Some(origin) if !response.has_header(ALLOW) => response.header(ALLOW, origin),
        _ => response,
    }
}

/// The methods, as `Allow` lists them.
fn methods(offers: Offers) -> &'static str {
    if offers.posts { "GET, HEAD, OPTIONS, POST" } else { "GET, HEAD, OPTIONS" }
}

/// Tells what may be asked for, and a browser that a page may.
fn options(offers: Offers) -> Response {
    let methods = methods(offers);
    let response = Response::new(204).header("Allow", methods);
    let response = response.header("Access-Control-Allow-Methods", methods);
    response.header("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
}

fn method_not_allowed(offers: Offers) -> Response {
    let methods = methods(offers);
    Response::text(405, format!("{methods} only\n")).header("Allow", methods)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use crate::config::Config;
    use crate::handlers::Broadcast;
    use crate::proto::memory::scarcity::{self, Scarcity};
    use crate::server::Server;

    /// A server, and a client who has sent the head of a message of 5,000 bytes, and half of it.
    fn in_the_midst_of_a_message(config: Config) -> (Server, UnixStream) {
        let mut server = Server::new(config).unwrap();
        server.route("/", Broadcast);
        server.publish("/").unwrap();
        let (ours, mut peer) = UnixStream::pair().unwrap();
        server.adopt(ours.into(), b"").unwrap();
        peer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n").unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(server.held(), 0, "an announced length takes no memory");
        peer.write_all(&[b'x'; 2500]).unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        (server, peer)
    }

    #[test]
    fn a_message_by_post_holds_what_has_come() {
        let (mut server, mut peer) = in_the_midst_of_a_message(Config::default());
        let held = server.held();
        assert!((2500..=5000).contains(&held), "{held}");
        peer.write_all(&[b'x'; 2500]).unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!((server.held(), server.stats().messages_in), (0, 1));
    }

    #[test]
    fn a_message_by_post_that_there_is_no_memory_for_is_refused() {
        let (mut server, mut peer) = in_the_midst_of_a_message(Config::default());
        scarcity::set(Scarcity::Over(2000));
        peer.write_all(&[b'x'; 2500]).unwrap();
        server.turn(Some(Duration::ZERO)).unwrap();
        drop(server);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After"), "{answer}");
    }

    #[test]
    fn who_holds_the_most_of_a_message_by_post_ends_when_all_hold_too_much() {
        let config = Config { max_memory: Some(2000), ..Config::default() };
        let (server, _peer) = in_the_midst_of_a_message(config);
        assert_eq!(server.stats().cut, [("short of memory", 1)]);
    }
}
