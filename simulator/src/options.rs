use std::fmt;

use schema::MAX_TS;

/// What to simulate. [`Options::default`] is a million events of a hundred thousand users.
///
/// ```
/// use simulator::Options;
/// let options = Options::parse("events=5_000_000,seed=7").unwrap();
/// assert_eq!((options.events, options.seed, options.users), (5_000_000, 7, 100_000));
/// assert_eq!(options.to_string(), "generate:events=5000000,users=100000,items=20000,rooms=50,rate=1000,seed=7,start=1762862400000");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many events, from 0.
    pub events: u64,
    /// How many users, `u0`, `u1`, ...
    pub users: u32,
    /// How many items, `p0`, `p1`, ...
    pub items: u32,
    /// How many rooms, `room0`, `room1`, ...
    pub rooms: u32,
    /// Events per second of simulated time, on average.
    pub rate: u64,
    /// Where the randomness starts: the same options give the same events on every machine.
    pub seed: u64,
    /// Time zero of the simulation, in milliseconds since the Unix epoch.
    pub start: u64,
}

/// 2025-11-11T12:00:00Z, so that a run can be repeated tomorrow.
const START: u64 = 1_762_862_400_000;

impl Default for Options {
    fn default() -> Self {
        Options { events: 1_000_000, users: 100_000, items: 20_000, rooms: 50, rate: 1_000, seed: 1, start: START }
    }
}

/// As `generate:` takes it.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { events, users, items, rooms, rate, seed, start } = self;
        write!(
            f,
            "generate:events={events},users={users},items={items},rooms={rooms},rate={rate},seed={seed},start={start}"
        )
    }
}

/// Largest number of users and of items; both are numbered in 32 bits and held in memory.
const MOST_NAMES: u64 = 1_000_000_000;
const MOST_ROOMS: u64 = 1_000_000;
const MOST_RATE: u64 = 1_000_000;
/// A hundred years: nanoseconds of it are counted in 64 bits.
const MOST_SECONDS: u64 = 100 * 366 * 86_400;

/// Options that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No such option.
    #[error("generate: unknown option `{key}`; there are events, users, items, rooms, rate, seed and start")]
    Unknown {
        /// The option, as given.
        key: String,
    },
    /// A part that is no `option=value`.
    #[error("generate: expected option=value, found `{part}`")]
    NotAssigned {
        /// The part between two commas.
        part: String,
    },
    /// An option given twice.
    #[error("generate: `{key}` is given twice")]
    Twice {
        /// The option.
        key: &'static str,
    },
    /// A value that does not read as one.
    #[error("generate: {key}={value}: expected {expected}")]
    Unreadable {
        /// The option.
        key: &'static str,
        /// The value, as given.
        value: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A value outside of what can be simulated.
    #[error("generate: {key}={value}: expected {least} to {most}")]
    OutOfRange {
        /// The option.
        key: &'static str,
        /// The value.
        value: u64,
        /// The smallest that would do.
        least: u64,
        /// The largest that would do.
        most: u64,
    },
    /// Too long a log.
    #[error("generate: {events} events at {rate} a second take more than a hundred years; raise rate or lower events")]
    TooLong {
        /// Option `events`.
        events: u64,
        /// Option `rate`.
        rate: u64,
    },
}

impl Options {
    /// Reads what follows `generate:`, `option=value` separated by commas, the defaults for the rest. All mistakes are returned.
    pub fn parse(text: &str) -> Result<Self, Vec<OptionsError>> {
        let mut options = Options::default();
        let mut errors = Vec::new();
        let mut given = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match options.assign(part) {
                Ok(key) if given.contains(&key) => errors.push(OptionsError::Twice { key }),
                Ok(key) => given.push(key),
                Err(error) => errors.push(error),
            }
        }
        errors.extend(options.mistakes());
        if errors.is_empty() { Ok(options) } else { Err(errors) }
    }

    /// Checks options that were not parsed. All mistakes are returned.
    pub fn validate(&self) -> Result<(), Vec<OptionsError>> {
        let errors = self.mistakes();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    fn mistakes(&self) -> Vec<OptionsError> {
        let ranges = [
            ("users", u64::from(self.users), 1, MOST_NAMES),
            ("items", u64::from(self.items), 1, MOST_NAMES),
            ("rooms", u64::from(self.rooms), 1, MOST_ROOMS),
            ("rate", self.rate, 1, MOST_RATE),
            ("start", self.start, 0, MAX_TS - 2 * MOST_SECONDS * 1_000),
        ];
        let outside = ranges.into_iter().filter(|(_, value, least, most)| !(least..=most).contains(&value));
        let mut errors: Vec<OptionsError> =
            outside.map(|(key, value, least, most)| OptionsError::OutOfRange { key, value, least, most }).collect();
        if self.rate > 0 && self.events / self.rate > MOST_SECONDS {
            errors.push(OptionsError::TooLong { events: self.events, rate: self.rate });
        }
        errors
    }

    fn assign(&mut self, part: &str) -> Result<&'static str, OptionsError> {
        let not_assigned = || OptionsError::NotAssigned { part: part.into() };
        let (key, value) = part.split_once('=').ok_or_else(not_assigned)?;
        let value = value.trim();
        match key.trim() {
            "events" => whole("events", value).map(|events| self.events = events).map(|()| "events"),
            "users" => whole("users", value).map(|users| self.users = users).map(|()| "users"),
            "items" => whole("items", value).map(|items| self.items = items).map(|()| "items"),
            "rooms" => whole("rooms", value).map(|rooms| self.rooms = rooms).map(|()| "rooms"),
            "rate" => whole("rate", value).map(|rate| self.rate = rate).map(|()| "rate"),
            "seed" => whole("seed", value).map(|seed| self.seed = seed).map(|()| "seed"),
            "start" => moment(value).map(|start| self.start = start).map(|()| "start"),
            key => Err(OptionsError::Unknown { key: key.into() }),
        }
    }
}

/// A whole number; underscores may group its digits.
fn whole<T: std::str::FromStr>(key: &'static str, value: &str) -> Result<T, OptionsError> {
    let expected = if size_of::<T>() == 4 { "a whole number below 2^32" } else { "a whole number below 2^64" };
    let unreadable = |_| OptionsError::Unreadable { key, value: value.into(), expected };
    value.replace('_', "").parse().map_err(unreadable)
}

/// Milliseconds since the epoch, or a date and time as `2025-11-11T12:00:00Z`.
fn moment(value: &str) -> Result<u64, OptionsError> {
    let expected = "a time such as 2025-11-11T12:00:00Z, or milliseconds since 1970";
    let date = || value.parse::<jiff::Timestamp>().ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
    let unreadable = || OptionsError::Unreadable { key: "start", value: value.into(), expected };
    whole("start", value).ok().or_else(date).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_text_is_the_default_and_text_comes_back_the_same() {
        assert_eq!(Options::parse(""), Ok(Options::default()));
        let options = Options { events: 3, users: 4, items: 5, rooms: 6, rate: 7, seed: 8, start: 9 };
        let text = options.to_string();
        assert_eq!(Options::parse(text.strip_prefix("generate:").unwrap()), Ok(options));
    }

    #[test]
    fn a_start_is_a_date_or_milliseconds() {
        assert_eq!(Options::parse("start=2025-11-11T12:00:00Z"), Ok(Options::default()));
        assert_eq!(Options::parse("start=2025-11-11T20:00:00+08:00"), Ok(Options::default()));
        assert_eq!(Options::parse("start=12").unwrap().start, 12);
    }

    #[test]
    fn every_mistake_is_reported() {
        let errors = Options::parse("users=0,rooms,rate=x,sed=1,items=-1,seed=1,seed=2,start=soon").unwrap_err();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "generate: expected option=value, found `rooms`",
                "generate: rate=x: expected a whole number below 2^64",
                "generate: unknown option `sed`; there are events, users, items, rooms, rate, seed and start",
                "generate: items=-1: expected a whole number below 2^32",
                "generate: `seed` is given twice",
                "generate: start=soon: expected a time such as 2025-11-11T12:00:00Z, or milliseconds since 1970",
                "generate: users=0: expected 1 to 1000000000",
            ]
        );
        let wrong = Options { items: 0, rooms: 0, rate: 0, start: MAX_TS, ..Options::default() };
        assert_eq!(wrong.validate().unwrap_err().len(), 4);
        let long = Options { events: u64::MAX, rate: 1, ..Options::default() };
        assert!(matches!(long.validate().unwrap_err()[..], [OptionsError::TooLong { .. }]));
    }
}
