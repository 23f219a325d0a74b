use crate::{Context, Handler, Message};

/// Sends every message to everyone on the route, its sender included.
#[derive(Debug, Default, Clone, Copy)]
pub struct Broadcast;

impl Handler for Broadcast {
    fn on_message(&mut self, ws: &mut Context<'_>, message: Message<'_>) {
        ws.broadcast(message);
    }
}
