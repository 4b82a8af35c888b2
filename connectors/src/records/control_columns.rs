use std::collections::BTreeMap;
use std::str::FromStr;

use schema::shown;

use super::columns::{ColumnsError, TimeColumn, set_pairs, split_source};
use super::time::TimeFormat;

/// Columns of the fields of a control: `user=viewer,control=wish,target=sku,ts=at:s`.
///
/// The targets are `user`, `control`, `scope`, `target`, `ts`, `undo` and `id`; the default column of a target is its own name.
/// In CSV a column is one of the header. In JSON it is a field, and dots select fields of nested objects. For `ts` a format may
/// follow after a colon: `ms`, `s`, `us`, `ns`, `iso` or a strftime pattern. Without one it is an integer of milliseconds or
/// ISO 8601.
///
/// ```
/// use connectors::ControlColumns;
///
/// let columns: ControlColumns = "user=viewer,target=sku,ts=at:s".parse()?;
/// assert!("item=sku,scope=".parse::<ControlColumns>().unwrap_err().mistakes.len() == 2);
/// # Ok::<(), connectors::ColumnsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlColumns {
    /// Columns that the user named.
    named: BTreeMap<ControlField, TimeColumn>,
}

/// A field of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ControlField {
    User,
    Control,
    Scope,
    Target,
    Ts,
    Undo,
    Id,
}

impl ControlField {
    const ALL: [ControlField; 7] = [
        ControlField::User,
        ControlField::Control,
        ControlField::Scope,
        ControlField::Target,
        ControlField::Ts,
        ControlField::Undo,
        ControlField::Id,
    ];

    fn parse(name: &str) -> Option<ControlField> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            ControlField::User => "user",
            ControlField::Control => "control",
            ControlField::Scope => "scope",
            ControlField::Target => "target",
            ControlField::Ts => "ts",
            ControlField::Undo => "undo",
            ControlField::Id => "id",
        }
    }
}

impl ControlColumns {
    /// Whether a word is a target.
    pub(crate) fn has_target(word: &str) -> bool {
        ControlField::parse(word).is_some()
    }

    /// The column of a field.
    pub(super) fn column(&self, field: ControlField) -> TimeColumn {
        let unnamed = || TimeColumn::unnamed(field.name().into(), TimeFormat::MillisOrIso);
        self.named.get(&field).cloned().unwrap_or_else(unnamed)
    }

    /// Replaces the columns of the targets in a mapping.
    pub(crate) fn update(&mut self, given: &str) -> Result<(), ColumnsError> {
        let mistakes = set_pairs(given, |target, source| self.set(target, source));
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ColumnsError {
            flag: "--control-columns",
            example: "user=viewer,control=wish,target=sku,ts=at:s",
            given: shown(given),
            mistakes,
        })
    }

    fn set(&mut self, name: &str, source: &str) -> Result<(), String> {
        let Some(field) = ControlField::parse(name) else {
            let known = ControlField::ALL.map(ControlField::name).join(", ");
            return Err(format!("`{}` is not a target: use {known}", shown(name)));
        };
        let (source, format) = split_source(name, source, field == ControlField::Ts)?;
        let parsed = format.map(TimeFormat::of_time).transpose().map_err(|error| format!("{name}: {error}"))?;
        let named = TimeColumn {
            named: true,
            format_named: parsed.is_some(),
            ..TimeColumn::unnamed(source.to_owned(), parsed.unwrap_or(TimeFormat::MillisOrIso))
        };
        self.named.insert(field, named);
        Ok(())
    }
}

impl FromStr for ControlColumns {
    type Err = ColumnsError;

    fn from_str(given: &str) -> Result<Self, ColumnsError> {
        let mut columns = ControlColumns::default();
        columns.update(given)?;
        Ok(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_every_kind_can_be_named_and_otherwise_keeps_its_name() {
        for field in ControlField::ALL {
            let columns: ControlColumns = format!("{}=x.y", field.name()).parse().unwrap();
            let column = columns.column(field);
            assert_eq!((column.source.as_str(), column.named), ("x.y", true));
            let column = ControlColumns::default().column(field);
            assert_eq!((column.source.as_str(), column.named), (field.name(), false));
            assert!(ControlColumns::has_target(field.name()));
        }
        let columns: ControlColumns = "ts=at:%d/%m/%Y, %H:%M,user=u:1".parse().unwrap();
        assert_eq!(columns.column(ControlField::Ts).format, TimeFormat::Pattern("%d/%m/%Y, %H:%M".into()));
        assert_eq!(columns.column(ControlField::User).source, "u:1");
        assert!(!ControlColumns::has_target("item"));
    }

    #[test]
    fn reports_all_errors_at_once() {
        let found = "item=a,user=b,user=c,ts=t:parsec,scope=".parse::<ControlColumns>().unwrap_err();
        let mistakes = &found.mistakes;
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(mistakes[0].contains("`item`") && mistakes[0].contains("control, scope, target"), "{mistakes:?}");
        assert!(mistakes[1].contains("user is given twice"), "{mistakes:?}");
        assert!(mistakes[2].contains("parsec"), "{mistakes:?}");
        assert!(mistakes[3].contains("scope has no column"), "{mistakes:?}");
        assert!(found.to_string().starts_with("--control-columns "), "{found}");
    }
}
