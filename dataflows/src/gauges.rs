use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one worker's part of the graph says of itself: what it holds, and how much it has done since it began.
///
/// Written by the operators once per activation. Read from other threads the numbers may be a moment old, and need not
/// be of one moment: they say when to look again and what work costs, never what to compute.
#[derive(Debug)]
pub struct Gauges {
    /// The next millisecond at which something happens without an event; [`u64::MAX`] if never.
    pub next_due: AtomicU64,
    /// Users with an interaction.
    pub users: AtomicU64,
    /// Of them, users in the audience.
    pub audience: AtomicU64,
    /// Ordered pairs of items with a co-occurrence: `(i, j)` and `(j, i)` are two.
    pub pairs: AtomicU64,
    /// Work: updates of co-occurrences.
    pub pair_updates: AtomicU64,
    /// Work: pairs touched because a popularity crossed a threshold.
    pub crossings: AtomicU64,
    /// Work: rankings of similar items brought up to date.
    pub rankings: AtomicU64,
    /// Work: similarities changed and sent to workers with viewers of the item.
    pub similarities: AtomicU64,
    /// Work: what a viewer and a sampled user share, taken anew as something of that user changed.
    pub shared: AtomicU64,
    /// Work: viewers who were compared with all users in the samples of their items.
    pub comparisons: AtomicU64,
    /// Work: similar users that came, went or became otherwise similar.
    pub similar_users: AtomicU64,
    /// Work: totals of single candidates taken anew.
    pub totals: AtomicU64,
    /// Work: viewers whose candidates were all gone through.
    pub rescans: AtomicU64,
    /// Work: lists that changed.
    pub lists: AtomicU64,
}

impl Default for Gauges {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Gauges {
            next_due: AtomicU64::new(u64::MAX),
            users: zero(),
            audience: zero(),
            pairs: zero(),
            pair_updates: zero(),
            crossings: zero(),
            rankings: zero(),
            similarities: zero(),
            shared: zero(),
            comparisons: zero(),
            similar_users: zero(),
            totals: zero(),
            rescans: zero(),
            lists: zero(),
        }
    }
}

/// Adds to a counter that one operator of one worker writes.
pub(crate) fn add(counter: &AtomicU64, more: usize) {
    if more > 0 {
        counter.store(counter.load(Relaxed) + more as u64, Relaxed);
    }
}

/// Sets a gauge.
pub(crate) fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}
