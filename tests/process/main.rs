//! What changes the process that it runs in: which signals are caught, how many descriptors there
//! may be. So no other test runs beside it; the soak only runs where it is asked for, and
//! alone.

#![allow(dead_code, reason = "two tests need little of what the others share")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/recorder.rs"]
mod recorder;
#[path = "../common/serving.rs"]
mod serving;
#[path = "../common/turning.rs"]
mod turning;

mod sigpipe;
#[cfg(target_os = "linux")]
mod soak;
