use std::collections::BTreeMap;

use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};

use crate::{FieldValue, ItemField, Statement};

/// A catalogue record as it is written: one JSON object with the fields of `docs/semantics.md`, "Catalogue".
///
/// A price is a decimal text, so that no reader rounds it. Tags are a list if only those of the first group are stated,
/// and otherwise an object with the names of the groups. A field without a value is `null`.
///
/// ```
/// use schema::{CatalogueLine, FieldValue, ItemField, Statement};
///
/// let price = Some(FieldValue::Number(590_000));
/// let statement = Statement::Fields(vec![(ItemField::Room, None), (ItemField::Price, price)]);
/// let line = CatalogueLine { item: "p7", ts: 5, statement: &statement, tag_groups: &["default"] };
/// assert_eq!(serde_json::to_string(&line).unwrap(), r#"{"item":"p7","ts":5,"room":null,"price":"59.00"}"#);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CatalogueLine<'a, G = String> {
    /// Name of the item.
    pub item: &'a str,
    /// Time of the record, in milliseconds since the Unix epoch.
    pub ts: u64,
    /// What is stated.
    pub statement: &'a Statement,
    /// Names of the tag groups, by place. The first group needs no name while it is alone in a record.
    pub tag_groups: &'a [G],
}

impl<G: AsRef<str>> Serialize for CatalogueLine<'_, G> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("item", self.item)?;
        map.serialize_entry("ts", &self.ts)?;
        let Statement::Fields(fields) = self.statement else {
            map.serialize_entry("deleted", &true)?;
            return map.end();
        };
        for field in ItemField::ALL {
            let stated = fields.iter().find(|(stated, _)| *stated == field);
            if let (Some(name), Some((_, value))) = (field.name(), stated) {
                map.serialize_entry(name, &WireValue { field, value: value.as_ref() })?;
            }
        }
        let tags = fields.iter().filter_map(|(field, value)| match field {
            ItemField::Tags(group) => Some((*group, WireValue { field: *field, value: value.as_ref() })),
            _ => None,
        });
        let tags: BTreeMap<u8, WireValue<'_>> = tags.collect();
        match (tags.len(), tags.get(&0)) {
            (0, _) => {}
            (1, Some(first)) => map.serialize_entry("tags", first)?,
            _ => {
                let name = |group: u8| {
                    let name = self.tag_groups.get(usize::from(group)).map(AsRef::as_ref);
                    name.ok_or_else(|| S::Error::custom(format!("tag group {group} has no name")))
                };
                let named: Result<Vec<(&str, &WireValue<'_>)>, S::Error> =
                    tags.iter().map(|(group, value)| Ok((name(*group)?, value))).collect();
                map.serialize_entry("tags", &Groups(named?))?;
            }
        }
        map.end()
    }
}

/// The groups of an object `tags`, in the order of their places.
struct Groups<'a>(Vec<(&'a str, &'a WireValue<'a>)>);

impl Serialize for Groups<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// A value in its wire form, which depends on the field.
struct WireValue<'a> {
    field: ItemField,
    value: Option<&'a FieldValue>,
}

impl Serialize for WireValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            None => serializer.serialize_none(),
            Some(FieldValue::Text(text)) => serializer.serialize_str(text),
            Some(FieldValue::Set(texts)) => serializer.collect_seq(texts.iter()),
            Some(FieldValue::Number(number)) if self.field == ItemField::Price => {
                serializer.serialize_str(&price_text(*number))
            }
            Some(FieldValue::Number(number)) => serializer.serialize_u64(*number),
            Some(FieldValue::Availability(availability)) => serializer.serialize_str(availability.word()),
        }
    }
}

/// Decimal text of a price in ten-thousandths, with at least two decimals: `59.00`, `0.125`.
fn price_text(ten_thousandths: u64) -> String {
    let mut text = format!("{}.{:04}", ten_thousandths / 10_000, ten_thousandths % 10_000);
    for _ in 0..2 {
        if text.ends_with('0') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Availability;

    const GROUPS: [&str; 2] = ["default", "visual"];

    fn line(statement: &Statement) -> serde_json::Result<String> {
        serde_json::to_string(&CatalogueLine { item: "p\"1", ts: 1_000, statement, tag_groups: &GROUPS })
    }

    fn set(texts: &[&str]) -> Option<FieldValue> {
        FieldValue::set(texts.iter().map(|text| (*text).to_owned()))
    }

    fn text(text: &str) -> FieldValue {
        FieldValue::Text(text.into())
    }

    #[test]
    fn every_field_has_its_wire_form() {
        let statement = Statement::Fields(vec![
            (ItemField::Kind, Some(text("product"))),
            (ItemField::Group, Some(text("g"))),
            (ItemField::Title, Some(text("a \"b\""))),
            (ItemField::Category, set(&["A > B", "C"])),
            (ItemField::Host, Some(text("host1"))),
            (ItemField::Brand, None),
            (ItemField::Room, set(&["room2", "room1"])),
            (ItemField::Price, Some(FieldValue::Number(590_000))),
            (ItemField::Currency, Some(text("CNY"))),
            (ItemField::Availability, Some(FieldValue::Availability(Availability::PreOrder))),
            (ItemField::From, Some(FieldValue::Number(7))),
            (ItemField::Until, None),
            (ItemField::Image, Some(text("https://example.org/a.png"))),
            (ItemField::Url, Some(text("https://example.org/a"))),
            (ItemField::Tags(0), set(&["y", "x"])),
        ]);
        assert_eq!(
            line(&statement).unwrap(),
            concat!(
                r#"{"item":"p\"1","ts":1000,"kind":"product","group":"g","title":"a \"b\"","category":["A > B","C"],"#,
                r#""host":"host1","brand":null,"room":["room1","room2"],"price":"59.00","currency":"CNY","#,
                r#""availability":"preorder","from":7,"until":null,"image":"https://example.org/a.png","#,
                r#""url":"https://example.org/a","tags":["x","y"]}"#,
            )
        );
        assert_eq!(line(&Statement::Deleted).unwrap(), r#"{"item":"p\"1","ts":1000,"deleted":true}"#);
    }

    #[test]
    fn tags_of_other_groups_are_an_object() {
        let tags = |tags: &[(u8, Option<FieldValue>)]| {
            let fields = tags.iter().map(|(group, tags)| (ItemField::Tags(*group), tags.clone())).collect();
            line(&Statement::Fields(fields)).map(|line| line.replace(r#""item":"p\"1","ts":1000"#, ""))
        };
        assert_eq!(tags(&[(0, None)]).unwrap(), r#"{,"tags":null}"#);
        assert_eq!(tags(&[(1, set(&["z"]))]).unwrap(), r#"{,"tags":{"visual":["z"]}}"#);
        assert_eq!(tags(&[(1, None), (0, set(&["z"]))]).unwrap(), r#"{,"tags":{"default":["z"],"visual":null}}"#);
        assert_eq!(tags(&[]).unwrap(), "{}");
        assert!(tags(&[(2, set(&["z"]))]).unwrap_err().to_string().contains("tag group 2 has no name"));
    }

    #[test]
    fn prices_have_two_to_four_decimals() {
        for (price, text) in [
            (0, "0.00"),
            (1, "0.0001"),
            (1_250, "0.125"),
            (9_000, "0.90"),
            (590_000, "59.00"),
            (1_000_000_000_000_000, "100000000000.00"),
        ] {
            assert_eq!(price_text(price), text);
        }
    }
}
