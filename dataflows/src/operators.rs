//! Parts that the stages of the graph share. The stages are exported from here too, for tests, measurements and other graphs.
//!
//! - `StageBuilder` builds and drives an operator: it receives input until a tick is complete, processes the tick in slices
//!   and holds the capabilities. `SlicedOperator` is what differs from one operator to the next.
//! - `replicate_rows` sends rows to the workers that subscribe to them.
//! - [`TopK`] maintains the best candidates of a group.
//! - [`Ids`] numbers ids densely, and `prefetch` loads scattered entries of them together.

mod capabilities;
mod coalesced;
mod dense;
mod in_order;
mod prefetch;
mod shared_snapshots;
mod stage;
mod subscriptions;
mod top_k;
mod totals;

pub(crate) use self::capabilities::earlier;
pub(crate) use self::coalesced::CoalescedTicks;
pub use self::dense::{Dense, Ids};
pub(crate) use self::dense::{RecentIds, slot_mut};
pub(crate) use self::in_order::map_in_order;
pub(crate) use self::prefetch::{PREFETCH_BATCH, load_lines, prefetch};
pub(crate) use self::shared_snapshots::{SharedSnapshots, Shares, Slicing, Stored};
pub(crate) use self::stage::{Input, Output, SlicedOperator, StageBuilder};
pub(crate) use self::subscriptions::{ReplicatedRows, replicate_rows};
pub use self::top_k::{Ranked, TopK};
pub(crate) use self::top_k::{capacity, select_best};
pub(crate) use self::totals::Totals;
pub use crate::audience::{Subscriber, Subscription, profile_subscriptions, row_subscriptions};
pub use crate::catalogue::{Attributes, AttributesChange, CatalogueOutputs, EligibilityChange, Word, catalogue};
pub use crate::changes::{Reconcile, changes};
pub use crate::controls::{
    Class, ControlOutputs, EventControls, EventControlsChange, Preference, PreferencesChange, controls,
};
pub use crate::input::OpenTick;
pub use crate::interactions::{Interactions, Loading, WorkerBarrier, interactions};
pub use crate::lists::{ComparedUsers, Evaluation, Evaluations, ItemChanges, ListInputs, lists};
pub use crate::popularity::popularity;
pub use crate::row_changes::{RowChange, evaluated_rows, row_changes};
pub use crate::similarity::items::{Neighbour, SimilarItems, Touched, similar_items};
pub use crate::similarity::quantise::{Logarithm, Similarity};
pub use crate::similarity::users::{Member, compared_users, histories, samples};
pub use crate::trending::trending;
