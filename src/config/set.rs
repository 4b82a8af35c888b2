use toml::de::{DeTable, DeValue};

use super::error::Origin;
use super::file::words;
use super::raw::{Table, Value};

/// The layer of one `key=value`, or a message about its form. The value is TOML or a bare word.
pub(super) fn read_set(origin: &Origin, text: &str) -> Result<Table, String> {
    // A quoted part of a key may contain `=`. Only a few are tried: each is parsed.
    let (mut path, written) = text
        .match_indices('=')
        .take(MAX_PARTS)
        .find_map(|(at, _)| Some((key_path(&text[..at])?, text[at + 1..].trim())))
        .ok_or("it does not begin with a key and `=`")?;
    if written.is_empty() {
        return Err("there is nothing after `=`".into());
    }
    let value = match DeValue::parse(written) {
        Ok(value) => Value::new(written, &value, origin.clone(), &|_| origin.clone()),
        Err(_) if is_word(written) => Value::word(written, origin.clone()),
        Err(error) => return Err(format!("the value is not TOML ({})", words(&error))),
    };
    let last = path.pop().expect("a key has at least one part");
    let innermost = Table::from([(last, value)]);
    let outer = |inner, part| Table::from([(part, Value::table(inner, origin.clone()))]);
    Ok(path.into_iter().rev().fold(innermost, outer))
}

/// Most parts of a dotted key; the table of keys has three.
const MAX_PARTS: usize = 64;

/// The parts of a dotted key, or `None` if it is malformed.
fn key_path(key: &str) -> Option<Vec<String>> {
    // A table of tables as deep as a long key would be is freed by recursion.
    if key.contains('\n') || key.matches('.').count() >= MAX_PARTS {
        return None;
    }
    let line = format!("{key} = 0");
    let mut entries = DeTable::parse(&line).ok()?.into_inner();
    let mut path = Vec::new();
    while let Some((part, value)) = entries.into_iter().next() {
        path.push(part.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => entries = inner,
            _ => return Some(path),
        }
    }
    None
}

/// A value that needs no quotes on the command line: `all`, `30d`, `broker:9092`, `./state`. Words with blanks between them
/// are a value too, so that its key says what is right.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-.+:/ ".contains(c))
}
