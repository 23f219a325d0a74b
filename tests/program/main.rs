//! The command-line server and the demos, each started as a program.

#[path = "../common/mod.rs"]
mod common;

mod cli;
#[cfg(all(feature = "deflate", target_os = "linux"))]
mod deflate;
mod demos;
mod http;
mod plot;
