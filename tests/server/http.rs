//! Plain HTTP that handlers answer, on the port of the WebSockets.

use crate::common::*;
use crate::serving::*;
use wsloop::{Answer, Config, Context, Handler, Message, Request, Response, code};

/// Answers plain HTTP with a count, and lets only those in who know the word.
#[derive(Default)]
struct Door {
    asked: u32,
}

impl Handler for Door {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        self.asked += 1;
        match (request.header("Upgrade"), request.query()) {
            (None, _) => {
                let count = format!("{{\"asked\": {}}}", self.asked);
                let json = Response::new(200).header("Content-Type", "application/json");
                Answer::Respond(json.body(count).header("X-Split", "a\r\nb"))
            }
            (Some(_), "sesame") => Answer::Proceed,
            (Some(_), _) => Answer::Respond(Response::text(401, "say the word\n")),
        }
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        ws.send(message);
    }
}

#[test]
fn handlers_answer_and_refuse() {
    let server = serve(Config::default(), |server| server.route("/door", Door::default()));
    let mut client = Client::connect(server.addr);
    for asked in 1..=3 {
        let reply = client.http("GET", "/door", "");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.field("Content-Type"), Some("application/json"));
        assert_eq!(reply.field("X-Split"), Some("a??b"));
        assert_eq!(reply.text(), format!("{{\"asked\": {asked}}}"));
    }
    for version in VERSIONS {
        let mut client = Client::connect(server.addr);
        client.send(&request(version, "/door?please", ""));
        let reply = client.read_reply(false);
        assert_eq!((reply.status, reply.text()), (401, "say the word\n"), "{version}");
        assert_eq!(client.read_to_end(), b"");
        let mut client = Client::open(server.addr, version, "/door?sesame");
        client.text("in");
        assert_eq!(client.read_text(), "in", "{version}");
    }
}

#[test]
fn who_is_ended_while_it_asks_gets_no_answer() {
    struct Shut;
    impl Handler for Shut {
        fn on_request(&mut self, ws: &mut Context<'_>, request: &Request<'_>) -> Answer {
            assert!(!ws.close(code::NORMAL, "not open yet"));
            ws.terminate();
            match request.query() {
                "proceed" => Answer::Proceed,
                _ => Answer::Respond(Response::text(200, "nobody reads this\n")),
            }
        }

        fn on_open(&mut self, _: &mut Context<'_>, _: &Request<'_>) {
            panic!("it has ended");
        }

        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    }
    let server = serve(Config::default(), |server| server.route("/", Shut));
    for query in ["proceed", "respond"] {
        let plain = plain_request("GET", &format!("/?{query}"), "").into_bytes();
        let upgrades = VERSIONS.map(|version| request(version, &format!("/?{query}"), ""));
        for asked in upgrades.iter().chain([&plain]) {
            let mut client = Client::connect(server.addr);
            client.send(asked);
            assert_eq!(client.read_to_end(), b"");
        }
    }
}

#[test]
fn nothing_comes_behind_a_status_that_has_no_body() {
    struct Bodiless;
    impl Handler for Bodiless {
        fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
            let status = request.query().parse().unwrap();
            Answer::Respond(Response::text(status, "no part of the next response\n"))
        }

        fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
    }
    let server = serve(Config::default(), |server| server.route("/", Bodiless));
    let mut client = Client::connect(server.addr);
    for status in [204, 304] {
        client.send(format!("GET /?{status} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        assert_eq!(client.read_reply(true).status, status);
    }
    assert_eq!(client.http("GET", "/?200", "").status, 200);
}

#[test]
fn a_program_adds_fields_to_what_the_site_answers() {
    let server = serve(Config::default(), |server| {
        server.route("/door", Door::default());
        server.serve_embedded(&[("/index.html", b"front")]);
        server.site_header("Content-Security-Policy", "default-src 'self'");
        server.site_header("cross-origin-resource-policy", "cross-origin");
    });
    let mut client = Client::connect(server.addr);
    for (target, status) in [("/", 200), ("/nowhere", 404)] {
        let reply = client.http("GET", target, "");
        assert_eq!(reply.status, status);
        assert_eq!(reply.field("Content-Security-Policy"), Some("default-src 'self'"));
        assert_eq!(reply.field("Cross-Origin-Resource-Policy"), Some("cross-origin"));
        let kept = if status == 200 { "no-cache" } else { "no-store" };
        assert_eq!(reply.field("Cache-Control"), Some(kept));
    }
    let reply = client.http("GET", "/door", "");
    assert_eq!(reply.field("Cross-Origin-Resource-Policy"), None, "that is the handler's own");
}
