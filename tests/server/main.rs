//! A server in this process, spoken to through sockets: what it does for clients and for the
//! program around it.

#[path = "../common/mod.rs"]
mod common;

mod broadcasts;
mod callbacks;
mod embedding;
mod lifecycle;
mod remote;
#[cfg(all(feature = "tls", target_os = "linux"))]
mod tls;
mod tungstenite;
mod turns;
mod wire;
