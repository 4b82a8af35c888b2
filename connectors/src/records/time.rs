use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::Offset;
use schema::shown;

use crate::values::scaled;

/// Format of a column with timestamps or durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// An integer of milliseconds.
    Millis,
    /// Seconds, with an optional fraction. Truncated to milliseconds.
    Seconds,
    /// Microseconds. Truncated to milliseconds.
    Micros,
    /// Nanoseconds. Truncated to milliseconds.
    Nanos,
    /// ISO 8601 or RFC 3339; UTC if there is no offset.
    Iso,
    /// An integer of milliseconds, or as [`TimeFormat::Iso`]. Where values have types, only the latter is text.
    MillisOrIso,
    /// A strftime pattern; UTC if it has no offset.
    Pattern(String),
}

impl TimeFormat {
    /// Parses the format in `ts=COLUMN:FORMAT`.
    pub(crate) fn of_time(text: &str) -> Result<Self, String> {
        match text {
            "ms" => Ok(TimeFormat::Millis),
            "s" => Ok(TimeFormat::Seconds),
            "us" => Ok(TimeFormat::Micros),
            "ns" => Ok(TimeFormat::Nanos),
            "iso" => Ok(TimeFormat::Iso),
            pattern if pattern.contains('%') => {
                check_pattern(pattern)?;
                Ok(TimeFormat::Pattern(pattern.to_owned()))
            }
            other => Err(format!(
                "`{}` is not a time format: use ms, s, us, ns, iso or a strftime pattern such as %Y-%m-%d %H:%M:%S",
                shown(other)
            )),
        }
    }

    /// Parses the unit in `dwell_ms=COLUMN:UNIT`.
    pub(crate) fn of_duration(text: &str) -> Result<Self, String> {
        match text {
            "ms" => Ok(TimeFormat::Millis),
            "s" => Ok(TimeFormat::Seconds),
            "us" => Ok(TimeFormat::Micros),
            "ns" => Ok(TimeFormat::Nanos),
            other => Err(format!("`{}` is not a unit of durations: use ms, s, us or ns", shown(other))),
        }
    }

    /// Text for messages: "expected ...".
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            TimeFormat::Millis => "an integer of milliseconds",
            TimeFormat::Seconds => "a number of seconds",
            TimeFormat::Micros => "a number of microseconds",
            TimeFormat::Nanos => "a number of nanoseconds",
            TimeFormat::Iso => "a time like 2025-11-23T12:00:00Z",
            TimeFormat::MillisOrIso => "an integer of milliseconds or a time like 2025-11-23T12:00:00Z",
            TimeFormat::Pattern(_) => "a time of the format given for the column",
        }
    }

    /// Parses to milliseconds; a timestamp to milliseconds since the Unix epoch. A fraction of a millisecond is cut off where
    /// the unit is another one or `is_duration`.
    pub(crate) fn parse(&self, text: &str, is_duration: bool) -> Option<i128> {
        let number = |power| scaled(text, power).map(|number| number.floor);
        match self {
            TimeFormat::Millis => {
                scaled(text, 0).filter(|number| is_duration || number.is_whole).map(|number| number.floor)
            }
            TimeFormat::Seconds => number(3),
            TimeFormat::Micros => number(-3),
            TimeFormat::Nanos => number(-6),
            TimeFormat::Iso => iso(text),
            TimeFormat::MillisOrIso => TimeFormat::Millis.parse(text, is_duration).or_else(|| iso(text)),
            TimeFormat::Pattern(pattern) => millis(&strtime::parse(pattern, text).ok()?),
        }
    }

    /// The same for an integer of a typed format.
    pub(crate) fn of_integer(&self, number: i64) -> Option<i128> {
        let number = i128::from(number);
        match self {
            TimeFormat::Millis | TimeFormat::MillisOrIso => Some(number),
            TimeFormat::Seconds => Some(number * 1_000),
            TimeFormat::Micros => Some(number.div_euclid(1_000)),
            TimeFormat::Nanos => Some(number.div_euclid(1_000_000)),
            // Only text is a time of this format.
            TimeFormat::Iso => None,
            TimeFormat::Pattern(_) => self.parse(&number.to_string(), false),
        }
    }
}

fn iso(text: &str) -> Option<i128> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    let pieces = PARSER.parse_pieces(text).ok()?;
    let offset = match pieces.to_numeric_offset() {
        Some(offset) => offset,
        // The rules of a named zone come from the machine: the result would depend on where the program runs.
        None if pieces.time_zone_annotation().is_some() => return None,
        None => Offset::UTC,
    };
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    Some(i128::from(offset.to_timestamp(civil).ok()?.as_millisecond()))
}

fn millis(time: &BrokenDownTime) -> Option<i128> {
    let timestamp = if time.timestamp().is_some() || time.offset().is_some() {
        time.to_timestamp().ok()?
    } else {
        Offset::UTC.to_timestamp(time.to_datetime().ok()?).ok()?
    };
    Some(i128::from(timestamp.as_millisecond()))
}

/// Checks that a formatted time can be parsed back.
fn check_pattern(pattern: &str) -> Result<(), String> {
    let example = BrokenDownTime::from(Timestamp::UNIX_EPOCH)
        .to_string(pattern)
        .map_err(|error| format!("invalid time pattern `{}`: {error}", shown(pattern)))?;
    let read = strtime::parse(pattern, &example)
        .map_err(|error| format!("the time pattern `{}` cannot be used for parsing: {error}", shown(pattern)))?;
    match millis(&read) {
        Some(_) => Ok(()),
        None => {
            Err(format!("the time pattern `{}` has no full date: year, month and day are required", shown(pattern)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(format: &str, text: &str) -> Option<i128> {
        TimeFormat::of_time(format).unwrap().parse(text, false)
    }

    #[test]
    fn seconds_are_exact_and_truncated_to_milliseconds() {
        assert_eq!(time("s", "1763900000"), Some(1_763_900_000_000));
        assert_eq!(time("s", "1763900000.123"), Some(1_763_900_000_123));
        assert_eq!(time("s", "1763900000.1239"), Some(1_763_900_000_123));
        assert_eq!(time("s", "0.5"), Some(500));
        assert_eq!(time("s", "-0.5"), Some(-500));
        assert_eq!(time("s", "-0.0001"), Some(-1));
        assert_eq!(time("s", "1.7e9"), Some(1_700_000_000_000));
        for bad in ["", ".", "1.", ".5", "-", "+1", "1.2.3", "x", " 1", "--1", "inf", "１"] {
            assert_eq!(time("s", bad), None, "{bad}");
        }
        assert_eq!(time("s", &"9".repeat(60)), Some(10_i128.pow(36)), "out of every range");
        assert_eq!(time("us", "1763900000123999"), Some(1_763_900_000_123));
        assert_eq!(time("ns", "1763900000123999999"), Some(1_763_900_000_123));
    }

    #[test]
    fn milliseconds_are_integers() {
        assert_eq!(time("ms", "17"), Some(17));
        assert_eq!(time("ms", "-17"), Some(-17));
        assert_eq!((time("ms", "1.0"), time("ms", "1.7e12")), (Some(1), Some(1_700_000_000_000)));
        assert_eq!(TimeFormat::Millis.parse("1.5", true), Some(1));
        for bad in ["", "1.5", "x", "1 "] {
            assert_eq!(time("ms", bad), None, "{bad}");
        }
    }

    #[test]
    fn an_integer_means_the_same_as_its_text() {
        for format in ["ms", "s", "us", "ns", "%s", "%Y%m%d"] {
            let format = TimeFormat::of_time(format).unwrap();
            for number in [0, 1, -1, 999, -1_000, 19_700_102, 1_763_900_000_123_999, i64::MAX, i64::MIN] {
                assert_eq!(format.of_integer(number), format.parse(&number.to_string(), false), "{format:?} {number}");
            }
        }
        assert_eq!(TimeFormat::Iso.of_integer(1_763_899_200), None);
    }

    #[test]
    fn iso_times_have_an_offset_or_are_utc() {
        let noon = Some(1_763_899_200_000);
        for text in [
            "2025-11-23T12:00:00Z",
            "2025-11-23 12:00:00",
            "2025-11-23T12:00:00",
            "2025-11-23T12:00",
            "2025-11-23T20:00:00+08:00",
            "2025-11-23T20:00:00+0800",
            "2025-11-23t12:00:00z",
            "2025-11-23T20:00:00+08:00[Asia/Shanghai]",
        ] {
            assert_eq!(time("iso", text), noon, "{text}");
        }
        assert_eq!(time("iso", "2025-11-23T12:00:00.25Z"), Some(1_763_899_200_250));
        assert_eq!(time("iso", "1969-12-31T23:59:59Z"), Some(-1000));
        assert_eq!(time("iso", "2025-11-23"), Some(1_763_856_000_000));
        for bad in ["", "x", "2025-13-01", "2025-11-23T25:00:00", "2025-11-23T12:00:00[Asia/Shanghai]", "1763899200"] {
            assert_eq!(time("iso", bad), None, "{bad}");
        }
    }

    #[test]
    fn patterns_are_utc_unless_they_have_an_offset() {
        assert_eq!(time("%Y-%m-%d %H:%M:%S", "2010-12-01 08:26:00"), Some(1_291_191_960_000));
        assert_eq!(time("%d.%m.%Y", "01.12.2010"), Some(1_291_161_600_000));
        assert_eq!(time("%Y-%m-%d %H:%M %z", "2010-12-01 08:26 +0100"), Some(1_291_188_360_000));
        assert_eq!(time("%s", "1291191960"), Some(1_291_191_960_000));
        assert_eq!(time("%Y-%m-%d %H:%M:%S", "2010-12-01"), None);
        assert_eq!(time("%Y-%m-%d", "2010-12-01 08:26:00"), None);
    }

    #[test]
    fn rejects_an_unusable_format() {
        for bad in ["", "sec", "%H:%M", "%Y-%m", "%Y-%m-%d %!", "%"] {
            assert!(TimeFormat::of_time(bad).is_err(), "{bad}");
        }
        assert!(TimeFormat::of_duration("iso").is_err());
        assert_eq!(TimeFormat::of_duration("s"), Ok(TimeFormat::Seconds));
    }
}
