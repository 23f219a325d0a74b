//! Sources that are programs: what they are told and say, every way they end, and what becomes of those
//! that they have started themselves.

use std::fs;
use std::time::Duration;

use crate::common::*;
use crate::serving::*;
use crate::sources::*;
use crate::turning::*;
use wsloop::handlers::Each;
use wsloop::{Config, SendStatus, Server, Source, SourceId, Version};

/// Times that are soon over, for what a program does not do.
fn hasty() -> Config {
    config(|config| {
        config.program_grace = Duration::from_millis(100);
        config.close_timeout = Duration::from_millis(100);
    })
}

fn line(text: &str) -> Said {
    Said::Line(text.to_string())
}

fn end(text: &str) -> Said {
    Said::End(text.to_string())
}

/// Whether this process has ended, be it waited for or not.
fn has_ended(process: &str) -> bool {
    assert!(process.parse::<u32>().is_ok(), "{process:?}");
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']),
        Err(_) => true,
    }
}

/// Turns until nothing is left of anybody.
fn turn_until_all_have_gone(server: &mut Server) {
    turn_until(server, "the end of the program", |server| {
        (server.stats().closed_sources() == 0).then_some(())
    });
}
