use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Least number of similar users that are counted in a reason. The taste of fewer is nobody's business.
const MIN_USERS: u32 = 3;

/// One of the terms that add up to the score of a recommended item.
///
/// ```
/// use schema::ListReason;
///
/// let reasons = [ListReason::of_item("p3".into(), 1_120, 1_671), ListReason::of_users(4, 551, 1_671)];
/// let json = serde_json::to_string(&reasons).unwrap();
/// assert_eq!(
///     json,
///     r#"[{"source":"items","item":"p3","points":1120,"share":0.67},{"source":"users","users":4,"points":551,"share":0.33}]"#
/// );
/// assert_eq!(serde_json::from_str::<Vec<ListReason>>(&json).unwrap(), reasons);
/// // A user or two are not told from other reasons.
/// let other = serde_json::to_string(&ListReason::of_users(2, 551, 1_671)).unwrap();
/// assert_eq!(other, r#"{"source":"other","points":551,"share":0.33}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListReason {
    /// Where the term comes from.
    #[serde(flatten)]
    pub source: ReasonSource,
    /// The term. Those of all reasons of an item add up to its score.
    pub points: i64,
    /// The part that it is of the sum of all reasons but `less`; of `less` the part that it takes away.
    pub share: Share,
}

/// Where a term of a score comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum ReasonSource {
    /// The recommended item is similar to one of the user's history.
    Items {
        /// That item.
        item: String,
    },
    /// Similar users have the recommended item.
    Users {
        /// How many.
        users: u32,
    },
    /// Anything else.
    Other,
    /// The user wants less of what the recommended item is of: three quarters of its score are taken away.
    Less,
}

impl ListReason {
    /// The reason that the user has `item`, with `points` of `sum`.
    pub fn of_item(item: String, points: i64, sum: i64) -> Self {
        ListReason { source: ReasonSource::Items { item }, points, share: Share::of(points, sum) }
    }

    /// The reason that so many similar users have the recommended item. Of fewer than three nothing is told.
    pub fn of_users(users: u32, points: i64, sum: i64) -> Self {
        let source = if users < MIN_USERS { ReasonSource::Other } else { ReasonSource::Users { users } };
        ListReason { source, points, share: Share::of(points, sum) }
    }

    /// The reason that the user wants less of what the item is of: its negative `points` are taken from `sum`.
    pub fn of_less(points: i64, sum: i64) -> Self {
        ListReason { source: ReasonSource::Less, points, share: Share::of(-points, sum) }
    }
}

/// A part of a whole, in hundredths; a decimal number in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u8);

impl Share {
    /// The part that `part` is of `whole`, rounded to hundredths, a half up. Both are positive.
    fn of(part: i64, whole: i64) -> Self {
        let (part, whole) = (i128::from(part), i128::from(whole.max(1)));
        let hundredths = (200 * part + whole) / (2 * whole);
        Share(u8::try_from(hundredths.clamp(0, 100)).expect("at most 100"))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(self.0) / 100.0)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share = f64::deserialize(deserializer)?;
        let hundredths = (100.0 * share).round();
        Ok(Share((0..100).find(|&h| hundredths <= f64::from(h)).unwrap_or(100)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_tells_what_it_takes_away() {
        let less = serde_json::to_string(&ListReason::of_less(-751, 1_001)).unwrap();
        assert_eq!(less, r#"{"source":"less","points":-751,"share":0.75}"#);
    }

    #[test]
    fn a_share_is_rounded_to_hundredths_and_read_as_it_was_written() {
        for (part, whole, text) in [(1, 3, "0.33"), (1, 200, "0.01"), (1, 201, "0.0"), (7, 7, "1.0"), (3, 10, "0.3")] {
            let share = Share::of(part, whole);
            assert_eq!(serde_json::to_string(&share).unwrap(), text);
            assert_eq!(serde_json::from_str::<Share>(text).unwrap(), share);
        }
        assert_eq!(Share::of(i64::MAX / 2, i64::MAX), Share(50));
    }
}
