//! The handlers that the command-line server mounts, each an example of one idea more.

mod broadcast;
mod chat;
mod echo;
mod hello;
mod sync;
mod tracker;

pub use broadcast::Broadcast;
pub use chat::Chat;
pub use echo::{Echo, Mirror};
pub use hello::Hello;
pub use sync::Sync;
pub use tracker::Tracker;
