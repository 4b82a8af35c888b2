//! What lists need to know of an item beside whether it is eligible: which others it is like.

use std::borrow::Cow;
use std::collections::BTreeSet;

use hashbrown::HashMap;
use schema::{CATEGORY_SEPARATOR, ControlScope, IdMap, ItemField};
use serde::{Deserialize, Serialize};

use super::ItemRecord;
use super::item::Item;
use crate::controls::Class;
use crate::{Config, ItemId};

/// A word of the catalogue: a group, a category, a host or a tag. The same word is the same number on all workers of a run, and
/// may be another one in the next run.
pub type Word = std::num::NonZeroU32;

/// What an item has in common with others, as far as the lists of the configuration depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// The group of variants to which it belongs.
    pub group: Option<Word>,
    /// Its first category, as a whole path.
    pub category: Option<Word>,
    /// Its host.
    pub host: Option<Word>,
    /// Its tags, also those derived from other fields: ascending, each once.
    pub tags: Box<[Word]>,
    /// What of it users may name in their controls: ascending.
    pub classes: Box<[Class]>,
}

impl Attributes {
    fn words(&self) -> impl Iterator<Item = Word> {
        let single = [self.group, self.category, self.host].into_iter().flatten();
        single.chain(self.tags.iter().copied())
    }
}

/// The new attributes of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttributesChange {
    /// The item.
    pub item: ItemId,
    /// Its attributes from this tick on.
    pub attributes: Attributes,
}

/// The attributes that lists depend on. Others are not kept.
#[expect(clippy::struct_excessive_bools, reason = "each of them is needed or not, whatever the others are")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    category: bool,
    host: bool,
    tags: bool,
    classes: bool,
}

impl Needs {
    pub(super) fn of(config: &Config) -> Self {
        Needs {
            category: config.caps.category > 0,
            host: config.caps.host > 0,
            tags: config.diversity > 0,
            classes: config.controls,
        }
    }
}

/// Numbers the words that items have. A number is free again when no item has its word any more. As it can be given away in the
/// same tick, the changes of a tick must be applied together.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<Box<str>, Word>,
    /// By number less one: the word, and how many uses it has; a free number has none.
    used: Vec<(Box<str>, u32)>,
    free: Vec<Word>,
}

impl Words {
    /// The attributes of an item, whose words have one use more each. `None` if it has none.
    pub(super) fn attributes(&mut self, item: &Item, needs: Needs) -> Option<Box<Attributes>> {
        // A group and a tag may be the same word: they are never compared.
        let group = item.text(ItemField::Group).map(|group| self.take(group));
        let host = item.text(ItemField::Host).filter(|_| needs.host).map(|host| self.take(&derived_tag("host", host)));
        let category = item.set(ItemField::Category).first().filter(|_| needs.category);
        let category = category.map(|path| self.take(&derived_tag("category", path)));
        let mut tags: Vec<Word> = Vec::new();
        if needs.tags {
            tags.extend(tags_of(item).iter().map(|tag| self.take(tag)));
            tags.sort_unstable();
        }
        let classes = if needs.classes { classes_of(item) } else { Vec::new() };
        let attributes = Attributes { group, category, host, tags: tags.into(), classes: classes.into() };
        (attributes != Attributes::default()).then(|| Box::new(attributes))
    }

    /// The words of these attributes have one use less each.
    pub(super) fn release(&mut self, attributes: &Attributes) {
        for word in attributes.words() {
            let (text, uses) = &mut self.used[word.get() as usize - 1];
            *uses -= 1;
            if *uses == 0 {
                self.numbers.remove(&std::mem::take(text));
                self.free.push(word);
            }
        }
    }

    fn take(&mut self, text: &str) -> Word {
        let word = self.numbers.get(text).copied().unwrap_or_else(|| {
            let word = self.free.pop().unwrap_or_else(|| {
                self.used.push(Default::default());
                u32::try_from(self.used.len())
                    .ok()
                    .and_then(Word::new)
                    .expect("fewer words than 2^32, and at least one")
            });
            self.numbers.insert(text.into(), word);
            self.used[word.get() as usize - 1].0 = text.into();
            word
        });
        self.used[word.get() as usize - 1].1 += 1;
        word
    }
}

/// The tags of an item, those of all groups and those derived from its other fields.
fn tags_of(item: &Item) -> BTreeSet<Cow<'_, str>> {
    let mut tags: BTreeSet<Cow<'_, str>> = item.tags().map(Cow::Borrowed).collect();
    tags.extend(
        item.set(ItemField::Category)
            .iter()
            .flat_map(|path| with_above(path))
            .map(|path| Cow::Owned(derived_tag("category", path))),
    );
    for (name, field) in [("host", ItemField::Host), ("brand", ItemField::Brand)] {
        tags.extend(item.text(field).map(|text| Cow::Owned(derived_tag(name, text))));
    }
    tags
}

/// A category and all above it.
fn with_above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices(CATEGORY_SEPARATOR).map(|(at, _)| at).chain([path.len()]).map(|end| &path[..end])
}

/// The classes of an item: ascending, each once.
fn classes_of(item: &Item) -> Vec<Class> {
    let rooms = item.set(ItemField::Room).iter().map(|room| Class::new(ControlScope::Room, room));
    let host = item.text(ItemField::Host).map(|host| Class::new(ControlScope::Host, host));
    let brand = item.text(ItemField::Brand).map(|brand| Class::new(ControlScope::Brand, brand));
    let paths = item.set(ItemField::Category).iter().flat_map(|path| with_above(path));
    let categories = paths.map(|path| Class::new(ControlScope::Category, path));
    let tags = item.tags().map(|tag| Class::new(ControlScope::Tag, tag));
    let classes: BTreeSet<Class> = rooms.chain(host).chain(brand).chain(categories).chain(tags).collect();
    classes.into_iter().collect()
}

/// The tags of each item that has any after all of these records, also those derived from other fields. For measurements.
pub fn tags_after<'r>(records: impl IntoIterator<Item = &'r ItemRecord>) -> IdMap<Vec<String>> {
    let mut items: IdMap<Item> = IdMap::default();
    for record in records {
        items.entry(record.item).or_default().apply(record.ts, record.statement.clone());
    }
    let tags = items.iter().map(|(id, item)| (*id, tags_of(item).into_iter().map(Cow::into_owned).collect()));
    tags.filter(|(_, tags): &(_, Vec<_>)| !tags.is_empty()).collect()
}

fn derived_tag(name: &str, value: &str) -> String {
    format!("{name}:{value}")
}

#[cfg(test)]
mod tests {
    use schema::{FieldValue, Statement};

    use super::*;

    const ALL: Needs = Needs { category: true, host: true, tags: true, classes: true };

    fn item(fields: &[(ItemField, FieldValue)]) -> Item {
        let mut item = Item::default();
        let stated = fields.iter().map(|(field, value)| (*field, Some(value.clone())));
        item.apply(1, Statement::Fields(stated.collect()));
        item
    }

    fn set(texts: &[&str]) -> FieldValue {
        FieldValue::set(texts.iter().map(|text| (*text).to_owned())).expect("not empty")
    }

    #[test]
    fn tags_of_all_groups_and_derived_ones_are_one_set() {
        let item = item(&[
            (ItemField::Category, set(&["Beauty > Face", "Beauty > Lips > Gloss"])),
            (ItemField::Host, FieldValue::Text("h3".into())),
            (ItemField::Brand, FieldValue::Text("b1".into())),
            (ItemField::Tags(0), set(&["matte", "red"])),
            (ItemField::Tags(2), set(&["red"])),
        ]);
        let tags: Vec<_> = tags_of(&item).into_iter().collect();
        let categories =
            ["Beauty", "Beauty > Face", "Beauty > Lips", "Beauty > Lips > Gloss"].map(|c| format!("category:{c}"));
        let expected: Vec<String> = ["brand:b1".into()]
            .into_iter()
            .chain(categories)
            .chain(["host:h3", "matte", "red"].map(String::from))
            .collect();
        assert_eq!(tags, expected);
    }

    #[test]
    fn a_word_has_one_number_while_an_item_has_it() {
        let mut words = Words::default();
        let grouped = |group: &str| item(&[(ItemField::Group, FieldValue::Text(group.into()))]);
        let of = |words: &mut Words, group| words.attributes(&grouped(group), ALL).expect("it has a group");
        let (a, b, again) = (of(&mut words, "a"), of(&mut words, "b"), of(&mut words, "a"));
        assert_eq!(a, again);
        assert_ne!(a, b);
        words.release(&a);
        assert_eq!(of(&mut words, "a"), again);
        words.release(&again);
        words.release(&again);
        // Nobody has it any more.
        assert_eq!(of(&mut words, "c").group, a.group);
        assert_eq!((words.numbers.len(), words.used.len()), (2, 2));
        assert_eq!(words.attributes(&Item::default(), ALL), None);
    }
}
