//! The values of a record's columns, as a format decodes them and a mapping reads them.

use std::borrow::Cow;
use std::cmp::Ordering;

use schema::shown;

/// Number of columns of which the values are on the stack.
pub(crate) const FEW_COLUMNS: usize = 16;

/// Calls `use_values` with room for the values of one record, one for each column of its mapping, all absent.
pub(crate) fn with_values<'a, T>(columns: usize, use_values: impl FnOnce(&mut [Value<'a>]) -> T) -> T {
    match columns {
        // Most records. To fill and drop the others would take longer than to read a short field.
        0..=8 => use_values(&mut <[Value<'a>; 8]>::default()),
        9..=FEW_COLUMNS => use_values(&mut <[Value<'a>; FEW_COLUMNS]>::default()),
        _ => use_values(&mut vec![Value::Absent; columns]),
    }
}

/// The value of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'a> {
    /// The field is absent, or empty in CSV.
    #[default]
    Absent,
    /// Null in JSON.
    Null,
    /// A string in JSON; any field in CSV.
    Text(Cow<'a, str>),
    /// A field that is not UTF-8.
    NotUtf8,
    /// An integer of a typed format.
    Integer(i64),
    /// Any number of a typed format, as it is written.
    Number(Cow<'a, str>),
    /// A time of a typed format, in milliseconds since the Unix epoch.
    Time(i64),
    /// A boolean of a typed format.
    Bool(bool),
    /// An array, as JSON; empty unless the mapping asks for [whole values](crate::records::Mapping::WHOLE_VALUES).
    Array(Cow<'a, str>),
    /// An object, in the same way.
    Object(Cow<'a, str>),
}

impl Value<'_> {
    /// Text for messages: "found ...".
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Absent => "nothing".into(),
            Value::Null => "null".into(),
            Value::Text(text) => format!("`{}`", shown(text)),
            Value::NotUtf8 => "bytes that are not UTF-8".into(),
            Value::Integer(number) => number.to_string(),
            Value::Number(text) => shown(text),
            Value::Time(millis) => format!("the time {millis} ms"),
            Value::Bool(truth) => truth.to_string(),
            Value::Array(_) => "an array".into(),
            Value::Object(_) => "an object".into(),
        }
    }

    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Value::Text(text) | Value::Number(text) => Number::parse(text),
            Value::Integer(number) | Value::Time(number) => Some(Number::Integer((*number).into())),
            _ => None,
        }
    }
}

/// A number for comparisons: integers are exact, all others are floats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    pub(crate) fn parse(text: &str) -> Option<Number> {
        if let Ok(integer) = text.parse() {
            return Some(Number::Integer(integer));
        }
        // f64 would parse `inf` and `nan`.
        let numeric = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
        text.parse().ok().filter(|number: &f64| numeric && number.is_finite()).map(Number::Float)
    }

    pub(crate) fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Integer(a), Number::Integer(b)) => a.cmp(&b),
            (a, b) => a.float().total_cmp(&b.float()),
        }
    }

    fn float(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "the other operand is a float with the same precision")]
        let number = match self {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        };
        // total_cmp orders -0 before 0.
        number + 0.0
    }
}

/// A decimal number times a power of ten, rounded down to an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scaled {
    pub(crate) floor: i128,
    /// Whether nothing was cut off.
    pub(crate) is_whole: bool,
}

/// Digits of the largest result. A larger number is replaced with 10 to this power: out of every range.
const MAX_DIGITS: usize = 36;

/// Computes `text * 10^power` exactly. A float would not be exact: 1763900000.123 has no finite binary fraction. The text may
/// have a sign `-`, a fraction and an exponent, as in JSON.
pub(crate) fn scaled(text: &str, power: i64) -> Option<Scaled> {
    // Nearly every number in a CSV file is a short integer, which needs no copy of its digits.
    if (0..=3).contains(&power) && text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number: u64 = text.parse().ok()?;
        let factor = [1, 10, 100, 1_000][usize::try_from(power).ok()?];
        return Some(Scaled { floor: i128::from(number) * factor, is_whole: true });
    }
    let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(whole, rest)| (whole, Some(rest)));
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let magnitude = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if !are_digits(whole) || !fraction.is_none_or(are_digits) || !are_digits(magnitude) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(Scaled { floor: 0, is_whole: true });
    }
    // Beyond a billion the digits of a record cannot balance an exponent.
    let magnitude = magnitude.trim_start_matches('0');
    let magnitude: i64 = if magnitude.len() > 9 { 1_000_000_000_000 } else { magnitude.parse().unwrap_or(0) };
    let exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };
    let count = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let shift = power + exponent - count(fraction);
    let kept = usize::try_from(count(digits) + shift).unwrap_or(0);
    let (floor, is_whole) = if kept > MAX_DIGITS {
        (10_i128.pow(36), true)
    } else {
        let (whole, cut) = digits.split_at(kept.min(digits.len()));
        let zeros = u32::try_from(kept - whole.len()).unwrap_or(0);
        let number = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? * 10_i128.pow(zeros) };
        (number, cut.bytes().all(|digit| digit == b'0'))
    };
    // Rounds down, so that a time just before the epoch is out of range and not 0.
    Some(Scaled { floor: if is_negative { -floor - i128::from(!is_whole) } else { floor }, is_whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_decimal_numbers_exactly() {
        for (text, power, floor, is_whole) in [
            ("1.7e12", 0, 1_700_000_000_000, true),
            ("1700000000000.0", 0, 1_700_000_000_000, true),
            ("1700000000.123", 3, 1_700_000_000_123, true),
            ("1700000000.1239", 3, 1_700_000_000_123, false),
            ("1.7E+9", 3, 1_700_000_000_000, true),
            ("1700000000123456", -3, 1_700_000_000_123, false),
            ("-0.0001", 3, -1, false),
            ("-0.0", 3, 0, true),
            ("-1", 0, -1, true),
            ("1763900004000", 0, 1_763_900_004_000, true),
            ("1763900004", 3, 1_763_900_004_000, true),
            ("007", 1, 70, true),
            ("0", 3, 0, true),
            ("999999999999999999", 3, 999_999_999_999_999_999_000, true),
            ("1000000000000000000", 3, 1_000_000_000_000_000_000_000, true),
            ("0e999999999999", 0, 0, true),
            ("5e-1", 0, 0, false),
            ("1e300", 0, 10_i128.pow(36), true),
            ("-1e99999999999999999999", 0, -(10_i128.pow(36)), true),
            ("1e-99999999999999999999", 0, 0, false),
            ("18446744073709551615", 0, i128::from(u64::MAX), true),
        ] {
            assert_eq!(scaled(text, power), Some(Scaled { floor, is_whole }), "{text}");
        }
        for bad in ["", ".", "1.", ".5", "-", "+1", "e", "1e", "1e+", "1.2.3", "x", " 1", "--1", "inf", "NaN", "１"] {
            assert_eq!(scaled(bad, 0), None, "{bad}");
        }
    }
}
