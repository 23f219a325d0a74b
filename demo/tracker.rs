//! Who is where: everyone who shares a position is a dot on everyone's map. Run
//! `cargo run --example tracker` and open http://localhost:8080/, in two windows; or, in a browser's
//! console, follow the others and say where you are
//!     ws = new WebSocket("ws://localhost:8080/"); ws.onmessage = e => console.log(e.data)
//!     ws.send("[1, 47.37, 8.54]")
//!
//! A client says where it is with a JSON array, `[id, latitude, longitude]` in degrees, as often as
//! it moves. Everyone else is told `[number, latitude, longitude]`, with a number that this handler
//! gives the connection: nobody can speak for another. The sender gets its own message back as it
//! was, so that it knows by its own `id` which row is "Me", as the first such page did. A client
//! that sends `[latitude, longitude]` gets its number too.
//!
//! `[id, null, null]` means: no longer there. A client says so to stop, and is told so when another
//! stops or leaves. A client that comes later is told of everyone who is there.
//!
//! What is passed on was checked before. Anything else ends the connection with 1008: what is not
//! such an array, a latitude outside ±90 or a longitude outside ±180, more than 128 bytes.

use std::collections::BTreeMap;

use wsloop::{Config, ConnId, Context, Handler, Message, OriginRule, Request, Server, code};

/// Tells everyone on the route where everyone is.
#[derive(Default)]
pub struct Tracker {
    /// Those who are or were somewhere.
    visitors: BTreeMap<ConnId, Visitor>,
    /// How many clients there have been.
    count: u64,
}

impl Handler for Tracker {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        for visitor in self.visitors.values().filter(|visitor| visitor.place.is_some()) {
            ws.send(&visitor.describe());
        }
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        let Some(report) = Report::parse(message) else {
            ws.close(code::POLICY, "not [id, latitude, longitude]");
            return;
        };
        let count = &mut self.count;
        let visitor = self.visitors.entry(ws.id()).or_insert_with(|| {
            *count += 1;
            Visitor { number: FIRST + *count, place: None }
        });
        let was = std::mem::replace(&mut visitor.place, report.place);
        if was != report.place {
            ws.broadcast_to_others(&visitor.describe());
        }
        if report.has_id {
            ws.send(message);
        } else {
            ws.send(&visitor.describe());
        }
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _code: u16, _reason: &str) {
        if let Some(mut visitor) = self.visitors.remove(&ws.id())
            && visitor.place.take().is_some()
        {
            ws.broadcast_to_others(&visitor.describe());
        }
    }
}

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/tracker.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    // One handler for every path: those who come to `/` and the page, which asks for `/tracker`,
    // meet. Plain HTTP is no business of this handler and goes to the page's files.
    server.route("*", Tracker::default());
    server.serve_embedded(PAGE);
    println!("listening on {}/", server.listen(&addr)?);
    server.run()
}

struct Visitor {
    number: u64,
    place: Option<Place>,
}

/// Latitude and longitude.
type Place = (f64, f64);

/// What a client says: where it is, if anywhere, with or without an id of its own.
#[derive(Debug, PartialEq)]
struct Report {
    has_id: bool,
    place: Option<Place>,
}

const MAX_MESSAGE: usize = 128;
/// Numbers begin here. The ids that clients draw for themselves are traditionally lower, so nobody
/// mistakes another's number for its own id.
const FIRST: u64 = 100_000;

impl Visitor {
    /// Six decimals are a tenth of a metre.
    fn describe(&self) -> String {
        match self.place {
            Some((lat, lon)) => format!("[{},{},{}]", self.number, rounded(lat), rounded(lon)),
            None => format!("[{},null,null]", self.number),
        }
    }
}

fn rounded(degrees: f64) -> f64 {
    (degrees * 1e6).round() / 1e6
}

impl Report {
    fn parse(message: Message<'_>) -> Option<Report> {
        let Message::Text(text) = message else { return None };
        if text.len() > MAX_MESSAGE {
            return None;
        }
        let items = text.trim_matches(is_space).strip_prefix('[')?.strip_suffix(']')?;
        let items: Vec<&str> = items.split(',').map(|item| item.trim_matches(is_space)).collect();
        let (has_id, lat, lon) = match items[..] {
            [id, lat, lon] => (number(id).is_some(), lat, lon),
            [lat, lon] => (false, lat, lon),
            _ => return None,
        };
        if items.len() == 3 && !has_id {
            return None;
        }
        let place = match (lat, lon) {
            ("null", "null") => None,
            _ => Some((within(lat, 90.0)?, within(lon, 180.0)?)),
        };
        Some(Report { has_id, place })
    }
}

/// A number as JSON writes it (RFC 8259 section 6). Rust's own reader accepts all of these, and a
/// plus sign, a bare point, `inf` and `NaN` too.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let leading_zero = whole > 1 && digits.starts_with('0');
    if whole == 0 || leading_zero || digits.contains(".e") || digits.contains(".E") {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite() && !digits.ends_with('.'))
}

fn within(text: &str, limit: f64) -> Option<f64> {
    number(text).filter(|number| number.abs() <= limit)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Report> {
        Report::parse(Message::Text(text))
    }

    #[test]
    fn with_or_without_an_id() {
        let place = Some((47.5, -8.25));
        assert_eq!(parse("[7,47.5,-8.25]"), Some(Report { has_id: true, place }));
        assert_eq!(parse(" [ 7e0 ,\t47.50, -825E-2 ]\r\n"), Some(Report { has_id: true, place }));
        assert_eq!(parse("[47.5,-8.25]"), Some(Report { has_id: false, place }));
        assert_eq!(parse("[7,null,null]"), Some(Report { has_id: true, place: None }));
        assert_eq!(parse("[-90,180]").unwrap().place, Some((-90.0, 180.0)));
    }

    #[test]
    fn everything_else_is_nonsense() {
        for text in [
            "",
            "[]",
            "[1]",
            "[1,2,3,4]",
            "[1,2,3",
            "1,2,3",
            "[[1,2,3]]",
            "[1,2,3],",
            "[1,,3]",
            "{}",
            "[1,90.01,0]",
            "[1,0,-180.5]",
            "[1,inf,0]",
            "[1,NaN,0]",
            "[1,1e999,0]",
            "[1e999,0,0]",
            "[1,+1,0]",
            "[1,.5,0]",
            "[1,5.,0]",
            "[1,5.e0,0]",
            "[1,05,0]",
            "[1,0x1,0]",
            "[1,1_0,0]",
            "[1,null,0]",
            "[null,1,1]",
            "[\"1\",1,1]",
            "[1,\"<b>\",1]",
            "[true,1,1]",
            "[1,\u{a0}1,1]",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let long = format!("[1,2,{}]", " ".repeat(MAX_MESSAGE));
        assert_eq!(parse(&long), None);
        assert_eq!(Report::parse(Message::Binary(b"[1,2,3]")), None);
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-0", "10", "0.5", "1e5", "1E+5", "1.25e-2", "-12.75"] {
            assert_eq!(number(text), serde_json::from_str(text).ok(), "{text}");
        }
        for text in ["-", "--1", "1e", "1.2.3", "1e5.5", "- 1", "1 2", "infinity", "00", "-01"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_passed_on_is_short_json() {
        let place = Some((1e-300, -179.123_456_789));
        assert_eq!(Visitor { number: 100_001, place }.describe(), "[100001,0,-179.123457]");
        assert_eq!(Visitor { number: 100_001, place: None }.describe(), "[100001,null,null]");
    }
}
