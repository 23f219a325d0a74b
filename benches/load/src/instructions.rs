//! Instructions in user space for one echo, as callgrind counts them: the difference of two runs, so
//! that what a start and a connection cost falls out. It does not depend on how busy the machine is.

use std::fs;

use crate::fleet::{Fleet, Kind, Work};
use crate::server::Target;

const DEPTHS: [usize; 2] = [1, 16];

/// Prints a table; an error if a server failed or valgrind is missing.
pub fn run(targets: &[Target], batches: u64) -> Result<(), String> {
    println!("| user-space instructions for a 32 B echo | depth 1 | depth 16 |");
    println!("|---|--:|--:|");
    for target in targets {
        let [one, many] = DEPTHS.map(|depth| of(target, depth, batches));
        println!("| {} | {:.0} | {:.0} |", target.name, one?, many?);
    }
    Ok(())
}

fn of(target: &Target, depth: usize, batches: u64) -> Result<f64, String> {
    let short = count(target, depth, batches)?;
    let long = count(target, depth, 2 * batches)?;
    Ok((long as f64 - short as f64) / (batches * depth as u64) as f64)
}

/// Instructions of a server's whole life with so many batches.
fn count(target: &Target, depth: usize, batches: u64) -> Result<u64, String> {
    let path = std::env::temp_dir().join(format!("wsloop-load-callgrind-{}", std::process::id()));
    let log = format!("--log-file={}", path.display());
    let wrapper = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", &log];
    let server = target.start_under(&wrapper).map_err(|error| hint(&error))?;
    let work = Work { connections: 1, depth, size: 32, kind: Kind::Text, fan_out: false };
    let mut fleet = Fleet::open(&server, work)?;
    fleet.run_batches(&server, batches)?;
    drop(fleet);
    server.stop()?;
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let _ = fs::remove_file(&path);
    collected(&text).ok_or_else(|| format!("{}: callgrind counted nothing", target.name))
}

fn hint(error: &str) -> String {
    format!("{error} (apt-get install valgrind, if that is missing)")
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
