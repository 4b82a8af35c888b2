//! The event streams of the benchmarks, a standard one and an adversarial one, and their audiences.

use std::fmt;
use std::str::FromStr;

use dataflows::config::Sources;
use dataflows::types::UserId;
use dataflows::{Audience, Config, Effect, Event};
use deltarec::commands::bench::audience::{AudienceShare, span_of_share};
use schema::id64;
use simulator::Options;

use super::simulated;

/// A stream of events and the configuration for it.
pub struct Workload {
    /// Events in the order of their timestamps.
    pub events: Vec<Event>,
    /// Number of users, including those without events.
    pub users: u32,
    /// Configuration with all users in the audience.
    pub config: Config,
}

impl Workload {
    /// The audience of this stream for a command line argument.
    pub fn audience(&self, within: Within) -> Result<Audience, String> {
        match within {
            Within::Share(AudienceShare::All) => Ok(Audience::All),
            Within::Span(span) => Ok(Audience::Within(span)),
            Within::Share(AudienceShare::Percent(percent)) => {
                let visits: Vec<(UserId, u64)> = self.events.iter().map(|event| (event.user, event.ts)).collect();
                span_of_share(&visits, u64::from(self.users), percent / 100.0).map(Audience::Within).map_err(|most| {
                    format!("no span of time has more than {:.1}% of the users; take more events", 100.0 * most)
                })
            }
        }
    }
}

/// The simulation with its default options, except for the number of events: the standard workload of the documentation.
pub fn standard(events: u64, users: Option<u32>, items: Option<u32>) -> Workload {
    let defaults = Options::default();
    let (users, items) = (users.unwrap_or(defaults.users), items.unwrap_or(defaults.items));
    let config = Config { audience: Audience::All, sources: Sources { items: 4, users: 0 }, ..Config::default() };
    Workload { events: simulated(Options { events, users, items, ..defaults }).collect(), users, config }
}

/// One event in this many of a user is of the item that all users have.
const HOT_EVERY: u32 = 8;
/// Average number of retained events of a user. Less than a full history, so that events leave by expiry.
const RETAINED: u64 = 32;
/// Events per second.
const RATE: u64 = 1_000;

/// One item that every user has, and thousands of niche items (by default 20,000 users and 5,000 niche items). The retention
/// is so short that, after a while, as many events expire as arrive.
pub fn adversarial(events: u64, users: Option<u32>, items: Option<u32>) -> Workload {
    let (users, items) = (users.unwrap_or(20_000), items.unwrap_or(5_000));
    let mut state = 0;
    let mut draw = |below: u32| ((u128::from(random(&mut state)) * u128::from(below)) >> 64) as u32;
    let user_ids: Vec<u64> = (0..users).map(|user| id64(&format!("u{user}"))).collect();
    let item_ids: Vec<u64> = (0..items).map(|item| id64(&format!("niche{item}"))).collect();
    let hot = id64("hot");
    let mut visits = vec![0_u32; users as usize];
    let mut event = |n: u64| {
        let user = draw(users) as usize;
        visits[user] += 1;
        let is_hot = visits[user] % HOT_EVERY == 1;
        let item = if is_hot { hot } else { item_ids[draw(items) as usize] };
        // Mostly low levels, as in real logs.
        let level = 1 + draw(6).min(draw(6)) as u8;
        Event {
            user: user_ids[user],
            item,
            ts: 1_762_862_400_000 + n * 1_000 / RATE,
            effect: Effect::Counts(level),
            scope: None,
        }
    };
    let retention = RETAINED * u64::from(users) * 1_000 / RATE;
    let config =
        Config { audience: Audience::All, retention, sources: Sources { items: 4, users: 0 }, ..Config::default() };
    Workload { events: (0..events).map(&mut event).collect(), users, config }
}

/// `SplitMix64`.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(schema::spread(1));
    schema::mix(*state)
}

/// An audience as a command line argument of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    /// Users with an event within this many milliseconds.
    Span(u64),
    /// As `deltarec bench` has it.
    Share(AudienceShare),
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(share) = text.parse() {
            return Ok(Within::Share(share));
        }
        let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let scale = match unit {
            "ms" => Some(1),
            "s" => Some(1_000),
            "m" => Some(60_000),
            "h" => Some(3_600_000),
            _ => None,
        };
        let span = scale.and_then(|scale| number.parse::<u64>().ok()?.checked_mul(scale)).map(Within::Span);
        span.ok_or_else(|| format!("{text}: expected `all`, a share like 10% or a span like 500ms, 30s, 30m, 12h"))
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Within::Span(span) => write!(f, "{span}ms"),
            Within::Share(share) => write!(f, "{share}"),
        }
    }
}
