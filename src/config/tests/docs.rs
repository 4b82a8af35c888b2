//! `deltarec.toml` and `docs/configuration.md` are rendered from the table of keys.

use super::*;

const UPDATE: &str = "UPDATE_DOCS=1 cargo test --lib config";

fn root(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn page() -> String {
    std::fs::read_to_string(root("docs/configuration.md")).unwrap()
}

/// Compares a file with its rendering, or writes it.
fn is_rendered(name: &str, rendered: &str) {
    let is_same = std::fs::read_to_string(root(name)).is_ok_and(|text| text == rendered);
    if !is_same && std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root(name), rendered).unwrap();
    } else {
        assert!(is_same, "{name} does not match src/config/keys; regenerate it: {UPDATE}");
    }
}

/// Replaces the text between `<!-- NAME -->` and `<!-- end -->`.
fn replace(page: &str, name: &str, text: &str) -> String {
    let start = format!("<!-- {name} -->\n");
    let (before, rest) = page.split_once(&start).unwrap_or_else(|| panic!("docs/configuration.md has no {start}"));
    let (_, after) = rest.split_once("<!-- end -->\n").unwrap();
    format!("{before}{start}\n{text}\n<!-- end -->\n{after}")
}

#[test]
fn the_files_are_rendered_from_the_table() {
    is_rendered("deltarec.toml", &DEFAULTS);
    let mut rendered = page();
    for section in SECTIONS.iter().filter(|section| !section.keys.is_empty()) {
        rendered = replace(&rendered, &format!("keys of {}", section.name), &render::table(section));
    }
    is_rendered("docs/configuration.md", &replace(&rendered, "mistakes", &mistakes()));
}

/// The example of a message about mistakes.
fn mistakes() -> String {
    let text = "[graph]\nneighbors = 3\nretention = \"30 days\"\n\n[levels]\nbuy = 5\n";
    let message = load(text, &["graph.k=abc"]).unwrap_err().to_string();
    let without_folder = |line: &str| match line.split_once("my.toml") {
        Some((_, rest)) => format!("  shop.toml{rest}"),
        None => line.to_owned(),
    };
    let lines: Vec<String> = message.lines().map(without_folder).collect();
    format!("```text\n{}\n```\n", lines.join("\n"))
}

#[test]
fn every_key_is_on_the_page_with_its_default() {
    let page = page();
    for (key, entry) in keys::all(&SECTIONS) {
        let row = format!("| `{key}` |");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&row)).collect();
        let [row] = rows[..] else { panic!("docs/configuration.md has {} rows `{row}`", rows.len()) };
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "key, type, default, range, meaning: {row}");
        let default = if entry.default.is_empty() { "not set".into() } else { format!("`{}`", entry.default) };
        assert_eq!(cells[2], default, "the default of {key}");
    }
}

#[test]
fn the_page_has_no_key_that_does_not_exist() {
    for row in page().lines().filter(|line| line.starts_with("| `")) {
        let key = row.split('`').nth(1).unwrap();
        assert!(
            keys::all(&SECTIONS).any(|(known, _)| known == key)
                || ["levels.ACTION", "retractions.ACTION"].contains(&key),
            "{row}"
        );
    }
}

#[test]
fn the_file_has_every_key_and_a_comment_above_it() {
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with("# ")) {
        assert!(pair[0].starts_with("# "), "no comment above: {}", pair[1]);
    }
    for (key, entry) in keys::all(&SECTIONS) {
        let (start, end) = (format!("{} = ", entry.name), format!("#{} = ", entry.name));
        let start = if entry.default.is_empty() { end } else { start };
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{key}");
    }
}

#[test]
fn the_examples_load() {
    let page = page();
    let examples: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let config = load(example, &[]).unwrap_or_else(|errors| panic!("{errors}\n{example}"));
        assert_ne!(config, Config::default(), "the example shows nothing:\n{example}");
    }
    for (key, entry) in keys::all(&SECTIONS).filter(|(_, entry)| entry.default.is_empty()) {
        let config = load(&format!("{key} = {}", entry.example), &[]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_ne!(config, Config::default(), "the example of {key} shows nothing");
    }
}
