//! What the program pushes once a second: quotes, and the monitor's reports.

use std::time::{Duration, Instant};

use crate::common::*;
use crate::neighbours::*;
use crate::program::*;
use serde_json::{Value, json};
use wsloop::Version;

#[test]
fn quotes_are_answered_and_pushed_and_are_the_same() {
    let program = Program::start(&[]);
    let reply = get(program.addr(), "/quote", "");
    let head = &reply.head;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("Content-Type: application/json") && head.contains("no-store"), "{head}");
    let polled: Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!(polled["asked"], plain_request("GET", "/quote", "").len());
    assert!(polled["quotes"].as_array().unwrap().len() > 3);
    // The same second, the same quotes.
    let again = get(program.addr(), "/quote", "");
    assert_eq!(serde_json::from_str::<Value>(again.text()).unwrap()["made"], polled["made"]);

    let mut page = Client::open(program.addr(), Version::Rfc6455, "/stocks");
    let first: Value = serde_json::from_str(&page.read_text()).unwrap();
    assert_eq!(first["asked"], request(Version::Rfc6455, "/stocks", "").len());
    let start = Instant::now();
    let pushed: Value = serde_json::from_str(&page.read_text()).unwrap();
    assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(pushed["asked"], 0);
    assert!(pushed["made"].as_u64() > first["made"].as_u64());
    let reply = get(program.addr(), "/quote", "");
    let polled: Value = serde_json::from_str(reply.text()).unwrap();
    assert_eq!((&polled["made"], &polled["quotes"]), (&pushed["made"], &pushed["quotes"]));
}

#[test]
fn the_monitor_reports_each_second_and_only_while_somebody_watches() {
    let program = Program::start(&[]);
    let mut page = Client::open(program.addr(), Version::Hybi07, "/stats");
    let first: Value = serde_json::from_str(&page.read_text()).unwrap();
    assert_eq!(first["open"][2], json!(["HyBi-07", 1]));
    assert!(first["memory"].as_u64() > Some(100_000));
    let start = Instant::now();
    let second: Value = serde_json::from_str(&page.read_text()).unwrap();
    assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(second["messages_out"], 1);
    page.close(1000, "");
    page.wait_for_the_end();
    drop(page);
    // While nobody watches nothing is sent: the first report to the next has counted none.
    let_pass(Duration::from_millis(2500));
    let mut page = Client::open(program.addr(), Version::Rfc6455, "/stats");
    let third: Value = serde_json::from_str(&page.read_text()).unwrap();
    assert_eq!(third["messages_out"], second["messages_out"].as_u64().unwrap() + 1);
    assert_eq!((&third["opened"], &third["closed"]), (&json!(2), &json!(1)));
}
