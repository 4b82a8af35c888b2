//! The integration tests: one binary, one module a topic, all against the slow and obvious oracle.

/// What several topics share.
mod support {
    pub(crate) mod oracle;
}

mod oracle_units;
