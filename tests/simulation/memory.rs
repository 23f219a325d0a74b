//! What must hold where the system has no memory for a message: whoever needed it ends, and nobody else
//! notices.

use super::handler::Books;
use super::oracle::{Case, Outcome};
use crate::config::{Config, OnFull};
use crate::proto::Violation;
use crate::proto::memory::scarcity;

/// The reason with which a connection ends for which memory was refused.
pub fn no_memory() -> &'static str {
    Violation::NoMemory.reason()
}

/// What was refused in one step, and who ends.
pub struct Shortage {
    /// The requests, each by how many bytes it was for.
    refused: Vec<usize>,
    /// Something was broadcast, and one request may have been for many.
    broadcast: bool,
    ending: usize,
    /// Whether it is a client of Hixie, and whether it takes what is compressed: what is made for one
    /// suits all that are alike.
    starved: Vec<(bool, bool)>,
}

impl Shortage {
    pub fn of_this_step(books: &mut Books) -> Shortage {
        let broadcast = std::mem::take(&mut books.broadcast);
        Shortage { refused: scarcity::take_refused(), broadcast, ending: 0, starved: Vec::new() }
    }

    pub fn look_at(&mut self, case: &mut Case<'_>) {
        self.ending += usize::from(case.begins_to_end());
        if case.begins_to_starve() {
            let deflates = case.world.dispatcher.peers.config.deflate.is_some();
            let deflated = deflates && case.client.manners.deflate;
            self.starved.push((case.client.is_hixie(), deflated));
        }
    }

    pub fn check(&self, config: &Config) -> Outcome {
        let Shortage { refused, broadcast, ending, starved } = self;
        let mut kinds = starved.clone();
        kinds.sort_unstable();
        kinds.dedup();
        let most = if *broadcast { kinds.len() } else { starved.len() };
        if most > refused.len() {
            return Err(format!("memory was refused {} times, {starved:?} end", refused.len()));
        }
        // A message can be sent as it is, and need not be read straight to its place.
        let dispensable = |bytes: &usize| config.deflate.is_some() || *bytes >= 16 * 1024;
        // What was broadcast may be dropped where not all of it fits.
        let drops = config.on_full == OnFull::Drop && config.max_backlog < 4 << 20;
        if *ending == 0 && !drops && !refused.iter().all(dispensable) {
            return Err(format!("memory was refused, and nobody ends: {refused:?}"));
        }
        Ok(())
    }
}

impl Case<'_> {
    /// True once, when it is known that it ends.
    fn begins_to_end(&mut self) -> bool {
        let conn = self.world.dispatcher.peers.get(self.client.peer.id);
        let ends = conn.is_some_and(|conn| conn.is_ending()) || self.book().closed.is_some();
        ends && !std::mem::replace(&mut self.watch.ending, true)
    }

    /// True once, when it is known that it ends since there was no memory for a message.
    fn begins_to_starve(&mut self) -> bool {
        let conn = self.world.dispatcher.peers.get(self.client.peer.id);
        let ending = conn.and_then(|conn| conn.extras()?.ending.as_ref());
        let closed = self.books.of.get(&self.client.peer.id.serial());
        let closed = closed.and_then(|book| book.closed.as_ref());
        let starves = ending.is_some_and(|ending| ending.reason == no_memory())
            || closed.is_some_and(|(_, reason)| reason == no_memory());
        starves && !std::mem::replace(&mut self.watch.starved, true)
    }

    /// Whether a close frame came before the end of the server's stream.
    pub fn is_told(&mut self) -> Result<bool, String> {
        self.client.take(usize::MAX)?;
        let told = self.client.ears.close.is_some();
        Ok(told || self.client.is_hixie() || self.watch.shut.is_none())
    }
}
