//! The streams that benchmarks share: the standard one and an adversarial one, and who is in the audience.

use std::fmt;
use std::str::FromStr;

use dataflows::{Audience, Config, Event, Sources, UserId};
use deltarec::commands::bench::audience::{Share, span_of_share};
use schema::id64;
use simulator::Options;

use super::simulated;

/// Events and what is to be made of them.
pub struct Workload {
    /// In the order of their times.
    pub events: Vec<Event>,
    /// All users, also those who never come.
    pub users: u32,
    /// The semantics, with everybody in the audience.
    pub config: Config,
}

impl Workload {
    /// What an audience means here.
    pub fn audience(&self, within: Within) -> Result<Audience, String> {
        match within {
            Within::Share(Share::All) => Ok(Audience::All),
            Within::Span(span) => Ok(Audience::Within(span)),
            Within::Share(Share::Percent(percent)) => {
                let visits: Vec<(UserId, u64)> = self.events.iter().map(|event| (event.user, event.ts)).collect();
                span_of_share(&visits, u64::from(self.users), percent / 100.0).map(Audience::Within).map_err(|most| {
                    format!("no span of time has more than {:.1}% of the users; take more events", 100.0 * most)
                })
            }
        }
    }
}

/// The simulation's defaults but for the number of events: what is quoted unless something else is said.
pub fn standard(events: u64, users: Option<u32>, items: Option<u32>) -> Workload {
    let defaults = Options::default();
    let (users, items) = (users.unwrap_or(defaults.users), items.unwrap_or(defaults.items));
    let config = Config { audience: Audience::All, sources: Sources { items: 4, users: 0 }, ..Config::default() };
    Workload { events: simulated(Options { events, users, items, ..defaults }).collect(), users, config }
}

/// Events of a user for one of the item that everybody holds.
const HOT_EVERY: u32 = 8;
/// Events of a user that are retained, on average: less than a history holds, so that it is time that takes them away.
const RETAINED: u64 = 32;
/// Events a second.
const RATE: u64 = 1_000;

/// One item that every user holds and thousands of niche companions (20,000 users and 5,000 companions unless told). The
/// retention is so short that after a while as much expires as arrives: it is counted down as much as up.
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
        // Ones and twos mostly, as in real logs.
        let level = 1 + draw(6).min(draw(6)) as u8;
        Event { user: user_ids[user], item, ts: 1_762_862_400_000 + n * 1_000 / RATE, level }
    };
    let retention = RETAINED * u64::from(users) * 1_000 / RATE;
    let config =
        Config { audience: Audience::All, retention, sources: Sources { items: 4, users: 0 }, ..Config::default() };
    Workload { events: (0..events).map(&mut event).collect(), users, config }
}

/// `SplitMix64`.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// An audience as a benchmark's command line has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Within {
    /// The span in milliseconds.
    Span(u64),
    /// As `deltarec bench` has it.
    Share(Share),
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
