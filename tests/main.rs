//! The integration tests: one binary, one module per topic. Expected results come from an oracle that is slow and obvious.

// In tests a failed `unwrap` is a failed test, and the output of a failed test is shown.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_sign_loss)]

/// Helpers that several topics share.
mod support {
    pub(crate) mod crafted;
    pub(crate) mod durable;
    pub(crate) mod graph;
    pub(crate) mod logs;
    pub(crate) mod oracle;
    pub(crate) mod reference;
    pub(crate) mod scripts;
}

mod catalogue;
mod controls;
mod cost;
mod exactness;
mod handshake;
/// Random logs that stress the shortcuts of the graph, against the oracle.
mod hostile;
mod hot_items;
mod live;
mod oracle_units;
mod program;
mod quiet;
mod real_logs;
mod reference_equivalence;
mod reference_graph;
mod snapshots;
mod taking_back;
mod trending;
