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
//! kept, and 64 series: one more replaces the oldest whose source has ended, or else the one that has
//! been silent longest, if that is a minute or more: its source may have lost its power. Should it
//! speak again, it is told.
//!
//! A page is sent one batch when it opens, and one more for each *empty message* it sends, which it
//! does when it has drawn the batch before. A batch has all points since the batch before; if there
//! are none yet, it is sent as soon as there is one:
//!
//! ```text
//! {"malformed":0,"more":false,"series":[{"id":3,"name":"load","missed":false,"points":[[1.5,2],[2,0.25]]}]}
//! ```
//!
//! So a slow page gets fewer and larger batches, a stalled one none at all. All that is kept for a
//! page is its place in the stream of points; `missed` says that the page came back so late that
//! points in between are gone. A batch of over 2,000 points is cut, and says that there is `more`,
//! which comes with the next.
//!
//! A point is put into words once, when it comes; a batch is copied together from these. So a page
//! that opens costs little, however much there is to show, and however many open at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Write;
use std::time::{Duration, Instant};

use wsloop::{
    Config, ConnId, Context, Handler, Message, OriginRule, Request, Server, SourceEnd, SourceId,
};

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
            None => self.begin(source, line, Instant::now()),
            Some(None) => Err(no_room()),
            Some(&Some(id)) => {
                self.series.get_mut(&id).ok_or_else(gave_way)?.heard = Instant::now();
                let (x, y) = parse(line).inspect_err(|_| self.malformed += 1)?;
                self.add(id, x, y);
                for page in std::mem::take(&mut self.waiting) {
                    self.serve(&mut ws.to(page));
                }
                Ok(())
            }
        }
    }

    fn on_source_end(&mut self, _: &mut Context<'_>, source: SourceId, _: SourceEnd<'_>) {
        let Some(Some(id)) = self.sources.remove(&source) else { return };
        if let Some(series) = self.series.get_mut(&id) {
            series.ended = true;
            if series.places.is_empty() {
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
    /// When its source last said something.
    heard: Instant,
    places: VecDeque<Place>,
    /// The points as they stand in a batch, `[x,y],`, one behind the other.
    text: VecDeque<u8>,
    /// How many bytes of such text are gone.
    cut: u64,
    /// The number after that of the last point that is gone.
    gone: u64,
}

/// Where a point is. Points are numbered through all series, in the order they came.
struct Place {
    number: u64,
    /// Where its text begins, counted from that of the first point there ever was in the series.
    begin: u64,
}

/// Limits the memory: 64 times 10,000 times the 16 bytes of a place and the text of a point, of which
/// no one takes more than 50 bytes and most take half of that.
const MOST_SERIES: usize = 64;
const MOST_POINTS: usize = 10_000;
/// Limits a batch, and so what a page that opens is sent at once.
const MOST_IN_BATCH: usize = 2_000;
const MOST_IN_NAME: usize = 100;
/// A page that asks and does not read waits while this many bytes are on their way to it.
const MOST_BUFFERED: usize = 64 * 1024;
/// A series that has been silent for as long may be replaced.
const SILENT: Duration = Duration::from_secs(60);

impl Plot {
    /// The first line of a source.
    fn begin(&mut self, source: SourceId, name: &str, now: Instant) -> Result<(), String> {
        if self.series.len() >= MOST_SERIES {
            let Some(id) = self.least_needed(now) else {
                self.sources.insert(source, None);
                return Err(no_room());
            };
            self.series.remove(&id);
        }
        self.last_id += 1;
        let name = match name.trim() {
            "" => format!("series {}", self.last_id),
            name => name.chars().take(MOST_IN_NAME).collect(),
        };
        self.series.insert(self.last_id, Series::new(name, now));
        self.sources.insert(source, Some(self.last_id));
        Ok(())
    }

    /// The series that gives way to a new one.
    fn least_needed(&self, now: Instant) -> Option<u64> {
        let ended = self.series.iter().find(|(_, series)| series.ended);
        let silent = || {
            let longest = self.series.iter().min_by_key(|(_, series)| series.heard);
            longest.filter(|(_, series)| now.saturating_duration_since(series.heard) >= SILENT)
        };
        ended.or_else(silent).map(|(id, _)| *id)
    }

    fn add(&mut self, id: u64, x: f64, y: f64) {
        let Some(series) = self.series.get_mut(&id) else { return };
        series.push(self.count, x, y);
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
        let (malformed, more) = (self.malformed, end < self.count);
        let mut json = format!(r#"{{"malformed":{malformed},"more":{more},"series":["#);
        for (id, series) in &self.series {
            let (first, behind) = (series.place(from), series.place(end));
            if first == behind {
                continue;
            }
            let missed = series.gone > from;
            // Writing to a string cannot fail.
            let _ = write!(json, r#"{{"id":{id},"name":{},"#, quoted(&series.name));
            let _ = write!(json, r#""missed":{missed},"points":["#);
            series.put_text(first, behind, &mut json);
            json.pop();
            json.push_str("]},");
        }
        json.pop();
        json.push_str("]}");
        json
    }
}

impl Series {
    fn new(name: String, now: Instant) -> Series {
        let (places, text) = (VecDeque::new(), VecDeque::new());
        Series { name, ended: false, heard: now, places, text, cut: 0, gone: 0 }
    }

    /// One more point; if there are too many, the first goes.
    fn push(&mut self, number: u64, x: f64, y: f64) {
        if self.places.len() == MOST_POINTS
            && let Some(oldest) = self.places.pop_front()
        {
            self.gone = oldest.number + 1;
            let len = self.begin(0) - self.cut;
            self.text.drain(..len as usize);
            self.cut += len;
        }
        let begin = self.end();
        self.places.push_back(Place { number, begin });
        self.text.extend(format!("[{},{}],", words(x), words(y)).as_bytes());
    }

    /// The index of the first of its points whose number is not below this.
    fn place(&self, number: u64) -> usize {
        self.places.partition_point(|place| place.number < number)
    }

    /// Where the text of a point begins; of one behind the last, where the text ends.
    fn begin(&self, place: usize) -> u64 {
        self.places.get(place).map_or(self.end(), |place| place.begin)
    }

    fn end(&self) -> u64 {
        self.cut + self.text.len() as u64
    }

    /// Appends the points from index `first` up to `behind`.
    fn put_text(&self, first: usize, behind: usize, json: &mut String) {
        let [first, behind] = [first, behind].map(|place| (self.begin(place) - self.cut) as usize);
        let (front, back) = self.text.as_slices();
        let middle = front.len();
        for part in [
            &front[first.min(middle)..behind.min(middle)],
            &back[first.max(middle) - middle..behind.max(middle) - middle],
        ] {
            // It is ASCII, so that it may be cut anywhere.
            json.push_str(str::from_utf8(part).unwrap_or_default());
        }
    }
}

/// The number after the last point of a batch that begins with number `seen`; `seen` itself if
/// there are no points.
fn end_of_batch(series: &BTreeMap<u64, Series>, seen: u64, count: u64) -> u64 {
    let number = |series: &Series| series.places.get(series.place(seen)).map(|place| place.number);
    let Some(first) = series.values().filter_map(number).min() else { return seen };
    let mut end = count;
    while series.values().map(|s| s.place(end) - s.place(first)).sum::<usize>() > MOST_IN_BATCH {
        end = first + (end - first) / 2;
    }
    end
}

fn no_room() -> String {
    format!(
        "not plotted: there are {MOST_SERIES} series, none of them ended or silent for a minute"
    )
}

fn gave_way() -> String {
    "not plotted: this series was silent and gave way to another; connect again".to_string()
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
fn words(number: f64) -> String {
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
        let (mut plot, now) = (Plot { last_id: series, ..Plot::default() }, Instant::now());
        for id in 1..=series {
            plot.series.insert(id, Series::new(format!("series {id}"), now));
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
            let text = words(value);
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
            r#"{"malformed":0,"more":false,"series":[{"id":1,"name":"series 1","missed":false,"points":[[0,1]]},{"id":2,"name":"series 2","missed":false,"points":[[0,2],[1.25,-3]]}]}"#
        );
        assert_eq!(
            plot.batch(2, plot.count),
            r#"{"malformed":0,"more":false,"series":[{"id":2,"name":"series 2","missed":false,"points":[[1.25,-3]]}]}"#
        );
    }

    #[test]
    fn history_is_bounded_and_what_was_missed_is_told() {
        let plot = plot(1, MOST_POINTS + 5);
        let series = &plot.series[&1];
        assert_eq!(
            (series.places.len(), series.places[0].number, series.gone),
            (MOST_POINTS, 5, 5)
        );
        assert!(plot.batch(0, 7).contains(r#""points":[[5,1],[6,1]]}"#));
        let kept: usize = (5..MOST_POINTS + 5).map(|x| format!("[{x},1],").len()).sum();
        assert_eq!(series.text.len(), kept, "what is gone takes no memory");
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
        assert!(sizes.len() < 40, "{sizes:?}");
    }

    #[test]
    fn what_has_ended_gives_way_and_then_what_is_silent_for_longest() {
        let mut plot = plot(MOST_SERIES as u64, 1);
        let start = plot.series[&1].heard;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(plot.least_needed(after(59)), None);
        plot.series.get_mut(&1).unwrap().heard = after(30);
        assert_eq!(plot.least_needed(after(60)), Some(2), "the oldest of those silent for longest");
        plot.series.values_mut().skip(1).for_each(|series| series.heard = after(40));
        assert_eq!(plot.least_needed(after(89)), None);
        assert_eq!(plot.least_needed(after(90)), Some(1));
        plot.series.get_mut(&7).unwrap().ended = true;
        assert_eq!(plot.least_needed(after(90)), Some(7));
    }

    #[test]
    fn a_page_that_opens_is_sent_little_however_much_there_is() {
        let plot = plot(MOST_SERIES as u64, MOST_POINTS);
        let batch = plot.batch(0, end_of_batch(&plot.series, 0, plot.count));
        assert!(batch.len() < 64 * 1024, "{} bytes", batch.len());
    }
}
