use std::hint::black_box;
use std::ops::BitXor;

/// Entries that are loaded together before they are processed one by one.
pub(crate) const PREFETCH_BATCH: usize = 8;

const CACHE_LINE: usize = 64;

/// Software prefetch: loads values from scattered places, so that the cache misses overlap instead of adding up.
///
/// The loads do not depend on each other, so the processor has many of them in flight at once. The code that follows
/// finds the lines in its cache. Prefetch instructions would need unsafe code; the XOR keeps the compiler from removing
/// the loads. A structure behind a pointer takes one call for each level: its header first, then what that points to.
#[inline]
pub(crate) fn prefetch<T: BitXor<Output = T> + Default>(loads: impl Iterator<Item = T>) {
    black_box(loads.fold(T::default(), |all, load| all ^ load));
}

/// Loads one `value` from each cache line of a slice. Returns their XOR, for [`prefetch`].
#[inline]
pub(crate) fn load_lines<V, T: BitXor<Output = T> + Default>(slice: &[V], value: impl Fn(&V) -> T) -> T {
    slice.iter().step_by(CACHE_LINE / size_of::<V>()).fold(T::default(), |all, entry| all ^ value(entry))
}
