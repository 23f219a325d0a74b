//! The command-line server and the demos, each started as a program and spoken to from outside.

#[cfg(feature = "tls")]
#[path = "../common/certificate.rs"]
mod certificate;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/neighbours.rs"]
mod neighbours;
#[path = "../common/port.rs"]
mod port;
#[path = "../common/program.rs"]
mod program;
#[path = "../common/unruly.rs"]
mod unruly;

#[cfg(all(any(feature = "deflate", feature = "tls"), target_os = "linux"))]
mod memory;
mod run;

mod bridges;
mod by_http;
mod cli;
#[cfg(all(feature = "deflate", target_os = "linux"))]
mod deflate;
mod demos;
mod each_second;
mod exec;
mod http;
mod log;
#[cfg(target_os = "linux")]
mod no_memory;
mod plot;
mod signals;
mod stdin;
mod tiny;
#[cfg(feature = "tls")]
mod tls;
