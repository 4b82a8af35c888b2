//! The catalogue in files of a snapshot: records of the graph become rows with the name of the item, the field and the
//! value as texts, and rows become records again.

use std::collections::BTreeSet;

use dataflows::ItemRecord;
use schema::{Availability, FieldValue, IdKey, ItemField, Statement, shown};
use serde_json::Value;
use snapshots::{Manifest, StatementRow, StatementRows, Store, StoreError};

/// Field of a deleted item. Its value is `true`, as in a record.
const DELETED: &str = "deleted";

/// Field without a value whose time is the first time of the item.
const FIRST: &str = "first";

/// Beginning of the fields that are groups of tags.
const TAGS: &str = "tags:";

/// A record of the catalogue with the name of its item.
pub(in crate::engine) type NamedRecord = (Box<str>, ItemRecord);

/// The names of the fields in files.
#[derive(Clone, Debug)]
pub(in crate::engine) struct FieldNames {
    /// Names of the fields of tags, in the order of the configuration.
    tags: Vec<String>,
}

impl FieldNames {
    /// `tag_groups`: as configured.
    pub(in crate::engine) fn new(tag_groups: &[String]) -> Self {
        FieldNames { tags: tag_groups.iter().map(|group| format!("{TAGS}{group}")).collect() }
    }

    /// Adds the rows of a record: one for each field, or one for a deletion or a first time.
    pub(super) fn append(&self, rows: &mut StatementRows, item: &str, ItemRecord { ts, statement, .. }: &ItemRecord) {
        match statement {
            Statement::Deleted => rows.push(item, DELETED, *ts, Some("true")),
            Statement::Fields(fields) if fields.is_empty() => rows.push(item, FIRST, *ts, None),
            Statement::Fields(fields) => {
                for (field, value) in fields {
                    rows.push(item, self.name(*field), *ts, value.as_ref().map(text_of).as_deref());
                }
            }
        }
    }

    fn name(&self, field: ItemField) -> &str {
        match field {
            ItemField::Tags(group) => &self.tags[usize::from(group)],
            field => field.name().expect("only tags have no name"),
        }
    }

    fn field(&self, name: &str) -> Field {
        if let Some(group) = self.tags.iter().position(|tags| tags == name).and_then(|group| group.try_into().ok()) {
            return Field::Known(ItemField::Tags(group));
        }
        let known = ItemField::ALL.into_iter().find(|field| field.name() == Some(name));
        known.map_or(if name.starts_with(TAGS) { Field::UnknownTags } else { Field::Unknown }, Field::Known)
    }

    /// The records of the rows of a file. Rows of an item with one time that follow each other are one record. Tags of
    /// groups that are not configured go to `left_out`.
    fn records(
        &self,
        rows: &StatementRows,
        ids: IdKey,
        mut left_out: impl FnMut(&str),
    ) -> Result<Vec<NamedRecord>, String> {
        let mut records: Vec<NamedRecord> = Vec::new();
        for StatementRow { owner: item, field, ts, value } in rows.iter() {
            let invalid = |what: &str| {
                let (item, field) = (shown(item), shown(field));
                match value {
                    Some(value) => format!("item {item}: field {field} has the value {}: {what}", shown(value)),
                    None => format!("item {item}: field {field} without a value: {what}"),
                }
            };
            let last = records.last_mut().filter(|(name, record)| **name == *item && record.ts == ts);
            let statement = match (field, value) {
                (DELETED, Some("true")) => Statement::Deleted,
                (FIRST, None) => Statement::Fields(Vec::new()),
                (DELETED | FIRST, _) => return Err(invalid("it is not what a deltarec writes")),
                (name, _) => {
                    let field = match self.field(name) {
                        Field::Known(field) => field,
                        Field::UnknownTags => {
                            left_out(name);
                            continue;
                        }
                        Field::Unknown => return Err(invalid("this deltarec does not know the field")),
                    };
                    let value = value.map(|value| parse(field, value)).transpose().map_err(invalid)?;
                    if let Some((_, ItemRecord { statement: Statement::Fields(fields), .. })) = last
                        // A record without a field is a first time, and stays one.
                        && !fields.is_empty()
                        && fields.iter().all(|(other, _)| *other != field)
                    {
                        fields.push((field, value));
                        continue;
                    }
                    Statement::Fields(vec![(field, value)])
                }
            };
            let id = last.map_or_else(|| ids.id64(item), |(_, record)| record.item);
            records.push((item.into(), ItemRecord { item: id, ts, statement }));
        }
        Ok(records)
    }
}

/// What the name of a field stands for.
enum Field {
    Known(ItemField),
    /// Tags of a group that is not configured.
    UnknownTags,
    Unknown,
}

/// Reads the catalogue of a snapshot, file by file. A group of tags that is not configured any more is left out, with a
/// warning.
pub(in crate::engine) fn read_catalogue(
    store: &Store,
    manifest: &Manifest,
    ids: IdKey,
    fields: &FieldNames,
) -> impl Iterator<Item = Result<Vec<NamedRecord>, StoreError>> {
    let mut left_out = BTreeSet::new();
    manifest.catalogue.iter().map(move |file| {
        let rows = store.read_catalogue(file)?;
        let records = fields.records(&rows, ids, |tags| {
            if !left_out.contains(tags) {
                left_out.insert(tags.to_owned());
                tracing::warn!(
                    field = shown(tags),
                    "tags of the snapshot are left out: their group is not in catalogue.tag_groups"
                );
            }
        });
        records.map_err(|reason| StoreError::Damaged { place: store.place_of(file), reason })
    })
}

/// The JSON text of a value.
fn text_of(value: &FieldValue) -> String {
    let value = match value {
        FieldValue::Text(text) => Value::from(&**text),
        FieldValue::Set(texts) => texts.iter().map(|text| Value::from(&**text)).collect(),
        FieldValue::Number(number) => Value::from(*number),
        FieldValue::Availability(availability) => Value::from(availability.word()),
    };
    value.to_string()
}

/// The value of a field from its JSON text.
fn parse(field: ItemField, text: &str) -> Result<FieldValue, &'static str> {
    match field {
        ItemField::Category | ItemField::Room | ItemField::Tags(_) => {
            let texts: Vec<String> = serde_json::from_str(text).unwrap_or_default();
            let set = FieldValue::set(texts.iter().cloned()).filter(|_| texts.iter().all(|text| !text.is_empty()));
            set.ok_or("it is not a list of texts")
        }
        ItemField::Price | ItemField::From | ItemField::Until => {
            serde_json::from_str(text).map(FieldValue::Number).map_err(|_| "it is not a whole number")
        }
        ItemField::Availability => {
            let word: Result<Availability, _> = serde_json::from_str(text);
            word.map(FieldValue::Availability).map_err(|_| "it is not an availability")
        }
        ItemField::Kind
        | ItemField::Group
        | ItemField::Title
        | ItemField::Host
        | ItemField::Brand
        | ItemField::Currency
        | ItemField::Image
        | ItemField::Url => {
            let text: Box<str> = serde_json::from_str(text).unwrap_or_default();
            if text.is_empty() { Err("it is not a text") } else { Ok(FieldValue::Text(text)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schema::{CATALOGUE_GROUPS, MAX_TS, catalogue_group, id64};
    use snapshots::{Depth, Kind, RunId};

    use super::*;
    use crate::engine::snapshot::{Files, Shard, manifest};

    const GROUPS: [&str; 3] = ["default", "visual", "a:b"];
    const RUN: RunId = RunId(7);

    fn fields(groups: &[&str]) -> FieldNames {
        FieldNames::new(&groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>())
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap()).unwrap();
        (folder, store)
    }

    fn any_value(field: ItemField) -> BoxedStrategy<FieldValue> {
        match field {
            ItemField::Category | ItemField::Room | ItemField::Tags(_) => {
                let texts = prop::collection::vec(".{1,10}", 1..4);
                texts.prop_map(|texts| FieldValue::set(texts).unwrap()).boxed()
            }
            ItemField::Price | ItemField::From | ItemField::Until => any::<u64>().prop_map(FieldValue::Number).boxed(),
            ItemField::Availability => {
                prop::sample::select(&Availability::ALL).prop_map(FieldValue::Availability).boxed()
            }
            _ => prop_oneof![".{1,30}", "\\PC{1,4}"].prop_map(|text: String| FieldValue::Text(text.into())).boxed(),
        }
    }

    fn any_field() -> impl Strategy<Value = (ItemField, Option<FieldValue>)> {
        let field =
            prop_oneof![prop::sample::select(&ItemField::ALL), (0..GROUPS.len() as u8).prop_map(ItemField::Tags),];
        field.prop_flat_map(|field| (Just(field), prop::option::weighted(0.8, any_value(field))))
    }

    fn any_statement() -> impl Strategy<Value = Statement> {
        let fields = prop::collection::vec(any_field(), 0..4).prop_map(|mut fields| {
            fields.sort_by_key(|(field, _)| *field);
            fields.dedup_by_key(|(field, _)| *field);
            Statement::Fields(fields)
        });
        prop_oneof![4 => fields, 1 => Just(Statement::Deleted)]
    }

    fn any_records() -> impl Strategy<Value = Vec<(String, u64, Statement)>> {
        let item = prop_oneof!["[a-d]", "\\PC{1,8}"];
        prop::collection::vec((item, prop_oneof![0..3_u64, 0..=MAX_TS], any_statement()), 0..20)
    }

    /// What records state, one by one: of how they are cut into records nothing depends.
    fn stated<'r>(records: impl Iterator<Item = (&'r str, u64, &'r Statement)>) -> Vec<String> {
        let mut stated: Vec<String> = records
            .flat_map(|(item, ts, statement)| match statement {
                Statement::Fields(fields) if !fields.is_empty() => {
                    fields.iter().map(|field| format!("{item:?} {ts} {field:?}")).collect()
                }
                other => vec![format!("{item:?} {ts} {other:?}")],
            })
            .collect();
        stated.sort();
        stated
    }

    /// Stores records as the coordinator does, and returns the manifest of a snapshot of them.
    fn take(store: &Store, fields: &FieldNames, records: &[(String, u64, Statement)]) -> Manifest {
        let mut groups: Vec<StatementRows> = vec![StatementRows::default(); CATALOGUE_GROUPS];
        for (name, ts, statement) in records {
            let item = id64(name);
            let record = ItemRecord { item, ts: *ts, statement: statement.clone() };
            fields.append(&mut groups[usize::from(catalogue_group(item))], name, &record);
        }
        let groups = (0..).zip(&groups).filter(|(_, rows)| !rows.is_empty());
        let files: Files = groups
            .map(|(group, rows)| {
                let shard = Shard { kind: Kind::Catalogue, group };
                (shard, store.put_catalogue(1, RUN, group, rows).unwrap())
            })
            .collect();
        manifest((1, RUN), 0, serde_json::Map::default(), Vec::new(), 1, files)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn records_round_trip_through_a_snapshot(records in any_records()) {
            let (_folder, store) = store();
            let fields = fields(&GROUPS);
            let taken = take(&store, &fields, &records);
            store.publish(&taken).unwrap();
            prop_assert!(store.inspect(1, Depth::Rows).unwrap().is_sound());
            let read: Result<Vec<_>, _> = read_catalogue(&store, &taken, IdKey::default(), &fields).collect();
            let read: Vec<NamedRecord> = read.unwrap().into_iter().flatten().collect();
            prop_assert!(read.iter().all(|(name, record)| record.item == id64(name)));
            let given = stated(records.iter().map(|(name, ts, statement)| (name.as_str(), *ts, statement)));
            prop_assert_eq!(stated(read.iter().map(|(name, record)| (&**name, record.ts, &record.statement))), given);
            // A record states a field once.
            for (_, record) in &read {
                let Statement::Fields(fields) = &record.statement else { continue };
                let names: BTreeSet<ItemField> = fields.iter().map(|(field, _)| *field).collect();
                prop_assert_eq!(names.len(), fields.len());
            }
        }
    }

    #[test]
    fn a_row_is_readable_text() {
        let mut rows = StatementRows::default();
        let fields = fields(&GROUPS);
        let text = |text: &str| Some(FieldValue::Text(text.into()));
        let record = |ts, statement| ItemRecord { item: 1, ts, statement };
        let stated = vec![
            (ItemField::Title, text("Rye \"bread\"")),
            (ItemField::Brand, None),
            (ItemField::Price, Some(FieldValue::Number(129_900))),
            (ItemField::Availability, Some(FieldValue::Availability(Availability::SoldOut))),
            (ItemField::Tags(1), FieldValue::set(["b".to_owned(), "a".to_owned()])),
        ];
        for record in [
            record(5, Statement::Fields(Vec::new())),
            record(7, Statement::Fields(stated)),
            record(9, Statement::Deleted),
        ] {
            fields.append(&mut rows, "bread", &record);
        }
        let texts: Vec<_> = rows.iter().map(|row| (row.field, row.ts, row.value)).collect();
        assert_eq!(
            texts,
            [
                ("first", 5, None),
                ("title", 7, Some(r#""Rye \"bread\"""#)),
                ("brand", 7, None),
                ("price", 7, Some("129900")),
                ("availability", 7, Some(r#""sold_out""#)),
                ("tags:visual", 7, Some(r#"["a","b"]"#)),
                ("deleted", 9, Some("true")),
            ]
        );
        // Rows of one time are one record.
        let records = fields.records(&rows, IdKey::default(), |_| {}).unwrap();
        assert_eq!(records.iter().map(|(_, record)| record.ts).collect::<Vec<_>>(), [5, 7, 9]);
    }

    #[test]
    fn tags_of_a_group_that_is_not_configured_are_left_out() {
        let (_folder, store) = store();
        let tags = |group| (ItemField::Tags(group), FieldValue::set(["x".to_owned()]));
        let records = vec![("bread".to_owned(), 5, Statement::Fields(vec![tags(0), tags(1), tags(2)]))];
        let taken = take(&store, &fields(&GROUPS), &records);
        // The groups are known by their names, not by their places.
        let now = fields(&["a:b", "default"]);
        let read: Result<Vec<_>, _> = read_catalogue(&store, &taken, IdKey::default(), &now).collect();
        let (_, record) = &read.unwrap()[0][0];
        assert_eq!(record.statement, Statement::Fields(vec![tags(1), tags(0)]));
    }

    #[test]
    fn a_wrong_row_is_damage_that_names_the_file_and_the_item() {
        let (_folder, store) = store();
        let group = catalogue_group(id64("bread"));
        for (field, value, words) in [
            ("colour", Some("\"red\""), "does not know the field"),
            ("title", Some("red"), "not a text"),
            ("title", Some("\"\""), "not a text"),
            ("price", Some("1.5"), "not a whole number"),
            ("from", Some("\"5\""), "not a whole number"),
            ("availability", Some("\"maybe\""), "not an availability"),
            ("room", Some("[]"), "not a list of texts"),
            ("tags:visual", Some("[\"a\",\"\"]"), "not a list of texts"),
            ("category", Some("{}"), "not a list of texts"),
            ("deleted", None, "not what a deltarec writes"),
            ("deleted", Some("false"), "not what a deltarec writes"),
            ("first", Some("5"), "not what a deltarec writes"),
        ] {
            let mut rows = StatementRows::default();
            rows.push("bread", field, 5, value);
            let file = store.put_catalogue(1, RUN, group, &rows).unwrap();
            let place = store.place_of(&file);
            let files = Files::from([(Shard { kind: Kind::Catalogue, group }, file)]);
            let taken = manifest((1, RUN), 0, serde_json::Map::default(), Vec::new(), 1, files);
            assert_eq!((taken.version, taken.statements(), taken.rows), (Manifest::VERSION_WITHOUT_CONTROLS, 1, 0));
            let error = read_catalogue(&store, &taken, IdKey::default(), &fields(&GROUPS)).next().unwrap().unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, StoreError::Damaged { .. }) && text.starts_with(&place), "{text}");
            assert!([words, "bread", field].iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
