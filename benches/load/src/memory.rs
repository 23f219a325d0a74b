//! User memory of a server for one open connection: idle, and after it has carried something.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use crate::client::{Client, frame, open_all};
use crate::report::rows;
use crate::server::{Server, Target};

const SIZES: [usize; 2] = [1 << 10, 64 << 10];
/// For what a server frees a little later.
const SETTLE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints a table; an error if a server failed.
pub fn run(targets: &[Target], connections: usize) -> Result<(), String> {
    let idle = format!("idle ({connections} open)");
    let heads = [idle.as_str(), "after 1 KiB and 64 KiB on each"];
    rows("user memory for a connection, B", &heads, targets, |target| {
        Ok(of(target, connections)?.iter().map(u64::to_string).collect())
    })
}

fn of(target: &Target, connections: usize) -> Result<[u64; 2], String> {
    let server = target.start()?;
    // What the first connection costs is the server's, not a connection's.
    let mut first = open_all(server.addr, "/mirror", 1)?;
    carry(&mut first)?;
    let before = settled(&server)?;
    let mut clients = open_all(server.addr, "/mirror", connections)?;
    let idle = settled(&server)?;
    carry(&mut clients)?;
    let used = settled(&server)?;
    drop((first, clients));
    server.stop()?;
    Ok([idle, used].map(|memory| memory.saturating_sub(before) / connections as u64))
}

fn settled(server: &Server) -> Result<u64, String> {
    sleep(SETTLE);
    server.memory()
}

/// Each sends a message of each size, and has it back.
fn carry(clients: &mut [Client]) -> Result<(), String> {
    for size in SIZES {
        let sent = frame(2, [1, 2, 3, 4], &vec![7; size]);
        let mut back = vec![0; sent.len() - 4];
        for client in &mut *clients {
            let mut stream = &client.stream;
            exchange(&mut stream, &sent, &mut back).map_err(|error| error.to_string())?;
            if back[back.len() - size..].iter().any(|&byte| byte != 7) {
                return Err(format!("{size} bytes came back changed"));
            }
        }
    }
    Ok(())
}

/// The server writes no longer head than the client, less the mask.
fn exchange(
    stream: &mut &std::net::TcpStream,
    sent: &[u8],
    back: &mut [u8],
) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(sent)?;
    stream.read_exact(back)
}
