use std::hint::black_box;

/// Loads cache lines before they are needed, so that the cache misses overlap: the loads do not depend on each other.
/// `values` reads one value per cache line.
#[inline]
pub(super) fn prefetch(values: impl Iterator<Item = u32>) {
    black_box(values.fold(0, |combined, value| combined ^ value));
}
