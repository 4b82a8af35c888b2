//! A simulation of live commerce: rooms go live and show their products in turn, viewers come, linger, look, talk, buy
//! and leave. Seeded, event by event, the same on every machine. docs/generator.md says what is fitted to real logs
//! and what is chosen.
//!
//! ```
//! use simulator::{Generator, Options};
//! let options = Options::parse("events=3,seed=7").unwrap();
//! let events: Vec<schema::Event> = Generator::new(options).unwrap().collect();
//! assert_eq!(events.len(), 3);
//! assert!(events[0].room.is_some());
//! ```

mod options;
mod parameters;
mod quantiles;
mod random;
mod rooms;
mod simulation;
mod tastes;
mod viewers;

use std::fmt::Write;

use schema::Event;
use serde::Serialize;

pub use options::{Options, OptionsError};
use simulation::{Simulation, Step};

/// One simulated event, borrowed from its [`Generator`]. Serialised it is the same line as its [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Generated<'a> {
    /// Who acted.
    pub user: &'a str,
    /// The product acted on.
    pub item: &'a str,
    /// What was done.
    pub action: &'static str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// How long the user had watched, for `watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<i64>,
    /// The live room it happened in.
    pub room: &'a str,
    /// What was said, for `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'static str>,
}

impl From<Generated<'_>> for Event {
    fn from(event: Generated<'_>) -> Self {
        Event {
            user: event.user.into(),
            item: event.item.into(),
            action: event.action.into(),
            ts: event.ts,
            dwell_ms: event.dwell_ms,
            room: Some(event.room.into()),
            text: event.text.map(Into::into),
            id: None,
        }
    }
}

/// Makes the events of its [`Options`], one after the other, in the order of their timestamps.
///
/// It is an [`Iterator`] of owned events, and by [`Generator::next_event`] a visitor that allocates nothing. Both advance
/// the same log. Memory is in proportion to users and rooms; nothing is kept per event.
#[derive(Clone, Debug)]
pub struct Generator {
    options: Options,
    simulation: Simulation,
    made: u64,
    user: String,
    item: String,
    room: String,
}

impl Generator {
    /// A generator at its first event. All mistakes of the options are returned.
    pub fn new(options: Options) -> Result<Self, Vec<OptionsError>> {
        options.validate()?;
        let (user, item, room) = (String::new(), String::new(), String::new());
        Ok(Generator { simulation: Simulation::new(&options), options, made: 0, user, item, room })
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The next event, until there were [`Options::events`].
    pub fn next_event(&mut self) -> Option<Generated<'_>> {
        let step = self.step()?;
        name(&mut self.user, "u", step.user);
        name(&mut self.item, "p", step.item);
        name(&mut self.room, "room", step.room);
        Some(Generated {
            user: &self.user,
            item: &self.item,
            action: step.action.name(),
            ts: self.ts(&step),
            dwell_ms: step.dwell_ms,
            room: &self.room,
            text: step.text,
        })
    }

    /// How many events were generated or skipped.
    pub fn generated(&self) -> u64 {
        self.made
    }

    /// Advances to where `generated` events precede the next one, which must not lie behind. A simulation cannot be
    /// entered in the middle, so all events up to there are generated and dropped. Returns `false`, and stays where it is, if
    /// there is no such place in this log.
    pub fn skip_to(&mut self, generated: u64) -> bool {
        if !(self.made..=self.options.events).contains(&generated) {
            return false;
        }
        while self.made < generated {
            self.step();
        }
        true
    }

    /// How many latent tastes there are. An item `pN` and a room `roomN` are of taste `N % tastes`: the truth that a
    /// recommender is to find out.
    pub fn tastes(&self) -> u32 {
        self.simulation.tastes().count()
    }

    /// The first and the second taste of user `uN`.
    pub fn tastes_of_user(&self, number: u32) -> [u32; 2] {
        self.simulation.tastes().of_user(number)
    }

    fn step(&mut self) -> Option<Step> {
        if self.made == self.options.events {
            return None;
        }
        self.made += 1;
        Some(self.simulation.step())
    }

    fn ts(&self, step: &Step) -> u64 {
        self.options.start + step.at / 1_000_000
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.next_event().map(Event::from)
    }
}

fn name(buffer: &mut String, prefix: &str, number: u32) {
    buffer.clear();
    write!(buffer, "{prefix}{number}").expect("writing to a string does not fail");
}
