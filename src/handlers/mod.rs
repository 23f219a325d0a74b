//! The handlers that the command-line server mounts, each an example of one idea more.

mod broadcast;
mod echo;
mod hello;

pub use broadcast::Broadcast;
pub use echo::{Echo, Mirror};
pub use hello::Hello;
