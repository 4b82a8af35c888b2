//! Rules: what the value of a key must be.

use std::fmt::Display;
use std::ops::RangeInclusive;

use connectors::SecretPlace;
use dataflows::Audience;
use dataflows::config::{Emit, Measure};
use dataflows::time::MAX_MS;
use schema::{ANY, MAX_LEVEL, Retraction};
use serde_json::Value;
use snapshots::CODECS;

use super::raw::Kind;

/// Longest duration, ten years of 365 days, in milliseconds.
pub(super) const MAX_DURATION: u64 = 3_650 * 86_400_000;

/// Longest retention that is a duration, a hundred years.
const MAX_RETENTION: u64 = 36_500 * 86_400_000;

/// Most steps of `stairs`.
const MAX_STAIRS: usize = 16;
/// Highest rank of a stair.
const MAX_STAIR: i64 = 10_000;

/// What a value must be to become a `T`.
pub(super) struct Rule<T> {
    /// Type for the documentation.
    pub(super) type_name: &'static str,
    /// Valid values for the documentation, in Markdown; empty if the type says it all.
    pub(super) range: String,
    /// Valid values for messages: `{key} must be {expected}`.
    pub(super) expected: String,
    /// Units of the integers of the value; empty if they are plain.
    pub(super) units: &'static Units,
    parse: Box<dyn Fn(&Kind) -> Option<T> + Send + Sync>,
    /// The present spelling of a value in an old one.
    pub(super) respelled: fn(&Kind) -> Option<&'static str>,
}

impl<T: 'static> Rule<T> {
    fn new(
        type_name: &'static str,
        range: impl Into<String>,
        expected: impl Into<String>,
        parse: impl Fn(&Kind) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let (range, expected) = (range.into(), expected.into());
        Rule { type_name, range, expected, units: &[], parse: Box::new(parse), respelled: |_| None }
    }

    /// The value, or what would be right.
    pub(super) fn apply(&self, value: &Kind) -> Result<T, String> {
        (self.parse)(value).ok_or_else(|| self.expected.clone())
    }

    /// The same rule for a value of another type.
    pub(super) fn map<U: 'static>(self, to: impl Fn(T) -> U + Send + Sync + 'static) -> Rule<U> {
        let Rule { type_name, range, expected, units, parse, respelled } = self;
        Rule { type_name, range, expected, units, parse: Box::new(move |value| parse(value).map(&to)), respelled }
    }
}

impl Rule<String> {
    /// Reads `""` as not set: a later layer takes back a value of an earlier one with it.
    pub(super) fn optional(self) -> Rule<Option<String>> {
        self.map(|text| Some(text).filter(|text| !text.is_empty()))
    }
}

impl Rule<u64> {
    /// Reads `""` as not set.
    pub(super) fn optional(self) -> Rule<Option<u64>> {
        let Rule { type_name, range, expected, units, parse, respelled } = self;
        let parse = move |value: &Kind| match value {
            Kind::Text(text) if text.is_empty() => Some(None),
            value => parse(value).map(Some),
        };
        Rule { type_name, range, expected, units, parse: Box::new(parse), respelled }
    }
}

/// An integer in `range`.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> Rule<T>
where
    T: TryFrom<i64> + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    let (least, most) = (*range.start(), *range.end());
    Rule::new("integer", format!("{least} to {most}"), format!("an integer from {least} to {most}"), move |value| {
        match value {
            Kind::Integer(value) => T::try_from(*value).ok().filter(|value| range.contains(value)),
            _ => None,
        }
    })
}

/// `true` or `false`.
pub(super) fn boolean() -> Rule<bool> {
    let word = |value: &Kind| match value {
        Kind::Text(text) if text == "yes" => Some("true"),
        Kind::Text(text) if text == "no" => Some("false"),
        _ => None,
    };
    let parse = move |value: &Kind| match value {
        Kind::Boolean(value) => Some(*value),
        _ => word(value).map(|word| word == "true"),
    };
    Rule { respelled: word, ..Rule::new("boolean", "", "true or false", parse) }
}

/// A duration in milliseconds.
pub(super) fn duration(range: RangeInclusive<u64>) -> Rule<u64> {
    amount("duration", DURATIONS, "ms, s, m, h or d as in \"30m\"", range)
}

/// A size in bytes.
pub(super) fn size(range: RangeInclusive<u64>) -> Rule<usize> {
    amount("size", SIZES, "B, KiB or MiB as in \"1MiB\"", range)
}

/// An amount with a unit.
fn amount<T: TryFrom<u64> + 'static>(
    type_name: &'static str,
    units: &'static Units,
    examples: &str,
    range: RangeInclusive<u64>,
) -> Rule<T> {
    let (least, most) = (show(*range.start(), units), show(*range.end(), units));
    let expected = format!("a {type_name} from \"{least}\" to \"{most}\", an integer with {examples}");
    let parse = move |value: &Kind| quantity(value, units, &range)?.try_into().ok();
    Rule { units, ..Rule::new(type_name, format!("{least} to {most}"), expected, parse) }
}

/// A text that `parse` accepts.
fn text_rule<T: 'static>(
    range: impl Into<String>,
    expected: impl Into<String>,
    parse: impl Fn(&str) -> Option<T> + Send + Sync + 'static,
) -> Rule<T> {
    Rule::new("text", range, expected, move |value| match value {
        Kind::Text(text) => parse(text),
        _ => None,
    })
}

/// Any text.
pub(super) fn text() -> Rule<String> {
    text_rule("", "a text in quotes", |text| Some(text.to_owned()))
}

/// A text that is not empty.
pub(super) fn name() -> Rule<String> {
    text_rule("", "a name in quotes", |text| (!text.is_empty()).then(|| text.to_owned()))
}

/// An array of so many different names of letters, digits, `_` and `-`.
pub(super) fn names(number: RangeInclusive<usize>) -> Rule<Vec<String>> {
    let (least, most) = (*number.start(), *number.end());
    let expected = format!("{least} to {most} different names of letters, digits, _ and -, as in [\"a\", \"b\"]");
    Rule::new("array of names", format!("{least} to {most} different names"), expected, move |value| {
        let names = items(value, |item| match item {
            Kind::Text(name) => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
                ((1..=64).contains(&name.len()) && name.chars().all(is_name)).then(|| name.clone())
            }
            _ => None,
        })?;
        let is_repeated = |at: usize| names[..at].contains(&names[at]);
        (number.contains(&names.len()) && !(0..names.len()).any(is_repeated)).then_some(names)
    })
}

/// One of several words, each with its value.
pub(super) fn choice<T: Clone + Send + Sync + 'static>(words: impl IntoIterator<Item = (&'static str, T)>) -> Rule<T> {
    let (words, values): (Vec<&str>, Vec<T>) = words.into_iter().unzip();
    let expected = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
    text_rule(listed(&words), expected, move |text| {
        words.iter().position(|word| *word == text).map(|at| values[at].clone())
    })
}

/// One of several words.
pub(super) fn one_of(words: &[&'static str]) -> Rule<String> {
    choice(words.iter().map(|word| (*word, (*word).to_owned())))
}

/// Which evaluations are emitted.
pub(super) fn emit() -> Rule<Emit> {
    choice(Emit::ALL.map(|emit| (emit.name(), emit)))
}

/// The name of a measure of similarity.
pub(super) fn measure() -> Rule<Measure> {
    choice(Measure::ALL.map(|measure| (measure.name(), measure)))
}

/// The name of a codec that this program was built with.
pub(super) fn codec() -> Rule<String> {
    let names: Vec<&str> = CODECS.iter().map(|codec| codec.name()).collect();
    // The documentation must not depend on the features of this build.
    let documented: Vec<&str> = names.iter().copied().filter(|name| *name != "abomonation").collect();
    Rule { range: listed(&documented), ..one_of(&names) }
}

/// The location of a secret; `""` is not set.
pub(super) fn secret() -> Rule<Option<SecretPlace>> {
    let expected = "\"env:VARIABLE\" or \"file:PATH\", the location of the secret and not the secret";
    text_rule(listed(&["env:VARIABLE", "file:PATH"]), expected, |place| match place {
        "" => Some(None),
        place => place.parse().ok().map(Some),
    })
}

/// `"all"` or a duration.
pub(super) fn audience() -> Rule<Audience> {
    let ms = duration(1..=MAX_RETENTION);
    let expected = format!("\"all\" or {}", ms.expected);
    let parse = move |value: &Kind| match value {
        Kind::Text(text) if text == "all" => Some(Audience::All),
        _ => (ms.parse)(value).map(Audience::Within),
    };
    let rule = Rule::new("duration or `\"all\"`", "1ms to the retention", expected, parse);
    Rule { units: DURATIONS, ..rule }
}

/// How long events are retained, in milliseconds: a duration, or `"forever"`, which is longer than any timestamp.
pub(super) fn retention() -> Rule<u64> {
    let ms = duration(1..=MAX_RETENTION);
    Rule {
        type_name: "duration or `\"forever\"`",
        range: format!("{}, or `\"forever\"`", ms.range),
        expected: format!("\"forever\" or {}", ms.expected),
        parse: Box::new(move |value| match value {
            Kind::Text(text) if text == "forever" => Some(MAX_MS),
            _ => (ms.parse)(value),
        }),
        ..duration(1..=MAX_RETENTION)
    }
}

/// The basket ranks at which the weight of a history halves.
pub(super) fn stairs() -> Rule<Vec<usize>> {
    let expected =
        format!("1 to {MAX_STAIRS} integers from 1 to {MAX_STAIR}, each above the one before, as in [1, 2, 4, 24]");
    let range = format!("1 to {MAX_STAIRS} steps of 1 to {MAX_STAIR}, strictly rising");
    Rule::new("array of integers", range, expected, |value| {
        let steps = items(value, |item| match item {
            Kind::Integer(rank @ 1..=MAX_STAIR) => usize::try_from(*rank).ok(),
            _ => None,
        })?;
        Some(steps).filter(|steps| (1..=MAX_STAIRS).contains(&steps.len()) && steps.is_sorted_by(|a, b| a < b))
    })
}

/// The steps of `watch`: `(from dwell in ms, level)`.
pub(super) fn watch() -> Rule<Vec<(i64, i64)>> {
    let expected = format!(
        "steps of a duration and a level from 1 to {MAX_LEVEL}, durations rising, as in [[\"5s\", 1], [\"30s\", 2]]"
    );
    let range = format!("durations from 0ms, rising; levels 1 to {MAX_LEVEL}");
    Rule::new("array of `[duration, level]`", range, expected, |value| {
        let steps = items(value, |item| {
            let Kind::Array(pair) = item else { return None };
            let [from, Kind::Integer(level)] = pair.as_slice() else { return None };
            let from = quantity(from, DURATIONS, &(0..=MAX_DURATION))?;
            (1..=i64::from(MAX_LEVEL)).contains(level).then_some((i64::try_from(from).ok()?, *level))
        })?;
        Some(steps).filter(|steps| steps.is_sorted_by(|a, b| a.0 < b.0))
    })
}

/// What an action takes back: `of` and `leaves`. Other keys of the table are not looked at.
pub(super) fn retraction() -> Rule<Retraction> {
    let most = MAX_LEVEL - 1;
    let expected = format!(
        "{{of = \"ACTION\", leaves = LEVEL}} with an action that has a level, or \"{ANY}\" for all, and a level from 0 to {most}"
    );
    let range = format!("`of`: an action with a level, or `\"{ANY}\"`; `leaves`: 0 to {most}, below that level");
    Rule::new("table", range, expected, |value| match value {
        Kind::Table(entries) => match (&entries.get("of")?.kind, &entries.get("leaves")?.kind) {
            (Kind::Text(of), Kind::Integer(leaves)) => Some(Retraction { of: of.clone(), leaves: *leaves }),
            _ => None,
        },
        _ => None,
    })
}

/// The items of an array, if all are valid.
fn items<T>(value: &Kind, item: impl Fn(&Kind) -> Option<T>) -> Option<Vec<T>> {
    match value {
        Kind::Array(items) => items.iter().map(item).collect(),
        _ => None,
    }
}

/// The words as Markdown code, for the documentation; without the empty one, which means not set.
fn listed(words: &[&str]) -> String {
    let code = |word: &&str| (!word.is_empty()).then(|| format!("`\"{word}\"`"));
    words.iter().filter_map(code).collect::<Vec<_>>().join(", ")
}

/// The value of a field as TOML, with its integers in units; empty if it is not set.
pub(super) fn to_toml(value: &Value, units: &Units) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(number) if !units.is_empty() => {
            format!("\"{}\"", show(number.as_u64().expect("amounts are not negative"), units))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| to_toml(item, units)).collect::<Vec<_>>().join(", "))
        }
        // Words, numbers and truth values are written as in JSON.
        value => value.to_string(),
    }
}

/// Names of units and their factors, ascending.
pub(super) type Units = [(&'static str, u64)];
const DURATIONS: &Units = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &Units = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// The amount in digits and a unit, like `30m`; `None` if it is malformed, too large or out of range.
fn quantity(value: &Kind, units: &Units, range: &RangeInclusive<u64>) -> Option<u64> {
    let Kind::Text(text) = value else { return None };
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let amount = digits.parse::<u64>().ok()?.checked_mul(*factor)?;
    range.contains(&amount).then_some(amount)
}

/// An amount in the largest unit that leaves no remainder.
fn show(amount: u64, units: &Units) -> String {
    let fits = units.iter().rev().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    let (name, factor) = fits.unwrap_or(&units[0]);
    format!("{}{name}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<u64> {
        duration(0..=MAX_DURATION).apply(&Kind::Text(text.into())).ok()
    }

    #[test]
    fn reads_a_duration_as_an_integer_and_a_unit() {
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("30s"), Some(30_000));
        assert_eq!(ms("30m"), Some(1_800_000));
        assert_eq!(ms("12h"), Some(43_200_000));
        assert_eq!(ms("30d"), Some(2_592_000_000));
        assert_eq!(ms("3650d"), Some(MAX_DURATION));
        for wrong in ["", "30", "d", "30 d", " 30d", "30d ", "-1s", "+1s", "1.5h", "1h30m", "30D", "2w", "३s"] {
            assert_eq!(ms(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn events_are_retained_for_up_to_a_hundred_years_or_forever() {
        let retention = |text: &str| retention().apply(&Kind::Text(text.into())).ok();
        assert_eq!(retention("36500d"), Some(MAX_RETENTION));
        assert_eq!(retention("forever"), Some(MAX_MS));
        for wrong in ["36501d", "0ms", "ever", "Forever", "18446744073709551615d"] {
            assert_eq!(retention(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rejects_a_duration_out_of_range_or_beyond_64_bits() {
        for wrong in ["3651d", "99999999999999999d", "99999999999999999999999s", "18446744073709551615ms"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        let positive = duration(1..=MAX_DURATION);
        assert!(positive.apply(&Kind::Text("0ms".into())).is_err());
        assert_eq!(positive.apply(&Kind::Text("1ms".into())), Ok(1));
    }

    #[test]
    fn sizes_have_binary_units() {
        let size = |text: &str| super::size(1..=1 << 30).apply(&Kind::Text(text.into())).ok();
        assert_eq!(size("1B"), Some(1));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1024MiB"), Some(1 << 30));
        for wrong in ["0B", "1025MiB", "1MB", "1M", "1", "1GiB", "1 MiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shows_an_amount_in_its_largest_unit() {
        assert_eq!(show(0, DURATIONS), "0ms");
        assert_eq!(show(1, DURATIONS), "1ms");
        assert_eq!(show(90_000, DURATIONS), "90s");
        assert_eq!(show(MAX_DURATION, DURATIONS), "3650d");
        assert_eq!(show(1 << 30, SIZES), "1024MiB");
    }
}
