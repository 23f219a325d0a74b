//! A WebSocket server on one thread and one [mio] poll loop. It speaks every version of the
//! protocol that a browser ever shipped, serves plain files on the same port, and runs by itself
//! or inside a program that has a loop of its own.
//!
//! ```no_run
//! use wsloop::{Context, Message, Server};
//!
//! fn main() -> std::io::Result<()> {
//!     let mut server = Server::bind("127.0.0.1:9999")?;
//!     server.route("/", |ws: &mut Context<'_>, message: Message<'_>| {
//!         ws.send(message);
//!     });
//!     server.run()
//! }
//! ```
//!
//! Bytes flow one way, and modules use each other in that order only:
//!
//! ```text
//! socket -> read buffer -> request head | frame decoder -> handler
//!        -> frame encoder -> write buffer -> socket
//! ```
//!
//! [`Server`] owns the poll, the connections and one [`Handler`] for each route, and calls the
//! handlers from its [`turn`](Server::turn). A handler is given a [`Context`], through which it
//! reaches its own connection and all others; what it sends is queued, and written when the turn
//! ends. All limits are in [`Config`]. Other threads have a [`Remote`].

// No bytes of a peer, and no number computed from them, can end the program.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used))]
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[cfg(feature = "capi")]
#[allow(unsafe_code)]
mod capi;
mod config;
mod context;
mod dispatch;
#[cfg(fuzzing)]
#[path = "../tests/fuzz/properties.rs"]
#[doc(hidden)]
pub mod fuzzing;
mod handler;
pub mod handlers;
mod http;
mod ids;
mod net;
mod peers;
mod proto;
mod server;
mod source;
mod stats;

/// The README, whose examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub use config::{Config, OnFull};
pub use context::Context;
pub use handler::{Answer, Handler};
pub use http::origin::{Origin, OriginRule};
pub use http::request::Request;
pub use http::response::Response;
pub use ids::{ConnId, SourceId};
pub use net::listener::ListenAddr;
#[cfg(feature = "tls")]
pub use net::tls::Tls;
pub use peers::connection::ReadyState;
pub use peers::sending::SendStatus;
pub use peers::time::TimerId;
pub use proto::close::code;
#[cfg(feature = "deflate")]
pub use proto::deflate::Deflate;
pub use proto::{Message, Version};
pub use server::Server;
pub use server::remote::{MessageBuf, Remote};
pub use source::{Source, SourceEnd};
pub use stats::Stats;

#[cfg(test)]
#[path = "../tests/simulation/mod.rs"]
mod simulation;
