//! A seeded simulation of live commerce: rooms go live and show products in turn; viewers arrive, watch, visit products,
//! comment, buy and leave ([`Generator`]). The shop has a catalogue, whose products sell out and come back
//! ([`CatalogueGenerator`]). The same options give the same events and the same catalogue on every machine.
//! docs/generator.md lists which parameters are fitted to real logs and which are chosen.
//!
//! ```
//! use simulator::{Generator, Options};
//! let options = Options::parse("events=3,seed=7").unwrap();
//! let events: Vec<schema::Event> = Generator::new(options).unwrap().collect();
//! assert_eq!(events.len(), 3);
//! assert!(events[0].room.is_some());
//! ```

mod catalogue;
mod options;
mod parameters;
mod population;
mod quantiles;
mod random;
mod rooms;
mod simulation;
mod tastes;

use std::fmt::Write;

use schema::Event;
use serde::Serialize;

pub use catalogue::{CatalogueGenerator, ShopRecord};
pub use options::{Options, OptionsError};
use simulation::{NumberedEvent, Simulation};

/// One simulated event, borrowed from its [`Generator`]. It serialises to the same JSON line as its [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EventRef<'a> {
    /// User name.
    pub user: &'a str,
    /// Product.
    pub item: &'a str,
    /// Action.
    pub action: &'static str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// Watch time in milliseconds, for `watch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<i64>,
    /// Live room.
    pub room: &'a str,
    /// Text of a `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'static str>,
}

impl From<EventRef<'_>> for Event {
    fn from(event: EventRef<'_>) -> Self {
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

/// Generates the events of its [`Options`] in timestamp order.
///
/// It is an [`Iterator`] of owned events; [`Generator::next_event`] lends the next event without allocating. Both advance
/// the same log. Memory is proportional to users and rooms, not to events.
#[derive(Clone, Debug)]
pub struct Generator {
    options: Options,
    simulation: Simulation,
    generated: u64,
    user: String,
    item: String,
    room: String,
}

impl Generator {
    /// A generator positioned at its first event. Returns all errors of the options.
    pub fn new(options: Options) -> Result<Self, Vec<OptionsError>> {
        options.validate()?;
        let (user, item, room) = (String::new(), String::new(), String::new());
        Ok(Generator { simulation: Simulation::new(&options), options, generated: 0, user, item, room })
    }

    /// The options of this generator.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The next event; `None` after [`Options::events`] events.
    pub fn next_event(&mut self) -> Option<EventRef<'_>> {
        let event = self.advance()?;
        format_name(&mut self.user, "u", event.user);
        format_name(&mut self.item, "p", event.item);
        format_name(&mut self.room, "room", event.room);
        Some(EventRef {
            user: &self.user,
            item: &self.item,
            action: event.action.name(),
            ts: self.options.start + event.at / 1_000_000,
            dwell_ms: event.dwell_ms,
            room: &self.room,
            text: event.text,
        })
    }

    /// Number of events generated or skipped.
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Seeks forward until `generated` events precede the next one. The simulation has no random access: all events up to
    /// there are generated and dropped. Returns `false` and does not move if the position lies behind or beyond the end.
    pub fn skip_to(&mut self, generated: u64) -> bool {
        if !(self.generated..=self.options.events).contains(&generated) {
            return false;
        }
        while self.generated < generated {
            self.advance();
        }
        true
    }

    /// Number of latent tastes. Item `pN` and room `roomN` have taste `N % tastes`: the ground truth for a recommender.
    pub fn tastes(&self) -> u32 {
        self.simulation.tastes().count()
    }

    /// The first and the second taste of user `uN`.
    pub fn tastes_of_user(&self, number: u32) -> [u32; 2] {
        self.simulation.tastes().of_user(number)
    }

    fn advance(&mut self) -> Option<NumberedEvent> {
        if self.generated == self.options.events {
            return None;
        }
        self.generated += 1;
        Some(self.simulation.next_event())
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.next_event().map(Event::from)
    }
}

fn format_name(buffer: &mut String, prefix: &str, number: u32) {
    buffer.clear();
    write!(buffer, "{prefix}{number}").expect("writing to a string does not fail");
}
