//! Asked for or pushed: two handlers that share one market, the one for plain HTTP, the other for
//! WebSockets. Run `cargo run --example stocks` and open http://localhost:8080/; or, in a terminal,
//!     curl -i http://localhost:8080/quote
//! and in a browser's console
//!     new WebSocket("ws://localhost:8080/stocks").onmessage = e => console.log(e.data)
//!
//! Both answer with quotes of a few invented shares:
//!
//! ```text
//! {"made":1732158000000,"sent":1732158000001,"asked":0,"quotes":[
//!   {"symbol":"LOOP","price":102.31,"change":-0.12}, …]}
//! ```
//!
//! `made` and `sent` are times of the server in milliseconds: of the quotes, and of this message.
//! `asked` is how many bytes the client sent for it: its request for the first, none after that.

use std::cell::RefCell;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wsloop::{Answer, Config, Context, Handler, Message, OriginRule, Request, Response, Server};

/// Pushes the quotes to everyone on the route, once a second while anybody is there.
#[derive(Default)]
pub struct Stocks {
    market: Rc<RefCell<Market>>,
}

/// The same quotes, in answer to a plain HTTP request.
pub struct Quote {
    market: Rc<RefCell<Market>>,
}

const PERIOD: Duration = Duration::from_secs(1);

impl Stocks {
    /// A handler for another route, which answers those who poll.
    pub fn quote(&self) -> Quote {
        Quote { market: Rc::clone(&self.market) }
    }
}

impl Handler for Stocks {
    fn on_open(&mut self, ws: &mut Context<'_>, request: &Request<'_>) {
        let mut market = self.market.borrow_mut();
        if !std::mem::replace(&mut market.watched, true) {
            market.trade();
            ws.of_route().set_timer(PERIOD, 0);
        }
        ws.send(&market.quotes(head_len(request)));
    }

    fn on_timer(&mut self, ws: &mut Context<'_>, _tag: u64) {
        let mut market = self.market.borrow_mut();
        market.watched = !ws.members().is_empty();
        if market.watched {
            market.trade();
            ws.broadcast(&market.quotes(0));
            ws.set_timer(PERIOD, 0);
        }
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

impl Handler for Quote {
    fn on_request(&mut self, _: &mut Context<'_>, request: &Request<'_>) -> Answer {
        let mut market = self.market.borrow_mut();
        // The timer moves the market for those who watch; those who only poll move it themselves.
        if !market.watched && market.traded.is_none_or(|at| at.elapsed() >= PERIOD) {
            market.trade();
        }
        let response = Response::new(200)
            .header("Content-Type", "application/json")
            .header("Cache-Control", "no-store")
            .body(market.quotes(head_len(request)));
        Answer::Respond(response)
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/stocks.html")),
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
    // All handlers run on one thread, so what two of them share needs no lock.
    let stocks = Stocks::default();
    server.route("/quote", stocks.quote());
    server.route("/stocks", stocks);
    server.serve_embedded(PAGE);
    println!("listening on {}/stocks", server.listen(&addr)?);
    server.run()
}

/// How many bytes this request had on the wire: its first line, its fields and the empty line, as
/// everybody writes them, with one space behind a colon.
fn head_len(request: &Request<'_>) -> usize {
    let line = request.method().len() + request.target().len() + " HTTP/1.1".len() + 1 + 2;
    let fields = request.headers().map(|(name, value)| name.len() + 2 + value.len() + 2);
    line + fields.sum::<usize>() + 2
}

/// Prices that walk at random.
struct Market {
    shares: [Share; 6],
    /// When they last moved.
    traded: Option<Instant>,
    made: u128,
    /// Whether a timer moves them.
    watched: bool,
    /// The state of the xorshift generator; never 0.
    random: u64,
}

/// Prices are whole cents: they never need rounding.
struct Share {
    symbol: &'static str,
    opening: i64,
    price: i64,
}

impl Default for Market {
    fn default() -> Market {
        let share = |symbol, price| Share { symbol, opening: price, price };
        Market {
            shares: [
                share("ECHO", 4_210),
                share("FRAME", 12_550),
                share("LOOP", 28_075),
                share("MASK", 1_330),
                share("PING", 9_905),
                share("UPGR", 640),
            ],
            traded: None,
            made: 0,
            watched: false,
            // Every RandomState hashes with keys of its own.
            random: RandomState::new().hash_one("market") | 1,
        }
    }
}

impl Market {
    /// Moves every price by up to half a percent, or by a cent.
    fn trade(&mut self) {
        for place in 0..self.shares.len() {
            let random = self.next_random();
            let share = &mut self.shares[place];
            let most = (share.price / 200).max(1);
            let step = (random % (2 * most as u64 + 1)) as i64 - most;
            share.price = (share.price + step).clamp(1, 100_000_000);
        }
        self.traded = Some(Instant::now());
        self.made = now();
    }

    /// George Marsaglia's xorshift64: enough for prices, not for secrets.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    fn quotes(&self, asked: usize) -> String {
        let (made, sent) = (self.made, now());
        let mut json = format!(r#"{{"made":{made},"sent":{sent},"asked":{asked},"quotes":["#);
        for Share { symbol, opening, price } in &self.shares {
            let (price, change) = (cents(*price), cents(price - opening));
            // Writing to a string cannot fail. No symbol has anything to escape.
            let _ = write!(json, r#"{{"symbol":"{symbol}","price":{price},"change":{change}}},"#);
        }
        json.pop();
        json.push_str("]}");
        json
    }
}

/// Cents as a decimal fraction.
fn cents(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

/// Milliseconds since 1970.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_walk_and_stay_prices() {
        let mut market = Market::default();
        let before: Vec<i64> = market.shares.iter().map(|share| share.price).collect();
        let mut ups = 0;
        for _ in 0..10_000 {
            let old = market.shares[2].price;
            market.trade();
            let new = market.shares[2].price;
            assert!(new >= 1 && (new - old).abs() <= (old / 200).max(1), "{old} to {new}");
            ups += u32::from(new > old);
        }
        assert!((3_000..7_000).contains(&ups), "{ups} of 10,000 times up");
        let after: Vec<i64> = market.shares.iter().map(|share| share.price).collect();
        assert_ne!(before, after);
    }

    #[test]
    fn quotes_are_json() {
        let mut market = Market::default();
        market.trade();
        let json: serde_json::Value = serde_json::from_str(&market.quotes(7)).unwrap();
        assert_eq!(json["asked"], 7);
        assert!(json["sent"].as_u64() >= json["made"].as_u64());
        let quotes = json["quotes"].as_array().unwrap();
        assert_eq!(quotes.len(), market.shares.len());
        for quote in quotes {
            assert!(quote["symbol"].is_string() && quote["price"].as_f64() > Some(0.0));
            assert!(quote["change"].is_number());
        }
    }

    #[test]
    fn cents_are_hundredths() {
        for (number, text) in [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-1234, "-12.34")] {
            assert_eq!(cents(number), text);
        }
    }
}
