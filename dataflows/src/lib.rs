//! The graph: from behaviour events to changed recommendations, incrementally and exactly.
//!
//! ```
//! use dataflows::{Config, Driver, Effect, Event};
//!
//! let pairs = Driver::run(&Config::default(), 1, |driver| {
//!     let event = |user, item, ts| Event { user, item, ts, effect: Effect::Counts(3), scope: None };
//!     driver.tick(&[event(1, 10, 1_000), event(1, 20, 1_001)]);
//!     driver.state_size().pairs
//! })?;
//! assert_eq!(pairs, 2, "(10, 20) and (20, 10)");
//! # Ok::<(), dataflows::DriverError>(())
//! ```
//!
//! [`Driver`] runs the graph in this process and passes on its changes. [`recommendations`] assembles the graph inside a timely
//! computation of your own; feed it with [`GraphInput`]. Its body reads like the picture in its documentation.
//!
//! | module | content |
//! | --- | --- |
//! | [`config`], [`types`], [`time`] | parameters; ids, lists and collections; timestamps |
//! | [`operators`] | parts that the stages share; the stages, one function each, for tests and measurements |
//! | [`snapshot`] | how the retained events and records leave the graph while it runs |
//! | [`blend`] | fills up a personal list when it is read |
//! | [`gauges`] | state sizes and work counters |
//!
//! All stages are connected by differential collections, updates `(data, time, diff)`. Stages that measurements showed to be
//! too slow are custom operators (`docs/decisions/0001-shape-of-the-graph.md`); the tests compare each with a reference made
//! of differential's own operators.
//!
//! Nothing here knows files, formats, sockets or clocks. Users and items are 64-bit ids, and the caller sets the time.

pub mod blend;
pub mod config;
pub mod gauges;
pub mod operators;
pub mod snapshot;
pub mod time;
pub mod types;

mod audience;
mod catalogue;
mod changes;
mod controls;
mod driver;
mod graph;
mod input;
mod interactions;
mod lists;
mod popularity;
mod row_changes;
mod similarity;
mod trending;

pub use catalogue::{EligibilityChange, ItemRecord, tags_after};
pub use changes::ListChange;
pub use config::{Audience, Catalogue, Config};
pub use controls::ControlRecord;
pub use driver::{Driver, DriverError};
pub use graph::{Recommendations, SnapshotSinks, recommendations};
pub use input::{GraphInput, InputStreams};
pub use interactions::{Barrier, Event};
pub use schema::Effect;
pub use types::{ListKey, Scope};

// The modules of this crate import from its root.
#[allow(unused_imports, clippy::wildcard_imports, reason = "the names that a module needs change with the module")]
use {config::*, gauges::*, operators::*, snapshot::*, time::*, types::*};
