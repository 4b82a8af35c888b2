use std::collections::BTreeMap;
use std::str::FromStr;

use schema::{ItemField, shown};

use super::columns::{ColumnsError, TimeColumn, set_pairs, split_source};
use super::time::TimeFormat;

/// Columns of the fields of a catalogue record: `item=sku,title=name,category=product_type,ts=updated:s`.
///
/// The targets are `item`, `ts`, `deleted`, `available`, the names of all [fields](ItemField), `tags`, and `tags:GROUP`
/// for the tags of one group; the default column of a target is its own name. In CSV a column is one of the header. In
/// JSON it is a field, and dots select fields of nested objects. For `ts`, `from` and `until` a format may follow after a
/// colon: `ms`, `s`, `us`, `ns`, `iso` or a strftime pattern. Without one they are integers of milliseconds or ISO 8601.
///
/// ```
/// use connectors::ItemColumns;
///
/// let columns: ItemColumns = "item=sku,ts=updated:s,tags:size=sizes".parse()?;
/// assert!("sku=item,price=".parse::<ItemColumns>().unwrap_err().mistakes.len() == 2);
/// # Ok::<(), connectors::ColumnsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemColumns {
    /// Columns that the user named.
    named: BTreeMap<Target, TimeColumn>,
}

/// What a column of a catalogue record is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Item,
    Ts,
    Deleted,
    Available,
    /// Any field but tags, whose groups the configuration names.
    Field(ItemField),
    Tags,
    /// Tags of the group with this name.
    TagsOf(String),
}

impl Target {
    /// All targets but the groups of tags.
    fn all() -> impl Iterator<Item = Target> {
        let fields = ItemField::ALL.into_iter().map(Target::Field);
        [Target::Item, Target::Ts, Target::Deleted, Target::Available].into_iter().chain(fields).chain([Target::Tags])
    }

    /// Reads the name of a target.
    fn parse(name: &str) -> Option<Target> {
        match name.strip_prefix("tags:") {
            Some(group) => (!group.is_empty()).then(|| Target::TagsOf(group.to_owned())),
            None => Target::all().find(|target| target.name() == name),
        }
    }

    fn name(&self) -> String {
        match self {
            Target::Item => "item".into(),
            Target::Ts => "ts".into(),
            Target::Deleted => "deleted".into(),
            Target::Available => "available".into(),
            Target::Field(field) => field.name().unwrap_or("tags").into(),
            Target::Tags => "tags".into(),
            Target::TagsOf(group) => format!("tags:{group}"),
        }
    }

    /// Whether the values are times.
    fn is_time(&self) -> bool {
        matches!(self, Target::Ts | Target::Field(ItemField::From | ItemField::Until))
    }
}

impl ItemColumns {
    /// Whether a word is a target.
    pub(crate) fn has_target(word: &str) -> bool {
        Target::parse(word).is_some()
    }

    /// The column of a target.
    pub(super) fn column(&self, target: &Target) -> TimeColumn {
        self.named.get(target).cloned().unwrap_or_else(|| TimeColumn::unnamed(target.name(), TimeFormat::MillisOrIso))
    }

    /// Columns that the user named.
    pub(super) fn named(&self) -> impl Iterator<Item = String> {
        self.named.values().map(|column| column.source.clone())
    }

    /// Groups of tags for which the user named columns.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.named.keys().filter_map(|target| match target {
            Target::TagsOf(group) => Some(group.as_str()),
            _ => None,
        })
    }

    /// Replaces the columns of the targets in a mapping.
    pub(crate) fn update(&mut self, given: &str) -> Result<(), ColumnsError> {
        let mistakes = set_pairs(given, |target, source| self.set(target, source));
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ColumnsError {
            flag: "--catalogue-columns",
            example: "item=sku,title=name,category=product_type,ts=updated:s",
            given: shown(given),
            mistakes,
        })
    }

    fn set(&mut self, name: &str, source: &str) -> Result<(), String> {
        let Some(target) = Target::parse(name) else {
            let known: Vec<String> = Target::all().map(|target| target.name()).collect();
            return Err(format!("`{}` is not a target: use {} or tags:GROUP", shown(name), known.join(", ")));
        };
        let (source, format) = split_source(name, source, target.is_time())?;
        let parsed = format.map(TimeFormat::of_time).transpose().map_err(|error| format!("{name}: {error}"))?;
        let named = TimeColumn {
            named: true,
            format_named: parsed.is_some(),
            ..TimeColumn::unnamed(source.to_owned(), parsed.unwrap_or(TimeFormat::MillisOrIso))
        };
        self.named.insert(target, named);
        Ok(())
    }
}

impl FromStr for ItemColumns {
    type Err = ColumnsError;

    fn from_str(given: &str) -> Result<Self, ColumnsError> {
        let mut columns = ItemColumns::default();
        columns.update(given)?;
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_not_named_keeps_its_name() {
        let columns: ItemColumns =
            "item=sku,ts=updated:s,from=start:%d/%m/%Y, %H:%M,tags:size=sizes,tags=words".parse().unwrap();
        let source = |target| columns.column(&target).source;
        assert_eq!((source(Target::Item), source(Target::Deleted)), ("sku".into(), "deleted".into()));
        assert_eq!(source(Target::Field(ItemField::Title)), "title");
        assert_eq!((source(Target::Tags), source(Target::TagsOf("size".into()))), ("words".into(), "sizes".into()));
        assert_eq!(source(Target::TagsOf("colour".into())), "tags:colour");
        assert_eq!(columns.column(&Target::Ts).format, TimeFormat::Seconds);
        let from = columns.column(&Target::Field(ItemField::From));
        assert_eq!((from.source.as_str(), from.format), ("start", TimeFormat::Pattern("%d/%m/%Y, %H:%M".into())));
        let until = columns.column(&Target::Field(ItemField::Until));
        assert_eq!((until.source.as_str(), until.format), ("until", TimeFormat::MillisOrIso));
        assert_eq!(columns.groups().collect::<Vec<_>>(), ["size"]);
    }

    #[test]
    fn a_target_of_every_kind_can_be_named() {
        for target in Target::all().chain([Target::TagsOf("size".into())]) {
            let columns: ItemColumns = format!("{}=x.y", target.name()).parse().unwrap();
            assert_eq!(columns.column(&target).source, "x.y");
            assert!(ItemColumns::has_target(&target.name()));
        }
        assert!(!ItemColumns::has_target("tags:") && !ItemColumns::has_target("user"));
    }

    #[test]
    fn reports_all_errors_at_once() {
        let given = "sku=a,item=b,item=c,ts=t:parsec,title=,from=f:iso,tags:=x,until=u:q,price=p:s";
        let found = given.parse::<ItemColumns>().unwrap_err();
        let mistakes = &found.mistakes;
        assert_eq!(mistakes.len(), 6, "{mistakes:?}");
        assert!(mistakes[0].contains("`sku`") && mistakes[0].contains("availability"), "{mistakes:?}");
        assert!(mistakes[1].contains("item is given twice"), "{mistakes:?}");
        assert!(mistakes[2].contains("parsec"), "{mistakes:?}");
        assert!(mistakes[3].contains("title has no column"), "{mistakes:?}");
        assert!(mistakes[4].contains("`tags:`"), "{mistakes:?}");
        assert!(mistakes[5].starts_with("until: "), "{mistakes:?}");
        assert!(found.to_string().starts_with("--catalogue-columns "), "{found}");
    }
}
