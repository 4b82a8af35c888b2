//! The integration tests: one binary, one module a topic, all against the slow and obvious oracle.

/// What several topics share.
mod support {
    pub(crate) mod oracle;
    pub(crate) mod plain;
}

mod oracle_units;
mod plain_graph;
