use std::borrow::Cow;

use schema::{
    Control, ControlScope, MAX_CATEGORY_LEVELS, MAX_TEXT_BYTES, Position, RESERVED_TAGS, Reason, Switch, Wish,
    canonical_category, check_ts, shown,
};

use super::columns::TimeColumn;
use super::control_columns::ControlField;
use super::fields::Fields;
use super::{Layout, Mapping, Received, Record};
use crate::text::{Span, Text};
use crate::values::Value;
use crate::{Filter, InputOptions, OpenError};

/// A kind of record: controls of users. It is read as a [`RawControl`].
#[derive(Debug)]
pub enum ControlRecords {}

/// A control as a source reads it: all of it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawControl<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// What it says.
    pub control: &'a Control,
    /// Id of the record, as its sender gave it. Nothing depends on it.
    pub id: Option<&'a str>,
    /// Position in the source.
    pub position: Position,
    /// Time of the record in its topic, in milliseconds. A record too far after it is in the future.
    pub stamped: Option<u64>,
}

/// A control in a batch.
#[derive(Debug)]
pub struct ControlSlot {
    user: Span,
    ts: u64,
    control: Control,
    id: Option<Span>,
    position: Position,
    stamped: Option<u64>,
}

impl Record for ControlRecords {
    type Ref<'a> = RawControl<'a>;
    type Slot = ControlSlot;
    type Mapping = ControlMapping;

    fn store(record: RawControl<'_>, text: &mut Text) -> ControlSlot {
        let RawControl { user, ts, control, id, position, stamped } = record;
        let (user, id) = (text.push(user), id.map(|id| text.push(id)));
        ControlSlot { user, ts, control: control.clone(), id, position, stamped }
    }

    fn load<'a>(slot: &'a ControlSlot, text: &'a Text) -> RawControl<'a> {
        RawControl {
            user: text.get(slot.user),
            ts: slot.ts,
            control: &slot.control,
            id: slot.id.map(|id| text.get(id)),
            position: slot.position,
            stamped: slot.stamped,
        }
    }

    fn position(slot: &ControlSlot) -> Position {
        slot.position
    }
}

/// Maps values to a control.
///
/// Values are checked in the order user, control, scope, target, `undo`, `ts`, `id`, then the filters in their order, and the
/// first error is the reason.
pub struct ControlMapping {
    fields: Fields,
    /// Whether a word for no value is text, and booleans are no text.
    is_json: bool,
    user: usize,
    control: usize,
    scope: Option<usize>,
    /// Column of the target. `None`: the source has no such column.
    target: Option<usize>,
    undo: Option<usize>,
    ts: (usize, TimeColumn),
    id: Option<usize>,
    filters: Vec<(usize, Filter)>,
}

/// What a record borrows.
pub struct Scratch {
    user: String,
    control: Control,
    id: String,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { user: String::new(), control: Control::Resume, id: String::new() }
    }
}

impl Mapping<ControlRecords> for ControlMapping {
    type Scratch = Scratch;

    const COLUMNS_ADVICE: &str =
        "name the columns with --control-columns user=viewer,control=wish,target=sku,ts=at:s; each record has a time";

    fn new(options: &InputOptions, _source_name: &str, layout: Layout<'_>) -> Result<Self, OpenError> {
        let columns = &options.control_columns;
        let header = layout.header();
        let is_json = matches!(layout, Layout::Json);
        let mut fields = Fields::new(is_json, &options.nulls);
        // JSON fields may be absent. Of a file with columns those that it has are read, and those that the user named.
        let mut optional = |field: ControlField| {
            let TimeColumn { source, named, .. } = columns.column(field);
            let exists = named || header.is_none_or(|header| header.contains(&source));
            exists.then(|| fields.index(&source))
        };
        let (scope, target) = (optional(ControlField::Scope), optional(ControlField::Target));
        let (undo, id) = (optional(ControlField::Undo), optional(ControlField::Id));
        let ts = columns.column(ControlField::Ts);
        Ok(ControlMapping {
            is_json,
            user: fields.index(&columns.column(ControlField::User).source),
            control: fields.index(&columns.column(ControlField::Control).source),
            scope,
            target,
            undo,
            ts: (fields.index(&ts.source), ts),
            id,
            filters: options.filters.iter().map(|filter| (fields.index(filter.column()), filter.clone())).collect(),
            fields,
        })
    }

    fn columns(&self) -> &[String] {
        &self.fields.columns
    }

    fn map<'v>(
        &'v self,
        values: &'v [Value<'_>],
        scratch: &'v mut Scratch,
        Received { position, stamped, .. }: Received<'v>,
    ) -> Result<RawControl<'v>, Reason> {
        let Scratch { user, control, id } = scratch;
        let user = self.fields.name("user", self.user, values, user)?;
        *control = self.control(values)?;
        let ts = self.ts(values, stamped)?;
        let id = match self.value(self.id, values) {
            Some((column, value)) => Some(self.fields.name_of("id", column, value, id)?),
            None => None,
        };
        for (column, filter) in &self.filters {
            if !filter.passes(&values[*column]) {
                return Err(Reason::Filtered { condition: filter.given().to_owned() });
            }
        }
        Ok(RawControl { user, ts, control, id, position, stamped })
    }
}

/// The scope of a `forget` of everything.
const EVERYTHING: &str = "all";

/// The scope that a record gives.
#[derive(Clone, Copy)]
enum Given {
    One(ControlScope),
    Everything,
}

impl Given {
    fn name(self) -> &'static str {
        match self {
            Given::One(scope) => scope.name(),
            Given::Everything => EVERYTHING,
        }
    }
}

impl ControlMapping {
    /// The value of an optional column, with the column. An empty text of JSON is a value, and as a name it is not valid: a
    /// forget of the item `""` is a mistake, not a forget of everything.
    fn value<'v>(&self, column: Option<usize>, values: &'v [Value<'_>]) -> Option<(usize, &'v Value<'v>)> {
        let column = column?;
        match &values[column] {
            Value::Absent | Value::Null => None,
            Value::Text(text) if !self.is_json && self.fields.stand_for_nothing(text) => None,
            value => Some((column, value)),
        }
    }

    fn control(&self, values: &[Value<'_>]) -> Result<Control, Reason> {
        let mut scratch = String::new();
        let word = self.fields.name("control", self.control, values, &mut scratch)?;
        let scope = self.scope(values)?;
        let control = match Wish::ALL.into_iter().find(|wish| wish.name() == word) {
            Some(wish) => Control::Switch { switch: self.switch(wish, scope, values)?, on: true },
            None => match word {
                "forget" => self.forget(scope, values)?,
                "pause" => self.without_target(Control::Pause, scope, values)?,
                "resume" => self.without_target(Control::Resume, scope, values)?,
                "personal_off" => self.without_target(Control::PersonalOff, scope, values)?,
                "personal_on" => self.without_target(Control::PersonalOn, scope, values)?,
                _ => return Err(Reason::UnknownControl { word: shown(word) }),
            },
        };
        if self.is_undone(values)? { control.undone().ok_or(Reason::CannotBeUndone) } else { Ok(control) }
    }

    fn scope(&self, values: &[Value<'_>]) -> Result<Option<Given>, Reason> {
        let Some((column, value)) = self.value(self.scope, values) else { return Ok(None) };
        let mut scratch = String::new();
        let word = self.fields.name_of("scope", column, value, &mut scratch)?;
        if word == EVERYTHING {
            return Ok(Some(Given::Everything));
        }
        let scope = ControlScope::ALL.into_iter().find(|scope| scope.name() == word);
        scope.map(|scope| Some(Given::One(scope))).ok_or_else(|| Reason::UnknownScope { word: shown(word) })
    }

    fn is_undone(&self, values: &[Value<'_>]) -> Result<bool, Reason> {
        match self.value(self.undo, values) {
            None => Ok(false),
            Some((_, Value::Bool(truth))) => Ok(*truth),
            Some((_, Value::Text(text))) if !self.is_json && text.eq_ignore_ascii_case("true") => Ok(true),
            Some((_, Value::Text(text))) if !self.is_json && text.eq_ignore_ascii_case("false") => Ok(false),
            Some((column, value)) => Err(self.fields.wrong(column, "true or false", value)),
        }
    }

    fn switch(&self, wish: Wish, scope: Option<Given>, values: &[Value<'_>]) -> Result<Switch, Reason> {
        let not_allowed = |scope| Reason::ScopeNotAllowed { control: wish.name(), scope };
        let scope = match scope.unwrap_or(Given::One(ControlScope::Item)) {
            Given::Everything => return Err(not_allowed(EVERYTHING)),
            Given::One(scope) if !wish.allows(scope) => return Err(not_allowed(scope.name())),
            Given::One(scope) => scope,
        };
        let no_target = || Reason::NoTarget { control: wish.name(), scope: scope.name() };
        let (column, value) = self.value(self.target, values).ok_or_else(no_target)?;
        let target = match scope {
            ControlScope::Category => self.category(column, value)?,
            _ => self.target(column, value)?,
        };
        if scope == ControlScope::Tag && RESERVED_TAGS.iter().any(|prefix| target.starts_with(prefix)) {
            return Err(Reason::ReservedTagTarget { tag: shown(&target) });
        }
        Ok(Switch { wish, scope, target: target.into() })
    }

    /// A forget of one item, or of everything, which cannot be undone: so it has to be said, and a target that was lost on the way
    /// does not say it.
    fn forget(&self, scope: Option<Given>, values: &[Value<'_>]) -> Result<Control, Reason> {
        match scope {
            Some(Given::Everything) => self.without_target(Control::Forget { item: None }, None, values),
            Some(Given::One(scope)) if scope != ControlScope::Item => {
                Err(Reason::ForgetNeedsItems { scope: scope.name() })
            }
            _ => {
                let no_target = || Reason::NoTarget { control: "forget", scope: ControlScope::Item.name() };
                let (column, value) = self.value(self.target, values).ok_or_else(no_target)?;
                Ok(Control::Forget { item: Some(self.target(column, value)?.into()) })
            }
        }
    }

    fn without_target(&self, control: Control, scope: Option<Given>, values: &[Value<'_>]) -> Result<Control, Reason> {
        if let Some(scope) = scope {
            return Err(Reason::ScopeNotAllowed { control: control.name(), scope: scope.name() });
        }
        match self.value(self.target, values) {
            Some(_) => Err(Reason::TargetNotAllowed { control: control.name() }),
            None => Ok(control),
        }
    }

    fn target(&self, column: usize, value: &Value<'_>) -> Result<String, Reason> {
        self.fields.name_of("target", column, value, &mut String::new()).map(str::to_owned)
    }

    /// A category as in a record of the catalogue, where an integer is the id of one.
    fn category(&self, column: usize, value: &Value<'_>) -> Result<String, Reason> {
        let path = match value {
            Value::Text(path) => Cow::Borrowed(path.as_ref()),
            value => Cow::Owned(self.target(column, value)?),
        };
        let canonical = canonical_category(&path).filter(|path| path.matches('>').count() < MAX_CATEGORY_LEVELS);
        let canonical =
            canonical.ok_or_else(|| self.fields.wrong(column, "a path of 1 to 8 levels, none of them empty", value))?;
        match canonical.len() {
            ..=MAX_TEXT_BYTES => Ok(canonical),
            bytes => Err(Reason::LongText { field: "target", bytes }),
        }
    }

    /// The time of the record, or of its topic. No other time would be right: it decides which events the control is about.
    fn ts(&self, values: &[Value<'_>], stamped: Option<u64>) -> Result<u64, Reason> {
        if self.value(Some(self.ts.0), values).is_some() {
            return check_ts(self.fields.millis(&self.ts, values)?);
        }
        let ts = stamped.ok_or_else(|| self.fields.missing(self.ts.0))?;
        check_ts(ts.into())
    }
}
