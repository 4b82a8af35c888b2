use schema::{Event, Position, Reason, WATCH, check_ts};

use super::columns::TimeColumn;
use super::fields::Fields;
use super::{Layout, Mapping, Received, Record};
use crate::text::{Span, Text};
use crate::values::Value;
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

    fn load<'a>(slot: &'a Slot, text: &'a Text) -> RawEvent<'a> {
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
    fields: Fields,
    user: usize,
    item: usize,
    action: Action,
    ts: (usize, TimeColumn),
    dwell_ms: Option<(usize, TimeColumn)>,
    room: Option<usize>,
    filters: Vec<(usize, Filter)>,
}

enum Action {
    Column(usize),
    Constant(String),
}

/// Decimal text of names that are numbers in JSON.
#[derive(Default)]
pub struct Scratch {
    user: String,
    item: String,
    action: String,
    room: String,
}

impl Mapping<Event> for EventMapping {
    type Scratch = Scratch;

    const COLUMNS_ADVICE: &str = "name the columns with --columns \
                                  user=user_id,item=item_id,action=behavior,ts=timestamp:s, and use --action if all \
                                  rows have the same action and no column for it";

    fn new(options: &InputOptions, source_name: &str, layout: Layout<'_>) -> Result<Self, OpenError> {
        let header = layout.header();
        let InputOptions { columns: names, action, filters, .. } = options;
        let (room, room_is_named) = &names.room;
        // JSON fields may be absent; of a CSV file the columns in its header are read.
        let exists = |column: &String| header.is_none_or(|header| header.contains(column));
        let reads_dwell_ms = names.dwell_ms.named || exists(&names.dwell_ms.source);
        let reads_room = match header {
            None => options.rooms,
            Some(_) => *room_is_named || (options.rooms && exists(room)),
        };
        let mut fields = Fields::new(header.is_none(), &options.nulls);
        let mut index = |column: &str| fields.index(column);
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
            fields,
        };
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
        &self.fields.columns
    }

    fn map<'v>(
        &'v self,
        values: &'v [Value<'_>],
        scratch: &'v mut Scratch,
        Received { position, stamped, .. }: Received<'v>,
    ) -> Result<RawEvent<'v>, Reason> {
        let fields = &self.fields;
        let user = fields.name("user", self.user, values, &mut scratch.user)?;
        let item = fields.name("item", self.item, values, &mut scratch.item)?;
        let action = match &self.action {
            Action::Constant(action) => action,
            Action::Column(column) => match &values[*column] {
                Value::Text(text) if text.is_empty() => return Err(fields.missing(*column)),
                _ => fields.name("action", *column, values, &mut scratch.action)?,
            },
        };
        let ts = check_ts(fields.millis(&self.ts, values)?)?;
        // Only the level of a watch depends on the duration. Of other events it may be anything.
        let dwell_ms = match &self.dwell_ms {
            Some(duration) if action == WATCH => self.dwell_ms(duration, values)?,
            Some(duration) => self.dwell_ms(duration, values).unwrap_or_default(),
            None => None,
        };
        for (column, filter) in &self.filters {
            if !filter.passes(&values[*column]) {
                return Err(Reason::Filtered { condition: filter.given().to_owned() });
            }
        }
        // The room is optional: an event with an invalid room has none.
        let room = self.room.and_then(|column| fields.name("room", column, values, &mut scratch.room).ok());
        Ok(RawEvent { user, item, action, ts, dwell_ms, room, position, stamped })
    }
}

impl EventMapping {
    fn dwell_ms(&self, duration: &(usize, TimeColumn), values: &[Value<'_>]) -> Result<Option<i64>, Reason> {
        let (column, time) = duration;
        let is_absent = match &values[*column] {
            Value::Absent | Value::Null => true,
            Value::Text(text) => text.is_empty() || self.fields.stand_for_nothing(text),
            _ => false,
        };
        if is_absent {
            return Ok(None);
        }
        let millis = i64::try_from(self.fields.millis(duration, values)?);
        Ok(Some(millis.map_err(|_| self.fields.wrong(*column, time.expected(), &values[*column]))?))
    }
}
