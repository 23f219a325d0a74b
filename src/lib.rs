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
//! Octets flow one way, and so do the modules:
//!
//! ```text
//! socket -> read buffer -> request head | frame decoder -> handler
//!        -> frame encoder -> write buffer -> socket
//! ```
//!
//! [`Server`] owns the poll, the connections and one [`Handler`] for each route, and calls them from
//! its [`turn`](Server::turn). A handler is given a [`Context`], through which it reaches its own
//! connection and all others; what it sends is queued, and written when the turn ends. All limits
//! are in [`Config`]. Other threads have a [`Remote`].

mod accept;
mod alarm;
mod buffer;
#[cfg(feature = "capi")]
#[allow(unsafe_code)]
mod capi;
mod closing;
mod config;
mod connection;
mod content_type;
mod context;
mod dispatch;
mod engine;
mod feed;
mod files;
#[cfg(fuzzing)]
#[path = "../tests/fuzz/properties.rs"]
#[doc(hidden)]
pub mod fuzzing;
mod handler;
pub mod handlers;
mod http;
mod ids;
mod listener;
mod origin;
mod peer_addr;
mod pool;
mod ports;
mod proto;
mod remote;
mod response;
mod room;
mod routes;
mod sending;
mod server;
#[cfg(feature = "cli")]
mod signals;
mod stats;
mod timer;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod transport;
mod turn;

/// The README, whose examples are compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub use config::{Config, OnFull};
pub use connection::ReadyState;
pub use context::Context;
pub use feed::SourceId;
pub use handler::{Answer, Handler};
pub use http::Request;
pub use ids::ConnId;
pub use listener::ListenAddr;
pub use origin::{Origin, OriginRule};
pub use proto::close::code;
#[cfg(feature = "deflate")]
pub use proto::deflate::Deflate;
pub use proto::{Message, Version};
pub use remote::{MessageBuf, Remote};
pub use response::Response;
pub use sending::SendStatus;
pub use server::Server;
pub use stats::Stats;
pub use timer::TimerId;
#[cfg(feature = "tls")]
pub use tls::Tls;
