use std::str::FromStr;

use schema::shown;

use super::time::TimeFormat;

/// Columns of the fields of an event: `user=user_id,item=item_id,action=behavior,ts=timestamp:s`.
///
/// The targets are `user`, `item`, `action`, `ts`, `dwell_ms` and `room`; the default column of a target is its own name. In
/// CSV a column is one of the header. In JSON it is a field, and dots select fields of nested objects: `user=payload.user.id`.
/// A format may follow after a colon: for `ts` one of `ms` (the default), `s`, `us`, `ns`, `iso` or a strftime pattern, for
/// `dwell_ms` `ms`, `s`, `us` or `ns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub(crate) user: String,
    pub(crate) item: String,
    pub(crate) action: String,
    pub(crate) ts: TimeColumn,
    pub(crate) dwell_ms: TimeColumn,
    /// Column, and whether the user named it. A column that the user did not name may be absent.
    pub(crate) room: (String, bool),
}

/// A column of times or durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimeColumn {
    pub(crate) source: String,
    pub(crate) format: TimeFormat,
    /// Whether the user named the column. A column that the user did not name may be absent.
    pub(crate) named: bool,
    /// Whether the user named the format. JSON then may have text instead of a number.
    pub(crate) format_named: bool,
    /// Whether these are durations: fractions are cut.
    pub(crate) is_duration: bool,
}

impl TimeColumn {
    /// A column that the user did not name.
    pub(super) fn unnamed(source: String, format: TimeFormat) -> Self {
        TimeColumn { source, format, named: false, format_named: false, is_duration: false }
    }

    /// Text for messages: "expected ...".
    pub(crate) fn expected(&self) -> &'static str {
        self.format.expected()
    }
}

impl Default for Columns {
    fn default() -> Self {
        let time = |source: &str| TimeColumn {
            source: source.into(),
            format: TimeFormat::Millis,
            named: false,
            format_named: false,
            is_duration: source == "dwell_ms",
        };
        Columns {
            user: "user".into(),
            item: "item".into(),
            action: "action".into(),
            ts: time("ts"),
            dwell_ms: time("dwell_ms"),
            room: ("room".into(), false),
        }
    }
}

/// An invalid mapping, with all its errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flag} {given}: {}; write it like {example}", .mistakes.join("; "))]
pub struct ColumnsError {
    /// The option of the command line for such a mapping.
    pub flag: &'static str,
    /// A valid mapping.
    pub example: &'static str,
    /// The mapping, as the user gave it.
    pub given: String,
    /// Descriptions of the errors.
    pub mistakes: Vec<String>,
}

impl FromStr for Columns {
    type Err = ColumnsError;

    fn from_str(given: &str) -> Result<Self, ColumnsError> {
        let mut columns = Columns::default();
        columns.update(given)?;
        Ok(columns)
    }
}

impl Columns {
    /// Replaces the columns of the targets in a mapping.
    pub(crate) fn update(&mut self, given: &str) -> Result<(), ColumnsError> {
        let mistakes = set_pairs(given, |target, source| self.set(target, source));
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(ColumnsError {
            flag: "--columns",
            example: "user=user_id,item=item_id,action=behavior,ts=timestamp:s",
            given: shown(given),
            mistakes,
        })
    }

    fn set(&mut self, target: &str, source: &str) -> Result<(), String> {
        let (name, format) = split_source(target, source, matches!(target, "ts" | "dwell_ms"))?;
        let time = |read: fn(&str) -> Result<TimeFormat, String>| -> Result<TimeColumn, String> {
            let parsed = format.map(read).transpose().map_err(|error| format!("{target}: {error}"))?;
            Ok(TimeColumn {
                source: name.to_owned(),
                format: parsed.unwrap_or(TimeFormat::Millis),
                named: true,
                format_named: format.is_some(),
                is_duration: target == "dwell_ms",
            })
        };
        match target {
            "user" => name.clone_into(&mut self.user),
            "item" => name.clone_into(&mut self.item),
            "action" => name.clone_into(&mut self.action),
            "ts" => self.ts = time(TimeFormat::of_time)?,
            "dwell_ms" => self.dwell_ms = time(TimeFormat::of_duration)?,
            "room" => self.room = (name.to_owned(), true),
            other => {
                return Err(format!(
                    "`{}` is not a target: use user, item, action, ts, dwell_ms or room",
                    shown(other)
                ));
            }
        }
        Ok(())
    }
}

/// Calls `set` with the target and the source of each pair. Returns all mistakes.
pub(super) fn set_pairs(given: &str, mut set: impl FnMut(&str, &str) -> Result<(), String>) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for pair in pairs(given) {
        let Some((target, source)) = pair.split_once('=') else {
            mistakes.push(format!("`{}` is not TARGET=COLUMN", shown(pair)));
            continue;
        };
        if seen.contains(&target) {
            mistakes.push(format!("{} is given twice", shown(target)));
        }
        seen.push(target);
        mistakes.extend(set(target, source).err());
    }
    mistakes
}

/// The column of a target, and the format after its colon if the target `has_format`.
pub(super) fn split_source<'s>(
    target: &str,
    source: &'s str,
    has_format: bool,
) -> Result<(&'s str, Option<&'s str>), String> {
    let (name, format) = match source.split_once(':') {
        Some((name, format)) if has_format => (name, Some(format)),
        _ => (source, None),
    };
    if name.is_empty() {
        return Err(format!("{} has no column", shown(target)));
    }
    // Probably a pair without `=`.
    if name.contains(',') {
        return Err(format!("{}: the column name `{}` contains a comma", shown(target), shown(name)));
    }
    Ok((name, format))
}

/// Splits at commas that are followed by `word=` or `tags:GROUP=`. A time pattern may contain other commas.
fn pairs(text: &str) -> Vec<&str> {
    let mut pairs = Vec::new();
    let mut rest = text;
    let starts_pair = |text: &str| {
        if let Some(group) = text.strip_prefix("tags:") {
            return group.split(',').next().is_some_and(|pair| pair.contains('='));
        }
        let word = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        word > 0 && text[word..].starts_with('=')
    };
    while let Some((at, _)) = rest.match_indices(',').find(|(at, _)| starts_pair(&rest[at + 1..])) {
        pairs.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    pairs.push(rest);
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        text.parse::<Columns>().unwrap_err().mistakes
    }

    #[test]
    fn a_target_that_is_not_named_keeps_its_name() {
        let columns: Columns = "user=user_id,ts=timestamp:s".parse().unwrap();
        assert_eq!(columns.user, "user_id");
        assert_eq!(columns.item, "item");
        assert_eq!(columns.action, "action");
        assert_eq!(columns.ts.source, "timestamp");
        assert_eq!(columns.ts.format, TimeFormat::Seconds);
        assert_eq!(columns.dwell_ms, Columns::default().dwell_ms);
    }

    #[test]
    fn a_time_pattern_may_contain_commas_and_colons() {
        let columns: Columns = "ts=when:%d/%m/%Y, %H:%M:%S,user=u:1,dwell_ms=d:s".parse().unwrap();
        assert_eq!(columns.ts.source, "when");
        assert_eq!(columns.ts.format, TimeFormat::Pattern("%d/%m/%Y, %H:%M:%S".into()));
        assert_eq!(columns.user, "u:1");
        assert_eq!(columns.dwell_ms.format, TimeFormat::Seconds);
    }

    #[test]
    fn reports_all_errors_at_once() {
        let found = mistakes("usr=a,item=b,item=c,ts=t:parsec,action=,dwell_ms=d:iso");
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found[0].contains("`usr`") && found[0].contains("dwell_ms"), "{found:?}");
        assert!(found[1].contains("item is given twice"), "{found:?}");
        assert!(found[2].contains("parsec"), "{found:?}");
        assert!(found[3].contains("action has no column"), "{found:?}");
        assert!(found[4].contains("dwell_ms"), "{found:?}");
    }

    #[test]
    fn rejects_text_without_a_pair() {
        assert_eq!(mistakes("").len(), 1);
        assert_eq!(mistakes("user").len(), 1);
        assert_eq!(mistakes("user=a,").len(), 1);
        assert_eq!(mistakes("user=a,item").len(), 1);
    }
}
