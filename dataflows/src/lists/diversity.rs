//! Picks a list from its pool (`docs/semantics.md`, "Diversity").

use schema::{IdMap, shrink_if_sparse};

use super::pools::Pool;
use crate::config::Caps;
use crate::{Attributes, Config, ItemId, List, ListReason, Word};

/// Similarity of two items with the same tags, and the relevance of the best candidate.
const ONE: i64 = 1_024;

/// Picks lists, by what items have in common.
#[derive(Debug)]
pub(super) struct Picker {
    k: usize,
    /// How much alikeness counts against the total, 0 to 100.
    diversity: i64,
    caps: Caps,
    /// Attributes of the items that have any.
    attributes: IdMap<Attributes>,
}

impl Picker {
    pub(super) fn new(config: &Config) -> Self {
        let Config { k, diversity, caps, .. } = *config;
        Picker { k, diversity: diversity.into(), caps, attributes: IdMap::default() }
    }

    /// Whether a list is the first items of its pool.
    pub(super) fn takes_the_first(&self) -> bool {
        self.diversity == 0 && !self.caps.exist()
    }

    /// Sets the attributes of an item.
    pub(super) fn set(&mut self, item: ItemId, attributes: Attributes) {
        if self.takes_the_first() {
            return;
        }
        if attributes == Attributes::default() {
            self.attributes.remove(&item);
            shrink_if_sparse(&mut self.attributes);
        } else {
            self.attributes.insert(item, attributes);
        }
    }

    /// The list of a pool, and its reasons. Cost: with diversity `k` times the size of the pool, in comparisons of two
    /// sets of tags.
    pub(super) fn list(&self, pool: &Pool) -> (List, Vec<Vec<ListReason>>) {
        if self.takes_the_first() {
            let why = pool.why.iter().take(self.k).cloned().collect();
            return (pool.items.iter().take(self.k).copied().collect(), why);
        }
        let places = self.pick(&pool.items);
        let why = places.iter().filter_map(|place| pool.why.get(*place).cloned()).collect();
        (places.into_iter().map(|place| pool.items[place]).collect(), why)
    }

    /// Places of the picked items.
    fn pick(&self, pool: &List) -> Vec<usize> {
        let attributes: Vec<Option<&Attributes>> =
            pool.iter().map(|scored| self.attributes.get(&scored.item)).collect();
        let best = pool.first().map_or(1, |scored| i128::from(scored.score));
        // A total is below 2^59, so this is beyond 64 bits.
        let relevance = |score: i64| (i128::from(ONE) * i128::from(score) / best) as i64;
        let mut left: Vec<Candidate> = pool
            .iter()
            .zip(0..)
            .map(|(scored, place)| Candidate { place, relevance: relevance(scored.score), alike: 0 })
            .collect();
        let (mut categories, mut hosts) = (Counts::default(), Counts::default());
        let mut picked = Vec::with_capacity(self.k);
        while picked.len() < self.k {
            let is_free = |candidate: &&Candidate| {
                let attributes = attributes[candidate.place];
                categories.allow(attributes.and_then(|of| of.category), self.caps.category)
                    && hosts.allow(attributes.and_then(|of| of.host), self.caps.host)
            };
            let value =
                |candidate: &Candidate| (100 - self.diversity) * candidate.relevance - self.diversity * candidate.alike;
            // The pool is in the order of the totals. Of equal ones the last is found, so it is searched backwards.
            let Some(next) = left.iter().rev().filter(is_free).max_by_key(|candidate| value(candidate)) else {
                let rest = left.iter().map(|candidate| candidate.place).filter(|_| !self.caps.strict);
                picked.extend(rest.take(self.k - picked.len()));
                break;
            };
            let place = next.place;
            left.retain(|candidate| candidate.place != place);
            picked.push(place);
            let Some(of_picked) = attributes[place] else { continue };
            categories.add(of_picked.category);
            hosts.add(of_picked.host);
            for candidate in left.iter_mut().filter(|_| self.diversity > 0) {
                let tags = attributes[candidate.place].map_or(&[][..], |of| &of.tags);
                candidate.alike = candidate.alike.max(alikeness(&of_picked.tags, tags));
            }
        }
        picked
    }
}

/// An item that is not picked yet.
struct Candidate {
    place: usize,
    relevance: i64,
    /// The largest alikeness to one that is picked.
    alike: i64,
}

/// How many picked items have each word.
#[derive(Default)]
struct Counts(Vec<(Word, usize)>);

impl Counts {
    fn allow(&self, word: Option<Word>, cap: usize) -> bool {
        cap == 0 || self.0.iter().all(|(known, count)| Some(*known) != word || *count < cap)
    }

    fn add(&mut self, word: Option<Word>) {
        let Some(word) = word else { return };
        match self.0.iter_mut().find(|(known, _)| *known == word) {
            Some((_, count)) => *count += 1,
            None => self.0.push((word, 1)),
        }
    }
}

/// Jaccard similarity of two sets of tags, each ascending; 0 without any.
fn alikeness(a: &[Word], b: &[Word]) -> i64 {
    let (mut at, mut common) = (0, 0);
    for tag in a {
        while b.get(at).is_some_and(|other| other < tag) {
            at += 1;
        }
        common += i64::from(b.get(at) == Some(tag));
    }
    let all = i64::try_from(a.len() + b.len()).expect("the tags of two items are few") - common;
    if all == 0 { 0 } else { ONE * common / all }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scored;

    fn word(n: u32) -> Word {
        Word::new(n).expect("not 0")
    }

    fn picker(diversity: u32, caps: Caps) -> Picker {
        let config = Config { k: 3, diversity, caps, ..Config::default() };
        let mut picker = Picker::new(&config);
        // Items 1 to 3 are alike; 1 and 2 of one category; 4 is alone, 5 has nothing.
        for (item, category, tags) in [(1, 1, [1, 2]), (2, 1, [1, 2]), (3, 2, [1, 3]), (4, 3, [4, 5])] {
            let tags = tags.map(word).into();
            picker.set(
                item,
                Attributes {
                    group: None,
                    category: Some(word(category)),
                    host: Some(word(9)),
                    tags,
                    ..Attributes::default()
                },
            );
        }
        picker
    }

    fn picked(picker: &Picker, pool: &[(ItemId, i64)]) -> Vec<ItemId> {
        let items = pool.iter().map(|(item, score)| Scored { item: *item, score: *score }).collect();
        picker.list(&Pool { items, why: Vec::new() }).0.iter().map(|scored| scored.item).collect()
    }

    const POOL: [(ItemId, i64); 5] = [(1, 100), (2, 90), (3, 80), (4, 50), (5, 10)];

    #[test]
    fn what_is_alike_gives_way_as_far_as_diversity_says() {
        assert_eq!(picked(&picker(0, Caps::default()), &POOL), [1, 2, 3]);
        // 4: 0.7 * 512 = 358; 3: 0.7 * 819 - 0.3 * 341 = 471; 2: 0.7 * 921 - 0.3 * 1024 = 337.
        assert_eq!(picked(&picker(30, Caps::default()), &POOL), [1, 3, 4]);
        assert_eq!(picked(&picker(100, Caps::default()), &POOL), [1, 4, 5]);
        // Without tags nothing is alike, and the totals decide.
        assert_eq!(picked(&picker(100, Caps::default()), &[(7, 100), (6, 90), (5, 90)]), [7, 6, 5]);
    }

    #[test]
    fn a_list_is_filled_beyond_its_caps_unless_they_are_strict() {
        let caps = Caps { category: 1, host: 0, strict: false };
        assert_eq!(picked(&picker(0, caps), &POOL), [1, 3, 4]);
        assert_eq!(picked(&picker(0, caps), &POOL[..3]), [1, 3, 2]);
        assert_eq!(picked(&picker(0, Caps { strict: true, ..caps }), &POOL[..3]), [1, 3]);
        // An item without a host is under no cap.
        let caps = Caps { category: 0, host: 1, strict: false };
        assert_eq!(picked(&picker(0, caps), &POOL), [1, 5, 2]);
    }

    #[test]
    fn the_largest_totals_do_not_overflow() {
        let large = 1 << 59;
        assert_eq!(picked(&picker(50, Caps::default()), &[(1, large), (3, large - 1), (4, large / 2)]), [1, 3, 4]);
    }
}
