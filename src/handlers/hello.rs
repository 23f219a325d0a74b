use std::time::Duration;

use crate::{Context, Handler, Message, Request};

/// Says `hello` a second after a connection opens, and `world` a second after that.
///
/// Nothing here waits: a timer is set, the loop goes on, and calls when it is time.
#[derive(Debug, Default, Clone, Copy)]
pub struct Hello;

const WORDS: [&str; 2] = ["hello", "world"];
const PAUSE: Duration = Duration::from_secs(1);

impl Handler for Hello {
    fn on_open(&mut self, ws: &mut Context<'_>, _: &Request<'_>) {
        ws.set_timer(PAUSE, 0);
    }

    /// The timer's tag is the number of the word to say.
    fn on_timer(&mut self, ws: &mut Context<'_>, tag: u64) {
        let mut words = WORDS.iter().skip(tag as usize);
        if let Some(&word) = words.next() {
            ws.send(word);
        }
        if words.next().is_some() {
            ws.set_timer(PAUSE, tag + 1);
        }
    }

    fn on_message(&mut self, _: &mut Context<'_>, _: Message<'_>) {}
}
