use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::Offset;

/// Format of a column with timestamps or durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// An integer of milliseconds.
    Millis,
    /// Seconds, with an optional fraction. Truncated to milliseconds.
    Seconds,
    /// ISO 8601 or RFC 3339; UTC if there is no offset.
    Iso,
    /// A strftime pattern; UTC if it has no offset.
    Pattern(String),
}

impl TimeFormat {
    /// Parses the format in `ts=COLUMN:FORMAT`.
    pub(crate) fn of_time(text: &str) -> Result<Self, String> {
        match text {
            "ms" => Ok(TimeFormat::Millis),
            "s" => Ok(TimeFormat::Seconds),
            "iso" => Ok(TimeFormat::Iso),
            pattern if pattern.contains('%') => {
                check_pattern(pattern)?;
                Ok(TimeFormat::Pattern(pattern.to_owned()))
            }
            other => Err(format!(
                "`{other}` is not a time format: use ms, s, iso or a strftime pattern such as %Y-%m-%d %H:%M:%S"
            )),
        }
    }

    /// Parses the unit in `dwell_ms=COLUMN:UNIT`.
    pub(crate) fn of_duration(text: &str) -> Result<Self, String> {
        match text {
            "ms" => Ok(TimeFormat::Millis),
            "s" => Ok(TimeFormat::Seconds),
            other => Err(format!("`{other}` is not a unit of durations: use ms or s")),
        }
    }

    /// Text for messages: "expected ...".
    pub(crate) fn expected(&self) -> &'static str {
        match self {
            TimeFormat::Millis => "an integer of milliseconds",
            TimeFormat::Seconds => "a number of seconds",
            TimeFormat::Iso => "a time like 2025-11-23T12:00:00Z",
            TimeFormat::Pattern(_) => "a time of the format in --columns",
        }
    }

    /// Parses to milliseconds; a timestamp to milliseconds since the Unix epoch.
    pub(crate) fn parse(&self, text: &str) -> Option<i128> {
        match self {
            TimeFormat::Millis => text.parse().ok(),
            TimeFormat::Seconds => seconds(text),
            TimeFormat::Iso => iso(text),
            TimeFormat::Pattern(pattern) => millis(&strtime::parse(pattern, text).ok()?),
        }
    }
}

/// Parses decimal seconds exactly. A float would not be exact: 1763900000.123 has no finite binary fraction.
fn seconds(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut millis = whole.parse::<i128>().ok()?.checked_mul(1000)?;
    for (digit, unit) in fraction.bytes().zip([100, 10, 1]) {
        millis = millis.checked_add(i128::from(digit - b'0') * unit)?;
    }
    // Rounds down, so that a time just before the epoch is out of range and not 0.
    let cut = fraction.bytes().skip(3).any(|digit| digit != b'0');
    Some(if negative { -millis - i128::from(cut) } else { millis })
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
        .map_err(|error| format!("invalid time pattern `{pattern}`: {error}"))?;
    let read = strtime::parse(pattern, &example)
        .map_err(|error| format!("the time pattern `{pattern}` cannot be used for parsing: {error}"))?;
    match millis(&read) {
        Some(_) => Ok(()),
        None => Err(format!("the time pattern `{pattern}` has no full date: year, month and day are required")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(format: &str, text: &str) -> Option<i128> {
        TimeFormat::of_time(format).unwrap().parse(text)
    }

    #[test]
    fn seconds_are_exact_and_truncated_to_milliseconds() {
        assert_eq!(time("s", "1763900000"), Some(1_763_900_000_000));
        assert_eq!(time("s", "1763900000.123"), Some(1_763_900_000_123));
        assert_eq!(time("s", "1763900000.1239"), Some(1_763_900_000_123));
        assert_eq!(time("s", "0.5"), Some(500));
        assert_eq!(time("s", "-0.5"), Some(-500));
        assert_eq!(time("s", "-0.0001"), Some(-1));
        for bad in ["", ".", "1.", ".5", "-", "+1", "1e3", "1.2.3", "x", " 1", "--1", "inf", "１"] {
            assert_eq!(time("s", bad), None, "{bad}");
        }
        assert_eq!(time("s", &"9".repeat(60)), None);
    }

    #[test]
    fn milliseconds_are_integers() {
        assert_eq!(time("ms", "17"), Some(17));
        assert_eq!(time("ms", "-17"), Some(-17));
        for bad in ["", "1.0", "x", "1 "] {
            assert_eq!(time("ms", bad), None, "{bad}");
        }
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
