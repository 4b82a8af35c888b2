use std::fmt::{Display, Write};

use schema::{Reason, check_name};

use super::columns::TimeColumn;
use super::time::TimeFormat;
use crate::formats::{Value, Values};

/// The columns that a mapping reads, and how their values become names and times.
pub(super) struct Fields {
    /// The columns, each once.
    pub(super) columns: Vec<String>,
    /// Whether the values have types. Text is then not a number, unless the user named a format.
    typed: bool,
}

impl Fields {
    /// No columns yet. `typed`: the format distinguishes numbers from text.
    pub(super) fn new(typed: bool) -> Self {
        Fields { columns: Vec::new(), typed }
    }

    /// Index of a column, which is added if it is new.
    pub(super) fn index(&mut self, column: &str) -> usize {
        self.columns.iter().position(|known| known == column).unwrap_or_else(|| {
            self.columns.push(column.to_owned());
            self.columns.len() - 1
        })
    }

    /// A name: text, or an integer, whose decimal text goes to `scratch`.
    pub(super) fn name<'v>(
        &self,
        field: &'static str,
        column: usize,
        values: &'v Values<'_>,
        scratch: &'v mut String,
    ) -> Result<&'v str, Reason> {
        let number: &dyn Display = match &values[column] {
            Value::Text(text) => {
                check_name(field, text)?;
                return Ok(text);
            }
            Value::Unsigned(number) => number,
            Value::Negative(number) => number,
            other => return Err(self.wrong(column, "a string or an integer", other)),
        };
        scratch.clear();
        write!(scratch, "{number}").expect("writing to a String does not fail");
        Ok(scratch)
    }

    /// Milliseconds of a column with timestamps or durations.
    pub(super) fn millis(&self, (column, time): &(usize, TimeColumn), values: &Values<'_>) -> Result<i128, Reason> {
        let value = &values[*column];
        let millis = match (value, &time.format) {
            (Value::Text(text), format) if !self.typed || time.format_named => format.parse(text),
            (Value::Unsigned(number), TimeFormat::Millis) => Some(i128::from(*number)),
            (Value::Negative(number), TimeFormat::Millis) => Some(i128::from(*number)),
            // The parser returns JSON integers beyond 64 bits as floats. They are out of range, not of the wrong type.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the cast saturates, and the value is out of range either way"
            )]
            (Value::Float(number), TimeFormat::Millis) if number.abs() >= 1e18 => Some(*number as i128),
            (Value::Unsigned(number), TimeFormat::Seconds) => Some(i128::from(*number) * 1000),
            (Value::Negative(number), TimeFormat::Seconds) => Some(i128::from(*number) * 1000),
            // The shortest decimal text of a float is its text in the input.
            (Value::Float(number), format @ TimeFormat::Seconds) => format.parse(&number.to_string()),
            (Value::Unsigned(number), format @ TimeFormat::Pattern(_)) => format.parse(&number.to_string()),
            _ => None,
        };
        millis.ok_or_else(|| self.wrong(*column, time.format.expected(), value))
    }

    pub(super) fn missing(&self, column: usize) -> Reason {
        Reason::Missing { field: self.columns[column].clone() }
    }

    /// The reason of a rejection: the value of a column is not `expected`.
    pub(super) fn wrong(&self, column: usize, expected: &'static str, value: &Value<'_>) -> Reason {
        match value {
            Value::Absent => self.missing(column),
            Value::NotUtf8 => Reason::NotUtf8,
            other => Reason::WrongType { field: self.columns[column].clone(), expected, found: other.describe() },
        }
    }
}
