use serde::{Deserialize, Serialize};

/// A neighbour of an item or a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SimilarTo<N> {
    /// Name of the neighbour, under `item` or `user`.
    #[serde(flatten)]
    pub name: N,
    /// Similarity, 1 to 1024.
    pub similarity: u16,
}

/// Name of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemName {
    /// The name.
    pub item: String,
}

/// Name of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserName {
    /// The name.
    pub user: String,
}

/// The neighbours of an item ([`ItemName`]) or a user ([`UserName`]). Emitted when a neighbour or a similarity changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Similar<N> {
    /// Name of the item or user, under `item` or `user`.
    #[serde(flatten)]
    pub of: N,
    /// Tick at which the row became `similar`, in milliseconds since the Unix epoch.
    pub at: u64,
    /// All neighbours, the most similar first, ties by id64; empty when there are none any more.
    pub similar: Vec<SimilarTo<N>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_flat_object() {
        let name = |item: &str| ItemName { item: item.to_owned() };
        let row = Similar { of: name("p1"), at: 7, similar: vec![SimilarTo { name: name("p2"), similarity: 91 }] };
        let json = r#"{"item":"p1","at":7,"similar":[{"item":"p2","similarity":91}]}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(serde_json::from_str::<Similar<ItemName>>(json).unwrap(), row);
    }
}
