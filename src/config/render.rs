//! Renders the table of keys as `deltarec.toml` and, for the tests that keep it up to date, as Markdown.

use super::keys::{Key, SECTIONS};

const HEADER: &str = "\
# deltarec: every key with its default.
#
# This file is built into the program. Copy it, keep the lines that you change, and pass it with
# --config. A key that is absent keeps the value shown here. --set graph.k=20 overrides both.
# A key in a comment, as in #uri = ..., is not set by default.
# Durations are an integer and a unit: 500ms, 30s, 30m, 12h, 30d. Sizes likewise: 512B, 64KiB, 1MiB.
# Ranges and examples: docs/configuration.md.
# Rendered from src/config/keys; regenerate with: UPDATE_DOCS=1 cargo test --lib config
";

/// A space at which no line is broken.
const UNBROKEN: &str = "\u{a0}";
/// Longest line of a comment.
const WIDTH: usize = 100;

/// The text of `deltarec.toml`.
pub(super) fn defaults_file() -> String {
    let sections = SECTIONS.iter().map(|section| {
        let keys: Vec<String> = section.keys.iter().map(entry).collect();
        format!("{}[{}]\n{}", comment(section.doc), section.name, keys.join("\n"))
    });
    let parts: Vec<String> = std::iter::once(HEADER.to_owned()).chain(sections).collect();
    parts.join("\n")
}

fn entry(key: &Key) -> String {
    let range = match key.range.as_str() {
        "" => String::new(),
        range if key.type_name == "text" => format!("Values: {range}."),
        range => format!("Range: {range}."),
    };
    let line = match key.default.as_str() {
        "" => format!("#{} = {}\n", key.name, key.example),
        default => format!("{} = {default}\n", key.name),
    };
    comment(&format!("{} {}", key.doc, range.replace(' ', UNBROKEN))) + &line
}

/// Markdown as lines of a comment, broken at spaces.
fn comment(markdown: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in markdown.split(' ').filter(|word| !word.is_empty()) {
        let word = word.replace('`', "").replace(UNBROKEN, " ");
        match lines.last_mut().filter(|line| line.len() + 1 + word.len() <= WIDTH) {
            Some(line) => line.extend([" ", &word]),
            None => lines.push(format!("# {word}")),
        }
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// The table of a section's keys in `docs/configuration.md`.
#[cfg(test)]
pub(super) fn table(section: &super::keys::Section) -> String {
    let mut rows = vec!["| key | type | default | range | meaning |".into(), "| --- | --- | --- | --- | --- |".into()];
    rows.extend(section.keys.iter().map(|key| row(section.name, key)));
    rows.extend([section.other_names.to_owned()].into_iter().filter(|row| !row.is_empty()));
    rows.iter().flat_map(|row| [row, "\n"]).collect()
}

#[cfg(test)]
fn row(section: &str, key: &Key) -> String {
    use super::keys::Snapshot;

    let Key { name, type_name, doc, more, .. } = key;
    let default = if key.default.is_empty() { "not set".into() } else { format!("`{}`", key.default) };
    let range = if key.range.is_empty() { "any" } else { &key.range };
    let restart = match key.snapshot {
        Snapshot::MustNotGrow(_) if *type_name == "boolean" => "After a snapshot, turning it on needs `--rebuild`.",
        Snapshot::MustNotGrow(_) => "After a snapshot, a larger value needs `--rebuild`.",
        Snapshot::MustNotChange(_) => "After a snapshot, another value needs `--rebuild`.",
        Snapshot::Unaffected | Snapshot::ListsRecomputed => "",
    };
    let meaning: Vec<&str> = [doc, more, restart].into_iter().filter(|text| !text.is_empty()).collect();
    format!("| `{section}.{name}` | {type_name} | {default} | {range} | {} |", meaning.join(" "))
}
