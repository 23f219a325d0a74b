//! The handlers that the command-line server mounts, each an example of one idea more.

mod broadcast;
mod chat;
mod echo;
mod hello;
mod monitor;
mod plot;
mod stocks;
mod sync;
mod tracker;

pub use broadcast::Broadcast;
pub use chat::Chat;
pub use echo::{Echo, Mirror};
pub use hello::Hello;
pub use monitor::Monitor;
pub use plot::Plot;
pub use stocks::{Quote, Stocks};
pub use sync::Sync;
pub use tracker::Tracker;
