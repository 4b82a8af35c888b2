//! The keys, their file and their page agree.

use super::*;

const PAGE: &str = include_str!("../../../docs/configuration.md");

#[test]
fn every_key_is_on_the_page_with_its_default() {
    for (key, default) in default_keys() {
        let row = format!("| `{key}` |");
        let rows: Vec<&str> = PAGE.lines().filter(|line| line.starts_with(&row)).collect();
        let [row] = rows[..] else { panic!("docs/configuration.md has {} rows `{row}`", rows.len()) };
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "key, type, default, range, meaning: {row}");
        assert_eq!(cells[2], format!("`{default}`"), "the default of {key}");
    }
}

#[test]
fn the_page_has_no_key_that_does_not_exist() {
    let keys = default_keys();
    for row in PAGE.lines().filter(|line| line.starts_with("| `")) {
        let key = row.split('`').nth(1).unwrap();
        assert!(keys.iter().any(|(known, _)| known == key) || key == "levels.ACTION", "{row}");
    }
}

#[test]
fn every_key_in_the_file_has_a_comment_above() {
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#')) {
        assert!(pair[0].starts_with("# "), "no comment above: {}", pair[1]);
    }
}

#[test]
fn the_examples_of_the_page_load() {
    let examples: Vec<&str> = PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let config = load(example, &[]).unwrap_or_else(|errors| panic!("{errors}\n{example}"));
        assert_ne!(config, Config::default(), "the example shows nothing:\n{example}");
    }
}

#[test]
fn the_message_on_the_page_is_what_the_program_says() {
    let text = "[graph]\nneighbors = 3\nretention = \"30 days\"\n\n[levels]\nbuy = 5\n";
    let message = load(text, &["graph.k=abc"]).unwrap_err().to_string();
    let shown = PAGE.split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();
    let without_folder = |line: &str| match line.split_once("my.toml") {
        Some((_, rest)) => format!("  shop.toml{rest}"),
        None => line.to_owned(),
    };
    assert_eq!(message.lines().map(without_folder).collect::<Vec<_>>(), shown.lines().collect::<Vec<_>>());
}
