use std::fmt;

use schema::MAX_TS;

/// Options of a simulation. The default is a million events of a hundred thousand users.
///
/// ```
/// use simulator::Options;
/// let options = Options::parse("events=5_000_000,seed=7").unwrap();
/// assert_eq!((options.events, options.seed, options.users), (5_000_000, 7, 100_000));
/// assert_eq!(options.to_string(), "generate:events=5000000,users=100000,items=20000,rooms=50,rate=1000,seed=7,start=1762862400000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Number of events, from 0.
    pub events: u64,
    /// Number of users, `u0`, `u1`, ...
    pub users: u32,
    /// Number of items, `p0`, `p1`, ...
    pub items: u32,
    /// Number of rooms, `room0`, `room1`, ...
    pub rooms: u32,
    /// Mean number of events per second of simulated time.
    pub rate: u64,
    /// Seed of the random numbers. The same options give the same events on every machine.
    pub seed: u64,
    /// Start of the simulated time, in milliseconds since the Unix epoch.
    pub start: u64,
}

/// 2025-11-11T12:00:00Z. Fixed, so that runs are reproducible.
const START: u64 = 1_762_862_400_000;

impl Default for Options {
    fn default() -> Self {
        Options { events: 1_000_000, users: 100_000, items: 20_000, rooms: 50, rate: 1_000, seed: 1, start: START }
    }
}

/// Formats as a `generate:` URI.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { events, users, items, rooms, rate, seed, start } = self;
        write!(
            f,
            "generate:events={events},users={users},items={items},rooms={rooms},rate={rate},seed={seed},start={start}"
        )
    }
}

/// Users and items are numbered in 32 bits; users are held in memory.
const MAX_NAMES: u64 = 1_000_000_000;
const MAX_ROOMS: u64 = 1_000_000;
const MAX_RATE: u64 = 1_000_000;
/// A hundred years. Its nanoseconds fit into 64 bits.
const MAX_SECONDS: u64 = 100 * 366 * 86_400;

/// Error of an option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// Unknown option.
    #[error("generate: unknown option `{key}`; expected events, users, items, rooms, rate, seed or start")]
    Unknown {
        /// Option as given.
        key: String,
    },
    /// Text that is not `option=value`.
    #[error("generate: expected option=value, found `{part}`")]
    NotAssigned {
        /// Text between two commas.
        part: String,
    },
    /// Option that is given twice.
    #[error("generate: `{key}` is given twice")]
    Duplicate {
        /// Name of the option.
        key: &'static str,
    },
    /// Value that cannot be parsed.
    #[error("generate: {key}={value}: expected {expected}")]
    Invalid {
        /// Name of the option.
        key: &'static str,
        /// Value as given.
        value: String,
        /// Description of valid values.
        expected: &'static str,
    },
    /// Value outside its range.
    #[error("generate: {key}={value}: expected {min} to {max}")]
    OutOfRange {
        /// Name of the option.
        key: &'static str,
        /// Value as given.
        value: u64,
        /// Smallest valid value.
        min: u64,
        /// Largest valid value.
        max: u64,
    },
    /// Log that takes too much simulated time.
    #[error("generate: {events} events at {rate} a second take more than a hundred years; raise rate or lower events")]
    TooLong {
        /// Value of `events`.
        events: u64,
        /// Value of `rate`.
        rate: u64,
    },
}

impl Options {
    /// Parses the part of a URI after `generate:`: `option=value` separated by commas. Options that are not given have
    /// their defaults. Returns all errors.
    pub fn parse(text: &str) -> Result<Self, Vec<OptionsError>> {
        Options::from_assignments(text.split(','))
    }

    /// Parses `option=value` texts; empty ones are skipped. Returns all errors.
    pub fn from_assignments<'a>(assignments: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<OptionsError>> {
        let mut options = Options::default();
        let mut errors = Vec::new();
        let mut given = Vec::new();
        for part in assignments.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
            match options.assign(part) {
                Ok(key) if given.contains(&key) => errors.push(OptionsError::Duplicate { key }),
                Ok(key) => given.push(key),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(options.validate().err().into_iter().flatten());
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    /// Checks the ranges of all options. Returns all errors.
    pub fn validate(&self) -> Result<(), Vec<OptionsError>> {
        let ranges = [
            ("users", u64::from(self.users), 1, MAX_NAMES),
            ("items", u64::from(self.items), 1, MAX_NAMES),
            ("rooms", u64::from(self.rooms), 1, MAX_ROOMS),
            ("rate", self.rate, 1, MAX_RATE),
            ("start", self.start, 0, MAX_TS - 2 * MAX_SECONDS * 1_000),
        ];
        let outside = ranges.into_iter().filter(|(_, value, min, max)| !(min..=max).contains(&value));
        let mut errors: Vec<OptionsError> =
            outside.map(|(key, value, min, max)| OptionsError::OutOfRange { key, value, min, max }).collect();
        if self.rate > 0 && self.events / self.rate > MAX_SECONDS {
            errors.push(OptionsError::TooLong { events: self.events, rate: self.rate });
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn assign(&mut self, part: &str) -> Result<&'static str, OptionsError> {
        let not_assigned = || OptionsError::NotAssigned { part: part.into() };
        let (key, value) = part.split_once('=').ok_or_else(not_assigned)?;
        let value = value.trim();
        match key.trim() {
            "events" => integer("events", value).map(|events| self.events = events).map(|()| "events"),
            "users" => integer("users", value).map(|users| self.users = users).map(|()| "users"),
            "items" => integer("items", value).map(|items| self.items = items).map(|()| "items"),
            "rooms" => integer("rooms", value).map(|rooms| self.rooms = rooms).map(|()| "rooms"),
            "rate" => integer("rate", value).map(|rate| self.rate = rate).map(|()| "rate"),
            "seed" => integer("seed", value).map(|seed| self.seed = seed).map(|()| "seed"),
            "start" => timestamp(value).map(|start| self.start = start).map(|()| "start"),
            key => Err(OptionsError::Unknown { key: key.into() }),
        }
    }
}

/// Parses a whole number; underscores may group its digits.
fn integer<T: std::str::FromStr>(key: &'static str, value: &str) -> Result<T, OptionsError> {
    let expected = if size_of::<T>() == 4 { "a whole number below 2^32" } else { "a whole number below 2^64" };
    let invalid = |_| OptionsError::Invalid { key, value: value.into(), expected };
    value.replace('_', "").parse().map_err(invalid)
}

/// Parses milliseconds since the epoch, or a date and time such as `2025-11-11T12:00:00Z`.
fn timestamp(value: &str) -> Result<u64, OptionsError> {
    let expected = "a time such as 2025-11-11T12:00:00Z, or milliseconds since 1970";
    let date = || value.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    let invalid = || OptionsError::Invalid { key: "start", value: value.into(), expected };
    integer("start", value).ok().or_else(date).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_text_is_the_default_and_options_survive_a_round_trip() {
        assert_eq!(Options::parse(""), Ok(Options::default()));
        let options = Options { events: 3, users: 4, items: 5, rooms: 6, rate: 7, seed: 8, start: 9 };
        let text = options.to_string();
        assert_eq!(Options::parse(text.strip_prefix("generate:").unwrap()), Ok(options));
    }

    #[test]
    fn start_is_a_date_or_milliseconds() {
        assert_eq!(Options::parse("start=2025-11-11T12:00:00Z"), Ok(Options::default()));
        assert_eq!(Options::parse("start=2025-11-11T20:00:00+08:00"), Ok(Options::default()));
        assert_eq!(Options::parse("start=12").unwrap().start, 12);
    }

    #[test]
    fn reports_all_errors() {
        let errors = Options::parse("users=0,rooms,rate=x,sed=1,items=-1,seed=1,seed=2,start=soon").unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "generate: expected option=value, found `rooms`",
                "generate: rate=x: expected a whole number below 2^64",
                "generate: unknown option `sed`; expected events, users, items, rooms, rate, seed or start",
                "generate: items=-1: expected a whole number below 2^32",
                "generate: `seed` is given twice",
                "generate: start=soon: expected a time such as 2025-11-11T12:00:00Z, or milliseconds since 1970",
                "generate: users=0: expected 1 to 1000000000",
            ]
        );
        let invalid = Options { items: 0, rooms: 0, rate: 0, start: MAX_TS, ..Options::default() };
        assert_eq!(invalid.validate().unwrap_err().len(), 4);
        let long = Options { events: u64::MAX, rate: 1, ..Options::default() };
        assert!(matches!(long.validate().unwrap_err()[..], [OptionsError::TooLong { .. }]));
    }
}
