use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Prefix of the keys of shared lists. No user may have a name with this prefix while trending lists are computed.
pub const RESERVED: &str = "deltarec:";

/// Wire form of [`ListKey::Everywhere`].
pub const TRENDING: &str = "deltarec:trending";

/// What [`TRENDING`] is followed by in the wire form of [`ListKey::Room`].
const ROOM: &str = ":room:";

/// Wire form of [`ListKey::Room`].
pub fn trending_in(room: &str) -> String {
    ListKey::Room(room).to_string()
}

/// Key of a list: the list of a user, or a list of trending items that many users share.
///
/// On the wire a key is one string: a user's name as it is, and reserved names for the shared lists.
///
/// ```
/// use schema::ListKey;
///
/// assert_eq!(ListKey::User("u1").to_string(), "u1");
/// assert_eq!(ListKey::Room("r7").to_string(), "deltarec:trending:room:r7");
/// assert_eq!(ListKey::parse("deltarec:trending"), ListKey::Everywhere);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListKey<N = String> {
    /// The recommendations for a user.
    User(N),
    /// What trends in a live room.
    Room(N),
    /// What trends in all rooms together.
    Everywhere,
}

impl<'a> ListKey<&'a str> {
    /// Reads the wire form. Every string is a key: what is not the key of a shared list is a user.
    pub fn parse(key: &'a str) -> Self {
        match key.strip_prefix(TRENDING) {
            Some("") => ListKey::Everywhere,
            Some(rest) => rest.strip_prefix(ROOM).map_or(ListKey::User(key), ListKey::Room),
            None => ListKey::User(key),
        }
    }

    /// The same key with its own text.
    pub fn into_owned(self) -> ListKey {
        match self {
            ListKey::User(name) => ListKey::User(name.to_owned()),
            ListKey::Room(name) => ListKey::Room(name.to_owned()),
            ListKey::Everywhere => ListKey::Everywhere,
        }
    }
}

/// The wire form.
impl<N: fmt::Display> fmt::Display for ListKey<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListKey::User(name) => name.fmt(f),
            ListKey::Room(room) => write!(f, "{TRENDING}{ROOM}{room}"),
            ListKey::Everywhere => TRENDING.fmt(f),
        }
    }
}

impl<N: AsRef<str> + fmt::Display> Serialize for ListKey<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ListKey::User(name) => serializer.serialize_str(name.as_ref()),
            ListKey::Room(_) => serializer.collect_str(self),
            ListKey::Everywhere => serializer.serialize_str(TRENDING),
        }
    }
}

impl<'de> Deserialize<'de> for ListKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = String::deserialize(deserializer)?;
        Ok(match ListKey::parse(&key) {
            ListKey::User(_) => ListKey::User(key),
            shared => shared.into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_the_wire_form_of_one_key() {
        for (text, key) in [
            ("u1", ListKey::User("u1")),
            ("", ListKey::User("")),
            ("deltarec:trending", ListKey::Everywhere),
            ("deltarec:trending:room:r:7", ListKey::Room("r:7")),
            ("deltarec:trending:room:", ListKey::Room("")),
            ("deltarec:trendings", ListKey::User("deltarec:trendings")),
            ("deltarec:other", ListKey::User("deltarec:other")),
        ] {
            assert_eq!(ListKey::parse(text), key);
            assert_eq!(key.to_string(), text);
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(json, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<ListKey>(&json).unwrap(), key.into_owned());
        }
    }
}
