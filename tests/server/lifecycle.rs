//! Every way a connection can end: `on_open` and `on_close` once each, nothing behind `on_close`,
//! and the code and reason that `on_close` is told.

use std::net::TcpStream;
use std::time::Duration;

use crate::calls::*;
use crate::common::*;
use crate::recorder::*;
use crate::serving::*;
use wsloop::{Config, Context, OnFull, SendStatus, Version};

const SHORT: Duration = Duration::from_millis(40);
const HIXIE: [Version; 2] = [Version::Hixie75, Version::Hixie76];

/// Opens one connection, ends it, and checks what the handler is called for: the opening, the end,
/// and nothing else ever. `end` gives the client back if that is still connected: it must not be
/// its going away that ends the connection.
fn ending(
    config: Config,
    version: Version,
    act: impl FnMut(&mut Context<'_>, &What) + Send + 'static,
    end: impl FnOnce(Client, &Running) -> Option<Client>,
) -> (u16, String) {
    let (recorder, log) = record_with(act);
    let server = serve(config, |server| server.route("/", recorder));
    let client = Client::open(server.addr, version, "/");
    let id = log.opened();
    let client = end(client, &server);
    let mut event = log.next();
    // The clients' way to tell the handler what to do.
    while let What::Text(_) = event.what {
        event = log.next();
    }
    let What::Close(code, reason) = event.what else { panic!("{event:?} in place of the end") };
    assert_eq!(event.id, id);
    // With the client still there: what ended must not need its help to go.
    server.stop();
    drop(client);
    assert_eq!(log.rest(), [], "{version}");
    (code, reason)
}

fn nothing(_: &mut Context<'_>, _: &What) {}

/// Closes on every text.
fn closing(ws: &mut Context<'_>, what: &What) {
    if let What::Text(text) = what {
        assert_eq!(text, "close", "delivered behind the close");
        assert!(ws.close(4000, "enough"));
        assert!(!ws.close(4001, "again"));
        assert_eq!(ws.send("behind the close"), SendStatus::Dropped);
    }
}

fn quick_close() -> Config {
    config(|config| config.close_timeout = SHORT)
}

#[test]
fn the_peer_closes() {
    for version in HYBI {
        let outcome = ending(Config::default(), version, nothing, |mut client, _| {
            client.close(3001, "bye");
            assert_eq!(client.read_to_end(), server_frame(0x88, &3001u16.to_be_bytes()));
            Some(client)
        });
        assert_eq!(outcome, ended(3001, "bye"), "{version}");
        let outcome = ending(Config::default(), version, nothing, |mut client, _| {
            client.send(&masked(0x88, b""));
            assert_eq!(client.read_to_end(), server_frame(0x88, b""));
            Some(client)
        });
        assert_eq!(outcome, ended(1005, ""), "{version}");
    }
    let outcome = ending(Config::default(), Version::Hixie76, nothing, |mut client, _| {
        client.send(&[0xff, 0]);
        assert_eq!(client.read_to_end(), [0xff, 0]);
        Some(client)
    });
    assert_eq!(outcome, ended(1005, ""));
}

#[test]
fn the_handler_closes_and_the_peer_answers() {
    for version in HYBI {
        let outcome = ending(Config::default(), version, closing, |mut client, _| {
            let both = [client.text_bytes("close"), client.text_bytes("crosses")].concat();
            client.send(&both);
            assert_eq!(client.read_close(), ended(4000, "enough"));
            client.text("crosses too");
            client.close(4000, "so be it");
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(4000, "so be it"), "{version}");
    }
    let outcome = ending(Config::default(), Version::Hixie76, closing, |mut client, _| {
        client.text("close");
        assert_eq!(client.read_to_end(), [0xff, 0]);
        client.send(&[0xff, 0]);
        Some(client)
    });
    assert_eq!(outcome, ended(1005, ""));
}

#[test]
fn the_handler_closes_and_a_hixie_client_just_ends() {
    for version in HIXIE {
        let outcome = ending(Config::default(), version, closing, |mut client, _| {
            client.text("close");
            let goodbye: &[u8] = if version == Version::Hixie76 { &[0xff, 0] } else { b"" };
            assert_eq!(client.read_to_end(), goodbye);
            client.end();
            Some(client)
        });
        assert_eq!(outcome, ended(1005, ""), "{version}");
    }
}

#[test]
fn the_handler_closes_and_the_peer_ends_without_an_answer() {
    for version in HYBI {
        let outcome = ending(Config::default(), version, closing, |mut client, _| {
            client.text("close");
            assert_eq!(client.read_close(), ended(4000, "enough"));
            client.end();
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, ""), "{version}");
    }
}

#[test]
fn the_handler_closes_and_the_peer_does_nothing() {
    for version in VERSIONS {
        let outcome = ending(quick_close(), version, closing, |mut client, _| {
            client.text("close");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, "no answer to the close"), "{version}");
    }
}

#[test]
fn the_stream_ends() {
    for version in VERSIONS {
        let outcome = ending(Config::default(), version, nothing, |mut client, _| {
            client.end();
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, ""), "{version}");
    }
}

#[test]
fn a_reset() {
    for version in VERSIONS {
        let (code, reason) = ending(Config::default(), version, nothing, |client, _| {
            client.reset();
            None
        });
        assert_eq!(code, 1006, "{version}");
        assert!(reason.contains("reset"), "{version}: {reason}");
    }
}

/// What a peer may do when it is told that it broke a rule.
#[derive(Debug, Clone, Copy)]
enum Reaction {
    Answer,
    End,
    Reset,
    Nothing,
}

#[test]
fn a_broken_rule_whatever_the_peer_does_then() {
    use Reaction::{Answer, End, Nothing, Reset};
    for reaction in [Answer, End, Reset, Nothing] {
        for version in HYBI {
            let outcome = ending(quick_close(), version, nothing, |mut client, _| {
                client.send(b"\x81\x05Hello");
                assert_eq!(client.read_close(), ended(1002, "frame not masked"));
                assert_eq!(client.read_to_end(), b"");
                match reaction {
                    Answer => client.close(1002, ""),
                    End => client.end(),
                    Reset => {
                        client.reset();
                        return None;
                    }
                    Nothing => {}
                }
                Some(client)
            });
            assert_eq!(outcome, ended(1002, "frame not masked"), "{version} {reaction:?}");
        }
    }
}

#[test]
fn other_broken_rules_and_limits() {
    let config = || {
        config(|config| {
            config.max_message = 10;
            config.max_fragments = 3;
            config.close_timeout = SHORT;
        })
    };
    let fragments = [masked(1, b"a"), masked(0, b"b"), masked(0, b"c"), masked(0x80, b"d")];
    for (bytes, code, reason) in [
        (masked(0x81, b"\xff"), 1007, "text not UTF-8"),
        (masked(0x88, &[3]), 1002, "close frame of one byte"),
        (masked_close(1005, ""), 1002, "close code that may not be sent"),
        (masked(0x82, &[0; 11]), 1009, "message over the limit"),
        (fragments.concat(), 1008, "too many fragments in a message"),
    ] {
        let outcome = ending(config(), Version::Rfc6455, nothing, |mut client, _| {
            client.send(&bytes);
            assert_eq!(client.read_close(), ended(code, reason));
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(code, reason));
    }
    for version in HIXIE {
        let outcome = ending(config(), version, nothing, |mut client, _| {
            client.text("eleven bytes");
            let goodbye: &[u8] = if version == Version::Hixie76 { &[0xff, 0] } else { b"" };
            assert_eq!(client.read_to_end(), goodbye);
            Some(client)
        });
        assert_eq!(outcome, ended(1009, "message over the limit"), "{version}");
    }
}

#[test]
fn a_ping_that_is_not_answered() {
    let config = config(|config| {
        config.ping_interval = Some(SHORT);
        config.pong_timeout = SHORT;
    });
    for version in HYBI {
        let outcome = ending(config.clone(), version, nothing, |mut client, _| {
            assert_eq!(client.read_frame(), (0x89, vec![]));
            client.wait_for_the_end();
            Some(client)
        });
        assert_eq!(outcome, ended(1006, "no answer to a ping"), "{version}");
    }
}

#[test]
fn silence() {
    let config = config(|config| {
        config.ping_interval = None;
        config.idle_timeout = Some(SHORT);
    });
    for version in VERSIONS {
        let outcome = ending(config.clone(), version, nothing, |mut client, _| {
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, "idle"), "{version}");
    }
}

#[test]
fn a_peer_that_takes_nothing() {
    let config = config(|config| {
        config.ping_interval = None;
        config.pong_timeout = SHORT;
        config.max_backlog = 32 << 20;
    });
    for version in VERSIONS {
        let outcome = ending(config.clone(), version, flood, |mut client, _| {
            client.text("go");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, "takes nothing"), "{version}");
    }
}

#[test]
fn a_full_backlog() {
    let config = config(|config| {
        config.max_backlog = 3 << 20;
        config.close_timeout = SHORT;
    });
    assert_eq!(config.on_full, OnFull::Close);
    for version in VERSIONS {
        // A peer that does not read is given up, and one that does is told.
        let outcome = ending(config.clone(), version, flood, |mut client, _| {
            client.text("go");
            Some(client)
        });
        assert_eq!(outcome, ended(1008, "backlog full"), "{version}");
    }
    let mut patient = config;
    patient.close_timeout = PATIENCE;
    let outcome = ending(patient, Version::Rfc6455, flood, |mut client, _| {
        client.text("go");
        let close = loop {
            let (first, payload) = client.read_frame();
            if first == 0x88 {
                break payload;
            }
            assert_eq!(payload.len(), 1 << 20);
        };
        assert_eq!(close, b"\x03\xf0backlog full");
        assert_eq!(client.read_to_end(), b"");
        client.end();
        Some(client)
    });
    assert_eq!(outcome, ended(1008, "backlog full"));
}

#[test]
fn the_server_stops() {
    for version in VERSIONS {
        let outcome = ending(Config::default(), version, nothing, |mut client, server| {
            server.remote.stop();
            if version.is_hixie() {
                let goodbye: &[u8] = if version == Version::Hixie76 { &[0xff, 0] } else { b"" };
                assert_eq!(client.read_to_end(), goodbye);
                assert!(TcpStream::connect(server.addr).is_err(), "nobody listens any more");
                client.end();
            } else {
                assert_eq!(client.read_close(), ended(1001, "the server stops"));
                assert!(TcpStream::connect(server.addr).is_err(), "nobody listens any more");
                client.close(1001, "");
                assert_eq!(client.read_to_end(), b"");
            }
            Some(client)
        });
        let code = if version.is_hixie() { 1005 } else { 1001 };
        assert_eq!(outcome, ended(code, ""), "{version}");
    }
}

#[test]
fn the_handler_terminates() {
    for version in VERSIONS {
        let terminate = |ws: &mut Context<'_>, what: &What| {
            if let What::Text(text) = what {
                assert_eq!(text, "end me", "delivered behind the end");
                ws.send("dropped with the connection");
                ws.terminate();
                ws.terminate();
                assert_eq!(ws.send("behind the end"), SendStatus::Dropped);
                assert!(!ws.close(1000, ""));
            }
        };
        let outcome = ending(Config::default(), version, terminate, |mut client, _| {
            let both = [client.text_bytes("end me"), client.text_bytes("more")].concat();
            client.send(&both);
            assert_eq!(client.read_to_end(), b"");
            Some(client)
        });
        assert_eq!(outcome, ended(1006, "terminated"), "{version}");
    }
}
