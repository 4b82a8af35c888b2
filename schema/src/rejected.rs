use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::{Availability, Control, ControlScope, Position, RESERVED_TAGS, Wish, listed};

/// Reason of a rejection. Counters are grouped by [`Reason::code`]; the text describes the one record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The bytes are not one JSON object, or not a CSV record with the fields of the header.
    #[error("malformed record: {detail}")]
    Malformed {
        /// Message of the parser.
        detail: String,
    },
    /// A record of a topic has no value, such as a tombstone.
    #[error("the record has no value")]
    NoValue,
    /// The bytes are not UTF-8.
    #[error("not valid UTF-8")]
    NotUtf8,
    /// The record is longer than the limit.
    #[error("record longer than {limit} bytes")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A required field is absent or empty.
    #[error("field `{field}` is missing")]
    Missing {
        /// Name of the field in the input.
        field: String,
    },
    /// A required field has a word that stands for no value, such as `NULL`.
    #[error("field `{field}` is missing: `{word}` stands for no value")]
    NullWord {
        /// Name of the field in the input.
        field: String,
        /// The word.
        word: String,
    },
    /// A field has another type, or text that cannot be parsed as the type.
    #[error("field `{field}`: expected {expected}, found {found}")]
    WrongType {
        /// Name of the field in the input.
        field: String,
        /// The expected type.
        expected: &'static str,
        /// The value found, truncated.
        found: String,
    },
    /// A name is empty.
    #[error("field `{field}` is empty")]
    EmptyName {
        /// `user` or `item`.
        field: &'static str,
    },
    /// A name or an action is longer than [`crate::MAX_NAME_BYTES`].
    #[error("field `{field}` has {bytes} bytes, the maximum is 512")]
    LongName {
        /// `user`, `item` or `action`.
        field: &'static str,
        /// Length of the name.
        bytes: usize,
    },
    /// The name of a user has the prefix [`crate::RESERVED`].
    #[error("user `{user}`: names that begin with `deltarec:` are reserved for trending lists")]
    ReservedName {
        /// Name of the user.
        user: String,
    },
    /// The name has the id of another name that is in use.
    #[error(
        "{field} `{name}` has the same id as `{known}`, which is in use: names are not merged, so this one is left out; \
         anyone who can write events can craft such names unless identity.key is set"
    )]
    NameCollision {
        /// `user`, `item` or `room`.
        field: &'static str,
        /// The rejected name.
        name: String,
        /// The earlier name.
        known: String,
    },
    /// The action neither has a level nor takes back others.
    #[error(
        "unknown action `{action}`: add a level for it under [levels], or by --set levels.ACTION=LEVEL; under [retractions] if \
         it takes back another"
    )]
    UnknownAction {
        /// The action.
        action: String,
    },
    /// A `watch` has no valid duration.
    #[error("action `watch` requires a dwell_ms of 0 or more")]
    BadDwell,
    /// The timestamp is below 0 or above [`crate::MAX_TS`].
    #[error("timestamp {} is outside 0 .. 2^53-1{}", shown_ts(*ts), unit_of(*ts))]
    TimeOutOfRange {
        /// The timestamp in milliseconds.
        ts: i128,
    },
    /// The timestamp is ahead of the clock by more than the allowed skew.
    #[error("timestamp {ts} is in the future (the latest allowed is {limit}){}", unit_of((*ts).into()))]
    Future {
        /// The timestamp in milliseconds.
        ts: u64,
        /// The latest timestamp accepted, in milliseconds.
        limit: u64,
    },
    /// The timestamp would move the time of the run too far at once.
    #[error(
        "timestamp {ts} is more than {limit} ms (input.max_jump) after {latest}, the latest before it: if the input pauses for \
         so long, raise input.max_jump"
    )]
    TimeJump {
        /// The timestamp in milliseconds.
        ts: u64,
        /// The time of the run before, in milliseconds.
        latest: u64,
        /// The largest jump allowed, in milliseconds.
        limit: u64,
    },
    /// By the clock of this machine the timestamp lies in 1970, and in this time if it is in seconds.
    #[error(
        "timestamp {ts} lies in 1970 and looks like seconds: use ts=NAME:s in --columns (--catalogue-columns, \
         --control-columns)"
    )]
    TimeInSeconds {
        /// The timestamp in milliseconds.
        ts: u64,
    },
    /// The key of a catalogue record in a topic is not the name of its item.
    #[error("the key of the record is `{key}`, its item is `{item}`: use the item as the key, or no key")]
    KeyMismatch {
        /// The key, truncated.
        key: String,
        /// The item, truncated.
        item: String,
    },
    /// A text of a catalogue record is longer than [`crate::MAX_TEXT_BYTES`].
    #[error("field `{field}` has {bytes} bytes, the maximum is 4096")]
    LongText {
        /// Name of the field, such as `title`.
        field: &'static str,
        /// Length of the text.
        bytes: usize,
    },
    /// A list of a catalogue record has more different values than its field may have.
    #[error("field `{field}` has more than {limit} values")]
    TooManyValues {
        /// `category`, `room` or `tags`.
        field: &'static str,
        /// Maximum number of values.
        limit: usize,
    },
    /// The word for an availability is unknown.
    #[error("unknown availability `{word}`: use {}", availabilities())]
    UnknownAvailability {
        /// The word, truncated.
        word: String,
    },
    /// A record has both `availability` and `available`.
    #[error("the record has both `{availability}` and `{available}`: omit one of them")]
    AvailabilityTwice {
        /// Name of the field `availability` in the input.
        availability: String,
        /// Name of the field `available` in the input.
        available: String,
    },
    /// A tag begins like a name that is made of another field.
    #[error("tag `{tag}`: tags that begin with {} are reserved", listed_prefixes())]
    ReservedTag {
        /// The tag, truncated.
        tag: String,
    },
    /// A record names a group of tags that is not configured.
    #[error("unknown tag group `{group}`: catalogue.tag_groups has {}", listed(known))]
    UnknownTagGroup {
        /// The group, truncated.
        group: String,
        /// The groups of the configuration.
        known: Vec<String>,
    },
    /// The word for a control is unknown.
    #[error("unknown control `{word}`: use {}", or_list(&Control::NAMES))]
    UnknownControl {
        /// The word, truncated.
        word: String,
    },
    /// The word for the scope of a control is unknown.
    #[error("unknown scope `{word}`: use {}", or_list(&ControlScope::ALL.map(ControlScope::name)))]
    UnknownScope {
        /// The word, truncated.
        word: String,
    },
    /// A control has a scope that it cannot have.
    #[error("control `{control}` cannot have the scope `{scope}`{}", scopes_of(control, scope))]
    ScopeNotAllowed {
        /// The control.
        control: &'static str,
        /// The scope.
        scope: &'static str,
    },
    /// A control does not name its target.
    #[error(
        "control `{control}` of the scope `{scope}` has no target: name the {scope} in `target`{}",
        without_scope(control)
    )]
    NoTarget {
        /// The control.
        control: &'static str,
        /// The scope.
        scope: &'static str,
    },
    /// A control that concerns all that its user does has a target.
    #[error("control `{control}` concerns all items and takes no target: leave `target` out")]
    TargetNotAllowed {
        /// The control.
        control: &'static str,
    },
    /// The tag of a control begins like a name that is made of another field, which no tag does.
    #[error(
        "no item has the tag `{tag}`, tags that begin with {} are reserved{}",
        listed_prefixes(),
        scope_of_tag(tag)
    )]
    ReservedTagTarget {
        /// The tag, truncated.
        tag: String,
    },
    /// A `forget` has a scope with many items.
    #[error("control `forget` cannot have the scope `{scope}`: send one record for each item, of the scope item")]
    ForgetNeedsItems {
        /// The scope.
        scope: &'static str,
    },
    /// A `forget` is to be undone.
    #[error("control `forget` cannot be undone: leave `undo` out; what the user does from now on counts anyway")]
    CannotBeUndone,
    /// The record does not satisfy a `--where` condition.
    #[error("does not satisfy --where {condition}")]
    Filtered {
        /// The condition, as the user gave it.
        condition: String,
    },
}

impl Reason {
    /// A short, stable name for counters and for `--rejects`. It contains fields and conditions but never values, so the
    /// configuration bounds the number of codes.
    pub fn code(&self) -> String {
        match self {
            Reason::Malformed { .. } => "malformed".into(),
            Reason::NoValue => "no_value".into(),
            Reason::NotUtf8 => "not_utf8".into(),
            Reason::TooLong { .. } => "too_long".into(),
            Reason::Missing { field } | Reason::NullWord { field, .. } => format!("missing:{field}"),
            Reason::WrongType { field, .. } => format!("wrong_type:{field}"),
            Reason::EmptyName { field } => format!("missing:{field}"),
            Reason::LongName { field, .. } => format!("long_name:{field}"),
            Reason::ReservedName { .. } => "reserved_name".into(),
            Reason::NameCollision { .. } => "name_collision".into(),
            Reason::UnknownAction { .. } => "unknown_action".into(),
            Reason::BadDwell => "bad_dwell".into(),
            Reason::TimeOutOfRange { .. } => "time_out_of_range".into(),
            Reason::Future { .. } => "future".into(),
            Reason::TimeJump { .. } => "time_jump".into(),
            Reason::TimeInSeconds { .. } => "time_in_seconds".into(),
            Reason::KeyMismatch { .. } => "key_mismatch".into(),
            Reason::LongText { field, .. } => format!("long_text:{field}"),
            Reason::TooManyValues { field, .. } => format!("too_many_values:{field}"),
            Reason::UnknownAvailability { .. } => "unknown_availability".into(),
            Reason::AvailabilityTwice { .. } => "availability_twice".into(),
            Reason::ReservedTag { .. } | Reason::ReservedTagTarget { .. } => "reserved_tag".into(),
            Reason::UnknownTagGroup { .. } => "unknown_tag_group".into(),
            Reason::UnknownControl { .. } => "unknown_control".into(),
            Reason::UnknownScope { .. } => "unknown_scope".into(),
            Reason::ScopeNotAllowed { .. } => "scope_not_allowed".into(),
            Reason::NoTarget { .. } => "no_target".into(),
            Reason::TargetNotAllowed { .. } => "target_not_allowed".into(),
            Reason::ForgetNeedsItems { .. } => "forget_needs_items".into(),
            Reason::CannotBeUndone => "cannot_be_undone".into(),
            Reason::Filtered { condition } => format!("filtered:{condition}"),
        }
    }
}

/// The words for availabilities, for messages.
fn availabilities() -> String {
    Availability::ALL.map(Availability::word).join(", ")
}

/// The prefixes that no tag has, for messages.
fn listed_prefixes() -> String {
    RESERVED_TAGS.map(|prefix| format!("`{prefix}`")).join(", ")
}

/// Words to choose from, for messages.
fn or_list(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// What to do about a scope that a control cannot have.
fn scopes_of(control: &str, scope: &str) -> String {
    match Wish::ALL.into_iter().find(|wish| wish.name() == control) {
        Some(wish) => {
            let default = if scope == ControlScope::Item.name() { " (the default)" } else { "" };
            let allowed = ControlScope::ALL.into_iter().filter(|scope| wish.allows(*scope));
            format!("{default}: use {}", or_list(&allowed.map(ControlScope::name).collect::<Vec<_>>()))
        }
        None => ": it concerns all items, leave the scope out".into(),
    }
}

/// What else a control without a target may mean.
fn without_scope(control: &str) -> &'static str {
    if control == "forget" { "; to forget everything write the scope `all`" } else { "" }
}

/// What to do about a tag that begins like the name of another scope.
fn scope_of_tag(tag: &str) -> String {
    let scopes = [ControlScope::Host, ControlScope::Brand, ControlScope::Category];
    let of_prefix = |scope: ControlScope| Some((scope.name(), tag.strip_prefix(scope.name())?.strip_prefix(':')?));
    match scopes.into_iter().find_map(of_prefix) {
        Some((scope, target)) => format!(": use the scope {scope} and the target `{target}`"),
        None => String::new(),
    }
}

/// A timestamp for messages. Numbers beyond 36 digits were replaced with the limit: what was written may have hundreds.
fn shown_ts(ts: i128) -> String {
    const LIMIT: u128 = 10_u128.pow(30);
    if ts.unsigned_abs() < LIMIT { ts.to_string() } else { "of more than 30 digits".into() }
}

/// What a timestamp that is too large looks like, and what to do then.
fn unit_of(ts: i128) -> &'static str {
    match ts {
        // In the years 1973 to 2286 of the unit.
        100_000_000_000_000..10_000_000_000_000_000 => {
            ": looks like microseconds, use ts=NAME:us in --columns (--catalogue-columns, --control-columns)"
        }
        100_000_000_000_000_000..10_000_000_000_000_000_000 => {
            ": looks like nanoseconds, use ts=NAME:ns in --columns (--catalogue-columns, --control-columns)"
        }
        _ => "",
    }
}

/// A record of a topic in its original form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original {
    /// Name of the topic.
    pub topic: String,
    /// The key, if the record has one.
    pub key: Option<Vec<u8>>,
    /// The value, if the record has one.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A record that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Reason of the rejection.
    pub reason: Reason,
    /// Name of the input, as the user gave it.
    pub source: String,
    /// Position of the record in the input.
    pub position: Position,
    /// Text of the record, truncated to a few KiB, with invalid UTF-8 replaced.
    pub record: String,
    /// The whole record, for a dead-letter topic. Only records of topics have one.
    pub original: Option<Box<Original>>,
}

impl Rejected {
    /// Source and position, for messages: `day.csv:3`, or `kafka://b/events, partition 2, offset 77`.
    pub fn place(&self) -> String {
        self.position.place(&self.source)
    }
}

/// One flat object, with `line` and `offset` (the byte) for a file, `partition` and `offset` for a topic.
impl Serialize for Rejected {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("reason", &self.reason.code())?;
        map.serialize_entry("detail", &self.reason.to_string())?;
        map.serialize_entry("source", &self.source)?;
        match self.position {
            Position::Line { line, byte } => {
                map.serialize_entry("line", &line)?;
                map.serialize_entry("offset", &byte)?;
            }
            Position::Offset { partition, offset } => {
                map.serialize_entry("partition", &partition)?;
                map.serialize_entry("offset", &offset)?;
            }
        }
        map.serialize_entry("record", &self.record)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_of_another_unit_is_recognised() {
        for (ts, unit) in [(1_700_000_000_000_000, "microseconds"), (1_700_000_000_000_000_000, "nanoseconds")] {
            let text = Reason::TimeOutOfRange { ts }.to_string();
            assert!(text.contains(unit), "{text}");
        }
        let text = Reason::Future { ts: 1_700_000_000_000_000, limit: 1_800_000_000_000 }.to_string();
        assert!(text.contains("ts=NAME:us"), "{text}");
        let text = Reason::TimeOutOfRange { ts: -(10_i128.pow(36)) }.to_string();
        assert_eq!(text, "timestamp of more than 30 digits is outside 0 .. 2^53-1");
        assert!(!Reason::Future { ts: 1_900_000_000_000, limit: 1_800_000_000_000 }.to_string().contains("looks like"));
    }

    #[test]
    fn a_rejected_control_is_told_what_to_write_instead() {
        let less = Reason::ScopeNotAllowed { control: "less", scope: "room" }.to_string();
        assert_eq!(less, "control `less` cannot have the scope `room`: use host, brand, category or tag");
        let less = Reason::ScopeNotAllowed { control: "less", scope: "item" }.to_string();
        assert!(less.contains("the scope `item` (the default): use host"), "{less}");
        let pause = Reason::ScopeNotAllowed { control: "pause", scope: "item" }.to_string();
        assert!(pause.ends_with("it concerns all items, leave the scope out"), "{pause}");
        let forget = Reason::NoTarget { control: "forget", scope: "item" }.to_string();
        assert!(forget.contains("name the item in `target`; to forget everything write the scope `all`"), "{forget}");
        let host = Reason::ReservedTagTarget { tag: "host:h1".into() }.to_string();
        assert!(host.ends_with(": use the scope host and the target `h1`"), "{host}");
        let stage = Reason::ReservedTagTarget { tag: "stage:new".into() }.to_string();
        assert!(stage.ends_with("`stage:` are reserved"), "{stage}");
        let word = Reason::UnknownControl { word: "more".into() }.to_string();
        assert!(
            word.ends_with("use not_interested, less, forget, pause, resume, personal_off or personal_on"),
            "{word}"
        );
    }

    #[test]
    fn a_rejected_record_of_a_topic_has_its_partition_and_offset() {
        let rejected = Rejected {
            reason: Reason::BadDwell,
            source: "kafka://b:9092/events".into(),
            position: Position::Offset { partition: 2, offset: 77 },
            record: "{}".into(),
            original: None,
        };
        let json: serde_json::Value = serde_json::to_value(&rejected).unwrap();
        assert_eq!((&json["partition"], &json["offset"], json.get("line")), (&2.into(), &77.into(), None));
        assert_eq!(rejected.place(), "kafka://b:9092/events, partition 2, offset 77");
    }
}
