//! What the last evaluations left: from a pool a list is picked anew when it loses an item.

use schema::IdMap;

use super::diversity::Picker;
use super::viewers::ViewerId;
use crate::operators::slot_mut;
use crate::{Config, ItemId, List, ListReason, Scored};

/// The best candidates of a viewer, best first.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    pub(super) items: List,
    /// By item: its reasons. Empty without reasons.
    pub(super) why: Vec<Vec<ListReason>>,
}

/// What the last evaluation of a viewer left.
#[derive(Debug, Default)]
enum Left {
    /// No viewer, or one without a list.
    #[default]
    None,
    /// The candidates of the evaluation that are eligible still. `is_cut`: there may have been more.
    Evaluated { pool: Pool, is_cut: bool },
    /// The list of the output, of a viewer that this run has not evaluated.
    Known(Vec<ItemId>),
}

/// What the loss of items means for a viewer.
pub(super) enum Loss {
    /// The list is the same; only the pool is smaller.
    Pool,
    /// The list is this one now, with its reasons.
    List(List, Vec<Vec<ListReason>>),
    /// The pool has too few items left, and there may be others.
    TooMany,
}

/// The pools of the viewers of this worker.
#[derive(Debug)]
pub(super) struct Pools {
    k: usize,
    /// Number of items in a pool.
    length: usize,
    pools: Vec<Left>,
    /// By pool: the bits of its items. Apart from the pools, so that a pass over them stays in the cache.
    bits: Vec<Bits>,
    /// Items to strike from all pools.
    struck: IdMap<()>,
    /// The bits of these items.
    struck_bits: Bits,
    /// Items to strike from the pool of one viewer each.
    struck_for: Vec<(ViewerId, ItemId)>,
}

/// A bit for each item of a set, by some bits of its id: two sets without a common bit have no common item. A pool has some
/// twenty of them, so that of the pools without a single item to strike six in seven need no look.
type Bits = u128;

impl Pools {
    pub(super) fn new(config: &Config) -> Self {
        let (k, length) = (config.k, config.pool_length());
        let (struck, struck_for) = Default::default();
        Pools { k, length, pools: Vec::new(), bits: Vec::new(), struck, struck_bits: 0, struck_for }
    }

    /// Sets the pool of a viewer that was evaluated.
    pub(super) fn set(&mut self, id: ViewerId, pool: Pool) {
        let is_cut = pool.items.len() == self.length;
        *slot_mut(&mut self.bits, id) = bits(pool.items.iter().map(|scored| scored.item));
        *slot_mut(&mut self.pools, id) =
            if pool.items.is_empty() { Left::None } else { Left::Evaluated { pool, is_cut } };
    }

    /// Sets the list that the output has of a viewer.
    pub(super) fn set_known(&mut self, id: ViewerId, items: Vec<ItemId>) {
        *slot_mut(&mut self.bits, id) = bits(items.iter().copied());
        *slot_mut(&mut self.pools, id) = Left::Known(items);
    }

    /// The item is to be struck from all pools.
    pub(super) fn strike(&mut self, item: ItemId) {
        self.struck.insert(item, ());
        self.struck_bits |= bits([item].into_iter());
    }

    /// The item is to be struck from the pool of one viewer.
    pub(super) fn strike_for(&mut self, id: ViewerId, item: ItemId) {
        self.struck_for.push((id, item));
    }

    /// Strikes the items, and reports the viewers that have lost any. Cost: a pass over all pools if there is an item to strike from
    /// all of them.
    pub(super) fn apply(&mut self, picker: &Picker, mut report: impl FnMut(ViewerId, Loss)) {
        let Pools { k, pools, bits, struck, struck_bits, struck_for, .. } = self;
        struck_for.sort_unstable();
        for of_viewer in struck_for.chunk_by(|a, b| a.0 == b.0) {
            let id = of_viewer[0].0;
            let is_struck = |item| struck.contains_key(&item) || of_viewer.iter().any(|(_, struck)| *struck == item);
            if let Some(loss) = pools.get_mut(id as usize).and_then(|left| left.strike(*k, picker, is_struck)) {
                report(id, loss);
            }
        }
        // The pools of these viewers have none of the items any more.
        struck_for.clear();
        if struck.is_empty() {
            return;
        }
        for (id, (left, bits)) in (0..).zip(pools.iter_mut().zip(bits)) {
            if *bits & *struck_bits != 0
                && let Some(loss) = left.strike(*k, picker, |item| struck.contains_key(&item))
            {
                report(id, loss);
            }
        }
        struck.clear();
        *struck_bits = 0;
    }
}

impl Left {
    /// Strikes items. Returns what the viewer has lost, if anything. A list that is only known is not changed: its viewer is
    /// evaluated.
    fn strike(&mut self, k: usize, picker: &Picker, is_struck: impl Fn(ItemId) -> bool) -> Option<Loss> {
        match self {
            Left::None => None,
            Left::Known(items) => items.iter().any(|item| is_struck(*item)).then_some(Loss::TooMany),
            Left::Evaluated { pool, is_cut } => {
                let first = pool.items.iter().position(|Scored { item, .. }| is_struck(*item))?;
                let mut items = pool.items.iter();
                pool.why.retain(|_| items.next().is_some_and(|scored| !is_struck(scored.item)));
                pool.items.retain(|scored| !is_struck(scored.item));
                Some(if *is_cut && pool.items.len() < k {
                    Loss::TooMany
                } else if first >= k && picker.takes_the_first() {
                    Loss::Pool
                } else {
                    let (list, why) = picker.list(pool);
                    Loss::List(list, why)
                })
            }
        }
    }
}

fn bits(items: impl Iterator<Item = ItemId>) -> Bits {
    // The lowest bits of an id choose the worker.
    items.fold(0, |bits, item| bits | 1 << ((item >> 32) % u64::from(Bits::BITS)))
}
