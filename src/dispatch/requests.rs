//! Turns request heads into answers or WebSockets.

use std::net::{IpAddr, SocketAddr};

use log::{Level, info};

use super::Dispatcher;
use crate::context::Context;
use crate::handler::Answer;
use crate::http::files::too_many_files;
use crate::http::host;
use crate::http::request::{self, Request};
use crate::http::response::Response;
use crate::ids::{ConnId, RouteId};
use crate::peers::complaints::{quoted, shown};
use crate::peers::inbox::{Challenge, Inbox};
use crate::proto::handshake::{self, Offer};
use crate::proto::{Decoder, Framing, take};

impl Dispatcher {
    /// Looks for the end of a head. Returns what lies behind it.
    #[inline(never)]
    pub(super) fn process_head<'i>(&mut self, id: ConnId, input: &'i mut [u8]) -> &'i mut [u8] {
        let max = self.peers.config.max_head;
        let Some(conn) = self.peers.get_mut(id) else { return &mut [] };
        let Inbox::Head(kept) = &mut conn.inbox else { return &mut [] };
        let mut kept = std::mem::take(kept);
        let before = kept.len();
        // One byte too many is enough to refuse; what lies behind it must not matter, as it may
        // come later.
        let room = max.saturating_add(1).saturating_sub(before);
        let fresh = input.get(..room).unwrap_or(input);
        if before > 0 {
            kept.extend_from_slice(fresh);
        }
        let head = if before > 0 { &kept[..] } else { fresh };
        match request::head_end(head, before, max) {
            Ok(Some(end)) => {
                self.process_request(id, head.get(..end).unwrap_or(head));
                self.peers.weigh_again(id);
                return input.get_mut(end.saturating_sub(before)..).unwrap_or_default();
            }
            Ok(None) => {
                let kept = if before > 0 { kept } else { input.to_vec() };
                conn.inbox = Inbox::Head(kept);
                self.peers.weigh(id);
            }
            Err(response) => self.peers.refuse(id, response, request::asks_head_only(head)),
        }
        &mut []
    }

    fn process_request(&mut self, id: ConnId, head: &[u8]) {
        let head = &*request::in_usual_form(head);
        let head_only = request::asks_head_only(head);
        let mut slots = vec![httparse::EMPTY_HEADER; self.peers.config.max_headers];
        let request = match request::parse(head, &mut slots) {
            Ok(request) => request,
            Err(response) => return self.peers.refuse(id, response, head_only),
        };
        if !self.learn_address(id, &request) {
            return self.peers.refuse(id, too_many_from_there(), head_only);
        }
        if let Err(response) = self.check_host(id, &request) {
            return self.peers.refuse(id, response, head_only);
        }
        match handshake::offer(request, &self.peers.config.versions) {
            Ok(None) => self.serve(id, &request),
            Ok(Some(offer)) => match self.negotiate(id, &request, &offer) {
                Ok((route, protocol)) => self.upgrade(id, head, &offer, route, protocol),
                Err(response) => self.peers.refuse(id, response, head_only),
            },
            Err(response) => self.peers.refuse(id, response, head_only),
        }
    }

    /// A proxy appends its client's address to what that client sent, so the last one counts. Each
    /// request on a connection may be another client's: one without an address is the proxy's own.
    /// False if there are too many connections from there.
    fn learn_address(&mut self, id: ConnId, request: &Request<'_>) -> bool {
        if !self.peers.config.trust_proxy {
            return true;
        }
        let list = request.header_values("X-Forwarded-For").last();
        let last = list.and_then(|list| list.rsplit(|&byte| byte == b',').next());
        let ip = last.and_then(|last| forwarded_ip(last.trim_ascii()));
        if let (Some(last), None) = (last, ip) {
            let (id, last) = (id.serial(), shown(last.trim_ascii()));
            let line = format_args!("#{id} X-Forwarded-For is not understood: {last}");
            self.peers.complain(Level::Debug, line);
        }
        self.peers.comes_from(id, ip)
    }

    /// Refuses requests for hosts that this server does not answer for. A request without `Host`, of
    /// HTTP/1.0, does not come from a browser.
    fn check_host(&mut self, id: ConnId, request: &Request<'_>) -> Result<(), Response> {
        let Some(host) = request.header("Host") else { return Ok(()) };
        let config = &self.peers.config;
        let is_ours = if !config.hosts.is_empty() {
            host::is_one_of(&config.hosts, host)
        } else if self.is_reached_from_here_alone(id) {
            host::is_local(host)
        } else {
            true
        };
        if is_ours {
            return Ok(());
        }
        let (id, host) = (id.serial(), shown(host.as_bytes()));
        let line = format_args!("#{id} refused: the host {host} is none of this server's (--host)");
        self.peers.complain(Level::Warn, line);
        Err(Response::text(
            421,
            "this host is not served here: --host NAME, Config::hosts adds it\n",
        ))
    }

    /// Whether a browser on this machine is the only one that can have sent this: neither a proxy that
    /// passes on what others ask, nor a client whom the program took over from elsewhere.
    fn is_reached_from_here_alone(&self, id: ConnId) -> bool {
        let config = &self.peers.config;
        let addr = self.peers.get(id).and_then(|conn| conn.addr.get());
        self.is_local
            && !config.trust_proxy
            && !config.secure_proxy
            && addr.is_some_and(|addr| addr.ip().is_loopback())
    }

    /// Answers plain HTTP: with what the route of the path offers to it, by its handler if that has an
    /// answer, else by the site.
    fn serve(&mut self, id: ConnId, request: &Request<'_>) {
        let route = self.routes.find(request.path());
        if route.is_some_and(|route| self.serve_offer(id, route, request)) {
            return;
        }
        if request.content_length() > 0 {
            let response = Response::text(413, "request bodies are not taken here\n");
            return self.peers.respond(id, response, request.is_head(), false);
        }
        let response = match route.and_then(|route| self.ask(id, route, request)) {
            Some(Answer::Respond(response)) => response,
            _ if route.is_some() && handshake::is_too_old(request) => {
                return self.peers.refuse(id, http_1_1_required(), false);
            }
            _ => {
                let mut response = self.site.respond(request);
                if response.is_file() && !request.is_head() && !self.peers.has_room_for_file() {
                    response = too_many_files();
                    let count = self.peers.files();
                    response.trouble = Some(format!("{count} files are under way already"));
                }
                for (name, value) in &self.site_headers {
                    response.set_header(name, value);
                }
                if let Some(trouble) = response.trouble.take() {
                    let path = shown(request.path().as_bytes());
                    let line = format_args!("cannot serve {path}: {trouble}");
                    self.peers.complain(Level::Warn, line);
                }
                if response.status == 404 && route.is_some() {
                    upgrade_required()
                } else {
                    response
                }
            }
        };
        self.peers.respond(id, response, request.is_head(), request.keeps_alive());
    }

    /// Asks the handler what it makes of a request.
    pub(super) fn ask(
        &mut self,
        id: ConnId,
        route: RouteId,
        request: &Request<'_>,
    ) -> Option<Answer> {
        let handler = self.routes.handler(route)?;
        Some(handler.on_request(&mut Context::new(&mut self.peers, id, route), request))
    }

    /// Decides on a request for a WebSocket: its route and subprotocol, or the refusal.
    fn negotiate(
        &mut self,
        id: ConnId,
        request: &Request<'_>,
        offer: &Offer<'_>,
    ) -> Result<(RouteId, Option<Box<str>>), Response> {
        let Some(route) = self.routes.find(request.path()) else {
            return Err(Response::text(404, "no WebSocket is served at this path\n"));
        };
        self.check_origin(id, request, offer.origin())?;
        match self.ask(id, route, request) {
            Some(Answer::Respond(response)) => Err(response),
            Some(Answer::Protocol(name)) if !request.protocols().any(|offer| offer == name) => {
                let (path, name) = (shown(request.path().as_bytes()), quoted(&name));
                let line = format_args!("the handler of {path} chose {name}, not offered");
                self.peers.complain(Level::Error, line);
                Ok((route, None))
            }
            Some(Answer::Protocol(name)) => Ok((route, Some(name.into()))),
            Some(Answer::Proceed) | None => Ok((route, None)),
        }
    }

    /// Sends the head of the answer. In Hixie-76 only then the client's last bytes are awaited: a
    /// proxy may hold them back until it has seen this head.
    fn upgrade(
        &mut self,
        id: ConnId,
        head: &[u8],
        offer: &Offer<'_>,
        route: RouteId,
        protocol: Option<Box<str>>,
    ) {
        let secure = self.peers.is_secure(id, &offer.request);
        let deflate = offer.agree(self.peers.config.deflate);
        self.peers.append(id, |out| offer.accept(protocol.as_deref(), deflate, secure, out));
        let Some(conn) = self.peers.get_mut(id).filter(|conn| !conn.is_ending()) else {
            return;
        };
        if protocol.is_some() {
            conn.extras_mut().protocol = protocol;
        }
        conn.version = offer.version;
        conn.framing = Framing::of(offer.version, deflate);
        conn.route = route;
        match offer.challenge() {
            Some(parts) => {
                let bytes = Vec::with_capacity(8);
                let challenge = Challenge { head: head.to_vec(), parts, bytes };
                conn.inbox = Inbox::Challenge(Box::new(challenge));
                self.peers.weigh(id);
            }
            None => self.open(id, &offer.request),
        }
    }

    /// Collects the eight bytes behind a Hixie-76 head. Returns what follows them: frames.
    #[inline(never)]
    pub(super) fn process_challenge<'i>(
        &mut self,
        id: ConnId,
        mut input: &'i mut [u8],
    ) -> &'i mut [u8] {
        let Some(conn) = self.peers.get_mut(id) else { return &mut [] };
        let Inbox::Challenge(challenge) = &mut conn.inbox else { return &mut [] };
        let missing = 8usize.saturating_sub(challenge.bytes.len());
        challenge.bytes.extend_from_slice(take(&mut input, missing));
        let Ok(bytes) = <[u8; 8]>::try_from(&challenge.bytes[..]) else { return input };
        let Inbox::Challenge(challenge) = std::mem::replace(&mut conn.inbox, Inbox::Lent) else {
            return input;
        };
        let digest = handshake::digest(challenge.parts, bytes);
        self.peers.append(id, |out| out.extend_from_slice(&digest));
        let mut slots = vec![httparse::EMPTY_HEADER; self.peers.config.max_headers];
        if let Ok(request) = request::parse(&challenge.head, &mut slots) {
            self.open(id, &request);
        }
        input
    }

    fn open(&mut self, id: ConnId, request: &Request<'_>) {
        let Some(conn) = self.peers.get_mut(id) else { return };
        conn.inbox = Inbox::Frames(Decoder::new(conn.version, conn.framing.agreed()));
        let (version, from) = (conn.version, conn.addr);
        let path = request.path().as_bytes();
        info!("#{} open: {version} {} from {from}", id.serial(), shown(path));
        self.peers.open(id);
        self.with_handler(id, |handler, ws| handler.on_open(ws, request));
    }
}

/// The answer to one who has as many connections as one may have.
pub(crate) fn too_many_from_there() -> Response {
    let response = Response::text(429, "there are too many connections from your address\n");
    response.header("Retry-After", "5")
}

/// An address as proxies write it: alone, with a port, which is not kept, or in the brackets of
/// version 6, with a port or without.
fn forwarded_ip(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    if let Some(bracketed) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return bracketed.parse().ok().map(IpAddr::V6);
    }
    let with_port = || text.parse().ok().map(|addr: SocketAddr| addr.ip());
    text.parse().ok().or_else(with_port)
}

/// For a plain request to a path that serves only WebSockets.
fn upgrade_required() -> Response {
    Response::upgrade_required("this is the address of a WebSocket\n")
}

/// For a WebSocket request that is none since a proxy speaks HTTP/1.0 to us.
fn http_1_1_required() -> Response {
    let text = "a WebSocket needs HTTP/1.1: set it in the proxy (nginx: proxy_http_version 1.1)\n";
    Response::upgrade_required(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use crate::config::Config;
    use crate::server::Server;

    /// What a server that allows heads of 64 bytes answers to these pieces.
    fn answer(pieces: &[&[u8]]) -> String {
        let mut server = Server::new(Config { max_head: 64, ..Config::default() }).unwrap();
        let (ours, mut peer) = UnixStream::pair().unwrap();
        server.adopt(ours.into(), b"").unwrap();
        for piece in pieces {
            peer.write_all(piece).unwrap();
            server.turn(Some(Duration::ZERO)).unwrap();
        }
        drop(server);
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn what_lies_behind_too_long_a_head_does_not_change_the_answer() {
        let (line, fields) = (b"GET / HTTP/1.1\r\n", [b'a'; 80]);
        let late = [&line[..], &fields, b"\n\n"].concat();
        for pieces in [&[&late[..]][..], &[&late[..10], &late[10..]], &[&late[..70], &late[70..]]] {
            assert!(answer(pieces).starts_with("HTTP/1.1 431 "), "{pieces:?}");
        }
        // The 65th byte is still looked at: the 64 before it are not too many yet.
        for (place, status) in [(63, 400), (64, 400), (65, 431)] {
            let mut head = late.clone();
            head[place] = b'\n';
            for cut in [0, 1, place, place + 1] {
                let (status, pieces) = (format!("HTTP/1.1 {status} "), head.split_at(cut));
                assert!(answer(&[pieces.0, pieces.1]).starts_with(&status), "{place} {cut}");
            }
        }
    }
}
