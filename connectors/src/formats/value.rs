use std::borrow::Cow;
use std::cmp::Ordering;

/// Maximum number of columns read from one record. Their values are on the stack.
pub(crate) const MAX_COLUMNS: usize = 16;

/// The values of one record, one for each column of its mapping.
pub(crate) type Values<'a> = [Value<'a>; MAX_COLUMNS];

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
    /// A field in CSV that is not UTF-8.
    NotUtf8,
    /// An integer of 0 or more in JSON.
    Unsigned(u64),
    /// A negative integer in JSON.
    Negative(i64),
    /// Any other number in JSON.
    Float(f64),
    /// A boolean in JSON.
    Bool(bool),
    /// An array in JSON.
    Array,
    /// An object in JSON.
    Object,
}

impl Value<'_> {
    /// Text for messages: "found ...".
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Absent => "nothing".into(),
            Value::Null => "null".into(),
            Value::Text(text) => match text.char_indices().nth(64) {
                Some((end, _)) => format!("`{}...`", &text[..end]),
                None => format!("`{text}`"),
            },
            Value::NotUtf8 => "bytes that are not UTF-8".into(),
            Value::Unsigned(number) => number.to_string(),
            Value::Negative(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Array => "an array".into(),
            Value::Object => "an object".into(),
        }
    }

    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Value::Text(text) => Number::parse(text),
            Value::Unsigned(number) => Some(Number::Integer(i128::from(*number))),
            Value::Negative(number) => Some(Number::Integer(i128::from(*number))),
            Value::Float(number) => Some(Number::Float(*number)),
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
