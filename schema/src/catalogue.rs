//! Catalogue records: what is stated of an item, field by field (`docs/semantics.md`, "Catalogue").

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Longest title, image, address or path of a category, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Maximum number of categories of an item.
pub const MAX_CATEGORIES: usize = 8;
/// Maximum number of levels of a category.
pub const MAX_CATEGORY_LEVELS: usize = 8;
/// Maximum number of rooms of an item.
pub const MAX_ROOMS: usize = 8;
/// Maximum number of tags of an item in one group.
pub const MAX_TAGS: usize = 32;
/// Decimals of a price: it is held in ten-thousandths of the currency.
pub const PRICE_DECIMALS: u8 = 4;
/// Largest price, in ten-thousandths: 10^11 of the currency.
pub const MAX_PRICE: u64 = 1_000_000_000_000_000;
/// What separates the levels of a [canonical category](canonical_category).
pub const CATEGORY_SEPARATOR: &str = " > ";
/// Beginnings that no tag has: names of what is learnt from other fields.
pub const RESERVED_TAGS: [&str; 4] = ["category:", "host:", "brand:", "stage:"];

/// What a record states of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// Fields with their values, each field once; `None` states that a field has no value.
    Fields(Vec<(ItemField, Option<FieldValue>)>),
    /// The item is deleted.
    Deleted,
}

/// A field of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ItemField {
    /// Kind of the item: `product`, `room`, ...
    Kind,
    /// What the item is a variant of.
    Group,
    /// Title.
    Title,
    /// Categories, as [canonical paths](canonical_category).
    Category,
    /// Who sells or streams it.
    Host,
    /// Brand.
    Brand,
    /// Rooms in which it is on sale.
    Room,
    /// Price in ten-thousandths of the currency.
    Price,
    /// Currency of the price.
    Currency,
    /// Whether it can be had.
    Availability,
    /// Time from which it may be recommended.
    From,
    /// Time from which it may not be recommended any more.
    Until,
    /// URI of a picture.
    Image,
    /// Address of its page.
    Url,
    /// Tags of a group, by the place of the group in `catalogue.tag_groups`.
    Tags(u8),
}

impl ItemField {
    /// All fields but the tags, in their order.
    pub const ALL: [ItemField; 14] = [
        ItemField::Kind,
        ItemField::Group,
        ItemField::Title,
        ItemField::Category,
        ItemField::Host,
        ItemField::Brand,
        ItemField::Room,
        ItemField::Price,
        ItemField::Currency,
        ItemField::Availability,
        ItemField::From,
        ItemField::Until,
        ItemField::Image,
        ItemField::Url,
    ];

    /// Name in a record; `None` for tags, whose groups the configuration names.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            ItemField::Kind => "kind",
            ItemField::Group => "group",
            ItemField::Title => "title",
            ItemField::Category => "category",
            ItemField::Host => "host",
            ItemField::Brand => "brand",
            ItemField::Room => "room",
            ItemField::Price => "price",
            ItemField::Currency => "currency",
            ItemField::Availability => "availability",
            ItemField::From => "from",
            ItemField::Until => "until",
            ItemField::Image => "image",
            ItemField::Url => "url",
            ItemField::Tags(_) => return None,
        })
    }

    /// Whether an item exists because it has a value of this field.
    pub const fn makes_an_item(self) -> bool {
        matches!(
            self,
            ItemField::Kind
                | ItemField::Title
                | ItemField::Category
                | ItemField::Host
                | ItemField::Brand
                | ItemField::Tags(_)
        )
    }
}

/// A value of a field. Of two values that are stated at the same time, the greater one holds; both are of the same variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum FieldValue {
    /// A name, a title, an address or a currency.
    Text(Box<str>),
    /// Categories, rooms or tags: sorted, each once, not empty.
    Set(Box<[Box<str>]>),
    /// A price or a time.
    Number(u64),
    /// An availability.
    Availability(Availability),
}

impl FieldValue {
    /// The set of these texts; `None` if there are none.
    pub fn set(texts: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut texts: Vec<Box<str>> = texts.into_iter().map(String::into_boxed_str).collect();
        texts.sort_unstable();
        texts.dedup();
        (!texts.is_empty()).then(|| FieldValue::Set(texts.into()))
    }
}

/// Whether an item can be had: the words of schema.org and three of live shops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each name says what it is")]
pub enum Availability {
    InStock,
    LimitedAvailability,
    #[serde(rename = "preorder")]
    PreOrder,
    #[serde(rename = "presale")]
    PreSale,
    #[serde(rename = "backorder")]
    BackOrder,
    MadeToOrder,
    OnlineOnly,
    OnAir,
    OutOfStock,
    SoldOut,
    Discontinued,
    Reserved,
    InStoreOnly,
    OffAir,
    Hidden,
}

impl Availability {
    /// All of them; those that may be recommended come first.
    pub const ALL: [Availability; 15] = [
        Availability::InStock,
        Availability::LimitedAvailability,
        Availability::PreOrder,
        Availability::PreSale,
        Availability::BackOrder,
        Availability::MadeToOrder,
        Availability::OnlineOnly,
        Availability::OnAir,
        Availability::OutOfStock,
        Availability::SoldOut,
        Availability::Discontinued,
        Availability::Reserved,
        Availability::InStoreOnly,
        Availability::OffAir,
        Availability::Hidden,
    ];

    /// The word of a record.
    pub const fn word(self) -> &'static str {
        match self {
            Availability::InStock => "in_stock",
            Availability::LimitedAvailability => "limited_availability",
            Availability::PreOrder => "preorder",
            Availability::PreSale => "presale",
            Availability::BackOrder => "backorder",
            Availability::MadeToOrder => "made_to_order",
            Availability::OnlineOnly => "online_only",
            Availability::OnAir => "on_air",
            Availability::OutOfStock => "out_of_stock",
            Availability::SoldOut => "sold_out",
            Availability::Discontinued => "discontinued",
            Availability::Reserved => "reserved",
            Availability::InStoreOnly => "in_store_only",
            Availability::OffAir => "off_air",
            Availability::Hidden => "hidden",
        }
    }

    /// Whether an item with it may be recommended.
    pub const fn allows(self) -> bool {
        matches!(
            self,
            Availability::InStock
                | Availability::LimitedAvailability
                | Availability::PreOrder
                | Availability::PreSale
                | Availability::BackOrder
                | Availability::MadeToOrder
                | Availability::OnlineOnly
                | Availability::OnAir
        )
    }

    /// Reads a word in any spelling: `InStock`, `IN_STOCK`, `in stock`, `https://schema.org/InStock`.
    ///
    /// ```
    /// use schema::Availability;
    ///
    /// assert_eq!(Availability::parse("https://schema.org/SoldOut"), Some(Availability::SoldOut));
    /// assert_eq!(Availability::parse("pre-order"), Some(Availability::PreOrder));
    /// assert_eq!(Availability::parse("maybe"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let word = ["https://schema.org/", "http://schema.org/"].iter().find_map(|prefix| {
            let (head, rest) = text.split_at_checked(prefix.len())?;
            head.eq_ignore_ascii_case(prefix).then_some(rest)
        });
        let letters = |text: &str| -> String {
            let kept = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'));
            kept.map(|c| c.to_ascii_lowercase()).collect()
        };
        let word = letters(word.unwrap_or(text));
        Self::ALL.into_iter().find(|known| letters(known.word()) == word)
    }
}

/// One that forbids to recommend the item is greater than one that allows it; then the words decide.
impl Ord for Availability {
    fn cmp(&self, other: &Self) -> Ordering {
        other.allows().cmp(&self.allows()).then_with(|| self.word().cmp(other.word()))
    }
}

impl PartialOrd for Availability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The canonical form of a category: its levels without blanks around them, separated by ` > `. `None` if a level is empty.
///
/// ```
/// assert_eq!(schema::canonical_category("Beauty>Face  > Foundation").as_deref(), Some("Beauty > Face > Foundation"));
/// assert_eq!(schema::canonical_category("Beauty > "), None);
/// ```
pub fn canonical_category(path: &str) -> Option<String> {
    let levels: Vec<&str> = path.split('>').map(str::trim).collect();
    levels.iter().all(|level| !level.is_empty()).then(|| levels.join(CATEGORY_SEPARATOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_availability_that_forbids_is_greater_than_any_that_allows() {
        let (allowing, forbidding) = Availability::ALL.split_at(8);
        assert!(allowing.iter().all(|word| word.allows()) && forbidding.iter().all(|word| !word.allows()));
        assert!(allowing.iter().max() < forbidding.iter().min());
        assert!(Availability::InStock < Availability::OnAir && Availability::Hidden < Availability::SoldOut);
    }

    #[test]
    fn reads_the_word_that_it_writes_in_any_spelling() {
        for known in Availability::ALL {
            let word = known.word();
            assert_eq!(serde_json::to_value(known).unwrap(), word);
            for spelling in [
                word.to_owned(),
                word.to_uppercase(),
                word.replace('_', " "),
                word.replace('_', "-"),
                format!("http://schema.org/{}", word.replace('_', "")),
            ] {
                assert_eq!(Availability::parse(&spelling), Some(known), "{spelling}");
            }
        }
        for other in ["", "https://schema.org/", "available", "https://example.org/InStock"] {
            assert_eq!(Availability::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_set_is_sorted_and_has_each_text_once() {
        let set = |texts: &[&str]| FieldValue::set(texts.iter().map(|text| (*text).to_owned()));
        assert_eq!(set(&["b", "a", "b"]), set(&["a", "b"]));
        assert_eq!(set(&[]), None);
        // Element by element: the longer one is greater if it begins like the other.
        assert!(set(&["a"]) < set(&["a", "b"]) && set(&["a", "c"]) < set(&["b"]));
    }
}
