use crate::operators::{Dense, RowCache};
use crate::{ItemId, Weight};

/// Number of sources, at most; each viewer has a profile for each.
pub(super) const SOURCES: usize = 2;

/// The source whose members are the items of the viewers' own histories. These items are excluded from the list.
pub(super) const OWN_ITEMS: usize = 0;

/// A source of candidates. It gives each viewer weighted members, and each member has a row of weighted items. The total of
/// an item is the sum of member weight times item weight, times the weight of the source.
pub(super) trait Source: 'static {
    /// A member of a viewer: the key of a row and its weight.
    type Member: Clone + 'static;
    /// A row entry: an item and its value.
    type Entry: differential_dataflow::ExchangeData;

    fn member(member: &Self::Member) -> (u64, Weight);
    fn entry(entry: &Self::Entry) -> (ItemId, u32);

    /// The dense id of a row. All sources share `rows`: two sources must not give the same id to rows of their own.
    fn intern(rows: &mut RowCache, row: u64) -> Dense;
}
