//! Text of users in messages.

/// Maximum number of characters of a text in a message.
const MAX_SHOWN: usize = 64;

/// Maximum number of names that a message lists.
const MAX_LISTED: usize = 20;

/// A text from outside for a message: at most 64 characters, with control characters escaped, so that a message stays on one
/// line and cannot change the colours of a terminal.
///
/// ```
/// assert_eq!(schema::shown("two\nlines"), "two\\nlines");
/// assert_eq!(schema::shown(&"x".repeat(70)), format!("{}...", "x".repeat(64)));
/// ```
pub fn shown(text: &str) -> String {
    shortened(text, MAX_SHOWN)
}

/// The same with at most `limit` characters.
pub fn shortened(text: &str, limit: usize) -> String {
    let mut shown = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == limit {
            shown.push_str("...");
            break;
        }
        if is_invisible(character) { shown.extend(character.escape_default()) } else { shown.push(character) }
    }
    shown
}

/// Names from outside for a message: the first 20 in back quotes, and the number of the others.
///
/// ```
/// let names: Vec<String> = (1..=22).map(|n| n.to_string()).collect();
/// assert!(schema::listed(&names).ends_with("`19`, `20` and 2 more"));
/// ```
pub fn listed(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{}`", shown(name))).collect();
    let list = quoted.join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => list,
        more => format!("{list} and {} more", grouped(more)),
    }
}

/// A number with commas between its thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Control characters, line and paragraph separators, and characters that change the direction of text.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_text_of_users_is_one_short_line() {
        assert_eq!(shown("caf\u{e9} \"x\" 品"), "café \"x\" 品");
        assert_eq!(shown("\u{1b}[31mred\r\n\u{202e}"), "\\u{1b}[31mred\\r\\n\\u{202e}");
        let names: Vec<String> = (0..20_000).map(|_| "\n".repeat(1000)).collect();
        let list = listed(&names);
        assert!(list.ends_with(" and 19,980 more") && list.len() < 3_000 && !list.contains('\n'), "{}", list.len());
    }
}
