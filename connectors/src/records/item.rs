mod values;

use schema::{ItemField, Position, Reason, Statement, check_name, check_ts, listed, shown};

use self::values::{Stated, ValueReader};
use super::columns::TimeColumn;
use super::fields::Fields;
use super::item_columns::Target;
use super::{Layout, Mapping, Received, Record};
use crate::text::{Span, Text};
use crate::values::Value;
use crate::{Filter, InputOptions, ItemColumns, OpenError};

/// A kind of record: what is stated of an item of the catalogue. It is read as a [`RawItem`].
#[derive(Debug)]
pub enum CatalogueRecord {}

/// A catalogue record as a source reads it: all of it is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawItem<'a> {
    /// Name of the item.
    pub item: &'a str,
    /// Milliseconds since the Unix epoch.
    pub ts: u64,
    /// What is stated. The fields are in their order.
    pub statement: &'a Statement,
    /// Position in the source.
    pub position: Position,
    /// Time of the record in its topic, in milliseconds. A record too far after it is in the future.
    pub stamped: Option<u64>,
}

/// A catalogue record in a batch.
#[derive(Debug)]
pub struct ItemSlot {
    item: Span,
    ts: u64,
    statement: Statement,
    position: Position,
    stamped: Option<u64>,
}

impl Record for CatalogueRecord {
    type Ref<'a> = RawItem<'a>;
    type Slot = ItemSlot;
    type Mapping = ItemMapping;

    fn store(record: RawItem<'_>, text: &mut Text) -> ItemSlot {
        let RawItem { item, ts, statement, position, stamped } = record;
        ItemSlot { item: text.push(item), ts, statement: statement.clone(), position, stamped }
    }

    fn load<'a>(slot: &'a ItemSlot, text: &'a Text) -> RawItem<'a> {
        RawItem {
            item: text.get(slot.item),
            ts: slot.ts,
            statement: &slot.statement,
            position: slot.position,
            stamped: slot.stamped,
        }
    }

    fn position(slot: &ItemSlot) -> Position {
        slot.position
    }
}

/// Maps values to a catalogue record.
///
/// Values are checked in the order item, `ts`, `deleted`, the fields in the order of [`ItemField::ALL`], `tags`, the
/// columns of tag groups, then the filters in their order, and the first error is the reason. Of a deletion nothing after
/// `deleted` is checked: it states nothing else.
pub struct ItemMapping {
    reader: ValueReader,
    item: usize,
    /// Column of the time, if the source has one.
    ts: Option<(usize, TimeColumn)>,
    deleted: Option<usize>,
    available: Option<usize>,
    /// Columns that the source has, by field.
    columns: Vec<(ItemField, Option<(usize, TimeColumn)>)>,
    tags: Option<usize>,
    /// Columns for one group of tags.
    tags_of: Vec<(u8, usize)>,
    filters: Vec<(usize, Filter)>,
    default_ts: Option<u64>,
    fixed_ts: Option<u64>,
}

/// What a record borrows.
pub struct Scratch {
    item: String,
    statement: Statement,
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch { item: String::new(), statement: Statement::Deleted }
    }
}

impl Mapping<CatalogueRecord> for ItemMapping {
    type Scratch = Scratch;

    const WHOLE_VALUES: bool = true;
    // All targets, a column for each of many tag groups, and a few filters.
    const MAX_COLUMNS: usize = 64;
    const COLUMNS_ADVICE: &str = "name the columns with --catalogue-columns item=sku,title=name,ts=updated:s";

    fn new(options: &InputOptions, source_name: &str, layout: Layout<'_>) -> Result<Self, OpenError> {
        let InputOptions { item_columns, tag_groups, .. } = options;
        check_groups(item_columns, tag_groups)?;
        warn_of_header(options, source_name, layout);
        let mut fields = Fields::new(matches!(layout, Layout::Json), &options.nulls);
        // JSON fields may be absent; of a file with columns those that it has are read.
        let header = layout.header();
        let mut time = |target: &Target| {
            let column = item_columns.column(target);
            let exists = header.is_none_or(|header| header.contains(&column.source));
            exists.then(|| (fields.index(&column.source), column))
        };
        let columns = ItemField::ALL.map(|field| (field, time(&Target::Field(field)))).into();
        let ts = if options.fixed_ts.is_some() { None } else { time(&Target::Ts) };
        let mut column = |target: &Target| time(target).map(|(column, _)| column);
        let (deleted, available) = (column(&Target::Deleted), column(&Target::Available));
        let tags = column(&Target::Tags);
        let groups = (0..=u8::MAX).zip(tag_groups);
        let tags_of =
            groups.filter_map(|(group, name)| Some((group, column(&Target::TagsOf(name.clone()))?))).collect();
        Ok(ItemMapping {
            item: fields.index(&item_columns.column(&Target::Item).source),
            ts,
            deleted,
            available,
            columns,
            tags,
            tags_of,
            filters: options.filters.iter().map(|filter| (fields.index(filter.column()), filter.clone())).collect(),
            default_ts: options.default_ts,
            fixed_ts: options.fixed_ts,
            reader: ValueReader::new(fields, layout, options),
        })
    }

    fn columns(&self) -> &[String] {
        &self.reader.fields.columns
    }

    fn map<'v>(
        &'v self,
        values: &'v [Value<'_>],
        scratch: &'v mut Scratch,
        Received { position, stamped, key }: Received<'v>,
    ) -> Result<RawItem<'v>, Reason> {
        let Scratch { item, statement } = scratch;
        let item = self.item(values, key, item)?;
        let ts = self.ts(values, stamped)?;
        *statement = self.statement(values)?;
        if let Statement::Fields(_) = statement {
            for (column, filter) in &self.filters {
                if !filter.passes(&values[*column]) {
                    return Err(Reason::Filtered { condition: filter.given().to_owned() });
                }
            }
        }
        Ok(RawItem { item, ts, statement, position, stamped })
    }

    /// A deletion of the item that the key names.
    fn map_tombstone<'v>(
        &'v self,
        scratch: &'v mut Scratch,
        Received { position, stamped, key }: Received<'v>,
    ) -> Result<RawItem<'v>, Reason> {
        let item = self.item_of_key(key)?.ok_or(Reason::NoValue)?;
        let ts = self.ts(&[], stamped)?;
        scratch.statement = Statement::Deleted;
        Ok(RawItem { item, ts, statement: &scratch.statement, position, stamped })
    }
}

impl ItemMapping {
    /// The value of a column.
    fn stated<'v>(&self, column: Option<usize>, values: &'v [Value<'_>]) -> Result<Stated<'v>, Reason> {
        match column.and_then(|column| values.get(column)) {
            Some(value) => self.reader.stated(value),
            None => Ok(Stated::Not),
        }
    }

    /// The item, which is that of the key if the value names none.
    fn item<'v>(
        &'v self,
        values: &'v [Value<'_>],
        key: Option<&'v [u8]>,
        scratch: &'v mut String,
    ) -> Result<&'v str, Reason> {
        let Stated::Value(value) = self.stated(Some(self.item), values)? else {
            return self.item_of_key(key)?.ok_or_else(|| self.reader.fields.missing(self.item));
        };
        let item = self.reader.fields.name_of("item", self.item, value, scratch)?;
        match key {
            Some(key) if !key.is_empty() && key != item.as_bytes() => {
                Err(Reason::KeyMismatch { key: shown(&String::from_utf8_lossy(key)), item: shown(item) })
            }
            _ => Ok(item),
        }
    }

    fn item_of_key<'k>(&self, key: Option<&'k [u8]>) -> Result<Option<&'k str>, Reason> {
        let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
        let item = std::str::from_utf8(key).map_err(|_| Reason::NotUtf8)?;
        if self.reader.fields.stand_for_nothing(item) {
            return Err(self.reader.fields.no_value(self.item, item));
        }
        check_name("item", item)?;
        Ok(Some(item))
    }

    fn ts(&self, values: &[Value<'_>], stamped: Option<u64>) -> Result<u64, Reason> {
        if let Some(ts) = self.fixed_ts {
            return Ok(ts);
        }
        if let Some(time) = &self.ts
            && let Stated::Value(_) = self.stated(Some(time.0), values)?
        {
            return check_ts(self.reader.fields.millis(time, values)?);
        }
        match stamped.or(self.default_ts) {
            Some(ts) => check_ts(ts.into()),
            None => Err(Reason::Missing { field: self.ts.as_ref().map_or("ts", |(_, time)| &time.source).to_owned() }),
        }
    }

    fn statement(&self, values: &[Value<'_>]) -> Result<Statement, Reason> {
        let reader = &self.reader;
        if let (Some(column), Stated::Value(value)) = (self.deleted, self.stated(self.deleted, values)?)
            && reader.truth(column, value)?
        {
            return Ok(Statement::Deleted);
        }
        let mut stated = Vec::new();
        for (field, time) in &self.columns {
            let column = time.as_ref().map(|(column, _)| *column);
            let value = match (time, self.stated(column, values)?) {
                (Some(time), Stated::Value(_)) => Some(reader.value(*field, time, values)?),
                (_, Stated::Nothing) => Some(None),
                _ => None,
            };
            let short = if *field == ItemField::Availability { self.available } else { None };
            let value = match (value, short, self.stated(short, values)?) {
                (value, None, _) | (value, _, Stated::Not) => value,
                (None, _, Stated::Nothing) => Some(None),
                (None, Some(column), Stated::Value(value)) => Some(reader.available(column, value)?),
                (Some(_), Some(short), _) => {
                    let name = |column: usize| reader.fields.columns[column].clone();
                    let (availability, available) = (column.map(name).unwrap_or_default(), name(short));
                    return Err(Reason::AvailabilityTwice { availability, available });
                }
            };
            stated.extend(value.map(|value| (*field, value)));
        }
        let tags = self.stated(self.tags, values)?;
        let mut tags = self.tags.map(|column| reader.tags(column, tags)).transpose()?.unwrap_or_default();
        // A column for one group goes before the same group in `tags`.
        for (group, column) in &self.tags_of {
            match self.stated(Some(*column), values)? {
                Stated::Not => {}
                Stated::Nothing => drop(tags.insert(*group, None)),
                Stated::Value(value) => drop(tags.insert(*group, reader.tag_set(*column, value)?)),
            }
        }
        stated.extend(tags.into_iter().map(|(group, tags)| (ItemField::Tags(group), tags)));
        Ok(Statement::Fields(stated))
    }
}

/// Checks that the tag groups can be told apart, and that those with a column of their own exist.
fn check_groups(columns: &ItemColumns, groups: &[String]) -> Result<(), OpenError> {
    if groups.len() > usize::from(u8::MAX) + 1 {
        let what = format!("{} groups, the maximum is 256", groups.len());
        return Err(OpenError::Option { input: "catalogue.tag_groups".into(), what });
    }
    match columns.groups().find(|group| !groups.iter().any(|known| known == group)) {
        Some(unknown) => Err(OpenError::Option {
            input: format!("--catalogue-columns tags:{}", shown(unknown)),
            what: format!("there is no such tag group; catalogue.tag_groups has {}", listed(groups)),
        }),
        None => Ok(()),
    }
}

/// Warns of columns that look as if they were meant and are not read.
fn warn_of_header(options: &InputOptions, source_name: &str, layout: Layout<'_>) {
    let Some(header) = layout.header().filter(|header| !header.is_empty()) else { return };
    let absent: Vec<String> = options.item_columns.named().filter(|name| !header.contains(name)).collect();
    if !absent.is_empty() {
        tracing::warn!("{source_name}: no column {}; nothing is stated by it", listed(&absent));
    }
    let is_unknown = |name: &&String| {
        name.strip_prefix("tags:").is_some_and(|group| options.tag_groups.iter().all(|known| known != group))
    };
    let unknown: Vec<String> = header.iter().filter(is_unknown).cloned().collect();
    if !unknown.is_empty() {
        tracing::warn!("{source_name}: no tag group for column {}: see catalogue.tag_groups", listed(&unknown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Batch;
    use crate::decode::{Decoder, RecordDecoder};
    use crate::formats::json::Json;
    use crate::records::mapping;

    const POSITION: Position = Position::Offset { partition: 0, offset: 7 };

    /// Item, time and whether it is deleted, of a record with a timestamp of 70, or the code of its rejection.
    fn read(options: &InputOptions, key: Option<&[u8]>, value: Option<&str>) -> Result<(String, u64, bool), String> {
        let mapping = mapping::<CatalogueRecord>(options, "t", Layout::Json).unwrap();
        let received = Received { position: POSITION, stamped: Some(70), key };
        let mut batch = Batch::default();
        match value {
            None => {
                let mut scratch = Scratch::default();
                batch.push(mapping.map_tombstone(&mut scratch, received).map_err(|reason| reason.code())?);
            }
            Some(value) => {
                let json = Json::new(mapping.columns(), ItemMapping::WHOLE_VALUES).unwrap();
                let mut decoder = RecordDecoder::<CatalogueRecord, Json>::new(mapping, json);
                decoder.decode(value.as_bytes(), received, &mut batch).map_err(|reason| reason.code())?;
            }
        }
        let record = batch.get(0).unwrap();
        assert_eq!((record.position, record.stamped), (POSITION, Some(70)));
        Ok((record.item.to_owned(), record.ts, *record.statement == Statement::Deleted))
    }

    #[test]
    fn the_key_is_the_item_of_a_value_without_one() {
        let read = |key: Option<&[u8]>, value: &str| read(&InputOptions::default(), key, Some(value));
        let ok = |item: &str, ts: u64| Ok((item.to_owned(), ts, false));
        assert_eq!(read(Some(b"p1"), "{}"), ok("p1", 70));
        assert_eq!(read(Some(b"p1"), r#"{"item":null,"ts":5}"#), ok("p1", 5));
        assert_eq!(read(Some(b"77"), r#"{"item":77.0}"#), ok("77", 70));
        assert_eq!(read(Some(b""), r#"{"item":"p1"}"#), ok("p1", 70), "no key");
        assert_eq!(read(None, r#"{"item":"p1"}"#), ok("p1", 70));
        for (key, value, code) in [
            (Some(&b"p2"[..]), r#"{"item":"p1"}"#, "key_mismatch"),
            (Some(b"\xff"), r#"{"item":"p1"}"#, "key_mismatch"),
            (Some(b"\xff"), "{}", "not_utf8"),
            (Some(b"NULL"), "{}", "missing:item"),
            (Some(&[b'x'; 513]), "{}", "long_name:item"),
            (Some(b""), "{}", "missing:item"),
            (None, "{}", "missing:item"),
        ] {
            assert_eq!(read(key, value), Err(code.into()), "{key:?} {value}");
        }
    }

    #[test]
    fn a_tombstone_deletes_the_item_of_its_key() {
        let mut options = InputOptions::default();
        options.set_of_catalogue("where", "country=FR").unwrap();
        assert_eq!(read(&options, Some(b"p1"), None), Ok(("p1".into(), 70, true)));
        assert_eq!(read(&options, None, None), Err("no_value".into()));
        assert_eq!(read(&options, Some(b"\xff"), None), Err("not_utf8".into()));
        let options = InputOptions { fixed_ts: Some(3), ..options };
        assert_eq!(read(&options, Some(b"p1"), None), Ok(("p1".into(), 3, true)));
    }
}
