use std::fmt::Write;

use schema::{Position, Reason, check_name, check_ts};

use crate::columns::TimeColumn;
use crate::time::TimeFormat;
use crate::value::Value;
use crate::{Filter, InputOptions, OpenError, RawEvent};

/// Columns that one record is read into. They live on the stack, hence a limit.
pub(crate) const MAX_COLUMNS: usize = 16;

/// What is read of a record, one value for each of [`RecordMapping::sources`].
pub(crate) type Values<'a> = [Value<'a>; MAX_COLUMNS];

/// How the values of a record become an event; the same for every format.
///
/// Fields are judged in the order user, item, action, ts, `dwell_ms`, then the filters in theirs: a row without a
/// user is counted as one without a user, whether or not it would have been filtered. The first reason is given.
pub(crate) struct RecordMapping {
    /// The columns to read, each once.
    pub(crate) sources: Vec<String>,
    user: usize,
    item: usize,
    action: Action,
    ts: (usize, TimeColumn),
    dwell_ms: Option<(usize, TimeColumn)>,
    room: Option<usize>,
    filters: Vec<(usize, Filter)>,
    /// Whether the format tells numbers from text, so that text is no number unless the mapping says so.
    typed: bool,
}

enum Action {
    Column(usize),
    Constant(String),
}

/// Decimal text of names that are integers in JSON.
#[derive(Default)]
pub(crate) struct Scratch {
    user: String,
    item: String,
    room: String,
}

impl RecordMapping {
    /// A plan for `options`. Without `dwell_ms` and `room` those columns are not read.
    pub(crate) fn new(options: &InputOptions, typed: bool, dwell_ms: bool, room: bool) -> Result<Self, OpenError> {
        let columns = &options.columns;
        let mut sources = Vec::new();
        let mut index = |source: &str| {
            sources.iter().position(|known| known == source).unwrap_or_else(|| {
                sources.push(source.to_owned());
                sources.len() - 1
            })
        };
        let plan = RecordMapping {
            user: index(&columns.user),
            item: index(&columns.item),
            action: match &options.action {
                Some(action) => Action::Constant(action.clone()),
                None => Action::Column(index(&columns.action)),
            },
            ts: (index(&columns.ts.source), columns.ts.clone()),
            dwell_ms: dwell_ms.then(|| (index(&columns.dwell_ms.source), columns.dwell_ms.clone())),
            room: room.then(|| index(&columns.room.0)),
            filters: options.filters.iter().map(|filter| (index(filter.column()), filter.clone())).collect(),
            sources,
            typed,
        };
        if plan.sources.len() > MAX_COLUMNS {
            return Err(OpenError::TooManyColumns { given: plan.sources.len(), limit: MAX_COLUMNS });
        }
        Ok(plan)
    }

    pub(crate) fn event<'v>(
        &'v self,
        values: &'v Values<'_>,
        scratch: &'v mut Scratch,
        position: Position,
    ) -> Result<RawEvent<'v>, Reason> {
        let user = self.name("user", self.user, values, &mut scratch.user)?;
        let item = self.name("item", self.item, values, &mut scratch.item)?;
        let action = match &self.action {
            Action::Constant(action) => action,
            Action::Column(column) => match &values[*column] {
                Value::Text(text) if text.is_empty() => return Err(self.missing(*column)),
                Value::Text(text) => {
                    check_name("action", text)?;
                    text.as_ref()
                }
                other => return Err(self.wrong(*column, "a string", other)),
            },
        };
        let ts = check_ts(self.millis(&self.ts, values)?)?;
        let dwell_ms = match &self.dwell_ms {
            Some((column, _)) if matches!(values[*column], Value::Absent | Value::Null) => None,
            Some(timed @ (column, time)) => Some(
                i64::try_from(self.millis(timed, values)?)
                    .map_err(|_| self.wrong(*column, time.format.expected(), &values[*column]))?,
            ),
            None => None,
        };
        for (column, filter) in &self.filters {
            if !filter.passes(&values[*column]) {
                return Err(Reason::Filtered { condition: filter.given().to_owned() });
            }
        }
        // What is no name is no room: the event itself is as good without.
        let room = self.room.and_then(|column| self.name("room", column, values, &mut scratch.room).ok());
        Ok(RawEvent { user, item, action, ts, dwell_ms, room, position, stamped: None })
    }

    fn name<'v>(
        &self,
        field: &'static str,
        column: usize,
        values: &'v Values<'_>,
        scratch: &'v mut String,
    ) -> Result<&'v str, Reason> {
        let number: &dyn std::fmt::Display = match &values[column] {
            Value::Text(text) => {
                check_name(field, text)?;
                return Ok(text);
            }
            Value::Unsigned(number) => number,
            Value::Negative(number) => number,
            other => return Err(self.wrong(column, "a string or an integer", other)),
        };
        scratch.clear();
        write!(scratch, "{number}").expect("a String takes everything");
        Ok(scratch)
    }

    fn millis(&self, (column, time): &(usize, TimeColumn), values: &Values<'_>) -> Result<i128, Reason> {
        let value = &values[*column];
        let millis = match (value, &time.format) {
            (Value::Text(text), format) if !self.typed || time.format_named => format.parse(text),
            (Value::Unsigned(number), TimeFormat::Millis) => Some(i128::from(*number)),
            (Value::Negative(number), TimeFormat::Millis) => Some(i128::from(*number)),
            // Beyond 64 bits JSON's integers arrive as floats; too large is what is wrong with them.
            #[expect(clippy::cast_possible_truncation, reason = "saturates, and is out of range either way")]
            (Value::Float(number), TimeFormat::Millis) if number.abs() >= 1e18 => Some(*number as i128),
            (Value::Unsigned(number), TimeFormat::Seconds) => Some(i128::from(*number) * 1000),
            (Value::Negative(number), TimeFormat::Seconds) => Some(i128::from(*number) * 1000),
            // The shortest decimal text of a float is what the input said.
            (Value::Float(number), format @ TimeFormat::Seconds) => format.parse(&number.to_string()),
            (Value::Unsigned(number), format @ TimeFormat::Pattern(_)) => format.parse(&number.to_string()),
            _ => None,
        };
        millis.ok_or_else(|| self.wrong(*column, time.format.expected(), value))
    }

    fn missing(&self, column: usize) -> Reason {
        Reason::Missing { field: self.sources[column].clone() }
    }

    fn wrong(&self, column: usize, expected: &'static str, value: &Value<'_>) -> Reason {
        match value {
            Value::Absent => self.missing(column),
            Value::NotUtf8 => Reason::NotUtf8,
            other => Reason::WrongType { field: self.sources[column].clone(), expected, found: other.describe() },
        }
    }
}
