//! The demos whose handlers this program serves: the files of `demo/`, each also a program by
//! itself. Their unit tests run here: Cargo runs none in an example.

#![expect(dead_code, reason = "each demo has a main, and a page for it, that is not called here")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "demos calculate plainly, with numbers of their own"
)]

#[path = "../../demo/chat.rs"]
mod chat;
#[path = "../../demo/hello.rs"]
mod hello;
#[path = "../../demo/monitor.rs"]
mod monitor;
#[path = "../../demo/plotter.rs"]
mod plotter;
#[path = "../../demo/stocks.rs"]
mod stocks;
#[path = "../../demo/sync.rs"]
mod sync;
#[path = "../../demo/tracker.rs"]
mod tracker;

pub use chat::Chat;
pub use hello::Hello;
pub use monitor::Monitor;
pub use plotter::Plot;
pub use stocks::Stocks;
pub use sync::Sync;
pub use tracker::Tracker;
