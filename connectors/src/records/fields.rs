use std::fmt::{Display, Write};

use schema::{Reason, check_name, shown};

use super::columns::TimeColumn;
use super::time::TimeFormat;
use crate::values::{Scaled, Value, scaled};

/// The columns that a mapping reads, and how their values become names and times.
pub(super) struct Fields {
    /// The columns, each once.
    pub(super) columns: Vec<String>,
    /// Whether the values have types. Text is then not a number, unless the user named a format.
    typed: bool,
    /// Words for no value.
    nulls: Vec<String>,
    /// Whether one of them starts with a byte: most names need no further comparison.
    null_starts: [bool; 256],
}

impl Fields {
    /// No columns yet. `typed`: the format distinguishes numbers from text. `nulls`: words for no value.
    pub(super) fn new(typed: bool, nulls: &[String]) -> Self {
        let mut null_starts = [false; 256];
        for first in nulls.iter().filter_map(|word| word.bytes().next()) {
            null_starts[usize::from(first)] = true;
        }
        Fields { columns: Vec::new(), typed, nulls: nulls.to_vec(), null_starts }
    }

    /// Index of a column, which is added if it is new.
    pub(super) fn index(&mut self, column: &str) -> usize {
        self.columns.iter().position(|known| known == column).unwrap_or_else(|| {
            self.columns.push(column.to_owned());
            self.columns.len() - 1
        })
    }

    /// A name: text, or a whole number, whose decimal text goes to `scratch` unless the value has it.
    pub(super) fn name<'v>(
        &self,
        field: &'static str,
        column: usize,
        values: &'v [Value<'_>],
        scratch: &'v mut String,
    ) -> Result<&'v str, Reason> {
        self.name_of(field, column, &values[column], scratch)
    }

    /// The same for a value of a column, such as an element of its list.
    pub(super) fn name_of<'v>(
        &self,
        field: &'static str,
        column: usize,
        value: &'v Value<'_>,
        scratch: &'v mut String,
    ) -> Result<&'v str, Reason> {
        let text = match value {
            Value::Text(text) if self.stand_for_nothing(text) => return Err(self.no_value(column, text)),
            Value::Text(text) => text.as_ref(),
            Value::Integer(number) => decimal(number, scratch),
            Value::Number(text) if is_integer(text) => text.as_ref(),
            // A float beyond 2^53 may have lost digits of the id.
            Value::Number(text) => match scaled(text, 0) {
                Some(Scaled { floor, is_whole: true }) if floor.unsigned_abs() < 1 << 53 => decimal(floor, scratch),
                _ => return Err(self.wrong(column, "a string or an integer", value)),
            },
            other => return Err(self.wrong(column, "a string or an integer", other)),
        };
        check_name(field, text)?;
        Ok(text)
    }

    /// Milliseconds of a column with timestamps or durations.
    pub(super) fn millis(&self, (column, time): &(usize, TimeColumn), values: &[Value<'_>]) -> Result<i128, Reason> {
        let value = &values[*column];
        let millis = match (value, &time.format) {
            (Value::Text(text), _) if self.stand_for_nothing(text) => return Err(self.no_value(*column, text)),
            (Value::Text(text), format) if !self.typed || time.format_named => format.parse(text, time.is_duration),
            (Value::Text(text), TimeFormat::MillisOrIso) => TimeFormat::Iso.parse(text, time.is_duration),
            (Value::Integer(number), format) => format.of_integer(*number),
            (Value::Number(text), TimeFormat::Pattern(_)) if !is_integer(text) => None,
            (Value::Time(millis), _) => Some(i128::from(*millis)),
            (Value::Number(_), TimeFormat::Iso) => None,
            (Value::Number(text), format) => format.parse(text, time.is_duration),
            _ => None,
        };
        millis.ok_or_else(|| match (self.wrong(*column, time.expected(), value), value) {
            (Reason::WrongType { field, expected, found }, Value::Text(text))
                if self.typed && time.format == TimeFormat::Millis && time.format.parse(text, true).is_some() =>
            {
                let target = if time.is_duration { "dwell_ms" } else { "ts" };
                let found = format!("{found}; to read text, name its format, as in {target}=NAME:ms in --columns");
                Reason::WrongType { field, expected, found }
            }
            (reason, _) => reason,
        })
    }

    /// Whether a text is one of the words for no value.
    pub(super) fn stand_for_nothing(&self, text: &str) -> bool {
        let first = usize::from(text.as_bytes().first().copied().unwrap_or_default());
        self.null_starts[first] && self.nulls.iter().any(|word| word == text)
    }

    /// The reason of a rejection: a word for no value is no name.
    pub(super) fn no_value(&self, column: usize, word: &str) -> Reason {
        Reason::NullWord { field: self.columns[column].clone(), word: shown(word) }
    }

    pub(super) fn missing(&self, column: usize) -> Reason {
        Reason::Missing { field: self.columns[column].clone() }
    }

    /// The reason of a rejection: the value of a column is not `expected`.
    pub(super) fn wrong(&self, column: usize, expected: &'static str, value: &Value<'_>) -> Reason {
        match value {
            Value::Absent => self.missing(column),
            Value::NotUtf8 => Reason::NotUtf8,
            other => {
                // A number in quotes is not a number. `NaN` is text here only because JSON has no such number.
                let is_string = matches!(other, Value::Text(text) if self.typed && !text.ends_with("NaN") && !text.ends_with("Infinity"));
                let found = if is_string { format!("the string {}", other.describe()) } else { other.describe() };
                Reason::WrongType { field: self.columns[column].clone(), expected, found }
            }
        }
    }
}

/// Writes a number to `scratch`.
fn decimal(number: impl Display, scratch: &mut String) -> &str {
    scratch.clear();
    write!(scratch, "{number}").expect("writing to a String does not fail");
    scratch
}

/// Whether a JSON number is an integer other than -0.
fn is_integer(number: &str) -> bool {
    number != "-0" && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
}
