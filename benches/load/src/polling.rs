//! Polling for quotes compared with having them pushed, both as a browser would: the same server,
//! the same quotes, once a second to each client.

use std::io::{self, Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::client::{Client, Piece, dial, open_all};
use crate::poll::Poll;
use crate::report::{figures, percentile, print_waiting};
use crate::server::{Server, Target, Times};

const PERIOD: Duration = Duration::from_secs(1);
/// How many updates each client gets.
const UPDATES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a browser's request.
const REQUEST: usize = 871;

/// What the updates of all clients cost together.
#[derive(Default)]
struct Cost {
    updates: u64,
    /// What the server waited for its processor, in nanoseconds.
    waited: u64,
    /// Bytes of HTTP and of frames, but for the quotes themselves, both ways.
    overhead: u64,
    payload: u64,
    cpu: u64,
    /// Ages of quotes when they arrive, in milliseconds.
    ages: Vec<u32>,
}

/// Prints a table; an error if a server failed.
pub fn run(targets: &[Target], most: usize) -> Result<(), String> {
    println!(
        "| one update a second to each | clients | bytes of overhead | bytes of quotes | \
         processor µs | age on arrival, median / 99 %, ms |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    let (mut ran, mut waited) = (0, 0);
    for target in targets {
        for clients in [most.div_ceil(10), most] {
            let server = target.start()?;
            let polled = polled(&server, clients)?;
            server.stop()?;
            let server = target.start()?;
            let pushed = pushed(&server, clients)?;
            server.stop()?;
            polled.print(&format!("{}: `GET /quote`", target.name), clients);
            pushed.print(&format!("{}: pushed frames", target.name), clients);
            ran += polled.cpu + pushed.cpu;
            waited += polled.waited + pushed.waited;
            let [bytes, time] = [
                polled.overhead as f64 / polled.updates as f64 * pushed.updates as f64
                    / pushed.overhead as f64,
                polled.per_update() / pushed.per_update(),
            ];
            println!("| polled : pushed | {clients} | {bytes:.0} | | {time:.1} | |");
        }
    }
    print_waiting(ran, waited);
    Ok(())
}

impl Cost {
    fn per_update(&self) -> f64 {
        self.cpu as f64 / 1e3 / self.updates.max(1) as f64
    }

    fn print(&self, name: &str, clients: usize) {
        let each = |bytes: u64| figures(bytes as f64 / self.updates.max(1) as f64);
        let mut ages = self.ages.clone();
        ages.sort_unstable();
        println!(
            "| {name} | {clients} | {} | {} | {} | {} / {} |",
            each(self.overhead),
            each(self.payload),
            figures(self.per_update()),
            percentile(&ages, 50.0),
            percentile(&ages, 99.0)
        );
    }

    fn finish(mut self, before: Times, server: &Server) -> Cost {
        let used = server.times().since(before);
        (self.cpu, self.waited) = (used.cpu, used.waited);
        self
    }

    fn take(&mut self, quotes: &[u8], overhead: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(quotes);
        let made = text.strip_prefix(r#"{"made":"#).and_then(|rest| rest.split_once(','));
        let made = made.and_then(|(made, _)| made.parse::<u128>().ok());
        let made = made.ok_or_else(|| format!("these are no quotes: {text}"))?;
        self.ages.push(now().saturating_sub(made).min(u32::MAX.into()) as u32);
        self.updates += 1;
        self.overhead += overhead as u64;
        self.payload += quotes.len() as u64;
        Ok(())
    }
}

/// Milliseconds since 1970.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis())
}

/// Every client asks once a second; their questions are spread evenly over it.
fn polled(server: &Server, clients: usize) -> Result<Cost, String> {
    let text = |error: io::Error| error.to_string();
    // One who watches, so that the quotes are new each second, as they are for those who are pushed.
    let _watcher = open_all(server.addr, "/stocks", 1)?;
    let streams = (0..clients).map(|index| dial(server.addr, index));
    let streams = streams.collect::<io::Result<Vec<_>>>().map_err(text)?;
    for stream in &streams {
        stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    }
    let request = request();
    let (mut cost, mut answer) = (Cost::default(), Vec::new());
    let before = server.times();
    let start = Instant::now();
    for turn in 0..clients * UPDATES {
        let due = PERIOD.mul_f64(turn as f64 / clients as f64);
        sleep(due.saturating_sub(start.elapsed()));
        let mut stream = &streams[turn % clients];
        stream.write_all(request.as_bytes()).map_err(text)?;
        let head_len = read_answer(stream, &mut answer).map_err(text)?;
        cost.take(&answer[head_len..], request.len() + head_len)?;
    }
    Ok(cost.finish(before, server))
}

/// Reads one answer; the length of its head.
fn read_answer(mut stream: &std::net::TcpStream, answer: &mut Vec<u8>) -> io::Result<usize> {
    answer.clear();
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => answer.extend_from_slice(&room[..len]),
        }
        if let Some((head_len, len)) = lengths(answer)
            && answer.len() == head_len + len
        {
            return Ok(head_len);
        }
    }
}

/// Of a response's head, once it is whole, and of its body.
fn lengths(answer: &[u8]) -> Option<(usize, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let (_, rest) = head.split_once("\r\ncontent-length:")?;
    Some((end, rest.split("\r\n").next()?.trim().parse().ok()?))
}

/// Every client has a WebSocket, and is sent what is new.
fn pushed(server: &Server, clients: usize) -> Result<Cost, String> {
    let poll = &mut Poll::new()?;
    let mut members: Vec<(Client, Vec<u8>)> = Vec::with_capacity(clients);
    for (place, client) in open_all(server.addr, "/stocks", clients)?.into_iter().enumerate() {
        poll.add(&client.stream, place)?;
        members.push((client, Vec::new()));
    }
    // What came while they were opened does not count.
    receive(poll, &mut members, Instant::now() + PERIOD * 2, &mut Cost::default(), 0)?;
    let (mut cost, before) = (Cost::default(), server.times());
    let until = Instant::now() + PATIENCE;
    receive(poll, &mut members, until, &mut cost, (clients * UPDATES) as u64)?;
    Ok(cost.finish(before, server))
}

/// Takes what comes until then, or, if `enough` is not 0, until so many updates have.
fn receive(
    poll: &mut Poll,
    members: &mut [(Client, Vec<u8>)],
    until: Instant,
    cost: &mut Cost,
    enough: u64,
) -> Result<(), String> {
    let mut buffer = vec![0; 4096];
    while Instant::now() < until && (enough == 0 || cost.updates < enough) {
        for ready in poll.wait(Duration::from_millis(50))? {
            let (client, quotes) = &mut members[ready.place];
            client.read(&mut buffer, false, |piece| {
                match piece {
                    Piece::Payload(bytes) => quotes.extend_from_slice(bytes),
                    _ => {
                        // The head of a frame of up to 125 bytes has two; of up to 65,535, four.
                        let head_len = if quotes.len() < 126 { 2 } else { 4 };
                        cost.take(&std::mem::take(quotes), head_len)?;
                    }
                }
                Ok(())
            })?;
        }
    }
    if cost.updates < enough { Err("updates are missing".to_string()) } else { Ok(()) }
}

/// As a browser on a site with a few cookies sends it.
fn request() -> String {
    let head = "GET /quote HTTP/1.1\r\n\
        Host: 127.0.0.1:8080\r\n\
        Connection: keep-alive\r\n\
        sec-ch-ua: \"Chromium\";v=\"142\", \"Not_A Brand\";v=\"99\"\r\n\
        sec-ch-ua-mobile: ?0\r\n\
        sec-ch-ua-platform: \"Linux\"\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
        Chrome/142.0.0.0 Safari/537.36\r\n\
        Accept: */*\r\n\
        Sec-Fetch-Site: same-origin\r\n\
        Sec-Fetch-Mode: cors\r\n\
        Sec-Fetch-Dest: empty\r\n\
        Referer: http://127.0.0.1:8080/stocks.html\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Accept-Language: en-GB,en;q=0.9\r\n\
        Cookie: session=";
    let rest = REQUEST - head.len() - 4;
    format!("{head}{}\r\n\r\n", "0123456789abcdef".repeat(rest / 16 + 1).split_at(rest).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let request = request();
        assert_eq!(request.len(), REQUEST);
        assert!(request.ends_with("\r\n\r\n"));
    }

    #[test]
    fn an_answer_is_cut() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(lengths(answer), Some((answer.len() - 2, 2)));
        assert_eq!(lengths(&answer[..20]), None);
    }
}
