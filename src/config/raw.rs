//! The raw configuration: values and their places, before any rule is applied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, one_line};

/// Keys and values of a section.
pub(super) type Table = BTreeMap<String, Value>;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Value as it was written, on one line.
    pub(super) given: String,
    /// Place of its key.
    pub(super) origin: Origin,
    /// Value of an earlier layer that this one overrides. It is checked too.
    pub(super) covered: Option<Box<Value>>,
}

/// A TOML value, as far as rules distinguish it.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Integer(i64),
    Boolean(bool),
    Text(String),
    Array(Vec<Kind>),
    Table(Table),
    /// A float, a date or an integer beyond 64 bits: no key takes one.
    Other,
}

impl Value {
    /// The value of `spanned`, a part of `text`; `origin` converts positions in `text` into places.
    pub(super) fn new(
        text: &str,
        spanned: &Spanned<DeValue<'_>>,
        at: Origin,
        origin: &dyn Fn(usize) -> Origin,
    ) -> Self {
        let given = match spanned.get_ref() {
            DeValue::Table(_) => "a table".into(),
            _ => one_line(&text[spanned.span()]),
        };
        Value { kind: kind(text, spanned.get_ref(), origin), given, origin: at, covered: None }
    }

    /// Shows the keys of a table in messages, if it is one. No key may be for a secret.
    pub(super) fn show_keys(&mut self) {
        if let Kind::Table(entries) = &self.kind {
            // The rest would be cut off.
            let keys = entries.iter().take(8).map(|(key, value)| format!("{} = {}", dotted("", key), value.given));
            self.given = one_line(&format!("{{{}}}", keys.collect::<Vec<_>>().join(", ")));
        }
    }

    /// A section.
    pub(super) fn table(entries: Table, origin: Origin) -> Self {
        Value { kind: Kind::Table(entries), given: "a table".into(), origin, covered: None }
    }

    /// A word without quotes, which only the command line accepts.
    pub(super) fn word(text: &str, origin: Origin) -> Self {
        Value { kind: Kind::Text(text.into()), given: one_line(&format!("\"{text}\"")), origin, covered: None }
    }
}

/// The keys of `entries`, a part of `text`. Each value's origin is the place of its key.
pub(super) fn table(text: &str, entries: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) -> Table {
    let value = |key: Range<usize>, value: &Spanned<DeValue<'_>>| Value::new(text, value, origin(key.start), origin);
    entries.iter().map(|(key, entry)| (key.get_ref().to_string(), value(key.span(), entry))).collect()
}

fn kind(text: &str, value: &DeValue<'_>, origin: &dyn Fn(usize) -> Origin) -> Kind {
    match value {
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or(Kind::Other, Kind::Integer)
        }
        DeValue::String(string) => Kind::Text(string.to_string()),
        DeValue::Array(items) => Kind::Array(items.iter().map(|item| kind(text, item.get_ref(), origin)).collect()),
        DeValue::Table(entries) => Kind::Table(table(text, entries, origin)),
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Float(_) | DeValue::Datetime(_) => Kind::Other,
    }
}

/// `section.key` as TOML writes it; an empty section is the top of the file.
pub(super) fn dotted(section: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare { Cow::Borrowed(key) } else { Cow::Owned(format!("\"{}\"", key.escape_default())) };
    if section.is_empty() { key.into_owned() } else { format!("{section}.{key}") }
}
