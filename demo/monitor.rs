//! A server that shows its own state: connections, messages, bytes, memory, once a second and only
//! while somebody watches. Run `cargo run --example monitor` and open http://localhost:8080/; for
//! something to see, send messages to any other path, from a browser's console:
//!     ws = new WebSocket("ws://localhost:8080/"); setInterval(() => ws.send("busy"), 10)
//!
//! What it shows is what `Context::stats` counts, and the memory of the process, as JSON.

use std::fmt::Write;
use std::time::Duration;

use wsloop::handlers::Mirror;
use wsloop::{Config, Context, Handler, Message, OriginRule, Request, Server, Stats, Version};

/// Nothing is counted or sent while nobody watches: the first who comes starts the timer, and it is
/// not set again when nobody is left.
#[derive(Default)]
pub struct Monitor {
    ticking: bool,
}

const PERIOD: Duration = Duration::from_secs(1);

impl Handler for Monitor {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        ws.send(&report(&ws.stats()));
        if !std::mem::replace(&mut self.ticking, true) {
            // The timer is the route's: it outlives the connection that happens to be the first.
            ws.of_route().set_timer(PERIOD, 0);
        }
    }

    fn on_timer(&mut self, ws: &mut Context<'_>, _tag: u64) {
        self.ticking = !ws.members().is_empty();
        if self.ticking {
            ws.broadcast(&report(&ws.stats()));
            ws.set_timer(PERIOD, 0);
        }
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/monitor.html")),
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
    server.route("/stats", Monitor::default());
    server.route("*", Mirror);
    server.serve_embedded(PAGE);
    println!("listening on {}/stats", server.listen(&addr)?);
    server.run()
}

fn report(stats: &Stats) -> String {
    let mut json = format!(r#"{{"uptime":{:.3},"open":["#, stats.uptime.as_secs_f64());
    // Writing to a string cannot fail. No name here has anything to escape.
    for (version, count) in Version::ALL.iter().zip(stats.open) {
        let _ = write!(json, r#"["{version}",{count}],"#);
    }
    json.pop();
    json.push_str("],");
    for (name, count) in [
        ("accepted", stats.accepted),
        ("refused", stats.refused),
        ("opened", stats.opened),
        ("closed", stats.closed),
        ("messages_in", stats.messages_in),
        ("messages_out", stats.messages_out),
        ("bytes_in", stats.bytes_in),
        ("bytes_out", stats.bytes_out),
        ("backlog", stats.backlog),
    ] {
        let _ = write!(json, r#""{name}":{count},"#);
    }
    if let Some(memory) = resident_memory() {
        let _ = write!(json, r#""memory":{memory},"#);
    }
    let cut: Vec<String> = stats.cut.iter().map(|(why, n)| format!("[{why:?},{n}]")).collect();
    let _ = write!(json, r#""cut":[{}]}}"#, cut.join(","));
    json
}

/// How many bytes of memory the process holds, if the system tells (Linux).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_json() {
        let mut stats = Stats::default();
        stats.uptime = Duration::from_millis(1500);
        stats.open = [0, 1, 0, 0, 3];
        stats.bytes_out = u64::MAX;
        stats.cut = vec![("backlog full", 2), ("idle", 1)];
        let json: serde_json::Value = serde_json::from_str(&report(&stats)).unwrap();
        assert_eq!(json["uptime"], 1.5);
        assert_eq!(json["open"][1], serde_json::json!(["Hixie-76", 1]));
        assert_eq!(json["open"][4], serde_json::json!(["RFC 6455", 3]));
        assert_eq!(json["bytes_out"], u64::MAX);
        assert_eq!(json["cut"], serde_json::json!([["backlog full", 2], ["idle", 1]]));
        if cfg!(target_os = "linux") {
            assert!(json["memory"].as_u64().unwrap() > 100_000);
        }
    }
}
