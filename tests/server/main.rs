//! A server in this process, spoken to through sockets: what it does for clients and for the
//! program around it.
//!
//! No test here starts another process. A child has the sockets of its parent for a moment, until
//! it becomes another program; a test that says "nobody listens there any more" would then fail.

#[cfg(feature = "tls")]
#[path = "../common/certificate.rs"]
mod certificate;
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/port.rs"]
mod port;
#[path = "../common/recorder.rs"]
mod recorder;
#[path = "../common/serving.rs"]
mod serving;
#[path = "../common/sourced.rs"]
mod sourced;
#[path = "../common/turning.rs"]
mod turning;
#[path = "../common/unruly.rs"]
mod unruly;

mod calls;

mod broadcasts;
mod callbacks;
mod embedding;
mod events;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod fd_only;
mod feeds;
mod http;
mod lifecycle;
mod remote;
mod sources;
mod stopping;
#[cfg(feature = "tls")]
mod tls;
mod tungstenite;
mod turns;
mod wire;
