//! The integration tests: one binary, one module a topic, all against the slow and obvious oracle.

// Helpers of tests are tests: where they cannot go on, the test has failed; what they print is shown when it does.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_sign_loss)]

/// What several topics share.
mod support {
    pub(crate) mod durable;
    pub(crate) mod graph;
    pub(crate) mod logs;
    pub(crate) mod oracle;
    pub(crate) mod reference;
}

/// The single-threaded program that the graph is measured against.
mod cost;
/// The graph against the oracle: every change, at every time, for any number of workers.
mod exactness;
/// Who gets a link in a cluster.
mod handshake;
/// Shapes that are hard on what the graph saves itself, against the oracle.
mod hostile;
/// A source without an end and a slow output.
mod live;
mod oracle_units;
/// The program, as its users use and misuse it.
mod program;
/// The logs of real shops, where they are at hand.
mod real_logs;
/// Each operator of the graph against its reference implementation.
mod reference_equivalence;
mod reference_graph;
/// What is taken out of a graph, and going on from it.
mod snapshots;
/// What trends, against the oracle.
mod trending;
