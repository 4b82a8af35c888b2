//! What messages and reports show of a configuration: no value that may be a secret.

use super::error::{ConfigError, Problem, one_line};
use super::keys::SECTIONS;

/// Hides the values of keys that may be meant for secrets.
pub(super) fn hide_secrets(errors: &mut [ConfigError]) {
    for error in errors {
        if let Problem::Wrong { key, .. } = &error.problem
            && !is_public(key)
        {
            error.hide();
        }
    }
}

/// Whether messages may show the value of a dotted key. A misspelt key may have been meant for a secret, so outside the
/// sections that have no secrets only known keys are public.
fn is_public(key: &str) -> bool {
    let top = key.split('.').next().unwrap_or_default().trim();
    let in_section = |section: &str| key.trim().strip_prefix(section).and_then(|rest| rest.strip_prefix('.'));
    matches!(top, "graph" | "levels" | "input" | "trending" | "state")
        || SECTIONS.iter().any(|section| {
            let name = in_section(section.name);
            section.keys.iter().any(|key| !key.secret && Some(key.name) == name)
        })
}

/// A `--set` without a value that may be a secret, for reports.
pub fn public_set(text: &str) -> String {
    match text.split_once('=') {
        Some((key, _)) if is_public(key) => schema::redact_uris(text).into_owned(),
        Some((key, _)) => format!("{}=(hidden)", one_line(key)),
        None => {
            let end = text.find(|c: char| !c.is_alphanumeric() && !"_-.\"# ".contains(c));
            let key = one_line(&text[..end.unwrap_or(text.len())]);
            if end.is_some() { format!("{key}(hidden)") } else { key }
        }
    }
}
