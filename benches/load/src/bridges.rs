//! What a server holds for connections with programs and tunnels, and for a client that reads nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::client::open_all;
use crate::fleet::{Fleet, Kind, Work};
use crate::report::{figures, rows};
use crate::server::{Server, Target};

/// For what a server frees a little later, and for buffers that fill.
const SETTLE: Duration = Duration::from_millis(500);
/// What each connection has carried.
const WORK: Work = Work { connections: 1, depth: 1, size: 64, kind: Kind::Text, fan_out: false };

/// Prints a table of memory and descriptors; an error if a server failed.
pub fn held(targets: &[Target], connections: usize, kind: Kind) -> Result<(), String> {
    let title = format!("for one of {connections} connections, each after 64 B there and back");
    let heads = ["user memory, KB", "all opened at once, KB", "descriptors", "processes"];
    rows(&title, &heads, targets, |target| {
        let [memory, descriptors, processes] =
            one_of(target, Work { connections: 1, kind, ..WORK }, connections)?;
        let [at_once, _, _] = one_of(target, Work { connections, kind, ..WORK }, 1)?;
        Ok([memory / 1e3, at_once / 1e3, descriptors, processes].map(figures).to_vec())
    })
}

/// What each connection adds when they are opened in so many groups.
fn one_of(target: &Target, group: Work, groups: usize) -> Result<[f64; 3], String> {
    let server = target.start()?;
    // What the first connection costs is the server's, not a connection's.
    let mut open = vec![used(&server, Work { connections: 1, ..group })?];
    let before = settled(&server)?;
    for _ in 0..groups {
        open.push(used(&server, group)?);
    }
    let after = settled(&server)?;
    drop(open);
    server.stop()?;
    let connections = (group.connections * groups) as f64;
    Ok([0, 1, 2].map(|place| (after[place] - before[place]).max(0.0) / connections))
}

fn used(server: &Server, work: Work) -> Result<Fleet, String> {
    let mut fleet = Fleet::open(server, work)?;
    fleet.run_batches(server, work.connections as u64)?;
    Ok(fleet)
}

/// Bytes of memory, descriptors and processes.
fn settled(server: &Server) -> Result<[f64; 3], String> {
    sleep(SETTLE);
    let memory = server.memory()? as f64;
    Ok([memory, server.descriptors() as f64, server.processes().len() as f64])
}

/// Prints a table of what a client costs that reads nothing; an error if a server failed.
pub fn unread(targets: &[Target], time: Duration) -> Result<(), String> {
    let title = format!("a flood that is not read, {} s", time.as_secs_f64());
    let heads = ["processor", "memory until then, MiB", "memory meanwhile, MiB"];
    rows(&title, &heads, targets, |target| {
        let server = target.start()?;
        let before = server.memory()?;
        let clients = open_all(server.addr, "/mirror", 1)?;
        sleep(SETTLE);
        let (filled, start) = (server.memory()?, Instant::now());
        let times = server.times();
        sleep(time);
        let used = server.times().since(times).cpu as f64 / start.elapsed().as_nanos() as f64;
        let after = server.memory()?;
        drop(clients);
        server.stop()?;
        let grown = [filled.saturating_sub(before), after.saturating_sub(filled)];
        let [until, meanwhile] = grown.map(|bytes| format!("{:.2}", bytes as f64 / 1048576.0));
        Ok(vec![format!("{:.1} %", used * 100.0), until, meanwhile])
    })
}
