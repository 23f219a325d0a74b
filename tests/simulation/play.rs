//! Plays a schedule, and asks the oracle after each step. Then faults stop and everybody says and takes
//! what is left: nothing may be lost. In the end all fall silent: nobody may be left.

use std::time::Duration;

use super::client::{Client, PAGES};
use super::handler::{Books, Clerk, SharedBooks};
use super::memory::Shortage;
use super::oracle::{Case, Outcome, Watch};
use super::schedule::{Chance, Deed, Kind, Schedule, Step};
use super::world::World;
use crate::http::files::Site;
use crate::ids::ConnId;
use crate::proto::memory::scarcity::{self, Scarcity};

struct Play<'a> {
    schedule: &'a Schedule,
    world: World,
    books: SharedBooks,
    clients: Vec<Option<(Client, Watch)>>,
    stopped: bool,
    connected: u64,
    time: u64,
}

/// Plays a schedule to its end. The seed is for what it leaves open.
pub fn play(schedule: &Schedule, seed: u64) -> Outcome {
    let count = schedule.peers.len();
    scarcity::set(Scarcity::None);
    scarcity::take_refused();
    let books = Books::new(schedule.config.on_full, count);
    let mut world = World::with_handler(schedule.config.clone(), Box::new(Clerk(books.clone())));
    world.dispatcher.site = Site::Embedded(PAGES);
    let clients = (0..count).map(|_| None).collect();
    let time = world.now();
    let mut play = Play { schedule, world, books, clients, stopped: false, connected: seed, time };
    for step in &schedule.steps {
        play.step(step)?;
        play.check()?;
    }
    play.stop_faults();
    let mut chance = Chance::new(!seed);
    // Without that, what is under way is left in the middle.
    if chance.one_in(2) {
        play.settle()?;
    }
    play.die_out(&mut chance)
}

impl Play<'_> {
    fn each(&mut self, mut check: impl FnMut(&mut Case<'_>) -> Outcome) -> Outcome {
        for (client, watch) in self.clients.iter_mut().flatten() {
            let mut books = self.books.borrow_mut();
            let (world, stopped) = (&self.world, self.stopped);
            check(&mut Case { world, client, watch, books: &mut books, stopped })?;
        }
        Ok(())
    }

    fn check(&mut self) -> Outcome {
        let mut shortage = Shortage::of_this_step(&mut self.books.borrow_mut());
        self.each(|case| {
            shortage.look_at(case);
            case.check()
        })?;
        shortage.check(&self.schedule.config)
    }

    fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Connect(who) => self.connect(*who),
            Step::Turn(first) => self.world.turn_from(*first),
            Step::Turns => return self.turns(),
            Step::Pass(time) => self.pass(*time),
            Step::Memory(scarcity) => scarcity::set(*scarcity),
            Step::Stop => {
                self.stopped = true;
                self.world.stop();
            }
            Step::Do(who, deed) => self.perform(*who, *deed),
            Step::Say(who, _)
            | Step::Send(who, _)
            | Step::Take(who, _)
            | Step::End(who)
            | Step::Reset(who)
            | Step::ReadFault(who, _)
            | Step::WriteFault(who, _)
            | Step::Announce(who)
            | Step::Delay(who, _) => return self.act(*who, step),
        }
        Ok(())
    }

    /// A step that is one peer's alone.
    fn act(&mut self, who: usize, step: &Step) -> Outcome {
        let config = &self.schedule.config;
        let Some((client, watch)) = &mut self.clients[who] else { return Ok(()) };
        match step {
            Step::Say(_, saying) => {
                let limits = (config.max_message, config.max_fragments as usize);
                client.say(saying, limits, config.deflate.is_some());
            }
            Step::Send(_, most) => drop(watch.send(client, *most, self.time)),
            Step::Take(_, most) => drop(watch.take(client, *most, self.time)?),
            Step::End(_) => client.end(),
            Step::Reset(_) => client.reset(),
            Step::ReadFault(_, fault) => {
                client.peer.socket.borrow_mut().read_faults.push(*fault);
            }
            Step::WriteFault(_, fault) => {
                client.peer.socket.borrow_mut().write_faults.push(*fault);
            }
            Step::Announce(_) => client.peer.socket.borrow_mut().announce(),
            Step::Delay(_, turns) => client.peer.socket.borrow_mut().late = *turns,
            _ => {}
        }
        Ok(())
    }

    /// A peer connects, unless it is connected already.
    fn connect(&mut self, who: usize) {
        let known = self.clients[who].as_ref();
        if self.stopped || known.is_some_and(|(client, _)| self.world.has(&client.peer)) {
            return;
        }
        self.connected = self.connected.wrapping_add(1);
        let chance = Chance::new(self.connected);
        let client = Client::connect(&mut self.world, &self.schedule.peers[who], chance);
        let mut books = self.books.borrow_mut();
        books.of.entry(client.peer.id.serial()).or_default().opened =
            client.manners.kind == Kind::Source;
        // Nobody learns a name by which a source could be sent anything.
        books.names[who] = client.is_websocket().then_some(client.peer.id);
        self.clients[who] = Some((client, Watch::new(self.time)));
    }

    fn pass(&mut self, time: u64) {
        self.time += time;
        self.world.pass(Duration::from_millis(time));
    }

    /// The program does something between two turns.
    fn perform(&mut self, who: usize, deed: Deed) {
        let Some((client, watch)) = &mut self.clients[who] else { return };
        if !client.is_websocket() {
            return;
        }
        self.world.dispatcher.peers.clock.tick();
        let id = client.peer.id;
        let paused = self.world.dispatcher.peers.get(id).is_some_and(|conn| conn.is_paused());
        watch.resumed = if paused && deed == Deed::Resume { self.time } else { watch.resumed };
        let mut ws = self.world.dispatcher.context(ConnId::NONE, 0);
        self.books.borrow_mut().perform(&mut ws.to(id), deed, None);
    }

    /// Turns until all is quiet, and looks whether it is.
    fn turns(&mut self) -> Outcome {
        self.world.turn_until_quiet();
        self.check()?;
        let calls = |clients: &[Option<(Client, Watch)>]| -> usize {
            let clients = clients.iter().flatten();
            clients.map(|(client, _)| client.peer.socket.borrow().seen.calls).sum()
        };
        let before = calls(&self.clients);
        self.world.turn();
        if calls(&self.clients) != before || self.world.is_busy() {
            return Err("it is quiet, and there is something to do".to_string());
        }
        self.each(|case| case.check_quiet())
    }

    fn stop_faults(&mut self) {
        scarcity::set(Scarcity::None);
        for (client, _) in self.clients.iter_mut().flatten() {
            let mut kernel = client.peer.socket.borrow_mut();
            kernel.late = 0;
            kernel.read_faults.clear();
            kernel.write_faults.clear();
        }
    }

    /// Reads on from all who are paused. True if there were any.
    fn resume_all(&mut self) -> bool {
        let mut resumed = false;
        for who in 0..self.clients.len() {
            let name = self.books.borrow().names[who];
            if name.is_some_and(|id| self.is_paused(id)) {
                self.perform(who, Deed::Resume);
                resumed = true;
            }
        }
        resumed
    }

    /// All who are alive say and take what is left.
    fn settle(&mut self) -> Outcome {
        self.turns()?;
        let mut moved = true;
        while std::mem::take(&mut moved) {
            moved |= self.resume_all();
            for (client, watch) in self.clients.iter_mut().flatten() {
                let taken = !client.manners.deaf && watch.take(client, usize::MAX, self.time)?;
                let sent = watch.send(client, usize::MAX, self.time);
                moved |= taken | sent;
            }
            self.turns()?;
        }
        self.each(|case| case.check_settled())
    }

    fn is_paused(&self, id: ConnId) -> bool {
        self.world.dispatcher.peers.get(id).is_some_and(|conn| conn.is_paused())
    }

    /// All fall silent, or end. The clock goes on to each deadline: nobody may be left.
    fn die_out(&mut self, chance: &mut Chance) -> Outcome {
        let config = &self.schedule.config;
        for (client, _) in self.clients.iter_mut().flatten() {
            // Nothing but an end ends these.
            let pinged = config.ping_interval.is_some() && !client.is_hixie();
            let kept = config.idle_timeout.is_none() && !pinged;
            match client.manners.kind {
                Kind::Source => client.end(),
                Kind::WebSocket(_) if kept => client.end(),
                _ if chance.one_in(4) => client.end(),
                _ if chance.one_in(6) => client.reset(),
                _ => {}
            }
        }
        for _ in 0..1000 {
            self.turns()?;
            while self.resume_all() {
                self.turns()?;
            }
            if self.world.dispatcher.peers.len() == 0 {
                return self.check_books();
            }
            let Some(at) = self.world.dispatcher.peers.next_deadline() else {
                return Err("somebody is left, whom nothing will end".to_string());
            };
            self.pass(at.saturating_sub(self.time));
            for (client, watch) in self.clients.iter_mut().flatten() {
                if chance.one_in(4) && !client.manners.deaf {
                    watch.take(client, usize::MAX, self.time)?;
                }
            }
        }
        Err("somebody is kept for ever".to_string())
    }

    /// Whoever was opened was closed.
    fn check_books(&self) -> Outcome {
        let books = self.books.borrow();
        let mut open = books.of.iter().filter(|(_, book)| book.opened && book.closed.is_none());
        match open.next() {
            Some((serial, _)) => Err(format!("#{serial} on_close never came")),
            None => Ok(()),
        }
    }
}
