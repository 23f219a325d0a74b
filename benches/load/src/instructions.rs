//! Instructions in user space, as callgrind counts them: the difference of two runs, so that the
//! cost of a start falls out. It does not depend on how busy the machine is. Large messages show
//! what the parts cost per byte: binary is unmasked and copied, text is checked to be UTF-8 as
//! well, and the text of Hixie-75 is searched for its end.

use std::fs;
use std::io::{self, Read, Write};
use std::time::Duration;

use crate::client::{dial, read_head};
use crate::connect::lives;
use crate::fleet::{Fleet, Kind, Work};
use crate::report::{figures, rows};
use crate::server::{Server, Target};

/// Bytes of a large message.
const LARGE: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(5);
const HIXIE: &str = "GET /mirror HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\
                     Host: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n\r\n";

#[derive(Clone, Copy)]
enum Job {
    Echo {
        depth: usize,
        size: usize,
        kind: Kind,
    },
    /// A frame of Hixie-75 with `LARGE` bytes of ASCII.
    Hixie,
    /// Sixteen connections are made, upgraded and closed.
    Connect,
}

/// What is counted, and by what its count is divided.
const JOBS: [(&str, Job, f64); 7] = [
    ("32 B, depth 1", small(1), 1.0),
    ("32 B, depth 16", small(16), 16.0),
    ("KiB of binary", large(Kind::Binary), 16.0),
    ("KiB of ASCII", large(Kind::Text), 16.0),
    ("KiB of mixed text", large(Kind::Mixed), 16.0),
    ("KiB of Hixie-75", Job::Hixie, 16.0),
    ("connection", Job::Connect, 16.0),
];

const fn small(depth: usize) -> Job {
    Job::Echo { depth, size: 32, kind: Kind::Text }
}

const fn large(kind: Kind) -> Job {
    Job::Echo { depth: 1, size: LARGE, kind }
}

/// Prints a table; an error if a server failed or valgrind is missing.
pub fn run(targets: &[Target], times: u64) -> Result<(), String> {
    let heads = JOBS.map(|(name, ..)| name);
    rows("user-space instructions", &heads, targets, |target| {
        JOBS.iter().map(|(_, job, of)| each(target, *job, *of, times)).collect()
    })
}

fn each(target: &Target, job: Job, of: f64, times: u64) -> Result<String, String> {
    let (short, long) = (count(target, job, times)?, count(target, job, 2 * times)?);
    Ok(match (short, long) {
        (Some(short), Some(long)) => figures((long as f64 - short as f64) / times as f64 / of),
        _ => "not spoken".to_string(),
    })
}

/// Instructions of a server's whole life with the job done so often; `None` if it does not speak
/// the protocol.
fn count(target: &Target, job: Job, times: u64) -> Result<Option<u64>, String> {
    let path = std::env::temp_dir().join(format!("wsloop-load-callgrind-{}", std::process::id()));
    let log = format!("--log-file={}", path.display());
    let wrapper = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", &log];
    let server = target.start_under(&wrapper);
    let server = server.map_err(|error| format!("{error}; apt-get install valgrind?"))?;
    let spoken = job.run(&server, times)?;
    server.stop()?;
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&path);
    let count = collected(&text).ok_or("callgrind counted nothing")?;
    Ok(spoken.then_some(count))
}

impl Job {
    /// False if the server does not speak the protocol.
    fn run(self, server: &Server, times: u64) -> Result<bool, String> {
        let text = |error: io::Error| error.to_string();
        match self {
            Job::Echo { depth, size, kind } => {
                let work = Work { connections: 1, depth, size, kind, fan_out: false };
                Fleet::open(server, work)?.run_batches(server, times)?;
                Ok(true)
            }
            Job::Hixie => hixie(server, times).map_err(text),
            Job::Connect => {
                (0..times).try_for_each(|_| lives(server.addr)).map_err(text)?;
                Ok(true)
            }
        }
    }
}

fn hixie(server: &Server, times: u64) -> io::Result<bool> {
    let mut stream = dial(server.addr, 0)?;
    // Some answer nothing at all.
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(HIXIE.as_bytes())?;
    let Ok(head) = read_head(&stream) else { return Ok(false) };
    if !String::from_utf8_lossy(&head).contains("WebSocket-Location: ") {
        return Ok(false);
    }
    let mut frame = vec![b'x'; LARGE + 2];
    (frame[0], frame[LARGE + 1]) = (0, 0xff);
    let mut back = vec![0; frame.len()];
    for _ in 0..times {
        stream.write_all(&frame)?;
        stream.read_exact(&mut back)?;
        if back != frame {
            return Err(io::Error::other("another frame came back"));
        }
    }
    Ok(true)
}

fn collected(log: &str) -> Option<u64> {
    let (_, rest) = log.split_once("Collected : ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 1234\n==1==\n"), Some(1234));
        assert_eq!(collected("==1== nothing"), None);
    }
}
