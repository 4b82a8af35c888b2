//! The streams that benchmarks share: the standard one and an adversarial one, and who is in the audience.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use connectors::generate::Options;
use dataflows::{Audience, Config, Event, UserId};
use schema::id64;

use super::simulated;

/// Events and what is to be made of them.
pub struct Workload {
    /// In the order of their times.
    pub events: Vec<Event>,
    /// The semantics; the audience is everybody until it is [resolved](Within::resolve).
    pub config: Config,
}

/// The simulation's defaults but for the number of events: what is quoted unless something else is said.
pub fn standard(events: u64, users: Option<u32>, items: Option<u32>) -> Workload {
    let defaults = Options::default();
    let (users, items) = (users.unwrap_or(defaults.users), items.unwrap_or(defaults.items));
    let config = Config { audience: Audience::All, ..Config::default() };
    Workload { events: simulated(Options { events, users, items, ..defaults }).collect(), config }
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
    let config = Config { audience: Audience::All, retention, ..Config::default() };
    Workload { events: (0..events).map(&mut event).collect(), config }
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
    /// Everybody.
    All,
    /// The span in milliseconds.
    Span(u64),
    /// The span that on average this share of the users have an event in.
    Share(f64),
}

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Within::All);
        }
        let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(at);
        let wrong = || format!("{text}: expected `all`, a share like 10% or a span like 500ms, 30s, 30m, 12h");
        if unit == "%" {
            return number.parse().map(|percent: f64| Within::Share(percent / 100.0)).map_err(|_| wrong());
        }
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        number.parse().map(|number: u64| Within::Span(number * scale)).map_err(|_| wrong())
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Within::All => write!(f, "all"),
            Within::Span(span) => write!(f, "{span}ms"),
            Within::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

impl Within {
    /// The audience this is for these events.
    pub fn resolve(self, events: &[Event]) -> Audience {
        match self {
            Within::All => Audience::All,
            Within::Span(span) => Audience::Within(span),
            Within::Share(share) => Audience::Within(span_of_share(events, share)),
        }
    }
}

/// The least span, in milliseconds, such that over the stream's time on average this share of all its users have an event
/// younger than that.
pub fn span_of_share(events: &[Event], share: f64) -> u64 {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return 1;
    };
    let mut latest: HashMap<UserId, u64> = HashMap::new();
    let mut gaps: Vec<u64> = Vec::with_capacity(events.len());
    for event in events {
        if let Some(before) = latest.insert(event.user, event.ts) {
            gaps.push(event.ts.saturating_sub(before));
        }
    }
    gaps.extend(latest.values().map(|before| last.ts.saturating_sub(*before)));
    gaps.sort_unstable();
    let sums: Vec<u64> = std::iter::once(0)
        .chain(gaps.iter().scan(0, |sum, gap| {
            *sum += gap;
            Some(*sum)
        }))
        .collect();
    // After an event its user is in for the span or until the next one.
    let inside = |span: u64| {
        let shorter = gaps.partition_point(|gap| *gap < span);
        sums[shorter] + span * (gaps.len() - shorter) as u64
    };
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
    let wanted = (share * latest.len() as f64 * (last.ts - first.ts) as f64) as u64;
    let (mut low, mut high) = (1, (last.ts - first.ts).max(1));
    while low < high {
        let middle = low.midpoint(high);
        if inside(middle) >= wanted { high = middle } else { low = middle + 1 }
    }
    low
}
