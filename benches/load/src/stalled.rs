//! User memory for one message to many clients that do not read.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::{Client, Piece, dial_narrow, frame, open_all, open_with};
use crate::report::rows;
use crate::server::Target;

const SIZE: usize = 1 << 20;
const SETTLE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Prints a table; an error if a server failed.
pub fn run(targets: &[Target], connections: usize) -> Result<(), String> {
    let title = format!("user memory for 1 MiB to {connections} that do not read");
    rows(&title, &["MiB"], targets, |target| {
        Ok(vec![format!("{:.1}", of(target, connections)? as f64 / SIZE as f64)])
    })
}

fn of(target: &Target, connections: usize) -> Result<u64, String> {
    let server = target.start()?;
    let mut sender = open_all(server.addr, "/broadcast", 1)?;
    // What the first messages cost is the server's.
    let message = frame(2, [1, 2, 3, 4], &vec![7; SIZE]);
    say(&mut sender[0], &message)?;
    let others = open_with(dial_narrow, server.addr, "/broadcast", connections)?;
    sleep(SETTLE);
    let before = server.memory()?;
    say(&mut sender[0], &message)?;
    sleep(SETTLE);
    let after = server.memory()?;
    drop((sender, others));
    server.stop()?;
    Ok(after.saturating_sub(before))
}

/// Sends to all, and reads what comes to the sender itself.
fn say(sender: &mut Client, message: &[u8]) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    sender.stream.set_nonblocking(false).map_err(text)?;
    std::io::Write::write_all(&mut &sender.stream, message).map_err(text)?;
    sender.stream.set_read_timeout(Some(PATIENCE)).map_err(text)?;
    let (mut buffer, mut come, mut ended) = (vec![0; 1 << 16], 0, false);
    let start = Instant::now();
    while !ended {
        sender.read(&mut buffer, false, |piece| {
            match piece {
                Piece::Payload(bytes) => come += bytes.len(),
                _ => ended = true,
            }
            Ok(())
        })?;
        if start.elapsed() > PATIENCE {
            return Err("the sender does not get its own message".to_string());
        }
    }
    if come == SIZE { Ok(()) } else { Err(format!("{come} bytes came back")) }
}
