//! What messages and reports show of a configuration: nothing that may be a secret.
//!
//! A secret may be in any place by mistake: after a misspelt key, after a key without `=`, or in place of a key.

use connectors::KafkaOptions;

use super::error::{ConfigError, Problem, one_line};
use super::keys::{SECTIONS, all};
use super::layers::{names_in, suggest};

const HIDDEN: &str = "(hidden)";

/// Hides the values of keys that may be meant for secrets.
pub(super) fn hide_secrets(errors: &mut [ConfigError]) {
    for error in errors {
        if let Problem::Wrong { key, .. } = &mut error.problem
            && !is_public(key)
        {
            *key = public_key(key);
            error.hide();
        }
    }
}

/// Whether messages may show the value of a dotted key. A misspelt key may have been meant for a secret, so outside the
/// sections that have no secrets only known keys are public.
pub(super) fn is_public(key: &str) -> bool {
    is_in_public_section(key) || all(&SECTIONS).any(|(name, known)| !known.secret && name == key.trim())
}

fn is_in_public_section(key: &str) -> bool {
    let top = key.split('.').next().unwrap_or_default().trim();
    matches!(top, "graph" | "levels" | "retractions" | "input" | "trending" | "state")
}

/// A dotted key for messages: the part of it that is known, and the rest if it is probably a name.
pub fn public_key(key: &str) -> String {
    if key.trim().is_empty() {
        return String::new();
    }
    let mut section = String::new();
    for part in key.split('.') {
        let name = part.trim().trim_matches(['"', '\'']);
        let known = names_in(&SECTIONS, &section);
        let is_shown = match section.as_str() {
            "levels" | "retractions" => return one_line(key),
            "kafka.options" => {
                let is_option = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
                let (_, option) = key.split_once("options.").unwrap_or_default();
                let option = option.trim().trim_matches(['"', '\'']);
                // Few of the known options are one word.
                let is_known = option == "debug" || KafkaOptions::refused(option).is_some();
                return if is_known || (option.contains('.') && option.chars().all(is_option)) {
                    one_line(key)
                } else {
                    format!("{section}.{HIDDEN}")
                };
            }
            _ => known.contains(&name) || is_name(name, &known, is_in_public_section(key)),
        };
        if !section.is_empty() {
            section.push('.');
        }
        if !is_shown {
            return section + HIDDEN;
        }
        section.push_str(name);
    }
    section
}

/// Whether an unknown key is probably a misspelt name and not a secret. `is_public`: no key of its section has a secret.
fn is_name(name: &str, known: &[&str], is_public: bool) -> bool {
    let is_word = name.chars().all(|c| c.is_ascii_lowercase() || c == '_') && name.len() <= 24;
    let is_elsewhere = || all(&SECTIONS).any(|(_, key)| key.name == name);
    // A password may follow its key without a blank.
    let is_glued = all(&SECTIONS).any(|(_, key)| key.secret && name.starts_with(key.name));
    (is_word && (is_public || suggest(name, known).is_some()) && !is_glued) || is_elsewhere()
}

/// A `--set` without a value that may be a secret, for reports.
pub fn public_set(text: &str) -> String {
    match text.split_once('=') {
        Some((key, _)) if is_public(key) && public_key(key) == key => schema::redact_uris(text).into_owned(),
        Some((key, _)) => format!("{}={HIDDEN}", public_key(key)),
        None => {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.\"".contains(c));
            let key = public_key(&text[..end.unwrap_or(text.len())]);
            if end.is_some() && !key.ends_with(HIDDEN) { key + HIDDEN } else { key }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_keys_and_hides_what_may_be_a_secret() {
        for (set, right) in [
            ("graph.k=20", "graph.k=20"),
            ("graph.kk=20", "graph.kk=20"),
            ("graph.popularity=20", "graph.popularity=20"),
            ("graph.k 20", "graph.k(hidden)"),
            ("graph.k", "graph.k"),
            ("levels.add2cart=3", "levels.add2cart=3"),
            ("kafka.security.password s3cr3t", "kafka.security.password(hidden)"),
            ("kafka.security.password s3cr3t=", "kafka.security.(hidden)=(hidden)"),
            ("kafka.security.passwords3cr3t", "kafka.security.(hidden)"),
            ("kafka.security.password=s3cr3t", "kafka.security.password=(hidden)"),
            ("kafka.security.pasword=s3cr3t", "kafka.security.pasword=(hidden)"),
            ("kafka.security.usernam=s3cr3t", "kafka.security.usernam=(hidden)"),
            ("kafka.options.socket.timeout.ms=1", "kafka.options.socket.timeout.ms=(hidden)"),
            ("kafka.options.s3cr3t=1", "kafka.options.(hidden)=(hidden)"),
            ("s3cr3t=", "(hidden)=(hidden)"),
            ("s3cr3t", "(hidden)"),
            ("s3cr3t.x=1", "(hidden)=(hidden)"),
            ("graph.s3cr3t=1", "graph.(hidden)=(hidden)"),
        ] {
            assert_eq!(public_set(set), right, "{set}");
        }
    }
}
