use std::fmt::{Display, Write};

use schema::{Event, Position, Reason, check_name, check_ts};

use super::columns::TimeColumn;
use super::time::TimeFormat;
use super::{Mapping, Received, Record};
use crate::batch::{Span, Text};
use crate::formats::{MAX_COLUMNS, Value, Values};
use crate::{Filter, InputOptions, OpenError};

/// An event as a source reads it: names and timestamp are valid, the action is not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawEvent<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// Name of the item.
    pub item: &'a str,
    /// The action, as the input spells it.
    pub action: &'a str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// Duration of a `watch`, in milliseconds.
    pub dwell_ms: Option<i64>,
    /// Live room, if the input has a valid name of one.
    pub room: Option<&'a str>,
    /// Position in the source.
    pub position: Position,
    /// Time of the record in its topic, in milliseconds. An event too far after it is in the future.
    pub stamped: Option<u64>,
}

impl<'a> RawEvent<'a> {
    /// An event without optional fields.
    pub fn new(user: &'a str, item: &'a str, action: &'a str, ts: u64, position: Position) -> Self {
        RawEvent { user, item, action, ts, dwell_ms: None, room: None, position, stamped: None }
    }
}

/// An event in a batch.
#[derive(Debug)]
pub struct Slot {
    user: Span,
    item: Span,
    action: Span,
    ts: u64,
    dwell_ms: Option<i64>,
    room: Option<Span>,
    position: Position,
    stamped: Option<u64>,
}

impl Record for Event {
    type Ref<'a> = RawEvent<'a>;
    type Slot = Slot;
    type Mapping = EventMapping;

    fn store(event: RawEvent<'_>, text: &mut Text) -> Slot {
        Slot {
            user: text.push(event.user),
            item: text.push(event.item),
            action: text.push(event.action),
            ts: event.ts,
            dwell_ms: event.dwell_ms,
            room: event.room.map(|room| text.push(room)),
            position: event.position,
            stamped: event.stamped,
        }
    }

    fn load<'a>(slot: &Slot, text: &'a Text) -> RawEvent<'a> {
        RawEvent {
            user: text.get(slot.user),
            item: text.get(slot.item),
            action: text.get(slot.action),
            ts: slot.ts,
            dwell_ms: slot.dwell_ms,
            room: slot.room.map(|room| text.get(room)),
            position: slot.position,
            stamped: slot.stamped,
        }
    }

    fn position(slot: &Slot) -> Position {
        slot.position
    }
}

/// Maps values to an event.
///
/// Fields are checked in the order user, item, action, ts, `dwell_ms`, then the filters in their order, and the first error
/// is the reason. So a record without a user has that reason, whether or not a filter would reject it.
pub struct EventMapping {
    columns: Vec<String>,
    user: usize,
    item: usize,
    action: Action,
    ts: (usize, TimeColumn),
    dwell_ms: Option<(usize, TimeColumn)>,
    room: Option<usize>,
    filters: Vec<(usize, Filter)>,
    /// Whether the values have types. Text is then not a number, unless the user named a format.
    typed: bool,
}

enum Action {
    Column(usize),
    Constant(String),
}

/// Decimal text of names that are integers in JSON.
#[derive(Default)]
pub struct Scratch {
    user: String,
    item: String,
    room: String,
}

impl Mapping<Event> for EventMapping {
    type Scratch = Scratch;

    fn new(options: &InputOptions, source_name: &str, header: Option<&[String]>) -> Result<Self, OpenError> {
        let InputOptions { columns: names, action, filters, .. } = options;
        let (room, room_is_named) = &names.room;
        // JSON fields may be absent; of a CSV file the columns in its header are read.
        let exists = |column: &String| header.is_none_or(|header| header.contains(column));
        let reads_dwell_ms = names.dwell_ms.named || exists(&names.dwell_ms.source);
        let reads_room = match header {
            None => options.rooms,
            Some(_) => *room_is_named || (options.rooms && exists(room)),
        };
        let mut columns = Vec::new();
        let mut index = |column: &str| {
            columns.iter().position(|known| known == column).unwrap_or_else(|| {
                columns.push(column.to_owned());
                columns.len() - 1
            })
        };
        let mapping = EventMapping {
            user: index(&names.user),
            item: index(&names.item),
            action: match action {
                Some(action) => Action::Constant(action.clone()),
                None => Action::Column(index(&names.action)),
            },
            ts: (index(&names.ts.source), names.ts.clone()),
            dwell_ms: reads_dwell_ms.then(|| (index(&names.dwell_ms.source), names.dwell_ms.clone())),
            room: reads_room.then(|| index(room)),
            filters: filters.iter().map(|filter| (index(filter.column()), filter.clone())).collect(),
            columns,
            typed: header.is_none(),
        };
        if mapping.columns.len() > MAX_COLUMNS {
            return Err(OpenError::TooManyColumns { given: mapping.columns.len(), limit: MAX_COLUMNS });
        }
        match (action, header) {
            (Some(action), Some(header)) if header.contains(&names.action) => Err(OpenError::ActionTwice {
                source_name: source_name.to_owned(),
                action: action.clone(),
                column: names.action.clone(),
            }),
            _ => Ok(mapping),
        }
    }

    fn columns(&self) -> &[String] {
        &self.columns
    }

    fn map<'v>(
        &'v self,
        values: &'v Values<'_>,
        scratch: &'v mut Scratch,
        Received { position, stamped }: Received,
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
        // The room is optional: an event with an invalid room has none.
        let room = self.room.and_then(|column| self.name("room", column, values, &mut scratch.room).ok());
        Ok(RawEvent { user, item, action, ts, dwell_ms, room, position, stamped })
    }
}

impl EventMapping {
    fn name<'v>(
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

    fn millis(&self, (column, time): &(usize, TimeColumn), values: &Values<'_>) -> Result<i128, Reason> {
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

    fn missing(&self, column: usize) -> Reason {
        Reason::Missing { field: self.columns[column].clone() }
    }

    fn wrong(&self, column: usize, expected: &'static str, value: &Value<'_>) -> Reason {
        match value {
            Value::Absent => self.missing(column),
            Value::NotUtf8 => Reason::NotUtf8,
            other => Reason::WrongType { field: self.columns[column].clone(), expected, found: other.describe() },
        }
    }
}
