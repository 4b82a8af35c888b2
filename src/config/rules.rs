//! What a value must be: each rule takes what was written and returns the value, or says what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;

use dataflows::config::Measure;
use schema::MAX_LEVEL;

use super::graph::Audience;
use super::raw::Kind;

/// The longest duration, ten years of 365 days, in ms.
pub(super) const MAX_DURATION: u64 = 3_650 * 86_400_000;

/// Most steps of `stairs`.
const MAX_STAIRS: usize = 16;
/// Highest rank of a step: the longest history.
const MAX_STAIR: i64 = 10_000;

type Units = [(&'static str, u64)];
const DURATIONS: &Units = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: &Units = &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// An integer in `range`.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Kind) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display + Copy,
{
    move |value| {
        match value {
            Kind::Integer(value) => T::try_from(*value).ok().filter(|value| range.contains(value)),
            _ => None,
        }
        .ok_or_else(|| format!("an integer from {} to {}", range.start(), range.end()))
    }
}

/// A duration of so many ms.
pub(super) fn duration<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Kind) -> Result<T, String> {
    move |value| {
        quantity(value, DURATIONS, &range).ok_or_else(|| {
            let (least, most) = (show(*range.start(), DURATIONS), show(*range.end(), DURATIONS));
            format!("a duration from \"{least}\" to \"{most}\", an integer with ms, s, m, h or d as in \"30m\"")
        })
    }
}

/// A size of so many bytes.
pub(super) fn size<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Kind) -> Result<T, String> {
    move |value| {
        quantity(value, SIZES, &range).ok_or_else(|| {
            let (least, most) = (show(*range.start(), SIZES), show(*range.end(), SIZES));
            format!("a size from \"{least}\" to \"{most}\", an integer with B, KiB or MiB as in \"1MiB\"")
        })
    }
}

/// One of some words.
pub(super) fn one_of(words: &'static [&'static str]) -> impl Fn(&Kind) -> Result<String, String> {
    move |value| match value {
        Kind::Text(text) if words.contains(&text.as_str()) => Ok(text.clone()),
        _ => Err(either(words)),
    }
}

fn either(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
}

/// By what items are similar.
pub(super) fn measure(value: &Kind) -> Result<Measure, String> {
    let of_name = |name: &str| Measure::ALL.into_iter().find(|measure| measure.name() == name);
    match value {
        Kind::Text(text) => of_name(text),
        _ => None,
    }
    .ok_or_else(|| either(&Measure::ALL.map(Measure::name)))
}

/// Any text.
pub(super) fn text(value: &Kind) -> Result<String, String> {
    match value {
        Kind::Text(text) => Ok(text.clone()),
        _ => Err("a text in quotes".into()),
    }
}

/// `"all"` or a duration.
pub(super) fn audience(value: &Kind) -> Result<Audience, String> {
    match value {
        Kind::Text(text) if text == "all" => Ok(Audience::All),
        _ => duration(1..=MAX_DURATION)(value).map(Audience::Within).map_err(|right| format!("\"all\" or {right}")),
    }
}

/// The ranks at which the weight of a history halves.
pub(super) fn stairs(value: &Kind) -> Result<Vec<u32>, String> {
    let step = |item: &Kind| match item {
        Kind::Integer(rank @ 1..=MAX_STAIR) => u32::try_from(*rank).ok(),
        _ => None,
    };
    let steps = match value {
        Kind::Array(items) => items.iter().map(step).collect::<Option<Vec<u32>>>(),
        _ => None,
    };
    steps.filter(|steps| (1..=MAX_STAIRS).contains(&steps.len()) && steps.is_sorted_by(|a, b| a < b)).ok_or_else(|| {
        format!("1 to {MAX_STAIRS} integers from 1 to {MAX_STAIR}, each above the one before, as in [2, 4, 8, 16]")
    })
}

/// The steps of `watch`: `(from dwell in ms, level)`.
pub(super) fn watch(value: &Kind) -> Result<Vec<(i64, i64)>, String> {
    let step = |item: &Kind| match item {
        Kind::Array(pair) => match pair.as_slice() {
            [from, Kind::Integer(level)] if (1..=i64::from(MAX_LEVEL)).contains(level) => {
                Some((quantity(from, DURATIONS, &(0..=MAX_DURATION))?, *level))
            }
            _ => None,
        },
        _ => None,
    };
    let steps = match value {
        Kind::Array(items) => items.iter().map(step).collect::<Option<Vec<(i64, i64)>>>(),
        _ => None,
    };
    steps.filter(|steps| steps.is_sorted_by(|a, b| a.0 < b.0)).ok_or_else(|| {
        format!(
            "steps of a duration and a level from 1 to {MAX_LEVEL}, durations rising, as in [[\"5s\", 1], [\"30s\", 2]]"
        )
    })
}

/// `30m`: digits and a unit, nothing else. None if it is not that, too large, or out of range.
fn quantity<T: TryFrom<u64>>(value: &Kind, units: &Units, range: &RangeInclusive<u64>) -> Option<T> {
    let Kind::Text(text) = value else { return None };
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    let amount = digits.parse::<u64>().ok()?.checked_mul(*factor)?;
    range.contains(&amount).then(|| T::try_from(amount).ok())?
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
        duration(0..=MAX_DURATION)(&Kind::Text(text.into())).ok()
    }

    #[test]
    fn durations_are_an_integer_and_a_unit() {
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
    fn durations_beyond_the_range_or_64_bits_are_refused() {
        for wrong in ["3651d", "99999999999999999d", "99999999999999999999999s", "18446744073709551615ms"] {
            assert_eq!(ms(wrong), None, "{wrong}");
        }
        let positive = duration::<u64>(1..=MAX_DURATION);
        assert!(positive(&Kind::Text("0ms".into())).is_err());
        assert_eq!(positive(&Kind::Text("1ms".into())), Ok(1));
    }

    #[test]
    fn sizes_are_binary() {
        let size = |text: &str| size::<usize>(1..=1 << 30)(&Kind::Text(text.into())).ok();
        assert_eq!(size("1B"), Some(1));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1024MiB"), Some(1 << 30));
        for wrong in ["0B", "1025MiB", "1MB", "1M", "1", "1GiB", "1 MiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ranges_are_shown_in_their_largest_unit() {
        assert_eq!(show(0, DURATIONS), "0ms");
        assert_eq!(show(1, DURATIONS), "1ms");
        assert_eq!(show(90_000, DURATIONS), "90s");
        assert_eq!(show(MAX_DURATION, DURATIONS), "3650d");
        assert_eq!(show(1 << 30, SIZES), "1024MiB");
    }
}
