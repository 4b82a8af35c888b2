use std::borrow::Cow;
use std::cmp::Ordering;

/// What a record holds in one of the columns that are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value<'a> {
    /// No such field, or an empty one of CSV.
    #[default]
    Absent,
    /// JSON's null.
    Null,
    /// A string of JSON, any field of CSV.
    Text(Cow<'a, str>),
    /// A field of CSV that is no text.
    NotUtf8,
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Bool(bool),
    Array,
    Object,
}

impl Value<'_> {
    /// For messages: "found ...".
    pub(crate) fn describe(&self) -> String {
        match self {
            Value::Absent => "nothing".into(),
            Value::Null => "null".into(),
            Value::Text(text) => match text.char_indices().nth(64) {
                Some((end, _)) => format!("`{}...`", &text[..end]),
                None => format!("`{text}`"),
            },
            Value::NotUtf8 => "bytes that are no UTF-8".into(),
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

/// A number to compare by: integers exactly, whatever else is a number as a float.
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
        // `inf` and `nan` are words, not numbers.
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
        #[expect(clippy::cast_precision_loss, reason = "compared with a float, which is no more precise")]
        let number = match self {
            Number::Integer(integer) => integer as f64,
            Number::Float(float) => float,
        };
        // -0 becomes 0, which it equals.
        number + 0.0
    }
}
