//! The graph: from behaviour events to changed recommendations, incrementally and exactly.
//!
//! [`recommendations`] assembles it and reads like the picture in `docs/architecture.md`. Between all stages flow
//! differential collections, updates `(data, time, diff)`; the stages that a measurement asked for are operators of
//! our own (`docs/decisions/0001-shape-of-the-graph.md`), each with a plain twin built from differential's operators
//! in the tests.
//!
//! What the operators of our own are made of and what can be measured by itself is public too: [`TopK`] over [`Ids`].
//!
//! Nothing here knows files, formats, sockets or clocks. Users and items are 64-bit ids; time is what the caller says.

mod audience;
mod blend;
mod changes;
mod config;
mod dense;
mod gauges;
mod graph;
mod interactions;
mod lists;
mod measure;
mod operator;
mod popularity;
mod profile;
mod quantise;
mod row_changes;
mod rows;
mod similar_items;
mod similar_users;
mod snapshot;
mod subscriptions;
mod time;
mod top_k;
mod totals;
mod trending;
mod types;

pub use audience::{Subscription, interest, interest_in};
pub use blend::{BlendSources, Origin, SPREAD, shown};
pub use changes::{ListChange, Reconcile, changes};
pub use config::{Audience, Config, Outputs, Sources, Trending};
pub use dense::{Dense, Ids};
pub use gauges::Gauges;
pub use graph::{Durable, Recommendations, durable_recommendations, recommendations};
pub use interactions::{Barrier, Event, Input, Interactions, Loading, interactions};
pub use lists::lists;
pub use measure::Measure;
pub use operator::{IdHasher, IdMap, shrink_if_sparse};
pub use popularity::popularity;
pub use quantise::{Logarithm, Similarity};
pub use row_changes::{RowChange, row_changes};
pub use similar_items::{Neighbour, SimilarItems, similar_items};
pub use similar_users::{Member, SimilarUser, SimilarUsers, activity, histories, look_up, samples, similar_users};
pub use snapshot::{GROUPS, Groups, SnapshotChunk, SnapshotSink, group_of};
pub use time::{MAX_MS, Time, first_of, ms_of, next};
pub use top_k::{Ranked, TopK};
pub use trending::trending;
pub use types::{Collection, Diff, Forgotten, ItemId, Level, List, Scope, Scored, UserId, Weight};
