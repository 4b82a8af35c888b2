//! The integration tests: one binary, one module a topic, all against the slow and obvious oracle.

// Helpers of tests are tests: where they cannot go on, the test has failed; what they print is shown when it does.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

/// What several topics share.
mod support {
    pub(crate) mod graph;
    pub(crate) mod oracle;
    pub(crate) mod plain;
}

/// The graph against the oracle: every change, at every time, for any number of workers.
mod exactness;
mod oracle_units;
mod plain_graph;

/// The program, as its users use and misuse it.
mod program;
