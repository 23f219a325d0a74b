//! The plotter: the lines that feed it, and what its pages are sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::*;
use crate::demos::Demo;
use crate::neighbours::*;
use crate::program::*;
use serde_json::{Value, json};
use wsloop::Version;

/// The program, with a port for lines that feed the plotter.
fn start() -> (Program, SocketAddr) {
    let port = free_port();
    let feed = format!("127.0.0.1:{port}=/plot");
    (Program::start(&["--feed", &feed]), SocketAddr::from(([127, 0, 0, 1], port)))
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Something that writes lines.
struct Source(BufReader<TcpStream>);

impl Source {
    fn connect(addr: SocketAddr, name: &str) -> Source {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut source = Source(BufReader::new(stream));
        source.write(&format!("{name}\n"));
        source
    }

    fn write(&mut self, lines: &str) {
        self.0.get_mut().write_all(lines.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    /// All lines so far have been handed over when this has been answered.
    fn settle(&mut self) {
        self.write("no point\n");
        assert!(self.answer().contains("no point"));
    }
}

fn batch(page: &mut Client) -> Value {
    serde_json::from_str(&page.read_text()).unwrap()
}

/// Asks and reads until there are so many points of a series; all of them.
fn points(page: &mut Client, batch_at_hand: Value, name: &str, wanted: usize) -> Vec<(f64, f64)> {
    let (mut found, mut at_hand) = (Vec::new(), batch_at_hand);
    loop {
        let series = at_hand["series"].as_array().unwrap();
        for one in series.iter().filter(|one| one["name"] == name) {
            let pairs = one["points"].as_array().unwrap().iter();
            found.extend(pairs.map(|p| (p[0].as_f64().unwrap(), p[1].as_f64().unwrap())));
        }
        if found.len() >= wanted {
            return found;
        }
        page.text("");
        at_hand = batch(page);
    }
}

#[test]
fn a_browser_is_no_source_and_that_is_logged() {
    let (program, feed) = start();
    let mut browser = Client::connect(feed);
    browser.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n1 666\n");
    assert!(browser.read_to_end().starts_with(b"error: line 1: "));
    let line = program.logged("speaks HTTP");
    assert!(line.contains(" source of /plot refused: 127.0.0.1:"), "{line}");
    let mut source = Source::connect(feed, "honest");
    source.write("1 2\n");
    source.settle();
    let mut page = Client::open(program.addr(), Version::Rfc6455, "/plot");
    let first = page.read_text();
    assert!(first.contains("honest") && !first.contains("HTTP"), "{first}");
}

#[test]
fn a_page_gets_the_history_and_then_what_it_asks_for() {
    let (program, feed) = start();
    let mut source = Source::connect(feed, "lo\"ad<b>");
    source.write("1 2\r\n2 -0.5\n");
    source.settle();
    for version in VERSIONS {
        let mut page = Client::open(program.addr(), version, "/plot");
        let history = batch(&mut page);
        assert_eq!(history["series"][0]["name"], "lo\"ad<b>");
        assert_eq!(history["series"][0]["points"], json!([[1, 2], [2, -0.5]]), "{version}");
    }
    let mut page = Client::open(program.addr(), Version::Rfc6455, "/plot");
    assert_eq!(batch(&mut page)["series"][0]["id"], 1);
    // Points that come before it asks wait.
    source.write("3 3\n");
    source.settle();
    assert!(page.has_nothing());
    page.text("what?");
    page.text("");
    assert_eq!(batch(&mut page)["series"][0]["points"], json!([[3, 3]]));
    // A question that comes before points waits; however often it is asked, there is one answer.
    page.text("");
    page.text("");
    page.send(&masked(0x89, b"are you there?"));
    assert_eq!(page.read_frame(), (0x8a, b"are you there?".to_vec()));
    source.write("4 4\n");
    assert_eq!(batch(&mut page)["series"][0]["points"], json!([[4, 4]]));
    source.write("5 5\n");
    source.settle();
    assert!(page.has_nothing());
    // A last line without an end counts; the series stays when its source has gone.
    source.write("6 6");
    drop(source);
    page.text("");
    let at_hand = batch(&mut page);
    assert_eq!(points(&mut page, at_hand, "lo\"ad<b>", 2), [(5.0, 5.0), (6.0, 6.0)]);
}

#[test]
fn a_line_that_is_no_point_is_answered_and_counted() {
    let (program, feed) = start();
    let mut page = Client::open(program.addr(), Version::Rfc6455, "/plot");
    let mut source = Source::connect(feed, "load");
    for (number, line) in ["1", "1 2 3", "NaN 1", "1 inf", "1 1e999", "", "a b"].iter().enumerate()
    {
        source.write(&format!("{line}\n"));
        let said = source.answer();
        let wanted = format!("error: line {}: no point: a point is two finite", number + 2);
        assert!(said.starts_with(&wanted), "{said}");
    }
    source.0.get_mut().write_all(b"\xff 1\n").unwrap();
    assert_eq!(source.answer(), "error: line 9: not UTF-8");
    source.write("1 2\n");
    let batch = batch(&mut page);
    assert_eq!((&batch["malformed"], &batch["series"][0]["points"]), (&json!(7), &json!([[1, 2]])));
}

#[test]
fn history_and_series_are_bounded() {
    let (program, feed) = start();
    let mut ended = Source::connect(feed, "ended");
    ended.write("1 1\n");
    ended.settle();
    let mut sources: Vec<Source> =
        (1..64).map(|n| Source::connect(feed, &format!("source {n}"))).collect();
    sources.iter_mut().for_each(Source::settle);
    let mut refused = Source::connect(feed, "one more");
    assert!(refused.answer().contains("error: line 1: not plotted: there are 64 series"));
    refused.write("1 2\n");
    assert!(refused.answer().contains("error: line 2: not plotted"));
    ended.0.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    ended.0.read_to_end(&mut Vec::new()).unwrap();
    let mut late = Source::connect(feed, "late");
    let lines: String = (0..12_000).map(|x| format!("{x} {}\n", x % 7)).collect();
    late.write(&lines);
    late.settle();
    let mut page = Client::open(program.addr(), Version::Rfc6455, "/plot");
    let history = batch(&mut page);
    assert_eq!(history["series"].as_array().unwrap().len(), 1, "what ended first has gone");
    let points = points(&mut page, history, "late", 10_000);
    assert_eq!((points.len(), points[0], points[9_999]), (10_000, (2000.0, 5.0), (11_999.0, 1.0)));
}

#[test]
fn the_plotter_program_takes_lines_and_serves_pages() {
    let mut demo = Demo::start_on(&["127.0.0.1:0", "127.0.0.1:0"], "plotter", "/");
    let socket = demo.host.parse().unwrap();
    let lines = demo.said("lines from tcp://", "").parse().unwrap();
    let mut page = Client::open(socket, Version::Rfc6455, "/");
    let mut source = Source::connect(lines, "name");
    source.write("1795232071000 12345\n");
    assert_eq!(batch(&mut page)["series"][0]["points"], json!([[1_795_232_071_000_u64, 12345]]));
    assert!(get(socket, "/", "").text().contains("<title>Plotter"));
}

/// 10,000 points a second for half a minute, one page that keeps up and one that has stopped.
#[test]
#[ignore = "half a minute, and its figures are those of the release build"]
fn ten_thousand_points_a_second_beside_a_stalled_page() {
    const RATE: usize = 10_000;
    const SECONDS: usize = 30;
    let (program, feed) = start();
    let mut stalled = Client::with_small_window(program.addr(), Version::Rfc6455, "/plot");
    let mut live = Client::open(program.addr(), Version::Rfc6455, "/plot");
    let writer = std::thread::spawn(move || {
        let mut source = Source::connect(feed, "load");
        let start = Instant::now();
        for tick in 0..SECONDS * 100 {
            let due = start + Duration::from_millis(10) * tick as u32;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let numbers = tick * RATE / 100..(tick + 1) * RATE / 100;
            let lines: String =
                numbers.map(|n| format!("{n} {}\n", (n as f64 / 1000.0).sin())).collect();
            source.write(&lines);
        }
        start.elapsed()
    });
    let (mut next, mut resident, mut slowest) = (0.0, Vec::new(), Duration::ZERO);
    while next < (RATE * SECONDS) as f64 {
        let asked = Instant::now();
        let batch: Value = serde_json::from_str(&live.read_text()).unwrap();
        slowest = slowest.max(asked.elapsed());
        assert_eq!(batch["series"][0]["missed"], false);
        for point in batch["series"][0]["points"].as_array().unwrap() {
            assert_eq!(point[0].as_f64(), Some(next), "each point once, in order");
            next += 1.0;
        }
        if next as usize / (5 * RATE) >= resident.len() {
            resident.push(program.resident());
            // It goes on asking, and reads nothing.
            stalled.text("");
        }
        std::thread::sleep(Duration::from_millis(15)); // as long as a page draws
        live.text("");
    }
    let took = writer.join().unwrap();
    println!("resident KiB: {resident:?}; slowest batch after {slowest:?}; {took:?} in all");
    assert!(took < Duration::from_secs(SECONDS as u64 + 2), "the source was held up: {took:?}");
    assert!(slowest < Duration::from_secs(1), "the live page waited {slowest:?}");
    let (warm, end) = (resident[1], resident[resident.len() - 1]);
    assert!(end <= warm + 512, "memory grows: {resident:?} KiB");
}
