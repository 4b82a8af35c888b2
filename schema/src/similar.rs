use serde::{Deserialize, Serialize};

/// Something similar to an item or a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SimilarTo<N> {
    /// Its name, under `item` or `user`.
    #[serde(flatten)]
    pub name: N,
    /// How similar, 1 to 1024.
    pub similarity: u16,
}

/// The name of an item.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ItemName {
    /// The product.
    pub item: String,
}

/// The name of a user.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserName {
    /// Who.
    pub user: String,
}

/// What is similar to an item ([`ItemName`]) or a user ([`UserName`]) now, sent when anything of it is other than before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Similar<N> {
    /// The name, under `item` or `user`.
    #[serde(flatten)]
    pub of: N,
    /// The tick for which it holds: milliseconds since the Unix epoch.
    pub at: u64,
    /// All that is similar, the most similar first, equal ones by id64; empty when nothing is any more.
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
