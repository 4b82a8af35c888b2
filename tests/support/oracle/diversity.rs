//! How a list is picked from a pool: `docs/semantics.md`, "Diversity", one function per definition.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::ItemState;
use super::{List, Params};

/// The keys `graph.caps.*` and `graph.caps_strict`. 0 is no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caps {
    /// Number of items of the same first category.
    pub(crate) category: usize,
    /// Number of items of the same host.
    pub(crate) host: usize,
    /// Whether a list is rather shorter than beyond a cap.
    pub(crate) strict: bool,
}

impl Caps {
    fn exist(self) -> bool {
        self.category > 0 || self.host > 0
    }
}

/// > The **pool** is the 2k candidates with the largest totals [...]; 4k with `graph.diversity` or `graph.caps`.
///
/// Returns the number of items of a pool that is full.
pub(crate) fn pool_length(params: &Params) -> usize {
    if params.diversity > 0 || params.caps.exist() { 4 * params.k } else { 2 * params.k }
}

/// > `category:PATH` for each of its categories and each path above one (`A`, `A > B`)
///
/// Returns the path itself and those above it.
fn paths(category: &str) -> Vec<String> {
    let levels: Vec<&str> = category.split('>').map(str::trim).collect();
    (1..=levels.len()).map(|depth| levels[..depth].join(" > ")).collect()
}

/// > The **tags** `T_j` of an item are the words of all its tag groups and, derived from its record, `category:PATH` for each
/// > of its categories and each path above one (`A`, `A > B`), `host:HOST` and `brand:BRAND`.
///
/// A word is the same tag in whatever group it is.
pub(crate) fn tags(state: &ItemState) -> BTreeSet<String> {
    let groups = state.values.keys().filter(|field| field.starts_with("tags:"));
    let mut tags: BTreeSet<String> = groups.flat_map(|group| state.elements(group)).map(str::to_owned).collect();
    for category in state.elements("category") {
        tags.extend(paths(category).into_iter().map(|path| format!("category:{path}")));
    }
    tags.extend(state.text("host").map(|host| format!("host:{host}")));
    tags.extend(state.text("brand").map(|brand| format!("brand:{brand}")));
    tags
}

/// > `floor(1024 * |T_j and T_s| / |T_j or T_s|)` [...]; it is 0 [...] with an s where neither has a tag.
fn overlap(j: &BTreeSet<String>, s: &BTreeSet<String>) -> i64 {
    let (both, either) = (j.intersection(s).count(), j.union(s).count());
    (1024 * both).checked_div(either).map_or(0, |overlap| i64::try_from(overlap).expect("at most 1024"))
}

/// What decides of an item whether it is picked.
struct PoolItem<'p> {
    item: &'p str,
    total: i64,
    id: u64,
    tags: BTreeSet<String>,
    /// > Its **first category** is the first of its set.
    category: Option<String>,
    host: Option<String>,
}

impl<'p> PoolItem<'p> {
    fn new(item: &'p str, total: i64, states: &BTreeMap<String, ItemState>, params: &Params) -> Self {
        let state = states.get(item);
        PoolItem {
            item,
            total,
            id: params.ids.id64(item),
            tags: state.map(tags).unwrap_or_default(),
            category: state.and_then(|state| state.elements("category").first().map(|path| (*path).to_owned())),
            host: state.and_then(|state| state.text("host").map(str::to_owned)),
        }
    }

    /// > `sim` the largest `floor(1024 * |T_j and T_s| / |T_j or T_s|)` over the picked s; it is 0 before the first
    fn sim(&self, picked: &[PoolItem]) -> i64 {
        picked.iter().map(|s| overlap(&self.tags, &s.tags)).max().unwrap_or_default()
    }

    /// > `(100 - d) * floor(1024 * total / best) - d * sim`
    fn value(&self, best: i64, picked: &[PoolItem], params: &Params) -> i64 {
        let d = i64::from(params.diversity);
        let relative = i64::try_from(1024 * i128::from(self.total) / i128::from(best)).expect("at most 1024");
        (100 - d) * relative - d * self.sim(picked)
    }

    /// > An item is over a cap if as many of its first category (`graph.caps.category`), as a whole path, or of its host
    /// > (`graph.caps.host`) are picked as the cap allows; 0 is no cap, and an item without a category or host is under
    /// > none.
    fn is_over_a_cap(&self, picked: &[PoolItem], params: &Params) -> bool {
        let Caps { category, host, .. } = params.caps;
        let of_its_category = picked.iter().filter(|s| s.category == self.category).count();
        let of_its_host = picked.iter().filter(|s| s.host == self.host).count();
        (category > 0 && self.category.is_some() && of_its_category >= category)
            || (host > 0 && self.host.is_some() && of_its_host >= host)
    }
}

/// > Picked is one item after the other, until there are k: of the pool's items that are not picked yet and not over a cap,
/// > the one with the largest `(100 - d) * floor(1024 * total / best) - d * sim`, ties by the larger total, then by id64
/// > ascending. `d` is `graph.diversity`, `best` the largest total of the pool.
///
/// > When all that are left are over a cap, and unless `graph.caps_strict`, they are picked in the order of their totals,
/// > ties by id64 ascending, until there are k.
///
/// > With neither diversity nor caps the list is the first k of the pool.
///
/// Takes a pool, or what is left of it, and the states of the items that have had a record.
pub(crate) fn pick(pool: &[(String, i64)], states: &BTreeMap<String, ItemState>, params: &Params) -> List {
    if params.diversity == 0 && !params.caps.exist() {
        return pool.iter().take(params.k).cloned().collect();
    }
    let best = pool.iter().map(|(_, total)| *total).max().unwrap_or_default();
    let mut left: Vec<PoolItem> =
        pool.iter().map(|(item, total)| PoolItem::new(item, *total, states, params)).collect();
    let mut picked: Vec<PoolItem> = Vec::new();
    while picked.len() < params.k {
        let under_the_caps = left.iter().enumerate().filter(|(_, item)| !item.is_over_a_cap(&picked, params));
        let order = |item: &PoolItem| (item.value(best, &picked, params), item.total, Reverse(item.id));
        let Some((next, _)) = under_the_caps.max_by_key(|(_, item)| order(item)) else { break };
        picked.push(left.remove(next));
    }
    if !params.caps.strict {
        left.sort_by_key(|item| (Reverse(item.total), item.id));
        picked.extend(left.into_iter().take(params.k - picked.len()));
    }
    picked.into_iter().map(|item| (item.item.to_owned(), item.total)).collect()
}
