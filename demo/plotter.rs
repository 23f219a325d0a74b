//! A plot of what comes in as lines: one loop, two kinds of peers. Run `cargo run --example plotter`,
//! and in a terminal
//!     ( echo name; while :; do echo "$(date +%s)000 $RANDOM"; sleep 1; done ) | nc localhost 9876
//! then in a browser's console, where it shows a batch of points each second
//!     ws = new WebSocket("ws://localhost:9877/")
//!     ws.onmessage = e => { console.log(e.data); ws.send("") }
//! Open http://localhost:9877/ for the page that draws them.
//!
//! A source's first line is the name of its series, each further one a point, `x y`. A line that is
//! no point is answered and counted, and the source goes on. The last 10,000 points of a series are
//! kept, and 64 series: one more replaces the oldest whose source has ended.
//!
//! A page is sent one batch when it opens, and one more for each *empty message* it sends, which it
//! does when it has drawn the batch before. A batch has all points since the batch before; if there
//! are none yet, it is sent as soon as there is one:
//!
//! ```text
//! {"malformed":0,"series":[{"id":3,"name":"load","missed":false,"points":[[1.5,2],[2,0.25]]}]}
//! ```
//!
//! So a slow page gets fewer and larger batches, a stalled one none at all. All that is kept for a
//! page is its place in the stream of points; `missed` says that the page came back so late that
//! points in between are gone. A batch of over 20,000 points is cut, and the rest comes with the
//! next.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write;

use wsloop::{Config, ConnId, Context, Handler, Message, OriginRule, Request, Server, SourceId};

/// Series of points from sources of lines, for pages that plot them as they come.
#[derive(Default)]
pub struct Plot {
    /// By id, and so by age.
    series: BTreeMap<u64, Series>,
    /// Which series a source feeds; `None` if there was no room for it.
    sources: HashMap<SourceId, Option<u64>>,
    /// How many of all points, of whatever series, each page has seen.
    pages: HashMap<ConnId, u64>,
    /// The pages that have asked, and are owed a batch.
    waiting: BTreeSet<ConnId>,
    /// How many points there were so far: the number of the next.
    count: u64,
    last_id: u64,
    malformed: u64,
}

impl Handler for Plot {
    /// A page begins with the history.
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        self.pages.insert(ws.id(), 0);
        self.serve(ws);
    }

    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        if message == Message::Text("") {
            self.serve(ws);
        }
    }

    fn on_drain(&mut self, ws: &mut Context<'_>) {
        if self.waiting.remove(&ws.id()) {
            self.serve(ws);
        }
    }

    fn on_close(&mut self, ws: &mut Context<'_>, _code: u16, _reason: &str) {
        self.pages.remove(&ws.id());
        self.waiting.remove(&ws.id());
    }

    fn on_line(
        &mut self,
        ws: &mut Context<'_>,
        source: SourceId,
        line: &str,
    ) -> Result<(), String> {
        match self.sources.get(&source) {
            None => self.begin(source, line),
            Some(None) => Err(no_room()),
            Some(&Some(id)) => {
                let (x, y) = parse(line).inspect_err(|_| self.malformed += 1)?;
                self.add(id, x, y);
                for page in std::mem::take(&mut self.waiting) {
                    self.serve(&mut ws.to(page));
                }
                Ok(())
            }
        }
    }

    fn on_source_end(&mut self, _: &mut Context<'_>, source: SourceId) {
        let Some(Some(id)) = self.sources.remove(&source) else { return };
        if let Some(series) = self.series.get_mut(&id) {
            series.ended = true;
            if series.points.is_empty() {
                self.series.remove(&id);
            }
        }
    }
}

/// The page is a part of the program, with what it needs.
const PAGE: &[(&str, &[u8])] = &[
    ("/index.html", include_bytes!("web/plotter.html")),
    ("/style.css", include_bytes!("web/style.css")),
    ("/connection.js", include_bytes!("web/connection.js")),
    ("/favicon.svg", include_bytes!("web/favicon.svg")),
];

fn main() -> std::io::Result<()> {
    let socket = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9877".to_string());
    let lines = std::env::args().nth(2).unwrap_or_else(|| "127.0.0.1:9876".to_string());
    // The pages of any site may connect; by default only those of the same host may.
    let mut config = Config::default();
    config.origins = vec![OriginRule::Any];

    let mut server = Server::new(config)?;
    server.route("/", Plot::default());
    server.serve_embedded(PAGE);
    println!("listening on {}/", server.listen(&socket)?);
    // Whoever connects here is a source: its lines go to the handler of the route.
    println!("lines from {}", server.feed(&lines, "/")?.to_string().replacen("ws", "tcp", 1));
    server.run()
}

struct Series {
    name: String,
    ended: bool,
    points: VecDeque<Point>,
    /// The number after that of the last point that is gone.
    gone: u64,
}

/// Points are numbered through all series, in the order they came.
struct Point {
    number: u64,
    x: f64,
    y: f64,
}

/// Limits the memory: 64 times 10,000 times the 24 bytes of a point.
const MOST_SERIES: usize = 64;
const MOST_POINTS: usize = 10_000;
/// Limits a batch: no point takes more than 50 bytes, most take half of that.
const MOST_IN_BATCH: usize = 20_000;
const MOST_IN_NAME: usize = 100;
/// A page that asks and does not read waits while this many bytes are on their way to it.
const MOST_BUFFERED: usize = 64 * 1024;

impl Plot {
    /// The first line of a source.
    fn begin(&mut self, source: SourceId, name: &str) -> Result<(), String> {
        if self.series.len() >= MOST_SERIES {
            let oldest = self.series.iter().find(|(_, series)| series.ended).map(|(id, _)| *id);
            let Some(oldest) = oldest else {
                self.sources.insert(source, None);
                return Err(no_room());
            };
            self.series.remove(&oldest);
        }
        self.last_id += 1;
        let name = match name.trim() {
            "" => format!("series {}", self.last_id),
            name => name.chars().take(MOST_IN_NAME).collect(),
        };
        let series = Series { name, ended: false, points: VecDeque::new(), gone: 0 };
        self.series.insert(self.last_id, series);
        self.sources.insert(source, Some(self.last_id));
        Ok(())
    }

    fn add(&mut self, id: u64, x: f64, y: f64) {
        let Some(series) = self.series.get_mut(&id) else { return };
        if series.points.len() == MOST_POINTS
            && let Some(oldest) = series.points.pop_front()
        {
            series.gone = oldest.number + 1;
        }
        series.points.push_back(Point { number: self.count, x, y });
        self.count += 1;
    }

    /// Sends a page what it has not seen, or notes that it waits.
    fn serve(&mut self, ws: &mut Context<'_>) {
        let Some(seen) = self.pages.get_mut(&ws.id()) else { return };
        let is_slow = ws.buffered_amount() > MOST_BUFFERED;
        let end = if is_slow { *seen } else { end_of_batch(&self.series, *seen, self.count) };
        if end == *seen {
            self.waiting.insert(ws.id());
            return;
        }
        let from = std::mem::replace(seen, end);
        ws.send(&self.batch(from, end));
    }

    /// The points with the numbers from `from` up to `end`, as JSON.
    fn batch(&self, from: u64, end: u64) -> String {
        let mut json = format!(r#"{{"malformed":{},"series":["#, self.malformed);
        for (id, series) in &self.series {
            let (first, behind) = (series.place(from), series.place(end));
            if first == behind {
                continue;
            }
            let missed = series.gone > from;
            // Writing to a string cannot fail.
            let _ = write!(json, r#"{{"id":{id},"name":{},"#, quoted(&series.name));
            let _ = write!(json, r#""missed":{missed},"points":["#);
            for point in series.points.range(first..behind) {
                let _ = write!(json, "[{},{}],", number(point.x), number(point.y));
            }
            json.pop();
            json.push_str("]},");
        }
        json.pop();
        json.push_str("]}");
        json
    }
}

impl Series {
    /// The index of the first of its points whose number is not below this.
    fn place(&self, number: u64) -> usize {
        self.points.partition_point(|point| point.number < number)
    }
}

/// The number after the last point of a batch that begins with number `seen`; `seen` itself if
/// there are no points.
fn end_of_batch(series: &BTreeMap<u64, Series>, seen: u64, count: u64) -> u64 {
    let number = |series: &Series| series.points.get(series.place(seen)).map(|point| point.number);
    let Some(first) = series.values().filter_map(number).min() else { return seen };
    let mut end = count;
    while series.values().map(|s| s.place(end) - s.place(first)).sum::<usize>() > MOST_IN_BATCH {
        end = first + (end - first) / 2;
    }
    end
}

fn no_room() -> String {
    format!("not plotted: there are {MOST_SERIES} series, and none of them has ended")
}

fn parse(line: &str) -> Result<(f64, f64), String> {
    let mut words = line.split_whitespace();
    let mut number = || words.next()?.parse().ok().filter(|number: &f64| number.is_finite());
    match (number(), number(), words.next()) {
        (Some(x), Some(y), None) => Ok((x, y)),
        _ => Err("no point: a point is two finite numbers, x y".to_string()),
    }
}

/// The shortest digits that stand for exactly this number; with an exponent if it is far from 1.
fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_string(),
        size if (1e-6..1e17).contains(&size) => format!("{number}"),
        _ => format!("{number:e}"),
    }
}

/// A JSON string (RFC 8259 section 7).
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plot with so many series of so many points each, one of each in turn.
    fn plot(series: u64, points: usize) -> Plot {
        let mut plot = Plot { last_id: series, ..Plot::default() };
        for id in 1..=series {
            let name = format!("series {id}");
            let series = Series { name, ended: false, points: VecDeque::new(), gone: 0 };
            plot.series.insert(id, series);
        }
        for x in 0..points {
            (1..=series).for_each(|id| plot.add(id, x as f64, id as f64));
        }
        plot
    }

    /// All batches up to the present: how many points in each.
    fn fetch_all(plot: &Plot, mut seen: u64) -> Vec<usize> {
        let mut sizes = Vec::new();
        loop {
            let end = end_of_batch(&plot.series, seen, plot.count);
            if end <= seen {
                return sizes;
            }
            let batch: serde_json::Value = serde_json::from_str(&plot.batch(seen, end)).unwrap();
            let series = batch["series"].as_array().unwrap();
            sizes.push(series.iter().map(|s| s["points"].as_array().unwrap().len()).sum());
            seen = end;
        }
    }

    #[test]
    fn points_are_two_finite_numbers() {
        for (line, point) in [
            ("1 2", (1.0, 2.0)),
            (" -1.5\t+2e3 ", (-1.5, 2000.0)),
            (".5 1e-400", (0.5, 0.0)),
            ("1732000000000 32767", (1_732_000_000_000.0, 32767.0)),
        ] {
            assert_eq!(parse(line), Ok(point), "{line:?}");
        }
        for line in ["", "1", "1 2 3", "1,2", "a b", "1 NaN", "inf 1", "1 1e999", "0x1 2", "1 2\0"]
        {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn numbers_are_json_and_come_back_as_they_were() {
        for value in
            [0.0, -0.0, 1.0, -2.5, 0.1, 1e-7, 1.732e12, 1e300, -f64::MIN_POSITIVE, f64::MAX]
        {
            let text = number(value);
            assert!(text.len() <= 24, "{text}");
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json.as_f64(), Some(value), "{text}");
        }
    }

    #[test]
    fn names_are_json_whatever_is_in_them() {
        for name in ["load", "", "\"\\\"", "</script><b>", "tab\tnul\0esc\x1b", "grüße 🌍\u{2028}"]
        {
            let json: serde_json::Value = serde_json::from_str(&quoted(name)).unwrap();
            assert_eq!(json.as_str(), Some(name));
        }
    }

    #[test]
    fn a_batch_is_compact_json() {
        let mut plot = plot(2, 1);
        plot.add(2, 1.25, -3.0);
        assert_eq!(
            plot.batch(0, plot.count),
            r#"{"malformed":0,"series":[{"id":1,"name":"series 1","missed":false,"points":[[0,1]]},{"id":2,"name":"series 2","missed":false,"points":[[0,2],[1.25,-3]]}]}"#
        );
        assert_eq!(
            plot.batch(2, plot.count),
            r#"{"malformed":0,"series":[{"id":2,"name":"series 2","missed":false,"points":[[1.25,-3]]}]}"#
        );
    }

    #[test]
    fn history_is_bounded_and_what_was_missed_is_told() {
        let plot = plot(1, MOST_POINTS + 5);
        let series = &plot.series[&1];
        assert_eq!((series.points.len(), series.points[0].x, series.gone), (MOST_POINTS, 5.0, 5));
        assert!(plot.batch(4, plot.count).contains(r#""missed":true"#));
        assert!(plot.batch(5, plot.count).contains(r#""missed":false"#));
    }

    #[test]
    fn all_points_come_once_however_many_and_no_batch_is_too_large() {
        assert!(fetch_all(&plot(0, 0), 0).is_empty());
        assert_eq!(fetch_all(&plot(3, 4), 0), [12]);
        assert_eq!(fetch_all(&plot(3, 4), 7), [5]);
        let sizes = fetch_all(&plot(9, MOST_POINTS + 9), 0);
        assert_eq!(sizes.iter().sum::<usize>(), 9 * MOST_POINTS);
        assert!(sizes.iter().all(|size| (1..=MOST_IN_BATCH).contains(size)), "{sizes:?}");
        // One series' points are long ago, the others' all of the last moment.
        let mut plot = plot(4, 10);
        plot.count = 1 << 40;
        (0..MOST_POINTS).for_each(|x| (2..=4).for_each(|id| plot.add(id, x as f64, 0.0)));
        let sizes = fetch_all(&plot, 0);
        assert_eq!(sizes.iter().sum::<usize>(), 10 + 3 * MOST_POINTS);
        assert!(sizes.len() < 8, "{sizes:?}");
    }
}
