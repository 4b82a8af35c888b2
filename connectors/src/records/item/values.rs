//! Values of the fields of a catalogue record.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schema::{
    Availability, FieldValue, ItemField, MAX_CATEGORIES, MAX_CATEGORY_LEVELS, MAX_PRICE, MAX_ROOMS, MAX_TAGS,
    MAX_TEXT_BYTES, PRICE_DECIMALS, RESERVED_TAGS, Reason, canonical_category, check_ts, shortened, shown,
};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::Layout;
use super::super::columns::TimeColumn;
use super::super::fields::Fields;
use crate::InputOptions;
use crate::formats::json::leaf;
use crate::values::{Value, scaled};

/// Group of the tags that are given as a list.
const DEFAULT_GROUP: &str = "default";

/// Separates the values of a list in a cell of CSV.
const SEPARATOR: char = '|';

/// What a record states by a value.
#[derive(Clone, Copy)]
pub(super) enum Stated<'v> {
    /// Nothing: the field is absent.
    Not,
    /// That the field has no value.
    Nothing,
    /// A value.
    Value(&'v Value<'v>),
}

/// Reads values of fields.
pub(super) struct ValueReader {
    pub(super) fields: Fields,
    /// Whether values are JSON: a word for no value is text, and booleans are no text.
    is_json: bool,
    /// Whether values are cells of CSV: a list is separated by [`SEPARATOR`], and an empty cell states nothing.
    is_csv: bool,
    /// Whether blanks around a value in a cell are removed.
    trims: bool,
    tag_groups: Vec<String>,
}

impl ValueReader {
    pub(super) fn new(fields: Fields, layout: Layout<'_>, options: &InputOptions) -> Self {
        ValueReader {
            fields,
            is_json: matches!(layout, Layout::Json),
            is_csv: matches!(layout, Layout::Csv(_)),
            trims: options.trim,
            tag_groups: options.tag_groups.clone(),
        }
    }

    pub(super) fn stated<'v>(&self, value: &'v Value<'_>) -> Result<Stated<'v>, Reason> {
        Ok(match value {
            Value::Absent => Stated::Not,
            Value::Null => Stated::Nothing,
            Value::Text(text) if text.is_empty() && self.is_csv => Stated::Not,
            Value::Text(text) if text.is_empty() => Stated::Nothing,
            Value::Text(text) if !self.is_json && self.fields.stand_for_nothing(text) => Stated::Nothing,
            Value::NotUtf8 => return Err(Reason::NotUtf8),
            value => Stated::Value(value),
        })
    }

    /// The value of a field of which something is stated; `None` if it is that there is none (an empty list).
    pub(super) fn value(
        &self,
        field: ItemField,
        time: &(usize, TimeColumn),
        values: &[Value<'_>],
    ) -> Result<Option<FieldValue>, Reason> {
        let column = time.0;
        let value = &values[column];
        let wrong = |expected| self.fields.wrong(column, expected, value);
        let name = field.name().unwrap_or("tags");
        Ok(Some(match field {
            ItemField::Kind | ItemField::Group | ItemField::Host | ItemField::Brand => {
                FieldValue::Text(self.name(name, column, value)?.into())
            }
            ItemField::Title | ItemField::Image | ItemField::Url => match value {
                Value::Text(text) => FieldValue::Text(checked_text(name, text)?.into()),
                _ => return Err(wrong("text")),
            },
            ItemField::Category => {
                return self.set((name, MAX_CATEGORIES), column, value, |value| self.category(column, value));
            }
            ItemField::Room => {
                return self.set((name, MAX_ROOMS), column, value, |value| self.name(name, column, value));
            }
            ItemField::Price => FieldValue::Number(
                price(value).ok_or_else(|| wrong("a number from 0 to 10^11 with at most four decimals"))?,
            ),
            ItemField::Currency => match value {
                Value::Text(text) if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                    FieldValue::Text(text.to_ascii_uppercase().into())
                }
                _ => return Err(wrong("three letters")),
            },
            ItemField::Availability => match value {
                Value::Text(word) => FieldValue::Availability(
                    Availability::parse(word).ok_or_else(|| Reason::UnknownAvailability { word: shown(word) })?,
                ),
                _ => return Err(wrong("a word such as in_stock")),
            },
            ItemField::From | ItemField::Until => FieldValue::Number(
                check_ts(self.fields.millis(time, values)?)
                    .map_err(|_| wrong("a time from 1970 on, below 2^53 milliseconds"))?,
            ),
            ItemField::Tags(_) => return self.tag_set(column, value),
        }))
    }

    /// The availability that `available` is another spelling of.
    pub(super) fn available(&self, column: usize, value: &Value<'_>) -> Result<Option<FieldValue>, Reason> {
        let availability = if self.truth(column, value)? { Availability::InStock } else { Availability::OutOfStock };
        Ok(Some(FieldValue::Availability(availability)))
    }

    /// A boolean; text in a file without booleans.
    pub(super) fn truth(&self, column: usize, value: &Value<'_>) -> Result<bool, Reason> {
        match value {
            Value::Bool(truth) => Ok(*truth),
            Value::Text(text) if !self.is_json && text.eq_ignore_ascii_case("true") => Ok(true),
            Value::Text(text) if !self.is_json && text.eq_ignore_ascii_case("false") => Ok(false),
            value => Err(self.fields.wrong(column, "true or false", value)),
        }
    }

    /// The tags that a column states, by group: a list, or an object of lists.
    pub(super) fn tags(&self, column: usize, stated: Stated<'_>) -> Result<BTreeMap<u8, Option<FieldValue>>, Reason> {
        let mut tags = BTreeMap::new();
        let of_default = match stated {
            Stated::Not => return Ok(tags),
            Stated::Nothing => None,
            Stated::Value(Value::Object(json)) => {
                each_member(json, |group, value| {
                    let group = self.tag_group(group)?;
                    tags.insert(group, self.tag_set(column, value)?);
                    Ok(())
                })?;
                return Ok(tags);
            }
            Stated::Value(value) => self.tag_set(column, value)?,
        };
        match self.tag_group(DEFAULT_GROUP) {
            Ok(group) => drop(tags.insert(group, of_default)),
            // No tags of a group that does not exist.
            Err(_) if of_default.is_none() => {}
            Err(reason) => return Err(reason),
        }
        Ok(tags)
    }

    /// The tags of one group.
    pub(super) fn tag_set(&self, column: usize, value: &Value<'_>) -> Result<Option<FieldValue>, Reason> {
        let Stated::Value(value) = self.stated(value)? else { return Ok(None) };
        self.set(("tags", MAX_TAGS), column, value, |value| {
            let tag = self.name("tags", column, value)?;
            let is_reserved = RESERVED_TAGS.iter().any(|prefix| tag.starts_with(prefix));
            if is_reserved { Err(Reason::ReservedTag { tag: shown(&tag) }) } else { Ok(tag) }
        })
    }

    fn tag_group(&self, name: &str) -> Result<u8, Reason> {
        let group = self.tag_groups.iter().position(|known| known == name);
        group
            .and_then(|group| u8::try_from(group).ok())
            .ok_or_else(|| Reason::UnknownTagGroup { group: shown(name), known: self.tag_groups.clone() })
    }

    fn name(&self, field: &'static str, column: usize, value: &Value<'_>) -> Result<String, Reason> {
        self.fields.name_of(field, column, value, &mut String::new()).map(str::to_owned)
    }

    /// The canonical form of a category. An integer is the id of one, as its decimal text.
    fn category(&self, column: usize, value: &Value<'_>) -> Result<String, Reason> {
        let path = match value {
            Value::Text(path) => Cow::Borrowed(path.as_ref()),
            value => Cow::Owned(self.name("category", column, value)?),
        };
        let canonical = canonical_category(&path).filter(|path| path.matches('>').count() < MAX_CATEGORY_LEVELS);
        let canonical =
            canonical.ok_or_else(|| self.fields.wrong(column, "a path of 1 to 8 levels, none of them empty", value))?;
        checked_text("category", &canonical)?;
        Ok(canonical)
    }

    /// The set of the values in a list, or of one value. `read` reads one. `None`: there are none.
    fn set(
        &self,
        (field, limit): (&'static str, usize),
        column: usize,
        value: &Value<'_>,
        read: impl Fn(&Value<'_>) -> Result<String, Reason>,
    ) -> Result<Option<FieldValue>, Reason> {
        let mut set = BTreeSet::new();
        let mut add = |value: &Value<'_>| {
            set.insert(read(value)?);
            if set.len() > limit { Err(Reason::TooManyValues { field, limit }) } else { Ok(()) }
        };
        match value {
            Value::Array(json) => each_element(json, add)?,
            Value::Object(_) => return Err(self.fields.wrong(column, "text or a list", value)),
            Value::Text(text) if self.is_csv => {
                for part in text.split(SEPARATOR) {
                    let part = if self.trims { part.trim() } else { part };
                    if !part.is_empty() {
                        add(&Value::Text(part.into()))?;
                    }
                }
            }
            value => add(value)?,
        }
        Ok(FieldValue::set(set))
    }
}

/// A price in ten-thousandths, from a number or its text.
fn price(value: &Value<'_>) -> Option<u64> {
    let text = match value {
        Value::Text(text) | Value::Number(text) => Cow::Borrowed(text.as_ref()),
        Value::Integer(number) => Cow::Owned(number.to_string()),
        _ => return None,
    };
    let price = scaled(&text, PRICE_DECIMALS.into()).filter(|price| price.is_whole)?;
    u64::try_from(price.floor).ok().filter(|price| *price <= MAX_PRICE)
}

/// A text that is not too long.
fn checked_text<'t>(field: &'static str, text: &'t str) -> Result<&'t str, Reason> {
    match text.len() {
        ..=MAX_TEXT_BYTES => Ok(text),
        bytes => Err(Reason::LongText { field, bytes }),
    }
}

/// Calls `each` with the elements of an array until one is rejected. Nothing is collected, however long it is.
fn each_element(json: &str, each: impl FnMut(&Value<'_>) -> Result<(), Reason>) -> Result<(), Reason> {
    serde_json::Deserializer::from_str(json).deserialize_seq(Elements(each)).map_err(|error| malformed(&error))?
}

/// The same for the members of an object.
fn each_member(json: &str, each: impl FnMut(&str, &Value<'_>) -> Result<(), Reason>) -> Result<(), Reason> {
    serde_json::Deserializer::from_str(json).deserialize_map(Members(each)).map_err(|error| malformed(&error))?
}

fn malformed(error: &serde_json::Error) -> Reason {
    Reason::Malformed { detail: shortened(&error.to_string(), 200) }
}

struct Elements<F>(F);

impl<'a, F: FnMut(&Value<'_>) -> Result<(), Reason>> Visitor<'a> for Elements<F> {
    type Value = Result<(), Reason>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut array: A) -> Result<Self::Value, A::Error> {
        while let Some(json) = array.next_element::<&'a RawValue>()? {
            let value = leaf(json.get()).map_err(A::Error::custom)?;
            if let Err(reason) = (self.0)(&value) {
                while array.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }
}

struct Members<F>(F);

impl<'a, F: FnMut(&str, &Value<'_>) -> Result<(), Reason>> Visitor<'a> for Members<F> {
    type Value = Result<(), Reason>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut object: A) -> Result<Self::Value, A::Error> {
        while let Some((key, json)) = object.next_entry::<String, &'a RawValue>()? {
            let value = leaf(json.get()).map_err(A::Error::custom)?;
            if let Err(reason) = (self.0)(&key, &value) {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Err(reason));
            }
        }
        Ok(Ok(()))
    }
}
