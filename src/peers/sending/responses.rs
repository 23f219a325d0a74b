//! Plain HTTP: queues responses, and events behind them.

use log::{Level, debug};

use super::{Peers, SendStatus, Unsent};
use crate::http::response::{Body, Response};
use crate::ids::{ConnId, RouteId};
use crate::peers::connection::Role;
use crate::proto::Message;
use crate::proto::close::code;

impl Peers {
    /// Whether one more file may be under way.
    pub(crate) fn has_room_for_file(&self) -> bool {
        let (places, files) = self.places;
        self.files() < files && self.descriptors() < places
    }

    /// Queues a response, and its body unless the request was a HEAD or the status has none.
    pub(crate) fn respond(
        &mut self,
        id: ConnId,
        response: Response,
        head_only: bool,
        keep_alive: bool,
    ) {
        let Some(mut out) = self.outgoing(id) else { return };
        let refused = u64::from(response.status >= 400);
        out.stats.refused = out.stats.refused.wrapping_add(refused);
        out.append_other(|out| response.write_head(keep_alive, out));
        let head_only = head_only || response.is_bodiless();
        match response.body {
            _ if head_only => {}
            Body::Events => {}
            Body::Bytes(bytes) => out.append_other(|out| out.extend_from_slice(&bytes)),
            Body::File { file, offset, len } => {
                out.conn.writing.outbox.append_file(out.spares, file, offset, len);
            }
        }
        if let Role::Http { served } = &mut out.conn.role {
            *served = true;
        }
        out.conn.list_to_write(out.to_write);
        if !keep_alive {
            self.end(id, code::NORMAL, "", true);
        }
    }

    /// Queues the head of a response that has no end: what is said on the route follows it.
    pub(crate) fn respond_with_events(&mut self, id: ConnId, response: &Response, route: RouteId) {
        self.append(id, |out| response.write_head(false, out));
        self.listen(id, route);
    }

    /// Queues a message that is not sent as a frame: as an event, if it can be one.
    #[cold]
    pub(super) fn send_without_envelope(&mut self, id: ConnId, message: Message<'_>) -> SendStatus {
        let Some(mut out) = self.outgoing(id) else { return SendStatus::Dropped };
        let (framing, mut event) = (out.conn.framing, Vec::new());
        let queued = match framing.encode(message, &mut out.spares.pool, &mut event) {
            Ok(false) => {
                debug!("#{} cannot carry binary messages ({framing:?})", id.serial());
                return SendStatus::Dropped;
            }
            Ok(true) if !out.has_room(event.len()) => Err(Unsent::Full),
            Ok(true) if out.append(event.len(), |out| out.extend_from_slice(&event)) => Ok(()),
            Ok(true) | Err(_) => Err(Unsent::NoMemory),
        };
        match queued {
            Ok(()) => out.message_queued(),
            Err(why) => self.unsent(id, why),
        }
    }

    /// Answers a request that cannot be served, and ends the connection after the answer.
    pub(crate) fn refuse(&mut self, id: ConnId, response: Response, head_only: bool) {
        if response.status >= 400 {
            let line = format_args!("#{} refused: {}", id.serial(), response.status);
            self.complain(Level::Info, line);
        }
        self.respond(id, response, head_only, false);
    }
}
