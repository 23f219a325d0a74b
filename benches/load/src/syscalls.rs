//! System calls of a server for one message, and while nothing happens, as strace counts them.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fleet::{Fleet, Kind, Work};
use crate::report::{figures, rows};
use crate::server::{Server, Target};

const DEPTHS: [usize; 2] = [1, 16];
const BATCHES: u64 = 1000;
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints a table; an error if a server failed or strace is missing.
pub fn run(targets: &[Target], idle: Duration) -> Result<(), String> {
    let still = format!("idle {} s, 64 open", idle.as_secs_f64());
    let heads = ["for a message, depth 1", "depth 16", still.as_str()];
    rows("system calls", &heads, targets, |target| {
        let [one, many] = DEPTHS.map(|depth| messages(target, depth));
        Ok(vec![one?, many?, while_idle(target, idle)?.to_string()])
    })
}

/// Calls for a message, and which: those that are at least one in a hundred messages.
fn messages(target: &Target, depth: usize) -> Result<String, String> {
    let server = target.start()?;
    let work = Work { connections: 1, depth, size: 32, kind: Kind::Text, fan_out: false };
    let mut fleet = Fleet::open(&server, work)?;
    fleet.run_batches(&server, 100)?;
    let trace = Trace::start(&server)?;
    let messages = fleet.run_batches(&server, BATCHES)?.messages as f64;
    let calls = trace.end()?;
    drop(fleet);
    server.stop()?;
    let total: u64 = calls.iter().map(|call| call.0).sum();
    let share = |count: u64| count as f64 / messages;
    let named = calls.iter().filter(|call| share(call.0) >= 0.01);
    let named = named.map(|(count, name)| format!("{name} {}", figures(share(*count))));
    Ok(format!("{} ({})", figures(share(total)), named.collect::<Vec<_>>().join(", ")))
}

fn while_idle(target: &Target, time: Duration) -> Result<u64, String> {
    let server = target.start()?;
    let work = Work { connections: 64, depth: 1, size: 32, kind: Kind::Text, fan_out: false };
    let mut fleet = Fleet::open(&server, work)?;
    fleet.run_batches(&server, 100)?;
    sleep(Duration::from_secs(1));
    let trace = Trace::start(&server)?;
    sleep(time);
    let calls = trace.end()?;
    drop(fleet);
    server.stop()?;
    // strace interrupts the wait under way, which is then begun again and counted.
    Ok(calls.iter().map(|call| call.0).sum())
}

/// strace on a server that runs.
struct Trace {
    child: Child,
    path: String,
}

impl Trace {
    fn start(server: &Server) -> Result<Trace, String> {
        let path = std::env::temp_dir().join(format!("wsloop-load-strace-{}", server.pid()));
        let path = path.display().to_string();
        let child = Command::new("strace")
            .args(["-c", "-f", "-q", "-o", &path, "-p", &server.pid().to_string()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("strace: {error}; apt-get install strace"))?;
        let started = Instant::now();
        while !is_traced(server) {
            if started.elapsed() > PATIENCE {
                return Err("strace does not attach".to_string());
            }
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(100)); // the threads after the first
        Ok(Trace { child, path })
    }

    /// How often each call was made.
    fn end(mut self) -> Result<Vec<(u64, String)>, String> {
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        self.child.wait().map_err(|error| error.to_string())?;
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        let _ = fs::remove_file(&self.path);
        Ok(calls(&text))
    }
}

fn is_traced(server: &Server) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap_or_default();
    status
        .lines()
        .any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// Lines of `% time, seconds, usecs/call, calls, errors (or nothing), name`.
fn calls(text: &str) -> Vec<(u64, String)> {
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let rows = rows.filter(|words| words.len() >= 5 && words.last() != Some(&"total"));
    rows.filter_map(|words| Some((words[3].parse().ok()?, words.last()?.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000006           1         6         2 recvfrom
 40.00    0.000004           1         4           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.000010           1        10         2 total
";
        let expected = [(6, "recvfrom".to_string()), (4, "epoll_wait".to_string())];
        assert_eq!(calls(text), expected);
    }
}
